"""Snapshots: a trained model in one `.safetensors` file, to use and to share.

It holds averaged weights, tokenizer, configuration and metrics, and is readable without the run and without Orbax.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t2igan import __version__
from t2igan.errors import UserError, command
from t2igan.inference.files import first_line, write_tensors

SNAPSHOT_FORMAT = "t2igan snapshot 1"
NETWORKS_FORMAT = "t2igan networks 1"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a snapshot file holds."""

    # "generator", "text", and what else there is of "inverter", "captioner", "image", "matching", "space": nested
    # dictionaries of float32 arrays;
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
    if snapshot.pretrained:
        metadata["pretrained"] = json.dumps(snapshot.pretrained)
    write_tensors(path, tensors, metadata)
    return digest


def save_networks(path: Path, params: Mapping[str, Any]) -> None:
    """Writes parameters alone, by network, to a `.safetensors` file, whole or not at all."""
    write_tensors(path, _tensors(params), {"format": NETWORKS_FORMAT})


def load_networks(path: Path) -> dict[str, Any]:
    """Reads what `save_networks` wrote. Raises `UserError` for anything else."""
    return unflatten(_read_tensors(path, NETWORKS_FORMAT)[0])


def load_snapshot(path: Path, with_weights: bool = True) -> Snapshot:
    """Reads what `save_snapshot` wrote; without weights, quickly, all but `params`.

    Raises `UserError` for a file that is missing, cut short or something else.
    """
    tensors, metadata = _read_tensors(path, SNAPSHOT_FORMAT, names_only=not with_weights)
    return Snapshot(
        params=unflatten(tensors),
        config=json.loads(metadata["config"]),
        tokenizer=metadata["tokenizer"],
        metrics=json.loads(metadata["metrics"]),
        info=json.loads(metadata["info"]),
        digest=metadata["digest"],
        model_card=metadata.get("model_card", ""),
        pretrained=json.loads(metadata.get("pretrained", "{}")),
    )


def read_metrics(path: Path) -> dict[str, Any]:
    """Returns the metrics of a snapshot without reading its weights. Raises `UserError` as `load_snapshot` does."""
    return load_snapshot(path, with_weights=False).metrics


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


def _read_tensors(
    path: Path, file_format: str, names_only: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there is no snapshot {path}; give a run's folder or a .safetensors file that t2igan wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in ([] if names_only else file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a whole .safetensors file ({first_line(error)}); copy it again or write a new one with "
            f"`{command('train', config='...', workdir='...')}`"
        ) from error
    if metadata.get("format") != file_format:
        kind, _, version = metadata.get("format", "").rpartition(" ")
        if kind == file_format.rpartition(" ")[0] and version.isdigit():  # what a later t2igan writes
            raise UserError(
                f"{path} was written by a newer t2igan ({metadata['format']!r}; this one, {__version__}, reads "
                f"{file_format!r}): pip install --upgrade t2igan"
            )
        raise UserError(f"{path} is a .safetensors file, but not a snapshot of t2igan ({file_format!r})")
    return tensors, metadata


def flatten(tree: Mapping, prefix: str = "") -> dict[str, np.ndarray]:
    """Returns {"generator/params/base/kernel": array} of nested dictionaries of arrays."""
    flat: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        name = f"{prefix}/{key}" if prefix else key
        flat |= flatten(value, name) if isinstance(value, Mapping) else {name: np.asarray(value)}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested dictionaries of what `flatten` returned."""
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
