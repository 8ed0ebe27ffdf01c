"""What the machine can do, measured: convolutions in a second or two, then some steps of what was chosen."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.data.workers import usable_cores
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
CORES_A_COMPILATION = 2
DRAWN_VALUES = 65_537  # again and again: a prime, so that rows differ


def measure(devices: int = 0) -> MachineFacts:
    """Returns the facts of this machine, of so many devices (0 = all); takes seconds."""
    load = _load()
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    maps = SMALL_MAPS if on_cpu else LARGE_MAPS
    float32 = convolutions_flop_s(jnp.float32, *maps)
    return MachineFacts(
        platform=device.platform,
        kind=device.device_kind,
        devices=devices or len(jax.devices()),
        cores=usable_cores(),
        memory_bytes=(plan.memory_of(device) or 0) if not on_cpu else _ram_bytes(),
        float32_flop_s=float32,
        # A CPU computes bfloat16 in float32 and is slower by it (docs/scaling.md).
        bfloat16_flop_s=0.0 if on_cpu else convolutions_flop_s(jnp.bfloat16, *maps),
        text_models=installed_text_models(),
        load=load,
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

    The steps are those that a training would run; weights are drawn at random, and nothing is kept. They are compiled
    at once, as far as there are cores, and timed one after the other.
    """
    mesh = parallel.make_mesh(config.devices, config.shard_devices)
    (run, given), steps = plan.without_data(config, mesh), []
    for name in config.phases:
        phase = phases.build(name, run, given)
        state, batch = plan.abstract(run, phase, given)
        steps.append((phase, state, batch, compile_phase(run, phase, state).lower(state, batch)))
        given = handed_on(given, jax.eval_shape(phase.init, given))
    with ThreadPoolExecutor(max(usable_cores() // CORES_A_COMPILATION, 1)) as pool:
        found = list(pool.map(lambda step: compiled(step[-1]), steps))
    return {
        phase.name: _timed(phase.step_images, state, batch, *of_phase)
        for (phase, state, batch, _), of_phase in zip(steps, found, strict=True)
    }


def compiled(lowered: Any) -> tuple[Any, float]:
    """Returns a step compiled, and the seconds that it took."""
    start = time.perf_counter()
    return lowered.compile(), time.perf_counter() - start


def _timed(step_images: int, state: Any, batch: Any, step: Any, compile_s: float) -> Rates:
    held = jax.tree.map(drawn, state)
    batch = {key: drawn(like, 1) for key, like in batch.items()}  # 0 is no word
    held, metrics = step(held, batch)
    jax.block_until_ready(metrics)
    begun, done = time.perf_counter(), 0
    while done < STEPS and time.perf_counter() - begun < TIMED_S:
        held, metrics = step(held, batch)
        jax.block_until_ready(metrics)
        done += 1
    return Rates(done * step_images / (time.perf_counter() - begun), compile_s)


def drawn(like: Any, whole: int = 0) -> jax.Array:
    """Returns an array of small normal numbers, or of `whole` where they are whole, for a shape, a type and a place."""
    if jnp.issubdtype(like.dtype, jnp.floating):
        values = np.resize(0.02 * np.random.default_rng(0).standard_normal(DRAWN_VALUES), like.shape)
    else:
        values = np.full(like.shape, whole)
    return jax.device_put(values.astype(like.dtype), like.sharding)


def _load() -> float:
    """Processes that wanted a core, on average over the last minute."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # not on every system
        return 0.0


def _ram_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        return 0
