// The linear maps in WebAssembly (product.wat), some ten times as fast; without it, those of engine.js do the same.

const WASM = '%%WASM%%'; // product.wasm, base64
const PAGE = 65_536; // bytes by which its memory grows
const PANEL = 8; // columns that are computed at once

const panels = (columns) => Math.ceil(columns / PANEL);

// -> {maths, by}: the fastest linear maps that this browser has, and what computes them.
export async function bestMaths() {
  try {
    const { instance } = await WebAssembly.instantiate(bytesOf(WASM));
    return { maths: mathsOf(instance.exports), by: 'WebAssembly' };
  } catch { // no WebAssembly, none with vectors, or a policy that forbids it
    return { maths: plainMaths, by: 'JavaScript' };
  }
}

function mathsOf({ memory, product: run }) {
  let floats = new Float32Array(memory.buffer), top = 0; // numbers that are kept
  const kept = new Map(), zeros = new Map(); // weights stay in its memory from their first use on

  // Where there is room for so many numbers behind what is kept, until the next call.
  function room(size, at = top) {
    const lacking = 4 * (at + size) - memory.buffer.byteLength;
    if (lacking > 0) {
      memory.grow(Math.ceil(lacking / PAGE));
      floats = new Float32Array(memory.buffer); // what there was is gone with the old buffer
    }
    return at;
  }

  // Columns in panels of eight, [panel, inner, 8]; a row is `row` numbers from the next, a column `column`.
  function pack(to, data, from, inner, columns, row, column) {
    for (let panel = 0, at = to; panel < panels(columns); panel++) {
      const here = from + panel * PANEL * column, wide = Math.min(PANEL, columns - panel * PANEL);
      for (let k = 0; k < inner; k++, at += PANEL) {
        for (let i = 0, p = here + k * row; i < PANEL; i++, p += column) floats[at + i] = i < wide ? data[p] : 0;
      }
    }
  }

  function keep(array, inner, columns) {
    if (!kept.has(array)) {
      const size = inner * panels(columns) * PANEL, at = room(size);
      pack(at, array, 0, inner, columns, columns, 1);
      kept.set(array, at);
      top += size;
    }
    return kept.get(array);
  }

  function none(columns) { // zeros in the place of a bias, by their number
    if (!zeros.has(columns)) zeros.set(columns, new Float32Array(columns));
    return zeros.get(columns);
  }

  function taken(at, rows, columns, down) {
    if (columns === down) return floats.slice(at, at + rows * columns);
    const y = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) y.set(floats.subarray(at + row * down, at + row * down + columns), row * columns);
    return y;
  }

  // x: rows of `inner` numbers, `stride` from one to the next; w, bias and y: places in memory.
  const rowsBy = (rows, inner, stride, out, x, w, bias, y, down) =>
    run(1, rows, 4 * inner, 1, 0, 4 * stride, 0, 4 * out, 4 * x, 4 * w, 4 * bias, 4 * y, 4 * down);

  function product(rows, inner, out, x, w, bias) {
    const weights = keep(w, inner, out), shift = keep(bias ?? none(out), 1, out), down = panels(out) * PANEL;
    const given = room(rows * (inner + down)), y = given + rows * inner;
    floats.set(x.subarray(0, rows * inner), given);
    rowsBy(rows, inner, inner, down, given, weights, shift, y, down);
    return taken(y, rows, out, down);
  }

  // Around a map lies a border of zeros, so that the three places in each row of a 3x3 patch follow one another.
  function conv3x3(x, size, channels, out, w, bias) {
    const weights = keep(w, 9 * channels, out), shift = keep(bias ?? none(out), 1, out), down = panels(out) * PANEL;
    const row = (size + 2) * channels, places = size * size;
    const given = room((size + 2) * row + places * down), y = given + (size + 2) * row;
    floats.fill(0, given, y);
    for (let r = 0; r < size; r++) {
      floats.set(x.subarray(r * size * channels, (r + 1) * size * channels), given + (r + 1) * row + channels);
    }
    run(size, size, 12 * channels, 3, 4 * (row - 3 * channels), 4 * channels, 4 * row, 4 * down, 4 * given, 4 * weights,
      4 * shift, 4 * y, 4 * down);
    return taken(y, places, out, down);
  }

  // As `attend` of engine.js.
  function attend(places, words, heads, d, q, k, v) {
    const wide = panels(words) * PANEL, deep = panels(d) * PANEL, down = heads * d + PANEL, scale = 1 / Math.sqrt(d);
    const nothing = keep(none(Math.max(wide, deep)), 1, Math.max(wide, deep));
    const given = room(q.data.length + wide * d + places * wide + words * deep + places * down);
    const keys = given + q.data.length, weights = keys + wide * d, values = weights + places * wide;
    const y = values + words * deep;
    floats.set(q.data, given);
    for (let head = 0; head < heads; head++) {
      pack(keys, k.data, k.at + head * k.head, d, words, 1, k.row);
      rowsBy(places, d, q.row, wide, given + q.at + head * q.head, keys, nothing, weights, wide);
      for (let place = 0, from = weights; place < places; place++, from += wide) {
        softmax(floats, from, from + words, scale);
      }
      pack(values, v.data, v.at + head * v.head, words, d, v.row, 1);
      // Columns beyond a head's are overwritten by the next head's; those of the last lie behind the row.
      rowsBy(places, words, wide, deep, weights, values, nothing, y + head * d, down);
    }
    return taken(y, places, heads * d, down);
  }

  return { product, conv3x3, attend };
}
