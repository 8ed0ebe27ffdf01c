"""Pictures without captions: more of them for what learns from pictures alone (`config.data.unlabelled_source`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from t2igan.data.cache import decoded
from t2igan.data.dataset import Dataset
from t2igan.data.decode import Decoding
from t2igan.data.sources import open_source
from t2igan.data.sources.folder import walk
from t2igan.data.sources.names import kind_of
from t2igan.data.stored import InFile, Stored
from t2igan.errors import UserError


def open_unlabelled(data_config: Any) -> UInt8[np.ndarray, "N H W C"]:
    """Returns the pictures of `config.data.unlabelled_source`, decoded as those of `config.data.source` are.

    A folder gives every picture in it and below. Anything else that `config.data.source` may name gives the pictures of
    all its splits; captions are not looked at. UserError where there is no such source, or no picture that can be used.
    """
    name = str(data_config.unlabelled_source)
    path = Path(name).expanduser()
    places = _in_folder(path, data_config.follow_links) if path.is_dir() else _in_source(data_config, name)
    files = list(places)
    found = decoded(list(places.values()), files, Decoding.of(data_config), data_config) if files else None
    if found is None or len(found.failures) == len(files):
        raise UserError(
            f"config.data.unlabelled_source={name!r} has no picture that can be used ({len(files):,} found); give a "
            f"folder of pictures, or a source as config.data.source may be"
        )
    assert found.images is not None
    rows = np.array([row for row in range(len(files)) if row not in found.failures])
    return found.images if len(rows) == len(files) else found.images[rows]


def with_unlabelled(dataset: Dataset, images: UInt8[np.ndarray, "M H W C"]) -> Dataset:
    """Returns a split with more pictures, whose captions are a blank; only for who does not read captions."""
    more = ((" ",),) * len(images)
    return dataclasses.replace(
        dataset,
        images=np.concatenate([np.asarray(dataset.images), images]),
        captions=(*dataset.captions, *more),
        attributes=None,
        content=None,
        sizes=None,
    )


def _in_folder(path: Path, follow_links: bool) -> dict[str, Stored]:
    names, _ = walk(path, follow_links)
    return {name: InFile.of(path / name) for name in sorted(names) if kind_of(name) == "picture"}


def _in_source(data_config: Any, name: str) -> dict[str, Stored]:
    config = data_config.copy_and_resolve_references()
    with config.unlocked():
        config.source = name
    source = open_source(config)
    records = [record for split in source.splits() or (None,) for record in source.records(split)[0]]
    return {f"{number} {record.file}": record.image for number, record in enumerate(records)}
