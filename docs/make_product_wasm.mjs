// Makes t2igan/inference/export/web/product.wasm, the matrix product of the page, from the text that it writes beside it.
//
//     npm install wabt
//     node docs/make_product_wasm.mjs
//
// y = x w + bias, float32. Weights come in panels of eight columns, [panel, inner, 8], so that they are read one after
// another; sums of four rows times eight columns stay in registers. A row of x may be in several segments, as the 3x3
// places around a place are in three rows of a map, so that a convolution needs no copy of its patches.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const PLACE = new URL('../t2igan/inference/export/web/product', import.meta.url).pathname;
const BYTES = 16; // of a vector of four numbers
const VECTORS = 2; // a panel
const PARAMETERS = [
  'groups', // of rows; a map has one for each of its rows
  'rows', // in each group
  'inner', 'segments', 'jump', // bytes of a segment of a row, how many there are, and bytes from the end of one to the next
  'stride', 'gap', // bytes from row to row, and from group to group
  'out', // bytes of a row of y to be written, a multiple of 32
  'x', 'w', 'bias', 'y', // addresses
  'down', // bytes from row to row of y
];
const get = (name) => `(local.get $${name})`;
const plus = (a, b) => `(i32.add ${a} ${b})`;
const number = (value) => `(i32.const ${value})`;
const vectors = Array.from({ length: VECTORS }, (_, v) => v);

// Sums of `rows` rows and one panel.
function tile(rows) {
  const each = Array.from({ length: rows }, (_, row) => row);
  const sum = (row, v) => `sum${row}${v}`;
  return [
    `(local.set $p ${plus(get('bias'), get('column'))})`,
    ...vectors.flatMap((v) => each.map((row) => `(local.set $${sum(row, v)} (v128.load offset=${BYTES * v} ${get('p')}))`)),
    `(local.set $p ${get('w')})`,
    `(local.set $q ${get('at')})`,
    `(local.set $left ${get('segments')})`,
    `(loop $segment${rows}`,
    `(local.set $end ${plus(get('q'), get('inner'))})`,
    `(loop $k${rows}`,
    ...vectors.map((v) => `(local.set $w${v} (v128.load offset=${BYTES * v} ${get('p')}))`),
    ...each.flatMap((row) => [
      `(local.set $c (v128.load32_splat ${row ? plus(get('q'), get(`down${row}`)) : get('q')}))`,
      ...vectors.map((v) =>
        `(local.set $${sum(row, v)} (f32x4.add ${get(sum(row, v))} (f32x4.mul ${get('c')} ${get(`w${v}`)})))`),
    ]),
    `(local.set $p ${plus(get('p'), number(BYTES * VECTORS))})`,
    `(local.set $q ${plus(get('q'), number(4))})`,
    `(br_if $k${rows} (i32.lt_u ${get('q')} ${get('end')})))`,
    `(local.set $q ${plus(get('q'), get('jump'))})`,
    `(br_if $segment${rows} (local.tee $left (i32.sub ${get('left')} ${number(1)}))))`,
    ...each.flatMap((row) => [
      ...vectors.map((v) => `(v128.store offset=${BYTES * v} ${get('to')} ${get(sum(row, v))})`),
      `(local.set $to ${plus(get('to'), get('down'))})`,
    ]),
  ].join('\n');
}

// Blocks of so many rows, as long as there are enough in the group.
function blocks(rows) {
  return `(block $stop${rows} (loop $rows${rows}
(br_if $stop${rows} (i32.lt_u ${get('rest')} ${number(rows)}))
${tile(rows)}
(local.set $at ${plus(get('at'), `(i32.mul ${get('stride')} ${number(rows)})`)})
(local.set $rest (i32.sub ${get('rest')} ${number(rows)}))
(br $rows${rows})))`;
}

const sums = [0, 1, 2, 3].flatMap((row) => vectors.map((v) => `$sum${row}${v}`));
const text = `;; Made by docs/make_product_wasm.mjs, which says what the parameters are.
(module
(memory (export "memory") 1)
(func (export "product")
${PARAMETERS.map((name) => `(param $${name} i32)`).join(' ')}
${['column', 'group', 'rest', 'from', 'at', 'to', 'left', 'p', 'q', 'end', 'down1', 'down2', 'down3'].map((name) => `(local $${name} i32)`).join(' ')}
${[...sums, '$c', ...vectors.map((v) => `$w${v}`)].map((name) => `(local ${name} v128)`).join(' ')}
${[1, 2, 3].map((row) => `(local.set $down${row} (i32.mul ${get('stride')} ${number(row)}))`).join('\n')}
(loop $panel
(local.set $group ${get('groups')})
(local.set $from ${get('x')})
(local.set $to ${plus(get('y'), get('column'))})
(loop $group
(local.set $at ${get('from')})
(local.set $rest ${get('rows')})
${blocks(4)}
${blocks(1)}
(local.set $from ${plus(get('from'), get('gap'))})
(br_if $group (local.tee $group (i32.sub ${get('group')} ${number(1)}))))
(local.set $w ${plus(get('w'), `(i32.mul (i32.mul ${get('inner')} ${get('segments')}) ${number(4 * VECTORS)})`)})
(local.set $column ${plus(get('column'), number(BYTES * VECTORS))})
(br_if $panel (i32.lt_u ${get('column')} ${get('out')})))))
`;

const wabt = await createRequire(`${process.cwd()}/`)('wabt')();
const module = wabt.parseWat('product.wat', text, { simd: true });
module.validate();
const { buffer } = module.toBinary({});
writeFileSync(`${PLACE}.wat`, text);
writeFileSync(`${PLACE}.wasm`, buffer);
console.log(`${buffer.length} bytes in ${PLACE}.wasm`);
