"""The loop of one phase: batches ahead of the device, metrics behind it, monitoring, checkpoints, a clean stop.

A phase goes on from its latest checkpoint. Nothing is saved or shown before it is known to be finite.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import config as config_lib
from t2igan import nets
from t2igan.data import Batches, Dataset, prefetched
from t2igan.data.unlabelled import columns_with_unlabelled
from t2igan.inference.checkpoint import Checkpoints, newest_step
from t2igan.method import phases
from t2igan.method.phases import Phase
from t2igan.training import guard, stopping
from t2igan.training.distributed import parallel, processes
from t2igan.training.logs import Progress, Rate, say
from t2igan.training.monitor import is_due, keep_snapshot, monitor
from t2igan.training.run import Run
from t2igan.training.space import settled, training_data
from t2igan.training.stopping import Interrupted

# Steps that may be under way or waiting for the device: enough to keep it busy, and few enough that a training that is
# asked to stop does so after a few steps, not after all that were given to the device since the last log.
STEPS_AHEAD = 4


def build_phase(run: Run, name: str, given: dict[str, Any]) -> Phase:
    """Returns a phase, at lower rates where the guard has rolled it back."""
    config = run.config
    if processes.from_leader(lambda: len(guard.rollbacks(run.workdir, name))):
        lowered = processes.from_leader(lambda: config_lib.to_json(guard.lowered(config, run.workdir, name)))
        config = config_lib.from_dict(json.loads(lowered))
    run = dataclasses.replace(run, config=config)
    return phases.build(name, dataclasses.replace(run, config=settled(run, name)), given)


def compile_phase(run: Run, phase: Phase, state: Any, number: int = 0) -> Callable:
    """Returns a phase's step number `number`, from 0, compiled over the run's devices: see `parallel.compile_step`.

    Steps of which `phase.decided` says the same are one program. `state` is the phase's state or its shapes.
    """
    decided = functools.partial(phase.step, **dict(phase.decided(number)))
    map_values = phase.step_images * (phase.largest_map_values or nets.largest_map_values(run.config))
    return parallel.compile_step(decided, run.mesh, state, step_map_values=map_values, remat=run.config.remat)


def run_phase(run: Run, phase: Phase, given: dict[str, Any]) -> Any:
    """Runs a phase to its end, back to its last checkpoint and on as often as the guard may; returns the last state."""
    while True:
        try:
            return _go_on(run, phase, given)
        except guard.Collapse as collapse:
            with Checkpoints(_checkpoint_folder(run.workdir, phase.name)) as checkpoints:
                kept = checkpoints.latest_step() or 0
            note = functools.partial(guard.roll_back, run.config.guard, run.workdir, phase.name, collapse, kept)
            times = _from_leader_or_collapse(note)
            say(f"{collapse}\nrollback {times} of {run.config.guard.rollbacks}: back to step {kept:,}, at lower rates")
            phase = build_phase(run, phase.name, given)


def _go_on(run: Run, phase: Phase, given: dict[str, Any]) -> Any:
    """Runs a phase from its latest checkpoint, or from what is given, to its end; returns the last state."""
    # Whatever ends the loop, a save under way is finished before.
    folder, at_once = _checkpoint_folder(run.workdir, phase.name), run.interruption.at_once
    with run.interruption.deferred(), Checkpoints(folder, *run.best_metric) as checkpoints:
        start = processes.from_leader(lambda: checkpoints.latest_step() or 0)
        left = bool(start) and processes.from_leader(lambda: stopping.is_left(run.workdir, phase.name, start))
        if not left and run.leads:
            stopping.nothing_is_left(run.workdir)
        with at_once():
            if start:
                state = checkpoints.restore(start, parallel.abstract_on(run.mesh, phase.init, given))
            else:
                state = parallel.init_on(run.mesh, phase.init, given)
        is_over = start == phase.total_steps
        if is_over and not left:
            return state
        if start and not is_over:
            say(f"phase {phase.name} goes on after step {start:,} of {phase.total_steps:,}")
        run.logs.start_phase(phase.name, start)
        bar = Progress(phase.name, phase.total_steps * phase.step_images, start * phase.step_images, run.leads)
        try:
            if left:
                _make_up(run, phase, checkpoints, state, start)
            if is_over:
                return state
            with at_once():
                data = training_data(run, phase.name, phase.unlabelled)
            return _loop(run, phase, data, checkpoints, bar, state, start)
        finally:
            bar.close()


def _loop(
    run: Run, phase: Phase, data: Dataset, checkpoints: Checkpoints, bar: Progress, state: Any, start: int
) -> Any:
    config = run.config
    compiled: dict[tuple, Any] = {}  # a step by what its number decides: one, as a rule
    rate, window = Rate(), []
    ahead = prefetched(_batch_of(run, phase, data), start, phase.total_steps)
    with contextlib.closing(ahead):
        for done, batch in enumerate(ahead, start=start + 1):
            decided = phase.decided(done - 1)
            if decided not in compiled:
                if not compiled:
                    say(f"phase {phase.name}: compiling, which takes longer the larger networks and pictures are")
                compiled[decided] = compile_phase(run, phase, state, done - 1)
            if phase.own_batches is not None:
                phase.own_batches.taken(done - 1)
            # The first call compiles, and all before it is saved. What a private step spent must not be lost, though.
            is_first = done == start + 1 and phase.own_batches is None
            with run.interruption.at_once() if is_first else contextlib.nullcontext():
                state, metrics = compiled[decided](state, parallel.to_devices(batch, run.mesh))
            window.append(metrics)
            if len(window) > STEPS_AHEAD:
                jax.block_until_ready(window[-1 - STEPS_AHEAD])
                bar.reach((done - STEPS_AHEAD) * phase.step_images)
            passed = functools.partial(config_lib.crossed, (done - 1) * phase.step_images, done * phase.step_images)
            saves = passed(config.checkpoint.every_images) or done == phase.total_steps
            monitored = is_due(run, phase, done)
            waits = saves or monitored or passed(config.log.every_images)
            stops = run.interruption.stops()
            if waits or stops:
                # Waits for the device. Nothing is saved or shown before it is known to be finite.
                values = mean_of_finite(window, done, phase.name, checkpoints.latest_step())
                rate.add(len(window) * phase.step_images)
                bar.reach(done * phase.step_images)
                bar.show(**{name.split("/")[-1]: values[name] for name in phase.shown if name in values})
                window = []
                values["images_per_s"] = rate.take()
                if times := len(guard.rollbacks(run.workdir, phase.name)):
                    values["rollbacks"] = float(times)
                run.logs.scalars(phase.name, done, done * phase.step_images, values)
            figures = _monitor(run, phase, state, done) if monitored and not stops else {}
            stops = stops or figures is None
            if figures:
                run.logs.scalars(phase.name, done, done * phase.step_images, figures)
                rate.take()  # pictures a second of training, not of evaluation
            if stops and monitored and run.leads:
                stopping.leave(run.workdir, phase.name, done)  # before the step is saved, or it might be forgotten
            if saves or stops or checkpoints.improves(figures):
                checkpoints.save(done, state, figures or None)
            if stops:
                _keep_snapshot(run, phase, state, done)
                raise Interrupted(f"stopped after step {done:,} of phase {phase.name}")
    return state


def _batch_of(run: Run, phase: Phase, data: Dataset) -> Callable[[int], dict[str, np.ndarray]]:
    """Returns what makes the batch of a step by its number."""
    if phase.own_batches is not None:
        return phase.own_batches.of_step
    columns, without_captions = phase.columns, len(data) - len(run.train_data)
    if without_captions:
        columns = columns_with_unlabelled(columns, len(run.train_data), without_captions)
    batches = Batches(
        data,
        run.tokenizer,
        seed=zlib.crc32(f"{phase.name} {run.config.seed}".encode()),
        batch_images=phase.step_images,
        process_index=processes.index(),
        process_count=processes.count(),
        columns=columns,
        partial_share=run.config.augment.partial_captions,
        tell_shared=run.config.loss.paired_noises != 1,
    )
    return batches.__getitem__


def _monitor(run: Run, phase: Phase, state: Any, done: int) -> dict[str, Any] | None:
    """Returns the leader's figures of the state, or raises its `Collapse`, in all processes.

    None where it was asked to stop meanwhile: of one process, that is.
    """
    alone = parallel.local(state.replace(opt_state=()))
    with contextlib.suppress(Interrupted), run.interruption.at_once():
        return _from_leader_or_collapse(lambda: monitor(run, phase, alone, done))
    return None


def _make_up(run: Run, phase: Phase, checkpoints: Checkpoints, state: Any, done: int) -> None:
    """Does what was due after the step of the last checkpoint, and was left when the training was asked to stop."""
    try:
        figures = _monitor(run, phase, state, done)
    except guard.Collapse:
        checkpoints.delete(done)  # as if it had been seen before the step was saved
        raise
    if figures is None:
        raise Interrupted(f"stopped after step {done:,} of phase {phase.name}")
    if figures:
        run.logs.scalars(phase.name, done, done * phase.step_images, figures)
    if checkpoints.improves(figures):
        processes.from_leader(lambda: checkpoints.add_metrics(done, figures))  # its state is on disk as it is
        checkpoints.reread()
    if run.leads:
        stopping.nothing_is_left(run.workdir)


def _keep_snapshot(run: Run, phase: Phase, state: Any, done: int) -> None:
    """Writes the snapshot of a state where a phase draws."""
    if phase.evaluates != "never":
        alone = parallel.local(state.replace(opt_state=()))
        processes.from_leader(lambda: keep_snapshot(run, phase, alone, done))


def _from_leader_or_collapse(make: Callable[[], Any]) -> Any:
    """As `processes.from_leader`, but a `Collapse` of the leader's is one of all."""

    def told() -> dict[str, Any]:
        try:
            return {"made": make()}
        except guard.Collapse as collapse:
            return {"collapse": [str(collapse), collapse.step]}

    answer = processes.from_leader(told)
    if "collapse" in answer:
        raise guard.Collapse(*answer["collapse"])
    return answer["made"]


def mean_of_finite(window: list[dict], done: int, phase: str, saved: int | None) -> dict[str, float]:
    """Returns the mean of each metric over the steps in `window`, the last of which is number `done`.

    Raises:
      Collapse: a value is not finite; names the first such step and term.
    """
    window = jax.device_get(window)
    for i, metrics in enumerate(window):
        for name, value in metrics.items():
            if not np.isfinite(value):
                at = done - len(window) + i + 1
                kept = f"the last good checkpoint is step {saved:,}" if saved else "nothing was saved yet"
                raise guard.Collapse(
                    f"{name} is {float(value)} at step {at:,} of phase {phase}; stopped, {kept}.\n"
                    f"Lower the learning rates, or raise config.loss.penalty_weight or config.train.clip_norm, and "
                    f"train again in a new --workdir; or give config.guard.rollbacks=3",
                    at,
                )
    return {name: float(np.mean([metrics[name] for metrics in window])) for name in window[0]}


def _checkpoint_folder(workdir: Path, phase: str) -> Path:
    return workdir / "checkpoints" / phase


def started(workdir: Path, phase: str) -> bool:
    """Whether a phase has a whole checkpoint."""
    return newest_step(_checkpoint_folder(workdir, phase)) is not None
