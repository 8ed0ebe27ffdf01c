"""What the machine can do, measured: convolutions in a second or two, then some steps of what was chosen."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.method import phases
from t2igan.training import plan
from t2igan.training.auto.facts import MachineFacts, Rates, installed_text_models
from t2igan.training.distributed import parallel
from t2igan.training.loop import compile_phase
from t2igan.training.warm_start import handed_on

# Maps of the games that are played on each: (pictures, px, channels).
SMALL_MAPS, LARGE_MAPS = (32, 16, 96), (128, 32, 256)
CALLS = 3
TIMED_S = 2.0  # of steps of a phase, at most, after the first
STEPS = 8
DRAWN_VALUES = 65_537  # again and again: a prime, so that rows differ


def measure(devices: int = 0) -> MachineFacts:
    """Returns the facts of this machine, of so many devices (0 = all); takes seconds."""
    start = time.perf_counter()
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    maps = SMALL_MAPS if on_cpu else LARGE_MAPS
    float32 = convolutions_flop_s(jnp.float32, *maps)
    return MachineFacts(
        platform=device.platform,
        kind=device.device_kind,
        devices=devices or len(jax.devices()),
        cores=os.cpu_count() or 1,
        memory_bytes=(plan.memory_of(device) or 0) if not on_cpu else _ram_bytes(),
        float32_flop_s=float32,
        # A CPU computes bfloat16 in float32 and is slower by it (docs/scaling.md).
        bfloat16_flop_s=0.0 if on_cpu else convolutions_flop_s(jnp.bfloat16, *maps),
        text_models=installed_text_models(),
        measured_s=time.perf_counter() - start,
    )


def convolutions_flop_s(dtype: Any, num_images: int, size_px: int, channels: int) -> float:
    """Returns FLOP/s of a 3x3 convolution and its two gradients: 3 * 2 * 9 * channels^2 for a place; best of some."""
    x = jnp.ones((num_images, size_px, size_px, channels), dtype)
    kernel = jnp.full((3, 3, channels, channels), 0.01, dtype)

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    @jax.jit
    def forward_backward(x: jax.Array, kernel: jax.Array) -> Any:
        y, backward = jax.vjp(convolve, x, kernel)
        return y, backward(y)

    jax.block_until_ready(forward_backward(x, kernel))
    best = math.inf
    for _ in range(CALLS):
        start = time.perf_counter()
        jax.block_until_ready(forward_backward(x, kernel))
        best = min(best, time.perf_counter() - start)
    return 3 * 2 * 9 * channels**2 * num_images * size_px**2 / best


def timed(config: Any) -> dict[str, Rates]:
    """Returns how fast each phase of a configuration is here, by some steps of it on blank pictures.

    The steps are those that a training would run; weights are drawn at random, and nothing is kept.
    """
    mesh = parallel.make_mesh(config.devices, config.shard_devices)
    run, given, found = plan._run_without_data(config, mesh), {}, {}
    if config.space.kind == "patches":
        given = {"space": plan._shapes_of(run, "space")}
    for name in config.phases:
        phase = phases.build(name, run, given)
        shapes = parallel.abstract_on(mesh, phase.init, given)
        found[name] = _timed(run, phase, shapes)
        given = handed_on(given, jax.eval_shape(phase.init, given))
    return found


def drawn(like: Any) -> jax.Array:
    """Returns an array of small normal numbers, of zeros where they are whole, for a shape with a type and a place."""
    if jnp.issubdtype(like.dtype, jnp.floating):
        values = np.resize(0.02 * np.random.default_rng(0).standard_normal(DRAWN_VALUES), like.shape)
    else:
        values = np.zeros(like.shape)
    return jax.device_put(values.astype(like.dtype), like.sharding)


def _timed(run: Any, phase: Any, shapes: Any) -> Rates:
    split = parallel.split(run.mesh)
    batch = {
        name: drawn(jax.ShapeDtypeStruct((phase.step_images, *like.shape[1:]), like.dtype, sharding=split))
        for name, like in (phase.shapes or run.batch_shapes).items()
    }
    batch = {name: jnp.ones_like(x) if x.dtype == jnp.int32 else x for name, x in batch.items()}  # ids of words
    start = time.perf_counter()
    # An adversarial step late in the phase has a penalty, where not all have.
    step = compile_phase(run, phase, shapes, 0)
    state, metrics = step(jax.tree.map(drawn, shapes), batch)
    jax.block_until_ready(metrics)
    compile_s = time.perf_counter() - start
    begun, done = time.perf_counter(), 0
    while done < STEPS and time.perf_counter() - begun < TIMED_S:
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        done += 1
    return Rates(done * phase.step_images / (time.perf_counter() - begun), compile_s)


def _ram_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        return 0
