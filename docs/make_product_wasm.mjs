// Makes t2igan/inference/export/web/product.wasm, what the page computes in WebAssembly, from the text that it writes beside
// it.
//
//     npm install wabt
//     node docs/make_product_wasm.mjs
//
// All is float32, in vectors of four. Rows of maps are as long as whole vectors; what is behind their channels is never read.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const PLACE = new URL('../t2igan/inference/export/web/product', import.meta.url).pathname;
const BYTES = 16; // of a vector of four numbers
const VECTORS = 2; // a panel
const GAIN = Math.fround(Math.sqrt(2 / 1.04)), LEAK = 0.2 * GAIN; // of a leaky ReLU
const LEAST = -87, MOST = 88; // powers of e that float32 has
// e^x = 1 + x + x^2 p(x) for |x| < log(2) / 2, highest power first: of the library Cephes (Moshier), expf.
const POWERS = [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1];
const LOG2_HIGH = 0.693359375, LOG2_LOW = -2.12194440e-4; // their sum is log(2), the first without rounding when multiplied

const get = (name) => `(local.get $${name})`;
const set = (name, value) => `(local.set $${name} ${value})`;
const plus = (a, b) => `(i32.add ${a} ${b})`;
const number = (value) => `(i32.const ${value})`;
const all = (value) => `(v128.const f32x4 ${Array(4).fill(Math.fround(value)).join(' ')})`;
const load = (at, offset = 0) => `(v128.load offset=${offset} ${at})`;
const store = (at, value, offset = 0) => `(v128.store offset=${offset} ${at} ${value})`;
const of = (operation, ...values) => `(f32x4.${operation} ${values.join(' ')})`;
const locals = (type, names) => names.map((name) => `(local $${name} ${type})`).join(' ');
const vectors = Array.from({ length: VECTORS }, (_, v) => v);

function text() {
  const madd = (a, b, c) => of('add', of('mul', a, b), c);

  // Runs `body` with $name at each vector from there to the address `end`: one at least.
  const each = (name, end, ...body) => `(loop $each_${name}
${body.join('\n')}
${set(name, plus(get(name), number(BYTES)))}
(br_if $each_${name} (i32.lt_u ${get(name)} ${end})))`;

  // Sums of `rows` rows and one panel.
  function tile(rows) {
    const rowsOf = Array.from({ length: rows }, (_, row) => row);
    const sum = (row, v) => `sum${row}${v}`;
    return [
      set('p', plus(get('bias'), get('column'))),
      ...vectors.flatMap((v) => rowsOf.map((row) => set(sum(row, v), load(get('p'), BYTES * v)))),
      set('p', get('w')),
      set('q', get('at')),
      set('left', get('segments')),
      `(loop $segment${rows}`,
      set('end', plus(get('q'), get('inner'))),
      `(loop $k${rows}`,
      ...vectors.map((v) => set(`w${v}`, load(get('p'), BYTES * v))),
      ...rowsOf.flatMap((row) => [
        set('c', `(v128.load32_splat ${row ? plus(get('q'), get(`down${row}`)) : get('q')})`),
        ...vectors.map((v) => set(sum(row, v), madd(get('c'), get(`w${v}`), get(sum(row, v))))),
      ]),
      set('p', plus(get('p'), number(BYTES * VECTORS))),
      set('q', plus(get('q'), number(4))),
      `(br_if $k${rows} (i32.lt_u ${get('q')} ${get('end')})))`,
      set('q', plus(get('q'), get('jump'))),
      `(br_if $segment${rows} (local.tee $left (i32.sub ${get('left')} ${number(1)}))))`,
      ...rowsOf.flatMap((row) => [
        store(get('to'), get(sum(row, 0))),
        `(if ${get('both')} (then ${store(get('to'), get(sum(row, 1)), BYTES)}))`,
        set('to', plus(get('to'), get('down'))),
      ]),
    ].join('\n');
  }

  // Blocks of so many rows, as long as there are enough in the group.
  const blocks = (rows) => `(block $stop${rows} (loop $rows${rows}
(br_if $stop${rows} (i32.lt_u ${get('rest')} ${number(rows)}))
${tile(rows)}
${set('at', plus(get('at'), `(i32.mul ${get('stride')} ${number(rows)})`))}
${set('rest', `(i32.sub ${get('rest')} ${number(rows)})`)}
(br $rows${rows})))`;

  const sums = [0, 1, 2, 3].flatMap((row) => vectors.map((v) => `sum${row}${v}`));
  const shuffled = (name, from) => // a vector that begins `from` bytes later, and goes on at its beginning
    `(i8x16.shuffle ${Array.from({ length: 16 }, (_, i) => (i + from) % 16).join(' ')} ${get(name)} ${get(name)})`;
  const acrossAll = (name, operation) => [8, 4].map((from) => set(name, of(operation, get(name), shuffled(name, from))));

  return `;; Made by docs/make_product_wasm.mjs.
(module
(memory (export "memory") 1)

;; y = x w + bias. Weights come in panels of eight columns, [panel, inner, 8], so that they are read one after another; sums
;; of four rows times eight columns stay in registers. A row of x may be in several segments, as the 3x3 places around a
;; place are in three rows of a map, so that a convolution needs no copy of its patches.
;; groups: of rows (a map has one for each of its rows). rows: in each group. inner, segments, jump: bytes of a segment of a
;; row, how many there are, and bytes from the end of one to the next. stride, gap: bytes from row to row, and from group to
;; group. out: bytes of a row of y to be written, a multiple of 16. x, w, bias, y: addresses. down: bytes from row to row of y.
(func (export "product")
${['groups', 'rows', 'inner', 'segments', 'jump', 'stride', 'gap', 'out', 'x', 'w', 'bias', 'y', 'down'].map((name) => `(param $${name} i32)`).join(' ')}
${locals('i32', ['column', 'both', 'group', 'rest', 'from', 'at', 'to', 'left', 'p', 'q', 'end', 'down1', 'down2', 'down3'])}
${locals('v128', [...sums, 'c', ...vectors.map((v) => `w${v}`)])}
${[1, 2, 3].map((row) => set(`down${row}`, `(i32.mul ${get('stride')} ${number(row)})`)).join('\n')}
(loop $panel
${set('both', `(i32.lt_u ${plus(get('column'), number(BYTES))} ${get('out')})`)}
${set('group', get('groups'))}
${set('from', get('x'))}
${set('to', plus(get('y'), get('column')))}
(loop $group
${set('at', get('from'))}
${set('rest', get('rows'))}
${blocks(4)}
${blocks(1)}
${set('from', plus(get('from'), get('gap')))}
(br_if $group (local.tee $group (i32.sub ${get('group')} ${number(1)}))))
${set('w', plus(get('w'), `(i32.mul (i32.mul ${get('inner')} ${get('segments')}) ${number(4 * VECTORS)})`))}
${set('column', plus(get('column'), number(BYTES * VECTORS)))}
(br_if $panel (i32.lt_u ${get('column')} ${get('out')}))))

;; y = leaky ReLU of x scale + shift, for the rows of a map, of \`row\` bytes each, up to the address \`end\` of x.
(func (export "activated") (param $x i32) (param $y i32) (param $scale i32) (param $shift i32) (param $row i32) (param $end i32)
(local $at i32) (local $v v128)
(loop $rows
${set('at', number(0))}
${each('at', get('row'),
    set('v', madd(load(plus(get('x'), get('at'))), load(plus(get('scale'), get('at'))), load(plus(get('shift'), get('at'))))),
    store(plus(get('y'), get('at')), of('max', of('mul', get('v'), all(GAIN)), of('mul', get('v'), all(LEAK)))))}
${set('y', plus(get('y'), get('row')))}
(br_if $rows (i32.lt_u (local.tee $x ${plus(get('x'), get('row'))}) ${get('end')}))))

;; x += y, up to the address \`end\` of x.
(func (export "added") (param $x i32) (param $y i32) (param $end i32)
${each('x', get('end'),
    store(get('x'), of('add', load(get('x')), load(get('y')))),
    set('y', plus(get('y'), number(BYTES))))})

(func $exp (param $x v128) (result v128)
(local $n v128) (local $r v128) (local $p v128)
${set('x', of('max', all(LEAST), of('min', all(MOST), get('x'))))}
${set('n', of('nearest', of('mul', get('x'), all(Math.LOG2E))))}
${set('r', of('sub', of('sub', get('x'), of('mul', get('n'), all(LOG2_HIGH))), of('mul', get('n'), all(LOG2_LOW))))}
${set('p', all(POWERS[0]))}
${POWERS.slice(1).map((power) => set('p', madd(get('p'), get('r'), all(power)))).join('\n')}
${set('p', of('add', madd(of('mul', get('p'), get('r')), get('r'), get('r')), all(1)))}
${of('mul', get('p'), `(i32x4.shl (i32x4.add (i32x4.trunc_sat_f32x4_s ${get('n')}) (v128.const i32x4 127 127 127 127)) ${number(23)})`)})

;; Rows of \`row\` bytes, up to the address \`end\`, each becomes softmax(scale x).
(func (export "softmax") (param $x i32) (param $row i32) (param $end i32) (param $scale f32)
(local $at i32) (local $stop i32) (local $top v128) (local $sum v128)
(loop $rows
${set('stop', plus(get('x'), get('row')))}
${set('at', get('x'))}
${set('top', load(get('x')))}
${each('at', get('stop'), set('top', of('max', get('top'), load(get('at')))))}
${acrossAll('top', 'max').join('\n')}
${set('sum', all(0))}
${set('at', get('x'))}
${each('at', get('stop'),
    store(get('at'), `(call $exp ${of('mul', of('sub', load(get('at')), get('top')), of('splat', get('scale')))})`),
    set('sum', of('add', get('sum'), load(get('at'))))).replaceAll('each_at', 'each_exp')}
${acrossAll('sum', 'add').join('\n')}
${set('at', get('x'))}
${each('at', get('stop'), store(get('at'), of('div', load(get('at')), get('sum')))).replaceAll('each_at', 'each_share')}
(br_if $rows (i32.lt_u (local.tee $x ${get('stop')}) ${get('end')}))))

;; x becomes x (1 + tanh y) / 2 = x / (1 + exp(-2 y)) with y = sqrt(2 / pi) (x + 0.044715 x^3), up to the address \`end\`.
(func (export "gelu") (param $x i32) (param $end i32)
(local $v v128)
${each('x', get('end'),
    set('v', load(get('x'))),
    store(get('x'), of('div', get('v'), of('add', all(1), `(call $exp ${of('mul', of('mul', get('v'), all(-2 * Math.sqrt(2 / Math.PI))),
      madd(of('mul', get('v'), get('v')), all(0.044715), all(1)))})`))))})
)
`;
}

const wabt = await createRequire(`${process.cwd()}/`)('wabt')();
const module = wabt.parseWat('product.wat', text(), { simd: true });
module.validate();
const { buffer } = module.toBinary({});
writeFileSync(`${PLACE}.wat`, text());
writeFileSync(`${PLACE}.wasm`, buffer);
console.log(`${buffer.length} bytes in ${PLACE}.wasm`);
