// What the exporter packed, opened: weights as float32 by their names, the tokenizer, and what the model is.

const WIDTH = { f4: 4, f2: 2, i1: 1 };

// Half-precision numbers by their bits.
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent ? (exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15)) : fraction * 2 ** -24;
  return bits & 32768 ? -size : size;
}

// text: base64 of a zlib stream of [length of the head, uint32][head, JSON][arrays, each at a multiple of 4 bytes].
export async function openModel(text, maths = plainMaths) {
  const packed = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const raw = await new Response(stream).arrayBuffer();
  const length = new DataView(raw).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, length)));
  const start = Math.ceil((4 + length) / 4) * 4, weights = new Map();
  for (const { name, shape, kind, at, axis } of head.arrays) {
    const size = shape.reduce((a, b) => a * b, 1), from = start + at;
    let data;
    if (kind === 'f4') data = new Float32Array(raw, from, size);
    else if (kind === 'f2') data = Float32Array.from(new Uint16Array(raw, from, size), half);
    else { // int8 levels behind the scales of one axis
      const channels = shape[axis], inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
      const scales = new Float32Array(raw, from, channels), levels = new Int8Array(raw, from + 4 * channels, size);
      data = new Float32Array(size);
      for (let i = 0; i < size; i++) data[i] = levels[i] * scales[Math.floor(i / inner) % channels];
    }
    weights.set(name, { shape, data });
  }
  return { about: head.about, tokenizer: new Tokenizer(head.tokenizer), networks: new Networks(weights, head.about, maths) };
}

// The bytes [size, size, channels] of a caption and a seed, as t2igan draws them.
export function picture(model, caption, seed, truncation = 1, guidance = 1) {
  const z = noise(seed, model.about.z_dim).map((value) => truncation * value);
  const drawn = model.networks.draw(z, model.networks.encode(model.tokenizer.encode(caption)), guidance);
  return toBytes(drawn.data, model.about.channels);
}
