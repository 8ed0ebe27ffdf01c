"""Floating-point operations of a compiled program, and how many of them this machine can do a second."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

_SHAPE = re.compile(r"^\s*(?:ROOT )?%([\w.\-]+) = \w+\[([\d,]*)\]", re.MULTILINE)
_CONVOLUTION = re.compile(
    r"%[\w.\-]+ = \w+\[([\d,]*)\]\S* convolution\((?:\S+ )?%[\w.\-]+, (?:\S+ )?%([\w.\-]+)\)"
    r"(?:, window={([^}]*)})?, dim_labels=\w+_(\w+)->"
)


def all_flops(compiled) -> float:
    """Returns what XLA's cost analysis counts: convolutions without the products with padding, and elementwise work."""
    analysis = compiled.cost_analysis()
    return float((analysis[0] if isinstance(analysis, list) else analysis).get("flops", math.nan))


def convolution_flops(compiled) -> float:
    """Returns 2 x outputs x window x input features of all convolutions in the compiled program.

    The usual count: products with the zeros of the padding are in it, and a gradient by the kernel counts as much as
    the convolution itself. Read from the program after XLA's simplification, so that what it dropped does not count.
    """
    text = compiled.as_text()
    shapes = {name: _dims(dims) for name, dims in _SHAPE.findall(text)}
    total = 0
    for output, kernel, window, labels in _CONVOLUTION.findall(text):
        size = re.search(r"size=([\dx]+)", window or "")
        places = math.prod(int(n) for n in size[1].split("x")) if size else 1
        total += 2 * math.prod(_dims(output)) * places * shapes[kernel][labels.index("i")]
    return float(total)


def matrix_product_ceiling(dtype, size: int = 2048) -> float:
    """Returns FLOP/s of a square matrix product, the best of several."""
    a = jnp.ones((size, size), dtype)
    return 2 * size**3 / _best_s(jax.jit(jnp.matmul), a, a)


def convolution_ceiling(
    shapes: Iterable[tuple[int, int]], batch_images: int, dtype, compiler_options: dict | None = None
) -> float:
    """Returns FLOP/s of dense 3x3 convolutions, forward and both gradients, over maps of (size in px, channels).

    Each map's convolution counts by its FLOPs, as in a network that has one of each: the sum of FLOPs over the sum of
    times, each the best of several, in a program of its own.
    """
    flops = seconds = 0.0
    for size_px, channels in shapes:
        x = jnp.ones((batch_images, size_px, size_px, channels), dtype)
        kernel = jnp.ones((3, 3, channels, channels), dtype)

        def forward_backward(x, kernel, cotangent):
            y, backward = jax.vjp(_convolution, x, kernel)
            return y, backward(cotangent)

        work = jax.jit(forward_backward, compiler_options=compiler_options)
        seconds += _best_s(work, x, kernel, x)
        flops += 3 * 2 * 9 * channels**2 * x.size / channels
    return flops / seconds


def _convolution(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _best_s(work: Callable, *arguments, calls: int = 15) -> float:
    jax.block_until_ready(work(*arguments))
    best = math.inf
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(work(*arguments))
        best = min(best, time.perf_counter() - start)
    return best


def _dims(text: str) -> list[int]:
    return [int(n) for n in text.split(",") if n]
