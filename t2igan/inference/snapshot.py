"""Snapshots: a trained model in one `.safetensors` file, to use and to share.

It holds averaged weights, tokenizer, configuration and metrics, and is readable without the run and without Orbax. Such
files go from hand to hand, so nothing that one says is believed before it is checked: docs/trust.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan.config.strict_json import read_group
from t2igan.errors import UserError
from t2igan.inference.files import first_line, write_tensors
from t2igan.inference.private import without_folders, without_private
from t2igan.inference.tensor_file import TensorFile, not_whole, open_tensors

DATA_CARD_NAME = "data_card.md"  # beside snapshots of a run: what the data says of itself
SNAPSHOT_FORMAT = "t2igan snapshot 1"
NETWORKS_FORMAT = "t2igan networks 1"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a snapshot file holds."""

    # "generator", "text", and what else there is of "inverter", "captioner", "completer", "image", "matching",
    # "space": nested dictionaries of float32 arrays;
    # "pretrained", float16, where the text encoder reads a frozen model's vectors and the snapshot is to hold that
    params: dict[str, Any]
    config: dict  # the whole configuration
    tokenizer: str  # JSON
    metrics: dict[str, Any]  # as `t2igan.evaluate` gave them
    info: dict[str, Any]  # step, images seen, versions
    digest: str = ""  # short hash of the weights
    model_card: str = ""  # Markdown; "" in snapshots on the way, and in those of before there were cards
    # Of a pretrained text encoder: `TextModel.description` and "mode"; {} where it is none.
    pretrained: dict[str, Any] = dataclasses.field(default_factory=dict)
    # `t2igan.data.seen.Seen` of the training captions, as JSON; {} in snapshots of before, and where it is not wished.
    seen: dict[str, Any] = dataclasses.field(default_factory=dict)


def save_snapshot(path: Path, snapshot: Snapshot) -> str:
    """Writes one `.safetensors` file, whole or not at all; returns the short hash of its weights."""
    tensors = _tensors(snapshot.params)
    digest = _digest(tensors)
    metadata = {
        "format": SNAPSHOT_FORMAT,
        "config": json.dumps(without_private(snapshot.config), default=list),
        "tokenizer": snapshot.tokenizer,
        "metrics": json.dumps(without_folders(snapshot.metrics)),
        "info": json.dumps(without_folders(snapshot.info)),
        "digest": digest,
    }
    if snapshot.model_card:
        metadata["model_card"] = snapshot.model_card
    if snapshot.pretrained:
        found_by_name = snapshot.pretrained.get("mode") == "frozen" and "pretrained" not in snapshot.params
        kept = snapshot.pretrained if found_by_name else without_folders(snapshot.pretrained, "name")
        metadata["pretrained"] = json.dumps(kept)
    if snapshot.seen:
        metadata["seen"] = json.dumps(snapshot.seen)
    write_tensors(path, tensors, metadata)
    return digest


def save_networks(path: Path, params: Mapping[str, Any]) -> None:
    """Writes parameters alone, by network, to a `.safetensors` file, whole or not at all."""
    write_tensors(path, _tensors(params), {"format": NETWORKS_FORMAT})


def load_networks(path: Path) -> dict[str, Any]:
    """Reads what `save_networks` wrote. Raises `UserError` for anything else."""
    with _opened(path, NETWORKS_FORMAT) as file:
        return unflatten(file.read(), path)


@dataclasses.dataclass(frozen=True)
class SnapshotFile:
    """An open snapshot: what it says of itself, and its weights once they are asked for."""

    described: Snapshot  # `params` are `jax.ShapeDtypeStruct`s
    _file: TensorFile

    def read(self) -> Snapshot:
        """Returns the snapshot with its weights.

        Raises:
          UserError: a weight is not finite or absurdly large, or the hash of the weights is not the one it gives.
        """
        tensors = self._file.read()
        digest = _digest(tensors)
        if digest != self.described.digest:
            raise UserError(
                f"{self._file.path}: its weights have the hash {digest}, and it says {self.described.digest}; the file "
                f"was changed or damaged, so get it once more from whoever made it"
            )
        return dataclasses.replace(self.described, params=unflatten(tensors, self._file.path))


@contextlib.contextmanager
def open_snapshot(path: Path) -> Iterator[SnapshotFile]:
    """Opens what `save_snapshot` wrote, without reading its weights yet.

    Raises:
      UserError: the file is missing, cut short or something else, or contradicts itself.
    """
    with _opened(path, SNAPSHOT_FORMAT) as file:
        shapes = {name: jax.ShapeDtypeStruct(placed.shape, placed.dtype) for name, placed in file.tensors.items()}
        yield SnapshotFile(_described(path, unflatten(shapes, path), file.metadata), file)


def load_snapshot(path: Path, with_weights: bool = True) -> Snapshot:
    """Reads what `save_snapshot` wrote; whether the weights fit the configuration is for `t2igan.load` to see.

    Without weights `params` holds `jax.ShapeDtypeStruct`s, and the file is read in no time.

    Raises:
      UserError: the file is missing, cut short or something else, contradicts itself, or its weights have another hash
        than it says.
    """
    with open_snapshot(path) as file:
        return file.read() if with_weights else file.described


def read_metrics(path: Path) -> dict[str, Any]:
    """Returns the metrics of a snapshot without reading its weights. Raises `UserError` as `load_snapshot` does."""
    with open_snapshot(path) as file:
        return file.described.metrics


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


def _tensors(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, order="C") for name, value in flatten(params).items()}


@contextlib.contextmanager
def _opened(path: Path, file_format: str) -> Iterator[TensorFile]:
    if not path.is_file():
        raise UserError(f"there is no snapshot {path}; give a run's folder or a .safetensors file that t2igan wrote")
    try:
        with path.open("rb") as file:
            yield open_tensors(path, file, file_format)
    except (OSError, MemoryError) as error:
        raise not_whole(path, first_line(error)) from error


def _described(path: Path, params: dict[str, Any], metadata: Mapping[str, str]) -> Snapshot:
    """What a snapshot says of itself; `UserError` where a part is missing or no JSON."""
    if missing := [name for name in ("config", "tokenizer", "metrics", "info", "digest") if name not in metadata]:
        raise UserError(f"{path} is no whole snapshot: it has no {missing[0]!r}")
    if not re.fullmatch("[0-9a-f]{12}", metadata["digest"]):
        raise UserError(f"{path}: its hash of the weights is {metadata['digest'][:40]!r}, not 12 hexadecimal digits")
    groups = {
        name: read_group(metadata.get(name, "{}"), f"{path}: its part {name!r}")
        for name in ("config", "metrics", "info", "pretrained", "seen")
    }
    return Snapshot(
        params=params,
        tokenizer=metadata["tokenizer"],
        digest=metadata["digest"],
        model_card=metadata.get("model_card", ""),
        **groups,
    )


def flatten(tree: Mapping, prefix: str = "") -> dict[str, np.ndarray]:
    """Returns {"generator/params/base/kernel": array} of nested dictionaries of arrays."""
    flat: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        name = f"{prefix}/{key}" if prefix else key
        flat |= flatten(value, name) if isinstance(value, Mapping) else {name: np.asarray(value)}
    return flat


def unflatten(flat: Mapping[str, Any], path: Path | str = "the weights") -> dict[str, Any]:
    """Returns nested dictionaries of what `flatten` returned; `UserError` where two names are in each other's way."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        node: Any = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or leaf in node:
            raise UserError(f"{path}: the tensor {name[:80]!r} has the name of another one, or of a group of them")
        node[leaf] = value
    return tree


def digest_of(params: Mapping[str, Any]) -> str:
    """Returns the short hash that `save_snapshot` gives to weights."""
    return _digest(_tensors(params))


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        hashed.update(name.encode())
        hashed.update(tensors[name].tobytes())
    return hashed.hexdigest()[:12]
