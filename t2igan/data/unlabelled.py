"""Pictures without captions: more of them for what learns from pictures alone (`config.data.unlabelled_source`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.data.cache import decoded
from t2igan.data.dataset import UNKNOWN, Dataset
from t2igan.data.decode import Decoding
from t2igan.data.rows import Joined
from t2igan.data.sources import open_source
from t2igan.data.sources.folder import walk
from t2igan.data.sources.names import kind_of
from t2igan.data.stored import InFile, Stored
from t2igan.errors import UserError

BLANK = " "  # stands where a caption would
CAPTIONED = "captioned"  # the column of batches with such pictures: 1 for those that have a caption, 0 for the others


def open_unlabelled(data_config: Any) -> Dataset:
    """Returns the pictures of `config.data.unlabelled_source`, decoded as those of `config.data.source` are.

    A folder gives every picture in it and below. Anything else that `config.data.source` may name gives the pictures of
    all its splits; captions are not looked at, and are blanks. UserError where there is no such source, or no picture
    that can be used.
    """
    name = str(data_config.unlabelled_source)
    path = Path(name).expanduser()
    places = _in_folder(path, data_config.follow_links) if path.is_dir() else _in_source(data_config, name)
    files, how = list(places), Decoding.of(data_config)
    found = decoded(list(places.values()), files, how, data_config) if files else None
    if found is None or len(found.failures) == len(files):
        raise UserError(
            f"config.data.unlabelled_source={name!r} has no picture that can be used ({len(files):,} found); give a "
            f"folder of pictures, or a source as config.data.source may be"
        )
    assert found.images is not None
    rows = np.array([row for row in range(len(files)) if row not in found.failures])
    return Dataset(
        name=name,
        split="unlabelled",
        images=found.images if len(rows) == len(files) else found.images[rows],
        captions=((BLANK,),) * len(rows),
        content=found.content[rows],
        decoding=repr(how),
    )


def with_unlabelled(dataset: Dataset, images: Any) -> Dataset:
    """Returns a split with more pictures, or codes, whose captions are a blank: for who does not read those."""
    more = ((BLANK,),) * len(images)
    repeats = dataset.repeats
    return dataclasses.replace(
        dataset,
        images=Joined(dataset.images, images),
        captions=(*dataset.captions, *more),
        attributes=None,
        content=None,
        signatures=None,
        sizes=None,
        transparent=None,
        repeats=None if repeats is None else np.concatenate([repeats, np.ones(len(images), repeats.dtype)]),
    )


def columns_with_unlabelled(columns: Mapping[str, np.ndarray], num: int, more: int) -> dict[str, np.ndarray]:
    """Returns columns of `num` pictures for as many, and `more` without captions: of those, all is unknown (-1).

    A further column, `CAPTIONED`, int32 [num + more], says which are which.
    """
    padded = {
        name: np.concatenate([of_one, np.full((more, *of_one.shape[1:]), UNKNOWN, of_one.dtype)])
        for name, of_one in columns.items()
    }
    return padded | {CAPTIONED: (np.arange(num + more) < num).astype(np.int32)}


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
