// What the exporter packed, opened: weights as float32 by their names, the tokenizer, and what the model is.

export function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Half-precision numbers as float32: their bits are shifted to those of a number that is 2^112 times too small.
function halves(bits) {
  const words = new Uint32Array(bits.length), data = new Float32Array(words.buffer);
  for (let i = 0; i < bits.length; i++) {
    words[i] = ((bits[i] & 0x7fff) << 13) | ((bits[i] & 0x8000) << 16);
    data[i] *= 2 ** 112;
  }
  return data;
}

// Levels times the scale of their channel.
function scaled(levels, scales, inner) {
  const data = new Float32Array(levels.length), channels = scales.length;
  for (let from = 0, channel = 0; from < levels.length; from += inner, channel = (channel + 1) % channels) {
    for (let i = from; i < from + inner; i++) data[i] = levels[i] * scales[channel];
  }
  return data;
}

// text: base64 of a zlib stream of [length of the head, uint32][head, JSON][arrays, each at a multiple of 4 bytes].
export async function openModel(text, maths = plainMaths) {
  const packed = bytesOf(text.trim());
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const raw = await new Response(stream).arrayBuffer();
  const length = new DataView(raw).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, length)));
  const start = Math.ceil((4 + length) / 4) * 4, weights = new Map();
  for (const { name, shape, kind, at, axis } of head.arrays) {
    const size = shape.reduce((a, b) => a * b, 1), from = start + at;
    let data;
    if (kind === 'f4') data = new Float32Array(raw, from, size);
    else if (kind === 'f2') data = halves(new Uint16Array(raw, from, size));
    else { // int8 levels behind the scales of one axis
      const channels = shape[axis], inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
      data = scaled(new Int8Array(raw, from + 2 * channels, size), halves(new Uint16Array(raw, from, channels)), inner);
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
