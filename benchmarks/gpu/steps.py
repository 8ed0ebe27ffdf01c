"""Times the adversarial step of configurations on one device, without data: speed, work, memory, compile time."""

from __future__ import annotations

import argparse
import math
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.gpu.__main__ import append
from benchmarks.timing import load
from t2igan.method import phases
from t2igan.training import plan
from t2igan.training.auto.machine import compiled, drawn
from t2igan.training.distributed import parallel
from t2igan.training.warm_start import handed_on

MEANT_FOR = {"coco64": 8, "coco256": 8}  # devices; on one there is its share of the batch
TIMED_S, LEAST_CALLS, MOST_CALLS = 4.0, 5, 200
COMPILED_AT_ONCE = 4  # more get in each other's way: XLA tries convolutions out on the device
COMPILING_SHARE = 0.65  # of the time, after which what is ready is timed, though others still compile


def configured(name: str, dtype: str, tiny: bool) -> Any:
    """Returns a configuration for one device, in a type."""
    config = load(name).copy_and_resolve_references().unlock()
    config.compute_dtype, config.shard_devices, config.devices = dtype, 1, 1
    config.train.batch_images //= MEANT_FOR.get(name, 1)
    if tiny:
        for section in ("generator", "discriminator", "inverter", "image_encoder"):
            config[section].channels = (8,) * len(config[section].channels)
        config.generator.update(blocks=1, style_dim=8, z_dim=4)
        config.discriminator.update(blocks=1, features=8)
        config.text_encoder.update(width=8, layers=1, heads=2, sentence_dim=8)
        config.train.batch_images = 2
    return config


def lowered(config: Any) -> tuple[Any, Any, Any, int]:
    """Returns the adversarial step of a configuration, lowered; shapes of its state and batch; pictures a step."""
    run, given = plan.without_data(config, parallel.make_mesh(1))
    for name in config.phases:
        phase = phases.build(name, run, given)
        if name == "adversarial":
            return *plan.lower_step(run, phase, given), phase.step_images
        given = handed_on(given, jax.eval_shape(phase.init, given))
    raise ValueError("there is no adversarial phase")


def measured(program: Any, state: Any, batch: Any, calls_s: float) -> float:
    """Returns the median seconds of a step, by calls of which each is waited for."""
    held, batch = jax.tree.map(drawn, state), {name: drawn(like) for name, like in batch.items()}
    times: list[float] = []
    begun = math.inf
    for number in range(MOST_CALLS + 2):
        start = time.perf_counter()
        held, metrics = program(held, batch)
        jax.block_until_ready(metrics)
        if number < 2:  # the first ones find nothing warm
            begun = time.perf_counter()
            continue
        times.append(time.perf_counter() - start)
        if len(times) >= LEAST_CALLS and time.perf_counter() - begun > calls_s:
            break
    return float(np.median(times))


def count(out: Path, names: list[str], tiny: bool) -> None:
    """Notes the floating-point operations of a picture, of each configuration, as XLA counts them on a CPU.

    It counts none of what is lowered for a GPU.
    """
    parallel.start(1)
    for name in dict.fromkeys(names):
        step, _, _, step_images = lowered(configured(name, "float32", tiny))
        flop = float((step.cost_analysis() or {}).get("flops", math.nan))
        append(out, {"part": "work", "config": name, "gflop_image": round(flop / step_images / 1e9, 3)})


def row_of(
    name: str, dtype: str, config: Any, made: tuple, compiling: Future, others: list[Future], traced_s: float
) -> dict[str, Any]:
    """Returns what is known of a step, timed."""
    _, state, batch, step_images = made
    program, compiled_s = compiling.result()
    disturbed = not all(other.done() for other in others)
    seconds = measured(program, state, batch, TIMED_S)
    device = jax.devices()[0]
    memory = program.memory_analysis()
    planned = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    stats = device.memory_stats() or {}
    return {
        "part": "step", "config": name, "dtype": dtype, "px": config.data.image_size_px, "batch": step_images,
        "ms": round(1000 * seconds, 2), "images_s": round(step_images / seconds, 1),
        "planned_mb": round((planned + memory.temp_size_in_bytes) / 1e6),
        "peak_mb": round(stats["peak_bytes_in_use"] / 1e6) if "peak_bytes_in_use" in stats else None,
        "traced_s": round(traced_s, 1), "compiled_s": round(compiled_s, 1), "device": device.device_kind,
        "disturbed": disturbed,
    }  # fmt: skip


def main() -> None:
    """Lowers one after the other, compiles several at once beside, and then times one after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--rows", nargs="+", required=True, metavar="CONFIG:DTYPE")
    arguments.add_argument("--seconds", type=float, default=600.0, help="for all of them")
    arguments.add_argument("--count", action="store_true", help="count operations instead, which wants a CPU")
    arguments.add_argument("--tiny", action="store_true")
    given = arguments.parse_args()
    if given.count:
        count(given.out, [row.partition(":")[0] for row in given.rows], given.tiny)
        return
    begun = time.perf_counter()
    parallel.start(1)
    # A cache of an earlier visit would say nothing about how long compiling takes.
    jax.config.update("jax_enable_compilation_cache", False)
    pool, waiting = ThreadPoolExecutor(1 if given.tiny else COMPILED_AT_ONCE), []
    for row in given.rows:
        name, _, dtype = row.partition(":")
        try:
            start = time.perf_counter()
            config = configured(name, dtype, given.tiny)
            made = lowered(config)
            waiting.append((name, dtype, config, made, pool.submit(compiled, made[0]), time.perf_counter() - start))
        except Exception as error:
            failed(given.out, name, dtype, error)
    # Others that compile try their convolutions out on the device, and would disturb what is timed.
    compilings = [compiling for *_, compiling, _ in waiting]
    wait(compilings, timeout=max(COMPILING_SHARE * given.seconds - (time.perf_counter() - begun), 0))
    for name, dtype, config, made, compiling, traced_s in sorted(waiting, key=lambda row: not row[4].done()):
        try:
            row = row_of(name, dtype, config, made, compiling, compilings, traced_s)
            append(given.out, row)
            print(row, flush=True)
        except Exception as error:
            failed(given.out, name, dtype, error)


def failed(out: Path, name: str, dtype: str, error: Exception) -> None:
    """Notes what went wrong with a row."""
    traceback.print_exc()
    said = " ".join(str(error).split())[:300]
    append(out, {"part": "step", "config": name, "dtype": dtype, "error": f"{type(error).__name__}: {said}"})


if __name__ == "__main__":
    main()
