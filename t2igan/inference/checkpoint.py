"""Checkpoints: all state of a training, to go on from. The only file that knows Orbax.

There is one Orbax folder a phase, written asynchronously, of which the latest two and the best are kept: should the
latest be damaged, the one before it is still there. What is meant for use, not for going on, is a snapshot
(`t2igan.inference.snapshot`).
"""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan.errors import UserError
from t2igan.inference.files import explain_write_errors, first_line, write_json

METRICS = "metrics"  # Orbax's name of what a checkpoint's figures are in, a folder and a file of JSON within it
ODD_CHARACTERS = ("*", "?", "[", "]", "\\")  # of a folder's name, that Orbax or TensorStore take for something else


class PlainName:
    """A name of a folder that Orbax can work with: its own, or that of a link to it.

    Orbax looks for the parts of a checkpoint by patterns that begin with the folder's name as it stands, and
    TensorStore takes a backslash for a slash: in a folder called `pets [64px]` nothing is found, without an error.
    """

    def __init__(self, folder: Path):
        self.path, self._links = folder.absolute(), None
        if not any(character in str(self.path) for character in ODD_CHARACTERS):
            return
        self._links = tempfile.TemporaryDirectory(prefix="t2igan-")
        link = Path(self._links.name).absolute() / "checkpoints"
        try:
            if any(character in str(link) for character in ODD_CHARACTERS):
                raise OSError(f"the folder for temporary files, {self._links.name}, has such a name too")
            link.symlink_to(self.path, target_is_directory=True)
        except OSError as error:
            self.close()
            raise UserError(
                f"checkpoints cannot be kept in {folder}: of {' '.join(ODD_CHARACTERS)} none may be in its name "
                f"({error.strerror or error}); choose another --workdir"
            ) from error
        self.path = link

    def close(self) -> None:
        """Removes the link, if there is one; the folder stays."""
        if self._links is not None:
            self._links.cleanup()


# What Orbax says at many saves and nobody needs: that a save has no metrics, as most have none, and that the disk took
# longer for one than the steps until the next.
NO_NEWS = ("Requested `tracked_metric`", "Waiting for previous save to complete")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the log is to be seen, in a notebook among others."""
    return not record.getMessage().startswith(NO_NEWS)


class Checkpoints:
    """The checkpoints of one phase, in one folder; step -> state.

    `metric` names the value by which the best is kept besides the latest two; higher is better unless
    `lower_is_better`.
    """

    def __init__(self, folder: Path, metric: str = "", lower_is_better: bool = False):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").addFilter(_is_news)
        self.folder = folder
        self.metric = metric
        self._lower_is_better = lower_is_better
        policies = ocp.checkpoint_managers
        keep = [policies.LatestN(2)]
        # A checkpoint that was saved when another metric counted is none of the best.
        worst = math.inf if lower_is_better else -math.inf
        value = (lambda metrics: metrics.get(metric, worst)) if metric else None
        if metric:
            # Not `best_fn` with `max_to_keep`, which would delete the latest when it is not the best.
            keep.append(
                policies.BestN(
                    get_metric_fn=value, reverse=lower_is_better, n=1, keep_checkpoints_without_metrics=False
                )
            )
        options = ocp.CheckpointManagerOptions(
            best_fn=value,
            best_mode="min" if lower_is_better else "max",
            preservation_policy=policies.AnyPreservationPolicy(keep),
            cleanup_tmp_directories=True,
        )
        self._name = PlainName(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self._name.path, options=options)
        except OSError as error:
            self._name.close()
            raise UserError(f"cannot write checkpoints to {folder}: {error.strerror or error}") from error
        self._best = self._metric_of(self.best_step())

    def latest_step(self) -> int | None:
        """Returns the step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Returns the step of the best whole checkpoint by `metric`, or None."""
        return self._manager.best_step() if self.metric else None

    def _metric_of(self, step: int | None) -> float | None:
        return None if step is None else (self._manager.metrics(step) or {}).get(self.metric)

    def improves(self, metrics: Mapping[str, Any] | None) -> bool:
        """Whether `metrics` are by `metric` as good as those of every checkpoint that is kept, or better."""
        value = (metrics or {}).get(self.metric) if self.metric else None
        if value is None or self._best is None:
            return value is not None
        return value <= self._best if self._lower_is_better else value >= self._best

    def save(self, step: int, state: Any, metrics: Mapping[str, Any] | None = None) -> None:
        """Starts to write `state`; returns before the disk is done. Raises `UserError` where the last one failed."""
        import orbax.checkpoint as ocp

        kept = {self.metric: metrics[self.metric]} if metrics and self.metric in metrics else None
        if kept is not None and self.improves(kept):
            self._best = kept[self.metric]
        with explain_write_errors(self.folder):
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics=kept)

    def add_metrics(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Adds figures to a checkpoint on disk that has none, which Orbax reads in a file of its own within its folder.

        The state is not written again, and there is a whole checkpoint at any time. One process does so, and all call
        `reread` when it is done.
        """
        with explain_write_errors(self.folder):
            self._manager.wait_until_finished()
            write_json(self.folder / str(step) / METRICS / METRICS, {self.metric: metrics[self.metric]})

    def reread(self) -> None:
        """Looks again at what is on disk."""
        self._manager.reload()
        self._best = self._metric_of(self.best_step())

    def delete(self, step: int) -> None:
        """Deletes the checkpoint of a step; one that is under way is finished before."""
        with explain_write_errors(self.folder):
            self._manager.wait_until_finished()
            self._manager.delete(step)

    def restore(self, step: int, like: Any) -> Any:
        """Returns the state saved at `step`, placed and shaped as `like` (arrays or `jax.ShapeDtypeStruct`s)."""
        import orbax.checkpoint as ocp

        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # TensorStore's, for damaged arrays, is of no narrower kind
            raise UserError(
                f"cannot restore {self.folder / str(step)}: {first_line(error)}\n"
                f"If it was damaged, delete that folder and run the same command: it goes on from the one before, or "
                f"from the start of the phase."
            ) from error

    def close(self) -> None:
        """Waits and lets go of the folder; raises `UserError` where the last save failed."""
        with explain_write_errors(self.folder):
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()
                self._name.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def newest_step(folder: Path) -> int | None:
    """Returns the step of the newest whole checkpoint in a phase's folder; None where there is none.

    Only names are looked at: Orbax gives unfinished ones other names.
    """
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return max(steps, default=None)


def saved_steps(workdir: Path) -> dict[str, int]:
    """Returns the step of the newest whole checkpoint of each phase in a run's folder that has one."""
    folders = sorted((workdir / "checkpoints").glob("*"), key=lambda folder: folder.stat().st_mtime_ns)
    return {folder.name: step for folder in folders if (step := newest_step(folder)) is not None}


def said_of(steps: Mapping[str, int]) -> str:
    """Returns "saved: text to step 40, ..." of the steps of phases; "" where there are none."""
    saved = ", ".join(f"{phase} to step {step:,}" for phase, step in steps.items())
    return f"saved: {saved}" if saved else ""


def read_checkpoint(folder: Path, step: int | None = None) -> tuple[int, Any] | None:
    """Returns step and state of a whole checkpoint in a phase's folder, as dictionaries of NumPy arrays.

    It is that of `step`, or the newest; None where it is not there. Unlike `Checkpoints.restore` it need not know what
    was saved, nor on how many devices; nothing is written or cleaned up, for the training may be under way. `UserError`
    for a damaged one.
    """
    import orbax.checkpoint as ocp

    if not folder.is_dir():
        return None
    options = ocp.CheckpointManagerOptions(read_only=True)
    if jax.process_count() > 1:  # whoever reads does so alone
        me = jax.process_index()
        options.multiprocessing_options = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"alone_{me}"
        )
    with (
        contextlib.closing(PlainName(folder)) as name,
        ocp.CheckpointManager(name.path, options=options, item_handlers=ocp.StandardCheckpointHandler()) as manager,
    ):
        step = manager.latest_step() if step is None else step
        if step not in manager.all_steps():
            return None
        device = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
        try:
            saved = manager.item_metadata(step).tree
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), saved)
            return step, jax.tree.map(np.asarray, manager.restore(step, args=ocp.args.StandardRestore(like)))
        except Exception as error:  # as above
            raise UserError(
                f"cannot read {folder / str(step)}: {first_line(error)}\n"
                f"If it was damaged, delete that folder: training goes on from the one before."
            ) from error
