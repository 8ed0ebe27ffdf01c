"""Saving and restoring: the only file that knows Orbax.

A *checkpoint* is all state, to go on: one Orbax folder a phase, written asynchronously, latest and best kept.
A *snapshot* is one `.safetensors` file, to use: averaged weights, tokenizer, configuration and metrics, readable
without the run and without Orbax.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan.errors import UserError

SNAPSHOT_FORMAT = "t2igan snapshot 1"
NETWORKS_FORMAT = "t2igan networks 1"


class Checkpoints:
    """The checkpoints of one phase, in one folder; step -> state.

    `metric` names the value by which the best is kept besides the latest; higher is better unless `lower_is_better`.
    """

    def __init__(self, folder: Path, metric: str = "", lower_is_better: bool = False):
        import orbax.checkpoint as ocp

        self.folder = folder
        self.metric = metric
        policies = ocp.checkpoint_managers
        keep = [policies.LatestN(1)]
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
        try:
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)
        except OSError as error:
            raise UserError(f"cannot write checkpoints to {folder}: {error.strerror or error}") from error

    def latest_step(self) -> int | None:
        """Returns the step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Returns the step of the best whole checkpoint by `metric`, or None."""
        return self._manager.best_step() if self.metric else None

    def save(self, step: int, state: Any, metrics: Mapping[str, Any] | None = None) -> None:
        """Starts to write `state`; returns before the disk is done. Raises `UserError` where the last one failed."""
        import orbax.checkpoint as ocp

        kept = {self.metric: metrics[self.metric]} if metrics and self.metric in metrics else None
        with explain_write_errors(self.folder):
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics=kept)

    def restore(self, step: int, like: Any) -> Any:
        """Returns the state saved at `step`, placed and shaped as `like` (arrays or `jax.ShapeDtypeStruct`s)."""
        import orbax.checkpoint as ocp

        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # TensorStore's, for damaged arrays, is of no narrower kind
            raise UserError(
                f"cannot restore {self.folder / str(step)}: {_first_line(error)}\n"
                f"If it was damaged, delete that folder and run the same command: it goes on from the one before, or "
                f"from the start of the phase."
            ) from error

    def wait(self) -> None:
        """Returns when everything is on disk; raises `UserError` where that failed."""
        with explain_write_errors(self.folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go of the folder; raises `UserError` where the last save failed."""
        with explain_write_errors(self.folder):
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def read_latest(folder: Path) -> tuple[int, Any] | None:
    """Returns step and state of the newest whole checkpoint in a phase's folder, as dictionaries of NumPy arrays.

    None where there is none. Unlike `Checkpoints.restore` it need not know what was saved, nor on how many devices;
    nothing is written or cleaned up, for the training may be under way. `UserError` for a damaged one.
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
    with ocp.CheckpointManager(
        folder.absolute(), options=options, item_handlers=ocp.StandardCheckpointHandler()
    ) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        device = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
        try:
            saved = manager.item_metadata(step).tree
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), saved)
            return step, jax.tree.map(np.asarray, manager.restore(step, args=ocp.args.StandardRestore(like)))
        except Exception as error:  # as above
            raise UserError(
                f"cannot read {folder / str(step)}: {_first_line(error)}\n"
                f"If it was damaged, delete that folder: training goes on from the one before."
            ) from error


class explain_write_errors:
    """Turns a failed write below `folder` (a full or read-only disk, mostly) into a `UserError`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None or not _is_disk_error(error):
            return False
        raise UserError(
            f"could not write below {self.folder}: {_first_line(error)}\n"
            f"What was saved before is whole. Free some space or mend the folder, then run the same command to go on."
        ) from error


def _is_disk_error(error: BaseException) -> bool:
    """Orbax and TensorStore report a failed write as OSError, ValueError or RuntimeError with the system's words."""
    words = ("No space left", "Read-only file system", "Permission denied", "File too large", "Disk quota", "ENOSPC")
    return isinstance(error, OSError) or any(word in str(error) for word in words)


def _first_line(error: BaseException) -> str:
    for words in ("No space left on device", "Read-only file system", "Permission denied", "File too large"):
        if words in str(error):
            return words
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a snapshot file holds."""

    params: dict[str, Any]  # "generator", "text", "inverter" where there is one: nested dictionaries of float32 arrays
    config: dict  # the whole configuration
    tokenizer: str  # JSON
    metrics: dict[str, Any]  # as `t2igan.evaluate` gave them
    info: dict[str, Any]  # step, images seen, versions
    digest: str = ""  # short hash of the weights
    model_card: str = ""  # Markdown; "" in snapshots on the way, and in those of before there were cards


def save_snapshot(path: Path, snapshot: Snapshot) -> str:
    """Writes one `.safetensors` file, whole or not at all; returns the short hash of its weights."""
    tensors = _tensors(snapshot.params)
    digest = _digest(tensors)
    metadata = {
        "format": SNAPSHOT_FORMAT,
        "config": json.dumps(snapshot.config, default=list),
        "tokenizer": snapshot.tokenizer,
        "metrics": json.dumps(snapshot.metrics),
        "info": json.dumps(snapshot.info),
        "digest": digest,
    }
    if snapshot.model_card:
        metadata["model_card"] = snapshot.model_card
    _write_tensors(path, tensors, metadata)
    return digest


def save_networks(path: Path, params: Mapping[str, Any]) -> None:
    """Writes parameters alone, by network, to a `.safetensors` file, whole or not at all."""
    _write_tensors(path, _tensors(params), {"format": NETWORKS_FORMAT})


def load_networks(path: Path) -> dict[str, Any]:
    """Reads what `save_networks` wrote. Raises `UserError` for anything else."""
    return _unflatten(_read_tensors(path, NETWORKS_FORMAT)[0])


def load_snapshot(path: Path) -> Snapshot:
    """Reads what `save_snapshot` wrote. Raises `UserError` for a file that is missing, cut short or something else."""
    tensors, metadata = _read_tensors(path, SNAPSHOT_FORMAT)
    return Snapshot(
        params=_unflatten(tensors),
        config=json.loads(metadata["config"]),
        tokenizer=metadata["tokenizer"],
        metrics=json.loads(metadata["metrics"]),
        info=json.loads(metadata["info"]),
        digest=metadata["digest"],
        model_card=metadata.get("model_card", ""),
    )


def put_model_card(path: Path, model_card: str, digest: str) -> bool:
    """Puts a card into a snapshot; leaves alone one that has it already, or whose weights have another hash.

    The other hash means that a training went on meanwhile: its newer snapshot must not be replaced by what was read
    before. Returns whether the snapshot has the card now.
    """
    snapshot = load_snapshot(path)
    if snapshot.digest != digest:
        return False
    if snapshot.model_card != model_card:
        save_snapshot(path, dataclasses.replace(snapshot, model_card=model_card))
    return True


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2, default=list) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)  # noqa: PTH105


def _tensors(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, order="C") for name, value in _flatten(params).items()}


def _write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    from safetensors.numpy import save_file

    unfinished = path.with_name(path.name + ".unfinished")
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(dict(tensors), unfinished, metadata=dict(metadata))
        except Exception as error:
            unfinished.unlink(missing_ok=True)
            # safetensors has an exception of its own for a failed write
            raise OSError(str(error)) from error
        os.replace(unfinished, path)  # noqa: PTH105 - atomic, and says so


def _read_tensors(path: Path, file_format: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there is no snapshot {path}; give a run's folder or a .safetensors file that t2igan wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a whole .safetensors file ({_first_line(error)}); copy it again or write a new one with "
            f"`python run.py --config=... --workdir=...`"
        ) from error
    if metadata.get("format") != file_format:
        raise UserError(f"{path} is a .safetensors file, but not a snapshot of t2igan ({file_format!r})")
    return tensors, metadata


def _flatten(tree: Mapping, prefix: str = "") -> dict[str, np.ndarray]:
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}/{key}" if prefix else key
        flat |= _flatten(value, name) if isinstance(value, Mapping) else {name: np.asarray(value)}
    return flat


def _unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        hashed.update(name.encode())
        hashed.update(tensors[name].tobytes())
    return hashed.hexdigest()[:12]
