// The matrix product in WebAssembly (product.wat), some ten times as fast; without it, that of engine.js does the same.

const WASM = '%%WASM%%'; // product.wasm, base64
const PAGE = 65_536; // bytes by which its memory grows

const padded = (columns) => (columns + 3) & ~3; // vectors have four numbers

// -> {multiply, by}: the fastest product that this browser has, and its name.
export async function bestProduct() {
  try {
    const bytes = Uint8Array.from(atob(WASM), (character) => character.charCodeAt(0));
    const { instance } = await WebAssembly.instantiate(bytes);
    return { multiply: productOf(instance.exports), by: 'WebAssembly' };
  } catch { // no WebAssembly, none with vectors, or a policy that forbids it
    return { multiply: product, by: 'JavaScript' };
  }
}

function productOf({ memory, product: run }) {
  let floats = new Float32Array(memory.buffer), top = 0; // numbers in use
  const kept = new Map(); // weights stay in its memory from their first use on

  function room(end) {
    const lacking = 4 * end - memory.buffer.byteLength;
    if (lacking > 0) {
      memory.grow(Math.ceil(lacking / PAGE));
      floats = new Float32Array(memory.buffer); // what there was is gone with the old buffer
    }
  }

  function keep(array, rows, columns) {
    if (!kept.has(array)) {
      const wide = padded(columns), at = top;
      top += rows * wide;
      room(top);
      for (let row = 0; row < rows; row++) floats.set(array.subarray(row * columns, (row + 1) * columns), at + row * wide);
      kept.set(array, at);
    }
    return kept.get(array);
  }

  const none = new Map(); // zeros in the place of a bias, by their number
  return (rows, inner, out, x, w, bias) => {
    const wide = padded(out);
    if (!bias && !none.has(out)) none.set(out, new Float32Array(out));
    const weights = keep(w, inner, out), shift = keep(bias ?? none.get(out), 1, out);
    const given = top, result = given + padded(rows * inner); // behind what is kept, for this call
    room(result + rows * wide);
    floats.set(x.subarray(0, rows * inner), given);
    run(rows, 4 * inner, 4 * wide, 4 * given, 4 * weights, 4 * shift, 4 * result);
    if (wide === out) return floats.slice(result, result + rows * out);
    const y = new Float32Array(rows * out);
    for (let row = 0; row < rows; row++) y.set(floats.subarray(result + row * wide, result + row * wide + out), row * out);
    return y;
  };
}
