// Renders the emoji of the embedded set `noto_emoji` at another size: a folder of PNG files, named by code points, on
// white. docs/pack_noto_emoji.py then puts them together with their captions. See embedded_pictures.md.
//
//   npm install @iconify-json/noto@1.2.9 @resvg/resvg-js@2.6.2
//   node make_noto_emoji.mjs OUT_FOLDER [SIDE_PX=128]

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(join(process.cwd(), 'package.json'));
const RENDERS = '--render'; // what a process of its own is started with

/** Renders what is not there yet; an icon that the renderer dies of leaves an empty file. */
function render(folder, sidePx) {
  const { Resvg } = require('@resvg/resvg-js');
  const read = (name) => JSON.parse(readFileSync(require.resolve(`@iconify-json/noto/${name}.json`)));
  const [{ icons, aliases, width, height }, chars] = [read('icons'), read('chars')];
  for (const [codePoints, name] of Object.entries(chars)) {
    const file = join(folder, `${codePoints}.png`);
    const icon = icons[name] ?? icons[aliases[name]?.parent];
    if (!icon || existsSync(file)) continue;
    writeFileSync(file, '');
    const box = `0 0 ${icon.width ?? width} ${icon.height ?? height}`;
    const names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"';
    const svg = `<svg ${names} viewBox="${box}">${icon.body}</svg>`;
    const options = { fitTo: { mode: 'width', value: sidePx }, background: 'white' };
    writeFileSync(file, new Resvg(svg, options).render().asPng());
  }
}

const [folder, sidePx = '128', how] = process.argv.slice(2);
if (!folder) throw new Error('usage: node make_noto_emoji.mjs OUT_FOLDER [SIDE_PX=128]');
mkdirSync(folder, { recursive: true });
if (how === RENDERS) render(folder, Number(sidePx));
else {
  // The renderer ends the whole process at two of the icons: it is started again, and goes on after them.
  const words = [fileURLToPath(import.meta.url), folder, sidePx, RENDERS];
  const again = () => spawnSync(process.execPath, words, { stdio: 'ignore' });
  for (let tries = 0; again().status !== 0; tries += 1) {
    if (tries === 20) throw new Error('the renderer fails again and again');
  }
}
