// Maps, linear maps and attention in WebAssembly (product.wat), some ten times as fast; without it, those of engine.js do
// the same. What a picture needs on its way stays in the memory of WebAssembly.

const WASM = '%%WASM%%'; // product.wasm, base64
const PAGE = 65_536; // bytes by which its memory grows
const PANEL = 8; // columns that are computed at once
const UNREAD = -1e30; // the logit of no word

const panels = (columns) => Math.ceil(columns / PANEL);
const whole = (numbers) => 4 * Math.ceil(numbers / 4); // vectors of four

// Copies rows of a few numbers, one by one: a view of each would take longer than its numbers.
function spread(from, at, row, into, to, down, rows, numbers) {
  for (let i = 0; i < rows; i++, at += row, to += down) {
    for (let j = 0; j < numbers; j++) into[to + j] = from[at + j];
  }
}

// -> {maths, by}: the fastest linear maps that this browser has, and what computes them.
export async function bestMaths() {
  try {
    const { instance } = await WebAssembly.instantiate(bytesOf(WASM));
    return { maths: mathsOf(instance.exports), by: 'WebAssembly' };
  } catch { // no WebAssembly, none with vectors, or a policy that forbids it
    return { maths: plainMaths, by: 'JavaScript' };
  }
}

// A map is {at, places, channels, row}: the place of its first number, and numbers from row to row of channels.
function mathsOf({ memory, product: run, activated, added: add, softmax: soften, gelu: curve }) {
  let floats = new Float32Array(memory.buffer), next = 0; // from where on there is room
  let top = 0; // of what is kept for good
  const kept = new Map(), constants = new Map();

  // Where there is room for so many numbers, and for a panel that reaches beyond them.
  function room(size) {
    const at = next, lacking = 4 * (at + whole(size) + PANEL) - memory.buffer.byteLength;
    next += whole(size);
    if (lacking > 0) {
      memory.grow(Math.ceil(lacking / PAGE));
      floats = new Float32Array(memory.buffer); // what there was is gone with the old buffer
    }
    return at;
  }

  // What `compute` returns; the room that it took is free again, but for what is kept.
  function briefly(compute) {
    const before = next, found = compute();
    next = Math.max(before, top);
    return found;
  }

  // Columns in panels of eight, [panel, inner, 8]; a row is `row` numbers from the next, a column `column`.
  function pack(to, data, from, inner, columns, row, column) {
    const into = floats;
    for (let panel = 0, at = to; panel < panels(columns); panel++) {
      const here = from + panel * PANEL * column, wide = Math.min(PANEL, columns - panel * PANEL);
      for (let k = 0; k < inner; k++, at += PANEL) {
        let p = here + k * row, i = 0;
        for (; i < wide; i++, p += column) into[at + i] = data[p];
        for (; i < PANEL; i++) into[at + i] = 0;
      }
    }
  }

  function keep(array, inner, columns) { // weights stay in memory from their first use on
    if (!kept.has(array)) {
      const at = room(inner * panels(columns) * PANEL);
      pack(at, array, 0, inner, columns, columns, 1);
      kept.set(array, at);
      top = next;
    }
    return kept.get(array);
  }

  // Where `count` times `value` is kept, and then zeros, or what is `beyond`, up to the end of the panel.
  function constant(value, count, beyond = 0) {
    const name = `${value} ${count} ${beyond}`, size = panels(count) * PANEL;
    if (!constants.has(name)) constants.set(name, new Float32Array(size).fill(value, 0, count).fill(beyond, count));
    return keep(constants.get(name), 1, size);
  }

  const blank = (places, channels, row = whole(channels)) => ({ at: room(places * row), places, channels, row });

  const like = ({ places, channels, row }) => blank(places, channels, row);

  function given(data, places, channels, row = channels) {
    const map = blank(places, channels, row);
    if (row === channels) floats.set(data, map.at);
    else spread(data, 0, channels, floats, map.at, row, places, channels);
    return map;
  }

  function read({ at, places, channels, row }) {
    if (row === channels) return floats.slice(at, at + places * channels);
    const y = new Float32Array(places * channels);
    spread(floats, at, row, y, 0, channels, places, channels);
    return y;
  }

  function linear(x, out, w, bias) {
    const weights = keep(w, x.channels, out), shift = bias ? keep(bias, 1, out) : constant(0, out), y = blank(x.places, out);
    run(1, x.places, 4 * x.channels, 1, 0, 4 * x.row, 0, 4 * y.row, 4 * x.at, 4 * weights, 4 * shift, 4 * y.at, 4 * y.row);
    return y;
  }

  // Around the map lies a border of zeros, so that the three places in each row of a 3x3 patch follow one another.
  function convolved({ at, channels, row }, size, out, w, bias) {
    const weights = keep(w, 9 * channels, out), shift = bias ? keep(bias, 1, out) : constant(0, out);
    const y = blank(size * size, out), wide = (size + 2) * channels;
    return briefly(() => {
      const border = room((size + 2) * wide), step = row === channels ? size : 1; // places that follow one another
      floats.fill(0, border, border + wide + channels);
      for (let r = 1, to = border + wide; r <= size; r++, to += wide) {
        for (let i = 0; i < size; i += step, at += step * row) {
          floats.copyWithin(to + (i + 1) * channels, at, at + step * channels);
        }
        floats.fill(0, to + wide - channels, to + wide + channels);
      }
      floats.fill(0, border + (size + 1) * wide, border + (size + 2) * wide);
      run(size, size, 12 * channels, 3, 4 * (wide - 3 * channels), 4 * channels, 4 * wide, 4 * y.row, 4 * border, 4 * weights,
        4 * shift, 4 * y.at, 4 * y.row);
      return y;
    });
  }

  // As `attend` of engine.js, but for q, which is {at, row, head}: places in memory.
  function attended(places, words, heads, d, q, k, v) {
    const wide = panels(words) * PANEL, deep = whole(d), mask = constant(0, words, UNREAD), none = constant(0, d);
    // What is beyond a head's columns is overwritten by the next head's; that of the last lies behind the row.
    const y = blank(places, heads * d, whole(heads * d + deep - d));
    return briefly(() => {
      const keys = room(d * wide), weights = room(places * wide), values = room(words * panels(d) * PANEL);
      for (let head = 0; head < heads; head++) {
        pack(keys, k.data, k.at + head * k.head, d, words, 1, k.row);
        run(1, places, 4 * d, 1, 0, 4 * q.row, 0, 4 * wide, 4 * (q.at + head * q.head), 4 * keys, 4 * mask, 4 * weights, 4 * wide);
        soften(4 * weights, 4 * wide, 4 * (weights + places * wide), 1 / Math.sqrt(d));
        pack(values, v.data, v.at + head * v.head, words, d, v.row, 1);
        run(1, places, 4 * words, 1, 0, 4 * wide, 0, 4 * deep, 4 * weights, 4 * values, 4 * none, 4 * (y.at + head * d), 4 * y.row);
      }
      return y;
    });
  }

  // y = leaky ReLU of x scale + shift, which are places in memory.
  function active(x, y, scale, shift) {
    activated(4 * x.at, 4 * y.at, 4 * scale, 4 * shift, 4 * x.row, 4 * (x.at + x.places * x.row));
    return y;
  }

  return {
    product: (rows, inner, out, x, w, bias) =>
      briefly(() => read(linear(given(x.subarray(0, rows * inner), rows, inner), out, w, bias))),
    conv3x3: (x, size, channels, out, w, bias) =>
      briefly(() => read(convolved(given(x, size * size, channels), size, out, w, bias))),
    attend: (places, words, heads, d, q, k, v) => briefly(() => {
      const { at } = given(q.data, q.data.length, 1);
      return read(attended(places, words, heads, d, { at: at + q.at, row: q.row, head: q.head }, k, v));
    }),
    gelu: (x) => briefly(() => {
      const map = given(x, x.length, 1);
      curve(4 * map.at, 4 * (map.at + x.length));
      return read(map);
    }),
    mapsOf: (networks) => ({
      of(data, size, channels) { // a picture begins
        next = top;
        return given(data, size * size, channels, whole(channels));
      },
      read,
      dense(x, name) {
        const { shape, data } = networks.weights.get(`${name}/kernel`);
        return linear(x, shape.at(-1), data, networks.of(`${name}/bias`));
      },
      conv3x3(x, size, name) {
        const { shape, data } = networks.weights.get(`${name}/kernel`);
        return convolved(x, size, shape.at(-1), data, networks.of(`${name}/bias`));
      },
      attend(query, places, words, heads, d, key, value) {
        const [k, v] = [key, value].map((data) => plain(data, heads * d, d));
        return attended(places, words, heads, d, { at: query.at, row: query.row, head: d }, k, v);
      },
      leakyRelu: (x) => active(x, like(x), constant(1, x.row), constant(0, x.row)),
      modulated(x, channels, both) {
        const y = like(x);
        return briefly(() => {
          const [scale, shift] = [0, channels].map((from) => given(both.subarray(from, from + channels), 1, channels).at);
          for (let i = scale; i < scale + channels; i++) floats[i] += 1;
          return active(x, y, scale, shift);
        });
      },
      added(x, y) {
        add(4 * x.at, 4 * y.at, 4 * (x.at + x.places * x.row));
        return x;
      },
      upsampled(x, size) {
        const { channels, row } = x, y = blank(4 * x.places, channels, row);
        for (let line = 0, from = x.at, to = y.at; line < size; line++, to += 2 * size * row) {
          const start = to;
          for (let i = 0; i < size; i++, from += row) {
            floats.copyWithin(to, from, from + row);
            floats.copyWithin(to + row, from, from + row);
            to += 2 * row;
          }
          floats.copyWithin(to, start, to);
        }
        return y;
      },
      unfolded(x, size, patch, channels) {
        if (patch === 1) return x;
        return given(unfolded(read(x), size, patch, channels), x.places * patch * patch, channels, whole(channels));
      },
    }),
  };
}
