// The noise of a seed: jax.random.normal(jax.random.key(seed), [n]), to the last bit but one.
//
// Threefry-2x32 (Salmon et al. 2011) on the counters (0, i) with the key (0, seed); of its two words the exclusive or, as
// in JAX since 0.5; erf^-1 by the float32 polynomials of Giles 2010. `Math.fround` rounds to float32 at every step.

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY = 0x1bd11bda;
const f = Math.fround;
const LOWEST = f(-1 + 2 ** -24); // the number after -1: of the uniform numbers that JAX draws
// Highest power first, for w = -log(1 - x^2): below 5 in w - 2.5, else in sqrt(w) - 3.
const CENTRAL = [
  2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
  0.246640727, 1.50140941,
].map(f);
const TAIL = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
  1.00167406, 2.83297682,
].map(f);

export function threefry(seed, counter) {
  const keys = [0, seed | 0, PARITY ^ seed];
  let a = 0, b = (counter + keys[1]) | 0;
  for (let turn = 0; turn < 5; turn++) {
    for (const places of ROTATIONS[turn % 2]) {
      a = (a + b) | 0;
      b = ((b << places) | (b >>> (32 - places))) ^ a;
    }
    a = (a + keys[(turn + 1) % 3]) | 0;
    b = (b + keys[(turn + 2) % 3] + turn + 1) | 0;
  }
  return (a ^ b) >>> 0;
}

export function inverseErf(x) {
  let w = f(-Math.log1p(-f(x * x)));
  const coefficients = w < 5 ? CENTRAL : TAIL;
  w = w < 5 ? f(w - 2.5) : f(f(Math.sqrt(w)) - 3);
  let value = coefficients[0];
  for (let i = 1; i < coefficients.length; i++) value = f(f(value * w) + coefficients[i]);
  return f(value * x);
}

// Standard normal numbers, Float32Array of length n; seed is a whole number from 0 to 2^32 - 1.
export function noise(seed, n) {
  const z = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const uniform = (threefry(seed, i) >>> 9) * 2 ** -23;
    const x = Math.max(LOWEST, f(f(uniform * f(1 - LOWEST)) + LOWEST));
    z[i] = f(f(Math.SQRT2) * inverseErf(x));
  }
  return z;
}
