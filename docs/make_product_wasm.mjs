// Makes t2igan/inference/export/web/product.wasm, the matrix product of the page, from the text that it writes beside it.
//
//     npm install wabt
//     node docs/make_product_wasm.mjs
//
// y[rows, out] = x[rows, inner] w[inner, out] + bias, float32. Four rows times eight columns of sums stay in registers.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const PLACE = new URL('../t2igan/inference/export/web/product', import.meta.url).pathname;
const BYTES = 16; // of a vector of four numbers
const get = (name) => `(local.get $${name})`;
const plus = (a, b) => `(i32.add ${a} ${b})`;
const number = (value) => `(i32.const ${value})`;

// Sums of `rows` rows and 4 `vectors` columns, from the column at byte $column on.
function tile(rows, vectors) {
  const each = (line) => Array.from({ length: rows * vectors }, (_, i) => line(i % rows, Math.floor(i / rows)));
  const sum = (row, vector) => `sum${row}${vector}`;
  return [
    `(local.set $p ${plus(get('bias'), get('column'))})`,
    ...each((row, vector) => `(local.set $${sum(row, vector)} (v128.load offset=${BYTES * vector} ${get('p')}))`),
    `(local.set $p ${plus(get('w'), get('column'))})`,
    `(local.set $q ${get('x')})`,
    `(loop $k${rows}${vectors}`,
    ...Array.from({ length: vectors }, (_, v) => `(local.set $w${v} (v128.load offset=${BYTES * v} ${get('p')}))`),
    ...Array.from({ length: rows }, (_, row) => [
      `(local.set $c (v128.load32_splat ${row ? plus(get('q'), get(`down${row}`)) : get('q')}))`,
      ...Array.from({ length: vectors }, (_, v) =>
        `(local.set $${sum(row, v)} (f32x4.add ${get(sum(row, v))} (f32x4.mul ${get('c')} ${get(`w${v}`)})))`),
    ]).flat(),
    `(local.set $p ${plus(get('p'), get('out'))})`,
    `(local.set $q ${plus(get('q'), number(4))})`,
    `(br_if $k${rows}${vectors} (i32.lt_u ${get('q')} ${get('end')})))`,
    `(local.set $p ${plus(get('y'), get('column'))})`,
    ...Array.from({ length: rows }, (_, row) => [
      ...Array.from({ length: vectors }, (_, v) =>
        `(v128.store offset=${BYTES * v} ${get('p')} ${get(sum(row, v))})`),
      `(local.set $p ${plus(get('p'), get('out'))})`,
    ]).flat(),
  ].join('\n');
}

// Columns in tiles of 8, then of 4.
function columns(rows, vectors) {
  const label = `${rows}${vectors}`, width = BYTES * vectors;
  return `(block $end${label} (loop $next${label}
(br_if $end${label} (i32.gt_u ${plus(get('column'), number(width))} ${get('out')}))
${tile(rows, vectors)}
(local.set $column ${plus(get('column'), number(width))})
(br $next${label})))`;
}

// Blocks of so many rows, as long as there are enough.
function blocks(rows) {
  return `(block $stop${rows} (loop $rows${rows}
(br_if $stop${rows} (i32.lt_u ${get('rows')} ${number(rows)}))
(local.set $column ${number(0)})
(local.set $end ${plus(get('x'), get('inner'))})
${columns(rows, 2)}
${columns(rows, 1)}
(local.set $x ${plus(get('x'), `(i32.mul ${get('inner')} ${number(rows)})`)})
(local.set $y ${plus(get('y'), `(i32.mul ${get('out')} ${number(rows)})`)})
(local.set $rows (i32.sub ${get('rows')} ${number(rows)}))
(br $rows${rows})))`;
}

const sums = [0, 1, 2, 3].flatMap((row) => [0, 1].map((v) => `$sum${row}${v}`));
const text = `;; Made by docs/make_product_wasm.mjs. inner and out are bytes of a row of x and of w, out a multiple of 16.
(module
(memory (export "memory") 1)
(func (export "product")
${['rows', 'inner', 'out', 'x', 'w', 'bias', 'y'].map((name) => `(param $${name} i32)`).join(' ')}
${['column', 'p', 'q', 'end', 'down1', 'down2', 'down3'].map((name) => `(local $${name} i32)`).join(' ')}
${[...sums, '$c', '$w0', '$w1'].map((name) => `(local ${name} v128)`).join(' ')}
${[1, 2, 3].map((row) => `(local.set $down${row} (i32.mul ${get('inner')} ${number(row)}))`).join('\n')}
${blocks(4)}
${blocks(1)}))
`;

const wabt = await createRequire(`${process.cwd()}/`)('wabt')();
const module = wabt.parseWat('product.wat', text, { simd: true });
module.validate();
const { buffer } = module.toBinary({});
writeFileSync(`${PLACE}.wat`, text);
writeFileSync(`${PLACE}.wasm`, buffer);
console.log(`${buffer.length} bytes in ${PLACE}.wasm`);
