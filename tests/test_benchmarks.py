"""What the benchmarks count and read; what they time is nobody's promise."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import flops, step
from benchmarks.__main__ import main
from benchmarks.timing import load
from t2igan import config as config_lib


def test_flops_of_convolutions_are_those_of_the_definition():
    x, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6))

    def both(x, kernel, cotangent):
        y, backward = jax.vjp(flops._convolution, x, kernel)
        return y, backward(cotangent)

    compiled = jax.jit(both).lower(x, kernel, jnp.ones((2, 8, 8, 6))).compile()
    once = 2 * (2 * 8 * 8 * 6) * (3 * 3 * 4)
    assert flops.convolution_flops(compiled) == 3 * once  # forward, by the pictures, by the kernel
    assert 0 < flops.all_flops(compiled) < 3 * once  # XLA's own count leaves the padding out


def test_other_programs_have_none():
    compiled = jax.jit(jnp.matmul).lower(jnp.ones((8, 8)), jnp.ones((8, 8))).compile()
    assert flops.convolution_flops(compiled) == 0


@pytest.mark.parametrize("size_px", [8, 16, 64])
def test_a_configuration_of_another_size_is_a_valid_one(size_px):
    config = load("base")
    step.resized(config, size_px)
    config_lib.check(config)


def test_the_configuration_to_be_timed_is_a_valid_one():
    config_lib.check(load("dfgan64"))


def test_the_benchmarks_are_listed(capsys):
    main()
    said = capsys.readouterr().out
    assert all(f"python -m benchmarks.{name} " in said for name in ("step", "peer", "sample", "loader"))
