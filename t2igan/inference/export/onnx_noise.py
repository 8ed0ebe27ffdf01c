"""The noise of a seed as nodes of an ONNX graph: `jax.random.normal(jax.random.key(seed), (z_dim,))`, bit for bit.

Threefry-2x32 with 20 rounds (Salmon et al. 2011) on the counters (0, i) with the key (0, seed); of its two words the
exclusive or, as in JAX with `jax_threefry_partitionable`; 23 of the bits as a number in [0, 1); erf^-1 by the float32
polynomials of Giles 2010, "Approximating the erfinv function". Whole numbers of 32 bits are kept in int64.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from t2igan.inference.export.graph import Graph

WORD = 2**32
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
# Highest power first, for w = -log(1 - x^2): below 5 in w - 2.5, else in sqrt(w) - 3.
CENTRAL = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503),
    *(-0.00417768164, 0.246640727, 1.50140941),
)
TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613),
    *(0.00943887047, 1.00167406, 2.83297682),
)
LOWEST = np.nextafter(np.float32(-1), np.float32(0))  # of the uniform numbers that JAX draws


def write_noise(g: Graph, seeds: str, z_dim: int) -> str:
    """Standard normal noise [N, z_dim] of seeds int64 [N] from 0 to 2**32 - 1."""
    bits = g.op("Div", _threefry(g, g.op("Unsqueeze", seeds, g.ints(1)), z_dim), g.constant(2**9, np.int64))
    uniform = g.op("Mul", g.op("Cast", bits, to=TensorProto.FLOAT), g.constant(2.0**-23))  # exact
    spread = g.op("Mul", uniform, g.constant(np.float32(1) - LOWEST))
    x = g.op("Max", g.op("Add", spread, g.constant(LOWEST)), g.constant(LOWEST))
    return g.op("Mul", _inverse_erf(g, x), g.constant(math.sqrt(2)))


def _threefry(g: Graph, seeds: str, numbers: int) -> str:
    """The random words [N, numbers] of seeds [N, 1]."""
    whole = lambda value: g.constant(value, np.int64)
    add = lambda a, b: g.op("Mod", g.op("Add", a, b), whole(WORD))
    xor = lambda a, b: g.op("BitwiseXor", a, b)

    def rotated(a: str, places: int) -> str:
        left = g.op("Mod", g.op("Mul", a, whole(2**places)), whole(WORD))  # below 2**61: no overflow
        return g.op("BitwiseOr", left, g.op("Div", a, whole(2 ** (32 - places))))

    keys = [whole(0), seeds, xor(whole(PARITY), seeds)]
    a, b = whole(np.zeros((1, numbers))), add(whole(np.arange(numbers)[None]), seeds)
    for turn in range(5):
        for places in ROTATIONS[turn % 2]:
            a = add(a, b)
            b = xor(rotated(b, places), a)
        a = add(a, keys[(turn + 1) % 3])
        b = add(add(b, keys[(turn + 2) % 3]), whole(turn + 1))
    return xor(a, b)


def _inverse_erf(g: Graph, x: str) -> str:
    """erf^-1 of numbers between -1 and 1."""
    w = g.op("Neg", g.op("Log", g.op("Sub", g.constant(1.0), g.op("Mul", x, x))))

    def polynomial(at: str, coefficients: tuple[float, ...]) -> str:
        value = g.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            value = g.op("Add", g.op("Mul", value, at), g.constant(coefficient))
        return value

    central = polynomial(g.op("Sub", w, g.constant(2.5)), CENTRAL)
    tail = polynomial(g.op("Sub", g.op("Sqrt", w), g.constant(3.0)), TAIL)
    return g.op("Mul", g.op("Where", g.op("Less", w, g.constant(5.0)), central, tail), x)
