// Generator and decoder on a graphics card, by WebGPU: several pictures of one caption at a time. The page has it for models
// of 64 px and more, and uses it where it draws what WebAssembly draws, and faster; both are tried out when it opens.
//
// A map of several pictures is a buffer [picture, place, channel / 4] of vectors of four channels, the last of them filled
// up with zeros. Weights are matrices of four channels in and four out, [panel of outputs, place of the 3x3, channel / 4].

const GPU_AT_ONCE = 8; // pictures
const GPU_NUMBERS = 2 ** 21; // of the largest map of all pictures that are drawn at a time, at most
const GPU_PAYS = 0.8; // of WebAssembly's time: faster than that, and it is used
const GPU_TRIES = 3; // that are timed, of each
const GPU_THREADS = 64;

const cells = [0, 1, 2, 3, 4, 5], four = [0, 1, 2, 3], three = [0, 1, 2];
const SHADERS = (words) => `
struct Shape { rows: u32, size: u32, inner: u32, outer: u32, words: u32, heads: u32, depth: u32, channels: u32 }
@group(0) @binding(0) var<uniform> s: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<mat4x4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> other: array<vec4f>;
@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(2) var<storage, read> key: array<f32>;
@group(0) @binding(3) var<storage, read> value: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

// Four places in a row, and four channels.
@compute @workgroup_size(${GPU_THREADS}) fn conv3x3(@builtin(global_invocation_id) id: vec3u) {
  let across = (s.size + 3) / 4;
  if (id.x >= s.rows * across) { return; }
  let row = id.x / across; let column = 4 * (id.x % across); let last = i32(s.size) - 1;
  ${four.map((i) => `var sum${i} = bias[id.y];`).join(' ')}
  for (var a = 0u; a < 3; a++) {
    let beside = i32(row % s.size + a) - 1;
    if (beside < 0 || beside > last) { continue; }
    let start = (row + a - 1) * s.size;
    ${cells.map((i) => `let c${i} = i32(column) + ${i - 1}; let p${i} = (start + u32(clamp(c${i}, 0, last))) * s.inner;`).join('\n    ')}
    for (var k = 0u; k < s.inner; k++) {
      ${cells.map((i) => `let x${i} = select(vec4f(), x[p${i} + k], c${i} >= 0 && c${i} <= last);`).join('\n      ')}
      let at = (id.y * 9 + a * 3) * s.inner + k;
      ${three.map((b) => `let w${b} = w[at + ${b} * s.inner];`).join(' ')}
      ${four.map((i) => `sum${i} += ${three.map((b) => `w${b} * x${i + b}`).join(' + ')};`).join('\n      ')}
    }
  }
  let to = row * s.size + column;
  ${four.map((i) => `if (column + ${i} < s.size) { y[(to + ${i}) * s.outer + id.y] = sum${i}; }`).join('\n  ')}
}

// The same places: four of all, one after another.
@compute @workgroup_size(${GPU_THREADS}) fn dense(@builtin(global_invocation_id) id: vec3u) {
  let places = s.rows * s.size; let place = 4 * id.x;
  if (place >= places) { return; }
  ${four.map((i) => `var sum${i} = bias[id.y]; let p${i} = min(place + ${i}, places - 1) * s.inner;`).join(' ')}
  for (var k = 0u; k < s.inner; k++) {
    let weights = w[id.y * s.inner + k];
    ${four.map((i) => `sum${i} += weights * x[p${i} + k];`).join(' ')}
  }
  ${four.map((i) => `if (place + ${i} < places) { y[(place + ${i}) * s.outer + id.y] = sum${i}; }`).join('\n  ')}
}

fn leaky(v: vec4f) -> vec4f { return select(${LEAK} * v, ${GAIN} * v, v > vec4f()); }
fn whole() -> u32 { return s.rows * s.size * s.inner; }

@compute @workgroup_size(${GPU_THREADS}) fn leakyRelu(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < whole()) { y[id.x] = leaky(x[id.x]); }
}

@compute @workgroup_size(${GPU_THREADS}) fn modulated(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= whole()) { return; }
  let at = 2 * s.inner * (id.x / (s.size * s.size * s.inner)) + id.x % s.inner;
  y[id.x] = leaky(x[id.x] * (1 + other[at]) + other[at + s.inner]);
}

@compute @workgroup_size(${GPU_THREADS}) fn added(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < whole()) { y[id.x] = x[id.x] + other[id.x]; }
}

// rows and size: of the larger map.
@compute @workgroup_size(${GPU_THREADS}) fn upsampled(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= whole()) { return; }
  let place = id.x / s.inner; let row = place / s.size; let column = place % s.size;
  y[id.x] = x[(row / 2 * (s.size / 2) + column / 2) * s.inner + id.x % s.inner];
}

// A place and a head.
@compute @workgroup_size(${GPU_THREADS}) fn attend(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= s.rows * s.size) { return; }
  let head = id.y * s.depth; let start = 4 * s.inner * id.x;
  var shares: array<f32, ${words}>;
  var top = -3.4e38; var sum = 0.0;
  for (var word = 0u; word < s.words; word++) {
    var logit = 0.0;
    for (var i = 0u; i < s.depth; i++) { logit += query[start + head + i] * key[word * s.channels + head + i]; }
    shares[word] = logit / sqrt(f32(s.depth));
    top = max(top, shares[word]);
  }
  for (var word = 0u; word < s.words; word++) { shares[word] = exp(shares[word] - top); sum += shares[word]; }
  for (var i = 0u; i < s.depth; i++) {
    var seen = 0.0;
    for (var word = 0u; word < s.words; word++) { seen += shares[word] * value[word * s.channels + head + i]; }
    result[start + head + i] = seen / sum;
  }
  if (id.y == 0) { for (var i = s.channels; i < 4 * s.inner; i++) { result[start + i] = 0; } }
}
`;
const KERNELS = ['conv3x3', 'dense', 'leakyRelu', 'modulated', 'added', 'upsampled', 'attend'];

const vectorsOf = (channels) => Math.ceil(channels / 4);

// [rows, channels] with each row filled up with zeros to vectors of four.
function filled(data, channels) {
  const wide = 4 * vectorsOf(channels), rows = data.length / channels, y = new Float32Array(rows * wide);
  for (let row = 0; row < rows; row++) y.set(data.subarray(row * channels, (row + 1) * channels), row * wide);
  return y;
}

// Weights [taps, inner, out] as matrices, column by column; zeros where there are no channels.
function matrices(data, taps, inner, out) {
  const deep = vectorsOf(inner), y = new Float32Array(vectorsOf(out) * taps * deep * 16);
  for (let tap = 0; tap < taps; tap++) for (let k = 0; k < inner; k++) for (let o = 0; o < out; o++) {
    const matrix = ((o >> 2) * taps + tap) * deep + (k >> 2);
    y[16 * matrix + 4 * (k & 3) + (o & 3)] = data[(tap * inner + k) * out + o];
  }
  return y;
}

// A graphics card's `maps` (engine.js) and what draws with them. `device`: a GPUDevice.
class GpuPainter {
  constructor(model, device) {
    Object.assign(this, { model, device, lost: false, kept: new Map(), lent: [], next: 0 });
    const { generator, space, image_size_px } = model.about, widths = space.widths ?? generator.channels;
    const patch = space.widths ? space.factor / 2 ** (widths.length - 1) : generator.patch_px;
    const largest = (image_size_px / patch) ** 2 * Math.max(...widths);
    this.most = Math.min(GPU_AT_ONCE, Math.max(1, Math.floor(GPU_NUMBERS / largest)));
    const types = ['uniform', 'read-only-storage', 'read-only-storage', 'read-only-storage', 'storage'];
    const entries = types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
    this.layout = device.createBindGroupLayout({ entries });
    this.nothing = this.filledBuffer(new Float32Array(64));
    for (const name of ['of', 'dense', 'conv3x3', 'leakyRelu', 'modulated', 'added', 'upsampled', 'unfolded', 'attend']) {
      this[name] = this[name].bind(this);
    }
    device.lost.then(() => { this.lost = true; });
    device.addEventListener('uncapturederror', (event) => { // what it draws cannot be relied on any more
      event.preventDefault();
      this.lost = true;
    });
  }

  async compile() {
    const module = this.device.createShaderModule({ code: SHADERS(this.model.tokenizer.maxTokens) });
    const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
    const made = KERNELS.map((entryPoint) => this.device.createComputePipelineAsync({ layout, compute: { module, entryPoint } }));
    this.pipelines = Object.fromEntries((await Promise.all(made)).map((pipeline, i) => [KERNELS[i], pipeline]));
  }

  filledBuffer(data, usage = GPUBufferUsage.STORAGE) {
    const buffer = this.device.createBuffer({ size: data.byteLength, usage: usage | GPUBufferUsage.COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  // The buffer that is lent at this point of each drawing, with room for so many bytes.
  buffer(size, usage = GPUBufferUsage.STORAGE) {
    const at = this.next++, before = this.lent[at];
    if (before?.size >= size && before.usage & usage) return before;
    before?.destroy(); // once the drawings that were submitted before are done with it
    usage |= GPUBufferUsage.COPY_DST | (usage & GPUBufferUsage.STORAGE ? GPUBufferUsage.COPY_SRC : 0);
    return this.lent[at] = this.device.createBuffer({ size, usage });
  }

  given(data) {
    const buffer = this.buffer(data.byteLength);
    this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  keep(array, make) {
    if (!this.kept.has(array)) this.kept.set(array, this.filledBuffer(make()));
    return this.kept.get(array);
  }

  map(size, channels) {
    return { size, channels, buffer: this.buffer(16 * this.count * size * size * vectorsOf(channels)) };
  }

  // groups: how many invocations, and in the second direction.
  run(kernel, invocations, across, { size, channels }, inner, buffers, more = []) {
    const shape = Uint32Array.of(this.count * size, size, vectorsOf(inner), vectorsOf(channels), ...more, 0, 0, 0, 0).subarray(0, 8);
    const uniform = this.buffer(shape.byteLength, GPUBufferUsage.UNIFORM);
    this.device.queue.writeBuffer(uniform, 0, shape);
    const entries = [uniform, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
    this.pass.setPipeline(this.pipelines[kernel]);
    this.pass.setBindGroup(0, this.device.createBindGroup({ layout: this.layout, entries }));
    this.pass.dispatchWorkgroups(Math.ceil(invocations / GPU_THREADS), across);
  }

  of(data, size, channels) {
    return { size, channels, buffer: this.given(filled(data, channels)) };
  }

  linear(kernel, taps, x, name) {
    const { shape, data } = this.model.networks.weights.get(`${name}/kernel`), out = shape.at(-1), inner = x.channels;
    const bias = this.model.networks.of(`${name}/bias`), y = this.map(x.size, out);
    const weights = this.keep(data, () => matrices(data, taps, inner, out));
    const shift = bias ? this.keep(bias, () => filled(bias, out)) : this.zeros(out);
    const invocations = taps === 9 ? this.count * x.size * Math.ceil(x.size / 4) : Math.ceil((this.count * x.size * x.size) / 4);
    this.run(kernel, invocations, vectorsOf(out), y, inner, [x.buffer, weights, shift, y.buffer]);
    return y;
  }

  zeros(channels) { // in the place of a bias
    return this.keep(`zeros ${channels}`, () => filled(new Float32Array(channels), channels));
  }

  dense(x, name) {
    return this.linear('dense', 1, x, name);
  }

  conv3x3(x, size, name) {
    return this.linear('conv3x3', 9, x, name);
  }

  each(kernel, x, other = this.nothing, size = x.size) {
    const y = this.map(size, x.channels);
    const invocations = this.count * size * size * vectorsOf(x.channels);
    this.run(kernel, invocations, 1, y, x.channels, [x.buffer, other, this.nothing, y.buffer]);
    return y;
  }

  leakyRelu(x) {
    return this.each('leakyRelu', x);
  }

  modulated(x, channels, both) {
    return this.each('modulated', x, this.given(filled(both, channels)));
  }

  added(x, y) {
    return this.each('added', x, y.buffer);
  }

  upsampled(x) {
    return this.each('upsampled', x, this.nothing, 2 * x.size);
  }

  read(x) { // by `draw`, of all pictures at once
    return x;
  }

  unfolded(x, size, patch) {
    return { ...x, patch }; // when it has been read
  }

  attend(query, places, words, heads, d, key, value) {
    const y = this.map(query.size, query.channels), buffers = [query.buffer, this.given(key), this.given(value), y.buffer];
    this.run('attend', this.count * places, heads, y, query.channels, buffers, [words, heads, d, heads * d]);
    return y;
  }

  // Pictures of styles and of the words that are read: each as the bytes that `toBytes` makes.
  async draw(styles, text) {
    if (this.lost) throw new Error('the graphics card is gone');
    const { device, model } = this, { channels } = model.about;
    Object.assign(this, { count: styles.length, next: 0 });
    const encoder = device.createCommandEncoder();
    this.pass = encoder.beginComputePass();
    const style = new Float32Array(styles.length * styles[0].length);
    styles.forEach((one, i) => style.set(one, i * one.length));
    const { data } = model.networks.drawFrom(style, text, this), row = 4 * vectorsOf(data.channels);
    this.pass.end();
    const each = data.size * data.size * row, size = 4 * each * styles.length;
    const copy = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    encoder.copyBufferToBuffer(data.buffer, 0, copy, 0, size);
    device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const floats = new Float32Array(copy.getMappedRange().slice(0));
    copy.destroy();
    if (this.lost) throw new Error('the graphics card is gone');
    return styles.map((_, i) => {
      const own = new Float32Array(data.size * data.size * data.channels);
      for (let place = 0, from = i * each; place < data.size * data.size; place++, from += row) {
        own.set(floats.subarray(from, from + data.channels), place * data.channels);
      }
      return toBytes(unfolded(own, data.size, data.patch ?? 1, channels), channels);
    });
  }
}

// -> a painter, or null where none is to be used. styles, text: what it is tried out on. Only a card of the machine's own
// counts, not one that software imitates, unless this is `forced`.
export async function openGpu(model, styles, text, forced = false) {
  if (!forced && !hasCard()) return null;
  const adapter = await globalThis.navigator?.gpu?.requestAdapter();
  if (!adapter || (!forced && (adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter))) return null;
  const painter = new GpuPainter(model, await adapter.requestDevice());
  await painter.compile();
  const { networks, about } = model, some = styles.slice(0, painter.most);
  const plainly = (style) => toBytes(networks.drawFrom(style, text).data, about.channels);
  const found = await painter.draw(some, text); // which also compiles what is compiled late
  const same = [0, some.length - 1].every((i) => plainly(some[i]).every((level, k) => Math.abs(level - found[i][k]) <= 1));
  const pays = async () => {
    const each = (await fastest(() => painter.draw(some, text))) / some.length;
    return each < GPU_PAYS * (await fastest(() => plainly(some[0])));
  };
  if (same && (forced || (await pays()))) return painter;
  painter.device.destroy();
  return null;
}

// Whether WebGL runs on a card. Where there is none, to ask for one by WebGPU makes Chromium warn on its console.
function hasCard() {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (!gl) return false;
  let name = gl.getParameter(gl.RENDERER);
  const told = /^WebKit/.test(name) && gl.getExtension('WEBGL_debug_renderer_info');
  if (told) name = gl.getParameter(told.UNMASKED_RENDERER_WEBGL);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

async function fastest(draw) {
  let best = Infinity;
  for (let i = 0; i < GPU_TRIES; i++) {
    const start = performance.now();
    await draw();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}
