// The networks of t2igan: text encoder, generators, decoders. One picture at a time. Maps are [places, channels], row by
// row. Linear maps and attention are computed by `maths`: in plain JavaScript, below, or in WebAssembly (product.js).
// Generator and decoder say what becomes of maps by `maps`: of `maths`, or on a graphics card (gpu.js).

const GAIN = Math.fround(Math.sqrt(2 / 1.04)), SLOPE = 0.2; // of a leaky ReLU
const LEAK = GAIN * SLOPE;
const EPSILON = 1e-6; // of a layer norm

// Four rows of x[rows, inner] after four, each four interleaved and the last filled up with zeros.
function panelsOf(rows, inner, x) {
  const panels = new Float64Array(Math.ceil(rows / 4) * 4 * inner);
  for (let row = 0; row < rows; row++) {
    for (let k = 0, from = row * inner, to = (row & ~3) * inner + (row & 3); k < inner; k++, to += 4) panels[to] = x[from + k];
  }
  return panels;
}

// y[rows, out] = x[rows, inner] w[inner, out] + bias. Eight sums at a time stay in registers. They are of float64, which
// JavaScript computes in: rounding every product and sum to float32 took three times as long.
export function product(rows, inner, out, x, w, bias) {
  const y = new Float32Array(rows * out);
  if (rows < 4) { // along the weights, as they lie in memory
    for (let row = 0; row < rows; row++) {
      const o = row * out;
      for (let k = 0; k < inner; k++) {
        const c = x[row * inner + k];
        for (let column = 0, p = k * out; column < out; column++, p++) y[o + column] += c * w[p];
      }
      if (bias) for (let column = 0; column < out; column++) y[o + column] += bias[column];
    }
    return y;
  }
  const panels = panelsOf(rows, inner, x), pair = new Float64Array(2 * inner);
  for (let column = 0; column < out; column += 2) {
    const two = column + 1 < out, p = bias ? bias[column] : 0, q = bias && two ? bias[column + 1] : 0;
    for (let k = 0, from = column; k < inner; k++, from += out) {
      pair[2 * k] = w[from];
      pair[2 * k + 1] = two ? w[from + 1] : 0;
    }
    for (let row = 0, at = 0; row < rows; row += 4) {
      let a0 = p, a1 = p, a2 = p, a3 = p, b0 = q, b1 = q, b2 = q, b3 = q;
      for (let k = 0; k < 2 * inner; k += 2, at += 4) {
        const u = pair[k], v = pair[k + 1], c0 = panels[at], c1 = panels[at + 1], c2 = panels[at + 2], c3 = panels[at + 3];
        a0 += c0 * u; a1 += c1 * u; a2 += c2 * u; a3 += c3 * u;
        b0 += c0 * v; b1 += c1 * v; b2 += c2 * v; b3 += c3 * v;
      }
      let o = row * out + column;
      const last = Math.min(rows - row, 4) - 1;
      y[o] = a0; if (two) y[o + 1] = b0; o += out;
      if (last > 0) { y[o] = a1; if (two) y[o + 1] = b1; } o += out;
      if (last > 1) { y[o] = a2; if (two) y[o + 1] = b2; } o += out;
      if (last > 2) { y[o] = a3; if (two) y[o + 1] = b3; }
    }
  }
  return y;
}

function leakyRelu(x) {
  const y = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = (x[i] > 0 ? GAIN : LEAK) * x[i];
  return y;
}

// x (1 + tanh y) / 2 = x / (1 + exp(-2 y)), which takes a third of the time.
function gelu(x) {
  const c = -2 * Math.sqrt(2 / Math.PI);
  for (let i = 0; i < x.length; i++) {
    const v = x[i];
    x[i] = v / (1 + Math.exp(c * (v + 0.044715 * v * v * v)));
  }
  return x;
}

// Scaled and shifted by the two halves of `both`, [2 channels], and then the leaky ReLU.
function modulated(x, channels, both) {
  const y = new Float32Array(x.length);
  for (let c = 0; c < channels; c++) both[c] += 1;
  for (let from = 0; from < x.length; from += channels) for (let c = 0; c < channels; c++) {
    const v = x[from + c] * both[c] + both[channels + c];
    y[from + c] = (v > 0 ? GAIN : LEAK) * v;
  }
  return y;
}

function added(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
  return x;
}

function upsampled(x, size, channels) {
  const y = new Float32Array(4 * x.length), wide = 2 * size;
  for (let row = 0; row < wide; row++) {
    for (let column = 0; column < wide; column++) {
      const from = ((row >> 1) * size + (column >> 1)) * channels;
      y.set(x.subarray(from, from + channels), (row * wide + column) * channels);
    }
  }
  return y;
}

// Channels, ordered by (row in the patch, column in the patch, channel), become patches.
function unfolded(x, size, patch, channels) {
  if (patch === 1) return x;
  const y = new Float32Array(x.length), wide = size * patch;
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) for (let a = 0; a < patch; a++) for (let b = 0; b < patch; b++) {
    const from = ((i * size + j) * patch * patch + a * patch + b) * channels;
    y.set(x.subarray(from, from + channels), ((i * patch + a) * wide + j * patch + b) * channels);
  }
  return y;
}

// The 3x3 places around each place, zeros beyond the edge: [places, 9 channels], as a kernel [3, 3, in, out] has them.
function patches(x, size, channels) {
  const y = new Float32Array(9 * x.length);
  for (let row = 0; row < size; row++) for (let column = 0; column < size; column++) {
    const to = (row * size + column) * 9 * channels;
    for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) {
      const r = row + a - 1, c = column + b - 1;
      if (r < 0 || c < 0 || r >= size || c >= size) continue;
      const from = (r * size + c) * channels;
      y.set(x.subarray(from, from + channels), to + (a * 3 + b) * channels);
    }
  }
  return y;
}

// x[from...end) becomes softmax(scale x).
function softmax(x, from, end, scale) {
  let top = -Infinity, sum = 0;
  for (let i = from; i < end; i++) if (x[i] > top) top = x[i];
  for (let i = from; i < end; i++) sum += x[i] = Math.exp(scale * (x[i] - top));
  const share = 1 / sum;
  for (let i = from; i < end; i++) x[i] *= share;
}

// softmax(q k / sqrt(d)) v, head by head. q, k, v: {data, stride between rows, stride between heads, offset}.
function attend(places, words, heads, d, q, k, v) {
  const y = new Float32Array(places * heads * d), weights = new Float64Array(words), scale = 1 / Math.sqrt(d);
  const { data: queries } = q, { data: keys, row: keyRow } = k, { data: values, row: valueRow } = v;
  for (let place = 0; place < places; place++) for (let head = 0; head < heads; head++) {
    const Q = place * q.row + head * q.head + q.at, Y = (place * heads + head) * d;
    for (let word = 0, K = head * k.head + k.at; word < words; word++, K += keyRow) {
      let logit = 0;
      for (let i = 0; i < d; i++) logit += queries[Q + i] * keys[K + i];
      weights[word] = logit;
    }
    softmax(weights, 0, words, scale);
    for (let i = 0, V = head * v.head + v.at; i < d; i++, V++) {
      let sum = 0;
      for (let word = 0, at = V; word < words; word++, at += valueRow) sum += weights[word] * values[at];
      y[Y + i] = sum;
    }
  }
  return y;
}

function conv3x3(x, size, channels, out, w, bias) {
  return product(size * size, 9 * channels, out, patches(x, size, channels), w, bias);
}

const plain = (data, channels, d) => ({ data, row: channels, head: d, at: 0 });

export const plainMaths = {
  product, conv3x3, attend, gelu,
  mapsOf: (networks) => ({
    of: (data) => data,
    read: (data) => data,
    dense: (x, name) => networks.dense(x, name),
    conv3x3: (x, size, name) => networks.conv3x3(x, size, name),
    attend: (query, places, words, heads, d, key, value) =>
      attend(places, words, heads, d, ...[query, key, value].map((data) => plain(data, heads * d, d))),
    leakyRelu, modulated, added, upsampled, unfolded,
  }),
};

// weights: Map of name -> {shape, data: Float32Array}; about: what the exporter wrote of the model.
export class Networks {
  constructor(weights, about, maths = plainMaths) {
    this.weights = weights;
    this.about = about;
    this.maths = maths;
    this.maps = maths.mapsOf(this);
  }

  of(name) {
    return this.weights.get(name)?.data;
  }

  dense(x, name) {
    const { shape, data } = this.weights.get(`${name}/kernel`);
    const out = shape.at(-1), inner = data.length / out;
    return this.maths.product(x.length / inner, inner, out, x, data, this.of(`${name}/bias`));
  }

  conv3x3(x, size, name) {
    const { shape, data } = this.weights.get(`${name}/kernel`);
    return this.maths.conv3x3(x, size, x.length / (size * size), shape.at(-1), data, this.of(`${name}/bias`));
  }

  norm(x, width, name) {
    const y = new Float32Array(x.length), scale = name && this.of(`${name}/scale`), bias = name && this.of(`${name}/bias`);
    for (let from = 0; from < x.length; from += width) {
      let mean = 0, square = 0;
      for (let i = from; i < from + width; i++) { mean += x[i]; square += x[i] * x[i]; }
      mean /= width;
      const r = 1 / Math.sqrt(Math.max(0, square / width - mean * mean) + EPSILON);
      for (let i = 0; i < width; i++) {
        const v = (x[from + i] - mean) * r;
        y[from + i] = name ? v * scale[i] + bias[i] : v;
      }
    }
    return y;
  }

  // ids: a row without padding, which is masked wherever it is read. -> {words, sentence, length}
  encode(ids) {
    const { width, layers, heads, queries } = this.about.text, length = ids.length, d = width / heads;
    const embedding = this.of('text/tokens/embedding'), positions = this.of('text/positions');
    let x = new Float32Array(length * width), norms = 0, linear = 0;
    for (let i = 0; i < length; i++) for (let c = 0; c < width; c++) {
      x[i * width + c] = embedding[ids[i] * width + c] + positions[i * width + c];
    }
    for (let layer = 0; layer < layers; layer++) {
      const attention = `text/SelfAttention_${layer}`;
      const qkv = this.dense(this.norm(x, width, `text/LayerNorm_${norms++}`), `${attention}/qkv`);
      const part = (at) => ({ data: qkv, row: 3 * width, head: 3 * d, at }); // of a head: query, key, value
      added(x, this.dense(this.maths.attend(length, length, heads, d, part(0), part(d), part(2 * d)), `${attention}/out`));
      const h = this.dense(this.norm(x, width, `text/LayerNorm_${norms++}`), `text/Dense_${linear++}`);
      added(x, this.dense(this.maths.gelu(h), `text/Dense_${linear++}`));
    }
    const words = this.norm(x, width, `text/LayerNorm_${norms}`);
    const logits = this.dense(words, 'text/pooling'), pooled = new Float32Array(queries * width);
    for (let q = 0; q < queries; q++) {
      let top = -Infinity, sum = 0;
      for (let i = 0; i < length; i++) top = Math.max(top, logits[i * queries + q]);
      for (let i = 0; i < length; i++) sum += Math.exp(logits[i * queries + q] - top);
      for (let i = 0; i < length; i++) {
        const share = Math.exp(logits[i * queries + q] - top) / sum;
        for (let c = 0; c < width; c++) pooled[q * width + c] += share * words[i * width + c];
      }
    }
    const sentence = this.dense(pooled, 'text/sentence');
    return { words, length, sentence: this.norm(sentence, sentence.length) };
  }

  // What stands for no caption: zeros, of which one word counts.
  noCaption() {
    const { width, sentence_dim } = this.about.text;
    return { words: new Float32Array(width), length: 1, sentence: new Float32Array(sentence_dim) };
  }

  // z: Float32Array; text: of `encode`. -> {data: Float32Array [size, size, channels] around [-1, 1], size}
  draw(z, text, guidance = 1) {
    if (guidance <= 0) text = this.noCaption();
    if (this.about.generator.kind === 'mlp') return this.decode(this.drawMlp(z, text, guidance));
    return this.drawFrom(this.style(z, text.sentence, guidance), text);
  }

  // The picture of a style, which may be a sum of styles, and of the words that are read.
  drawFrom(style, text, maps = this.maps) {
    return this.decode(this.drawResidual(style, text, maps), maps);
  }

  drawMlp(z, text, guidance) {
    const { layers, size, channels } = this.about.generator;
    let x = joined(z, text.sentence.map((value) => guidance * value));
    for (let i = 0; i < layers; i++) x = leakyRelu(this.dense(x, `generator/Dense_${i}`));
    return { data: this.maps.of(this.dense(x, 'generator/pixels').map(Math.tanh), size, channels), size, channels };
  }

  style(z, sentence, guidance = 1) {
    let style = joined(z, sentence);
    for (let i = 0; i < 2; i++) style = leakyRelu(this.dense(style, `generator/style_${i}`));
    if (guidance === 1) return style;
    const without = this.style(z, new Float32Array(sentence.length));
    return style.map((value, i) => without[i] + guidance * (value - without[i]));
  }

  drawResidual(style, text, maps = this.maps) {
    const { channels: levels, base_px, patch_px, blocks, attention_from_px, heads, growing, image_channels } = this.about.generator;
    let size = base_px, images = null, modulations = 0, convolutions = 0, reads = 0;
    let x = maps.of(this.dense(style, 'generator/base'), size, levels[0]);
    const active = (map, channels) => // modulated by the style
      maps.modulated(map, channels, this.dense(style, `generator/Modulate_${modulations++}/Dense_0`));
    const pixels = (channels, name) =>
      maps.unfolded(maps.dense(active(x, channels), `generator/${name}`), size, patch_px, image_channels);

    levels.forEach((channels, level) => {
      if (level) {
        x = maps.upsampled(maps.dense(x, `generator/transition_${level}`), size, channels);
        size *= 2;
      }
      for (let block = 0; block < blocks; block++) {
        let h = x;
        for (let i = 0; i < 2; i++) h = maps.conv3x3(active(h, channels), size, `generator/Conv_${convolutions++}`);
        x = maps.added(h, x);
      }
      if (attention_from_px > 0 && size * patch_px >= attention_from_px) {
        const name = `generator/WordAttention_${reads++}`, query = maps.dense(maps.leakyRelu(x), `${name}/query`);
        const [key, value] = this.told(text, name);
        const read = maps.attend(query, size * size, text.length, heads, channels / heads, key, value);
        x = maps.added(x, maps.dense(read, `${name}/out`));
      }
      if (growing) {
        const more = pixels(channels, `pixels_${level}`);
        images = level ? maps.added(maps.upsampled(images, (size * patch_px) / 2, image_channels), more) : more;
      }
    });
    if (!growing) images = pixels(levels.at(-1), 'pixels');
    return { data: images, size: size * patch_px, channels: image_channels };
  }

  // What an attention is told by a caption's words, whichever picture asks: [key, value].
  told(text, name) {
    text.told ??= new Map();
    if (!text.told.has(name)) text.told.set(name, ['key', 'value'].map((part) => this.dense(text.words, `${name}/${part}`)));
    return text.told.get(name);
  }

  // Codes to pictures, where the game was played on codes.
  decode(drawn, maps = this.maps) {
    const { kind, factor, widths, blocks, image_channels } = this.about.space;
    if (kind === 'pixels') return { ...drawn, data: maps.read(drawn.data) };
    if (kind === 'patches') {
      const data = maps.unfolded(maps.dense(drawn.data, 'space/basis'), drawn.size, factor, image_channels);
      return { data: maps.read(data), size: drawn.size * factor, channels: image_channels };
    }
    let size = drawn.size, number = 0, x = maps.conv3x3(drawn.data, size, 'space/decoder/Conv_0');
    widths.forEach((width, level) => {
      if (level) {
        x = maps.upsampled(maps.dense(x, `space/decoder/Dense_${level - 1}`), size, width);
        size *= 2;
      }
      for (let block = 0; block < (level ? 1 : blocks); block++) {
        const name = `space/decoder/Block_${number++}`;
        const h = maps.conv3x3(maps.leakyRelu(x), size, `${name}/Conv_0`);
        x = maps.added(maps.conv3x3(maps.leakyRelu(h), size, `${name}/Conv_1`), x);
      }
    });
    const patch = factor / 2 ** (widths.length - 1);
    const unfolding = maps.dense(maps.leakyRelu(x), `space/decoder/Dense_${widths.length - 1}`);
    const data = maps.unfolded(unfolding, size, patch, image_channels);
    return { data: maps.read(data), size: size * patch, channels: image_channels };
  }
}

function joined(a, b) {
  const y = new Float32Array(a.length + b.length);
  y.set(a);
  y.set(b, a.length);
  return y;
}

// Pictures around [-1, 1] as bytes; halves go to even numbers, as in Python. Of four channels the last is alpha, by which
// the colours have been multiplied; as rounded it divides them.
export function toBytes(data, channels) {
  const f = Math.fround, levels = data.map((value) => Math.min(255, Math.max(0, f(f(value * 127.5) + 127.5))));
  if (channels === 4) {
    for (let i = 0; i < levels.length; i += 4) {
      const alpha = rounded(levels[i + 3]);
      for (let c = i; c < i + 3; c++) levels[c] = alpha ? Math.min(255, f(f(levels[c] * 255) / alpha)) : 0;
    }
  }
  return Uint8Array.from(levels, rounded);
}

function rounded(level) {
  const down = Math.floor(level);
  return level - down === 0.5 ? down + (down & 1) : Math.round(level);
}
