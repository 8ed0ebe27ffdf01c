"""What a training's loop costs over its bare step: input, logging, sheets of samples, checkpoints; no evaluation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from benchmarks.timing import table
from t2igan.data import Batches
from t2igan.method import phases
from t2igan.training.distributed import parallel
from t2igan.training.loop import compile_phase, run_phase
from t2igan.training.warm_start import handed_on

SEGMENT_STEPS = 50


def against_bare(config, folder: Path, steps: int, opened: Callable) -> str:
    """Runs the adversarial phase as a training does, and after each segment as many bare steps; returns a table.

    Both take turns in one process, so that other work on the machine hits both alike.
    """
    config.evaluate.every_images = 0
    config.evaluate.at_end = False
    config.guard.num_images = 0
    config.train.steps = steps + SEGMENT_STEPS  # the first segment compiles, and does not count
    run = opened(config, folder)
    learned: dict = {}
    for name in config.phases:
        phase = phases.build(name, run, learned)
        if name == "adversarial":
            break
        learned = handed_on(learned, parallel.init_on(run.mesh, phase.init, learned))
    batch = parallel.to_devices(
        Batches(run.train_data, run.tokenizer, seed=0, batch_images=phase.step_images, columns=phase.columns)[0],
        run.mesh,
    )
    looped, bare = [], []
    held = {"start": time.perf_counter(), "state": parallel.init_on(run.mesh, phase.init, learned)}
    bare_step = compile_phase(run, phase, held["state"])

    def bare_segment() -> float:
        start = time.perf_counter()
        for _ in range(SEGMENT_STEPS):
            held["state"], _ = bare_step(held["state"], batch)
        jax.block_until_ready(held["state"])
        return time.perf_counter() - start

    def at_segment(state, done):  # noqa: ARG001
        looped.append(time.perf_counter() - held["start"])
        bare.append(bare_segment())
        held["start"] = time.perf_counter()
        return {}

    watched = dataclasses.replace(phase, monitor=at_segment, monitored=lambda done: done % SEGMENT_STEPS == 0)
    run_phase(run, watched, learned)
    run.logs.close()
    of_loop, of_bare = np.array(looped[1:]), np.array(bare[1:])
    rate = lambda seconds: f"{SEGMENT_STEPS * phase.step_images / seconds:.1f}"
    ratio = of_loop / of_bare - 1
    rows = [
        ("bare step", rate(np.median(of_bare)), ""),
        ("the training's loop", rate(np.median(of_loop)), f"{np.median(ratio):+.1%}"),
        ("  in all", rate(of_loop.mean()), f"{of_loop.sum() / of_bare.sum() - 1:+.1%}"),
    ]
    head = f"{len(of_loop)} segments of {SEGMENT_STEPS} steps each, in turns; medians"
    return head + "\n\n" + table(("", "images/s", "time over bare"), rows)
