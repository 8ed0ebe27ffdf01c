// Makes captioned pixel avatars like the embedded set: a folder of 16x16 PNG files and metadata.jsonl, which
// config.data.source accepts as it is. See pixel_avatars.md.
//
//   npm install @dicebear/core@9.4.3 @dicebear/pixel-art@9.4.3
//   node make_pixel_avatars.mjs OUT_FOLDER [COUNT=8000] [SEED=0]

import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';

const SIDE_PX = 16;
const WHITE = [255, 255, 255];

// What is drawn. Captions do not tell variants of the same hair or top apart.
const SKIN = { light: 'ffdbac', medium: 'cb9e6e', dark: '8d5524' };
const HAIR = { short: ['short01', 'short06', 'short16'], long: ['long03', 'long09', 'long13'] };
const TOPS = ['variant01', 'variant03', 'variant04'];
const HAIR_COLOURS = {
  black: '28150a', brown: '603a14', blond: 'cab188', red: 'bd1700', blue: '009bbd', green: '91cb15',
};
const TOP_COLOURS = {
  blue: '428bca', 'dark blue': '03396c', green: '00b159', pink: 'ff6f69', red: 'd11141', yellow: 'ffc425',
};
const HATS = { hat: 'variant06', cap: 'variant07', 'striped hat': 'variant04' };
const HAT_COLOURS = { blue: '2663a3', green: '3d8a6b', pink: 'cc6192', red: 'a62116' };
const GLASSES = { glasses: 'light06', sunglasses: 'dark02' };
const FIXED = {
  accessoriesProbability: 0, eyes: ['variant01'], eyesColor: ['76778b'],
  mouth: ['happy12'], mouthColor: ['c98276'], glassesColor: ['191919'], beard: ['variant03'],
};
// Hair colour and top colour that are never drawn together in the training split.
const UNSEEN = ['black/dark blue', 'blond/blue', 'blue/yellow', 'brown/red', 'green/pink', 'red/green'];
const TEST_FRACTION = 0.064;
const HAT_PROBABILITY = 0.75;
const BEARD_PROBABILITY = 0.5;

/** Returns a function that draws numbers in [0, 1): SplitMix32, the same on every machine. */
function randomStream(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Draws every option, independently and uniformly but for the two probabilities above. */
function drawOptions(random) {
  const pick = (values) => values[Math.floor(random() * values.length)];
  const hair = pick(Object.keys(HAIR));
  return {
    skinColor: pick(Object.keys(SKIN)),
    hair,
    hairVariant: pick(HAIR[hair]),
    topVariant: pick(TOPS),
    hairColor: pick(Object.keys(HAIR_COLOURS)),
    clothingColor: pick(Object.keys(TOP_COLOURS)),
    glasses: pick([null, ...Object.keys(GLASSES)]),
    hat: random() < HAT_PROBABILITY ? pick(Object.keys(HATS)) : null,
    hatColor: pick(Object.keys(HAT_COLOURS)),
    beard: random() < BEARD_PROBABILITY,
  };
}

function dicebearOptions(chosen) {
  return {
    ...FIXED,
    skinColor: [SKIN[chosen.skinColor]],
    hair: [chosen.hairVariant],
    clothing: [chosen.topVariant],
    hairColor: [HAIR_COLOURS[chosen.hairColor]],
    clothingColor: [TOP_COLOURS[chosen.clothingColor]],
    glasses: chosen.glasses ? [GLASSES[chosen.glasses]] : [],
    glassesProbability: chosen.glasses ? 100 : 0,
    hat: chosen.hat ? [HATS[chosen.hat]] : [],
    hatColor: [HAT_COLOURS[chosen.hatColor]],
    hatProbability: chosen.hat ? 100 : 0,
    beardProbability: chosen.beard ? 100 : 0,
  };
}

/** Returns what captions say: nothing of short hair under a hat, nor of the colour of what is not there. */
function visibleAttributes(chosen) {
  const seen = { clothingColor: chosen.clothingColor, skinColor: chosen.skinColor };
  if (chosen.glasses) seen.glasses = chosen.glasses;
  if (chosen.beard) seen.beard = 'beard';
  if (chosen.hat) Object.assign(seen, { hat: chosen.hat, hatColor: chosen.hatColor });
  if (chosen.hair === 'long' || !chosen.hat) {
    Object.assign(seen, { hair: chosen.hair, hairColor: chosen.hairColor });
  }
  return Object.fromEntries(Object.entries(seen).sort());
}

/** The two phrasings; they take turns. */
function caption(seen, index) {
  const hair = seen.hair && `${seen.hair} ${seen.hairColor} hair`;
  const hat = seen.hat && `a ${seen.hatColor} ${seen.hat}`;
  const parts = [hair, seen.beard && 'a beard', seen.glasses, hat].filter(Boolean);
  if (index % 2) {
    const what = parts.length ? ` with ${parts.join(' and ')}` : '';
    return `pixel art of a person in ${seen.clothingColor}${what}, ${seen.skinColor} skin`;
  }
  const top = `a ${seen.clothingColor} top`;
  const what = parts.length ? `${parts.join(', ')} and ${top}` : top;
  return `a pixel person with ${what}, ${seen.skinColor} skin`;
}

// Drawing. All paths of this style run along the pixel grid (M, m, h, H, v, V, z), so that a pixel is its centre.

/** Returns the sub-paths of path data as lists of points; throws at a command that this style does not use. */
function parsePath(data) {
  const subpaths = [];
  let x = 0, y = 0, points = [];
  for (const [, command, argument] of data.matchAll(/([a-zA-Z])([^a-zA-Z]*)/g)) {
    const numbers = (argument.match(/-?(\d+\.?\d*|\.\d+)/g) ?? []).map(Number);
    if (command === 'M' || command === 'm') {
      if (numbers.length !== 2) throw new Error(`path command not known: ${command}${argument}`);
      [x, y] = command === 'M' ? numbers : [x + numbers[0], y + numbers[1]];
      points = [[x, y]];
      subpaths.push(points);
    } else if ('hHvV'.includes(command)) {
      for (const n of numbers) {
        if (command === 'h') x += n;
        else if (command === 'H') x = n;
        else if (command === 'v') y += n;
        else y = n;
        points.push([x, y]);
      }
    } else if (command === 'z' || command === 'Z') {
      [x, y] = points[0];
    } else throw new Error(`path command not known: ${command}`);
  }
  return subpaths;
}

function isInside(subpaths, x, y, evenOdd) {
  let winding = 0, crossings = 0;
  for (const points of subpaths) {
    points.forEach(([x0, y0], i) => {
      const [x1, y1] = points[(i + 1) % points.length];
      if (x0 === x1 && x0 > x && Math.min(y0, y1) < y && y < Math.max(y0, y1)) {
        winding += Math.sign(y1 - y0);
        crossings += 1;
      }
    });
  }
  return evenOdd ? crossings % 2 === 1 : winding !== 0;
}

const parseColour = (text) => {
  const hex = text.replace('#', '');
  const full = hex.length === 3 ? [...hex].map((c) => c + c).join('') : hex;
  return [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16));
};

/** Lays a colour over an [r, g, b, a] pixel, in place: a' = a + alpha (1 - a), colours weighted by share. */
function blend(pixel, colour, alpha) {
  const total = pixel[3] + alpha * (1 - pixel[3]);
  if (total === 0) return;
  for (let c = 0; c < 3; c++) pixel[c] += (alpha / total) * (colour[c] - pixel[c]);
  pixel[3] = total;
}

/** Returns 16 * 16 [r, g, b] of the body of one of DiceBear's SVG files, on white. */
function rasterise(svg) {
  const newLayer = (r, g, b, a) => Array.from({ length: SIDE_PX * SIDE_PX }, () => [r, g, b, a]);
  const pixels = newLayer(...WHITE, 1);
  const masks = {}; // id -> luminance in [0, 1] of each pixel
  const stack = [{ layer: pixels, mask: null, maskTarget: null, fill: '#000', rule: 'nonzero' }];
  // The frame around the drawing (mask="url(#viewboxMask)") only clips to the picture.
  const body = svg.replace(/<metadata.*?<\/metadata>/s, '').replace(/<mask id="viewboxMask">.*?<\/mask>/s, '');
  for (const [, closing, tag, text] of body.matchAll(/<(\/?)(\w+)([^>]*?)\/?>/g)) {
    const at = Object.fromEntries([...text.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, k, v]) => [k, v]));
    const top = stack.at(-1);
    if (tag === 'svg') continue;
    if (closing) {
      // A masked group is drawn by itself first, and then laid over what is there, through its mask.
      const { layer, mask } = stack.pop();
      const below = stack.at(-1).layer;
      if (mask) layer.forEach((pixel, i) => blend(below[i], pixel, pixel[3] * mask[i]));
    } else if (tag === 'mask') {
      masks[at.id] = new Array(SIDE_PX * SIDE_PX).fill(0);
      stack.push({ ...top, mask: null, maskTarget: masks[at.id] });
    } else if (tag === 'g') {
      const id = at.mask?.match(/#([^)]*)/)[1];
      const mask = id && id !== 'viewboxMask' ? masks[id] : null;
      const layer = mask ? newLayer(0, 0, 0, 0) : top.layer;
      stack.push({ ...top, layer, mask, fill: at.fill ?? top.fill, rule: at['fill-rule'] ?? top.rule });
    } else if (tag === 'path') {
      const fill = at.fill ?? top.fill;
      if (fill === 'none' || fill === 'transparent') continue;
      const colour = parseColour(fill);
      const opacity = Number(at['fill-opacity'] ?? 1) * Number(at.opacity ?? 1);
      const subpaths = parsePath(at.d);
      const evenOdd = (at['fill-rule'] ?? top.rule) === 'evenodd';
      for (let i = 0; i < SIDE_PX * SIDE_PX; i++) {
        if (!isInside(subpaths, (i % SIDE_PX) + 0.5, Math.floor(i / SIDE_PX) + 0.5, evenOdd)) continue;
        if (top.maskTarget) {
          const luminance = (0.2125 * colour[0] + 0.7154 * colour[1] + 0.0721 * colour[2]) / 255;
          top.maskTarget[i] += opacity * (luminance - top.maskTarget[i]);
        } else blend(top.layer[i], colour, opacity);
      }
    } else throw new Error(`element not known: <${tag}>`);
  }
  return pixels.map((pixel) => pixel.slice(0, 3).map(Math.round));
}

/** Returns a PNG file, RGB. */
function encodePng(pixels) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE_PX, 0);
  header.writeUInt32BE(SIDE_PX, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits a channel, RGB
  const rows = [];
  for (let y = 0; y < SIDE_PX; y++) rows.push(0, ...pixels.slice(y * SIDE_PX, (y + 1) * SIDE_PX).flat());
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const data = deflateSync(Buffer.from(rows), { level: 9 });
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

/** Finds an npm package beside this script or in the folder that the command runs in. */
async function importPackage(name) {
  try {
    return await import(name);
  } catch {
    const require = createRequire(join(process.cwd(), 'package.json'));
    return import(pathToFileURL(require.resolve(name)));
  }
}

async function main(folder, count, seed) {
  const { createAvatar } = await importPackage('@dicebear/core');
  const style = await importPackage('@dicebear/pixel-art');
  const random = randomStream(seed);
  mkdirSync(folder, { recursive: true });
  const lines = [];
  const sizes = { train: 0, test: 0, unseen: 0 };
  for (let index = 0; index < count; index++) {
    const chosen = drawOptions(random);
    const attributes = visibleAttributes(chosen);
    const isTest = random() < TEST_FRACTION;
    // By what was drawn, seen or not: the colour of hair under a hat counts too.
    const isUnseen = UNSEEN.includes(`${chosen.hairColor}/${chosen.clothingColor}`);
    const split = isUnseen ? 'unseen' : isTest ? 'test' : 'train';
    const file_name = `pixelArt-${String(index).padStart(5, '0')}.png`;
    const svg = createAvatar(style, dicebearOptions(chosen)).toString();
    writeFileSync(join(folder, file_name), encodePng(rasterise(svg)));
    lines.push(JSON.stringify({ file_name, text: caption(attributes, index), attributes, split }));
    sizes[split] += 1;
  }
  writeFileSync(join(folder, 'metadata.jsonl'), lines.join('\n') + '\n');
  console.log(`${folder}: ${JSON.stringify(sizes)}`);
}

export { caption, dicebearOptions, drawOptions, encodePng, importPackage, randomStream, rasterise, visibleAttributes };
export { GLASSES, HAIR_COLOURS, HATS, HAT_COLOURS, SKIN, TOP_COLOURS, UNSEEN };

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, count = '8000', seed = '0'] = process.argv.slice(2);
  if (!folder || !/^\d+$/.test(count) || !/^\d+$/.test(seed)) {
    console.error('usage: node make_pixel_avatars.mjs OUT_FOLDER [COUNT=8000] [SEED=0]');
    process.exit(2);
  }
  await main(folder, Number(count), Number(seed));
}
