// Makes pairs with an exact truth for edits: a toon avatar with garment and colour that no training saw together, and the
// same one with one option changed. A folder of 256x256 PNG files and pairs.jsonl, a line a pair, for benchmarks.edits.
// Parts, colours and captions are those of the embedded toon avatars. See editing.md.
//
//   npm install @dicebear/core@9.4.3 @dicebear/toon-head@9.4.3 @resvg/resvg-js@2.6.2
//   node make_toon_avatar_pairs.mjs OUT_FOLDER [AVATARS=20] [SEED=77]

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { importPackage, randomStream } from './make_pixel_avatars.mjs';

const SIDE_PX = 256; // t2igan resizes to 64, by Lanczos' filter, as it was done for the embedded pictures

// What is drawn, by the word of captions and attributes.
const PARTS = {
  beard: { 'long beard': 'longBeard', 'full beard': 'fullBeard', 'twirled moustache': 'moustacheTwirl' },
  clothes: {
    dress: 'dress', 't-shirt': 'tShirt', shirt: 'shirt', turtleneck: 'turtleNeck', 'open jacket': 'openJacket',
  },
  clothesColor: {
    grey: '545454', red: 'b11f1f', blue: '0b3286', green: '147f3c', yellow: 'eab308', purple: '731ac3',
    pink: 'ec4899', orange: 'f97316', black: '151613', white: 'e8e9e6',
  },
  hair: { 'side-combed': 'sideComed', undercut: 'undercut', bun: 'bun', spiky: 'spiky' },
  hairColor: { black: '2c1b18', brown: '724133', 'red-brown': 'a55728', blond: 'd6b370' },
  mouth: { angry: 'angry', surprised: 'agape', sad: 'sad', smiling: 'smile', laughing: 'laugh' },
  rearHair: { long: 'longStraight', 'long wavy': 'longWavy' },
  skinColor: { 'light skin': 'f1c3a5', 'medium skin': 'b98e6a', 'dark skin': '5c3829' },
};
const OPTIONAL = { beard: 0.75, rearHair: 0.66 }; // how often there is one
// Garments and colours that are never together in the training split.
const UNSEEN = [
  'dress/grey', 'dress/white', 'open jacket/black', 'open jacket/pink', 'shirt/green', 'shirt/red', 't-shirt/orange',
  't-shirt/yellow', 'turtleneck/blue', 'turtleneck/purple',
];

/** Draws an attribute each, independently; one that is not there is left out. */
function drawAttributes(random, pick) {
  const found = {};
  for (const name of Object.keys(PARTS)) {
    const value = pick(Object.keys(PARTS[name]));
    if (random() < (OPTIONAL[name] ?? 1)) found[name] = value;
  }
  return found;
}

/** Returns the same avatar with one attribute changed, by its name. */
function changes(attributes, pick) {
  const found = {};
  for (const name of Object.keys(PARTS)) {
    const others = [...Object.keys(PARTS[name]), ...(name in OPTIONAL ? [undefined] : [])];
    const { [name]: before, ...rest } = attributes;
    const after = pick(others.filter((value) => value !== before));
    found[name] = after === undefined ? rest : { ...rest, [name]: after };
  }
  return found;
}

/** One of the three phrasings. */
function caption(of, index) {
  const a = (words) => `${'aeiou'.includes(words[0]) ? 'an' : 'a'} ${words}`;
  const long = of.rearHair ? `${of.rearHair} ` : '';
  const hair = long + (of.hair === 'bun' ? `${of.hairColor} hair in a bun` : `${of.hairColor} ${of.hair} hair`);
  const beard = of.beard ? ` and ${a(of.beard)}` : '';
  const garment = `${of.clothesColor} ${of.clothes}`;
  return [
    `${a(of.mouth)} person with ${hair}${beard} wearing ${a(garment)}, ${of.skinColor}`,
    `a person in ${a(garment)} with ${hair}${beard}, ${of.mouth}, ${of.skinColor}`,
    `${of.mouth} face, ${hair}${of.beard ? `, ${of.beard}` : ''}, ${garment}, ${of.skinColor}`,
  ][index % 3];
}

function dicebearOptions(attributes) {
  const options = { eyes: ['wide'], eyebrows: ['neutral'], hairProbability: 100 };
  for (const [name, values] of Object.entries(PARTS)) {
    options[name] = name in attributes ? [values[attributes[name]]] : [];
    if (name in OPTIONAL) options[`${name}Probability`] = name in attributes ? 100 : 0;
  }
  return options;
}

async function main(folder, count, seed) {
  const { createAvatar } = await importPackage('@dicebear/core');
  const style = await importPackage('@dicebear/toon-head');
  const { Resvg } = await importPackage('@resvg/resvg-js');
  const random = randomStream(seed);
  const pick = (values) => values[Math.floor(random() * values.length)];
  const draw = (attributes, name) => {
    const svg = createAvatar(style, dicebearOptions(attributes)).toString();
    // These masks go by what covers, and not by how light it is; the renderer knows the other kind alone.
    const masked = svg.replace(/<mask [^>]*alpha.*?<\/mask>/gs, (mask) => mask.replace(/fill="[^"]*"/g, 'fill="#fff"'));
    const drawn = new Resvg(masked, { fitTo: { mode: 'width', value: SIDE_PX }, background: '#ffffff' }).render();
    writeFileSync(join(folder, name), drawn.asPng());
    return name;
  };
  mkdirSync(folder, { recursive: true });
  const lines = [];
  for (let made = 0; made < count; ) {
    const attributes = drawAttributes(random, pick);
    if (!UNSEEN.includes(`${attributes.clothes}/${attributes.clothesColor}`)) continue;
    const number = String(made++).padStart(4, '0');
    const told = (of) => ({ text: caption(of, made), attributes: of });
    const before = { image: draw(attributes, `${number}.png`), ...told(attributes) };
    for (const [change, of] of Object.entries(changes(attributes, pick))) {
      lines.push(JSON.stringify({ change, before, after: { image: draw(of, `${number}_${change}.png`), ...told(of) } }));
    }
  }
  writeFileSync(join(folder, 'pairs.jsonl'), lines.join('\n') + '\n');
  console.log(`${folder}: ${lines.length} edits of ${count} avatars`);
}

const [folder, count = '20', seed = '77'] = process.argv.slice(2);
if (!folder || !/^\d+$/.test(count) || !/^\d+$/.test(seed)) {
  console.error('usage: node make_toon_avatar_pairs.mjs OUT_FOLDER [AVATARS=20] [SEED=77]');
  process.exit(2);
}
await main(folder, Number(count), Number(seed));
