// Makes pairs with an exact truth for edits: a pixel avatar of colours that no training saw together, and the same one
// with one option changed. A folder of 16x16 PNG files and pairs.jsonl, a line a pair; benchmarks/edits.py measures
// with them. See editing.md.
//
//   npm install @dicebear/core@9.4.3 @dicebear/pixel-art@9.4.3
//   node make_pixel_avatar_pairs.mjs OUT_FOLDER [AVATARS=40] [SEED=77]

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as avatars from './make_pixel_avatars.mjs';

/** Returns what a person may change, by what it is called: options as they would be. */
function changes(chosen, random) {
  const pick = (values) => values[Math.floor(random() * values.length)];
  const other = (values, value) => pick(values.filter((x) => x !== value));
  const among = (values, key) => ({ ...chosen, [key]: other(Object.keys(values), chosen[key]) });
  const found = {};
  if (avatars.visibleAttributes(chosen).hairColor) found.hairColor = among(avatars.HAIR_COLOURS, 'hairColor');
  if (chosen.hat) found.hatColor = among(avatars.HAT_COLOURS, 'hatColor');
  if (chosen.hat) found.hat = among(avatars.HATS, 'hat');
  found.clothingColor = among(avatars.TOP_COLOURS, 'clothingColor');
  found.skinColor = among(avatars.SKIN, 'skinColor');
  found.glasses = { ...chosen, glasses: other([null, ...Object.keys(avatars.GLASSES)], chosen.glasses) };
  found.beard = { ...chosen, beard: !chosen.beard };
  return found;
}

async function main(folder, count, seed) {
  const { createAvatar } = await avatars.importPackage('@dicebear/core');
  const style = await avatars.importPackage('@dicebear/pixel-art');
  const random = avatars.randomStream(seed);
  const draw = (options, name) => {
    const svg = createAvatar(style, avatars.dicebearOptions(options)).toString();
    writeFileSync(join(folder, name), avatars.encodePng(avatars.rasterise(svg)));
    return name;
  };
  mkdirSync(folder, { recursive: true });
  const lines = [];
  for (let index = 0, made = 0; made < count; index++) {
    const chosen = avatars.drawOptions(random);
    const changed = changes(chosen, random);
    if (!avatars.UNSEEN.includes(`${chosen.hairColor}/${chosen.clothingColor}`)) continue;
    const number = String(made++).padStart(4, '0');
    const told = (options) => {
      const attributes = avatars.visibleAttributes(options);
      return { text: avatars.caption(attributes, index), attributes };
    };
    const before = { image: draw(chosen, `${number}.png`), ...told(chosen) };
    for (const [change, options] of Object.entries(changed)) {
      const after = { image: draw(options, `${number}_${change}.png`), ...told(options) };
      lines.push(JSON.stringify({ change, before, after }));
    }
  }
  writeFileSync(join(folder, 'pairs.jsonl'), lines.join('\n') + '\n');
  console.log(`${folder}: ${lines.length} edits of ${count} avatars`);
}

const [folder, count = '40', seed = '77'] = process.argv.slice(2);
if (!folder || !/^\d+$/.test(count) || !/^\d+$/.test(seed)) {
  console.error('usage: node make_pixel_avatar_pairs.mjs OUT_FOLDER [AVATARS=40] [SEED=77]');
  process.exit(2);
}
await main(folder, Number(count), Number(seed));
