"""Data that Python code gives to a training, rather than its configuration names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from t2igan.data.alike import signature
from t2igan.data.dataset import Dataset
from t2igan.data.memory import content_of, described
from t2igan.data.splits import Held, parts
from t2igan.errors import UserError

GIVEN = "given:"  # how `config.data.source` begins for data that lies on no disk


def given_data(
    config: ConfigDict, dataset: Dataset | None, val_dataset: Dataset | None, test_dataset: Dataset | None
) -> tuple[ConfigDict, tuple[Dataset, Dataset, Dataset] | None]:
    """Returns the configuration and the three splits of data given to a training; None where it names its data.

    Raises:
      UserError: what is given is no `Dataset`, or has not the size that the configuration says.
    """
    given = {"dataset": dataset, "val_dataset": val_dataset, "test_dataset": test_dataset}
    if all(value is None for value in given.values()):
        return config, None
    for what, value in given.items():
        if not isinstance(value, Dataset) and not (what != "dataset" and value is None):
            raise UserError(
                f"{what}={described(value)} must be a t2igan.Dataset; t2igan.Dataset.from_arrays(images, captions) "
                f"makes one, or leave it out and set config.data.source"
            )
    given |= _held_out(given, config.data)
    for what, value in given.items():
        _check_fits(value, what, config)
    config = config.copy_and_resolve_references()  # the caller's own keeps its source
    with config.unlocked():
        config.data.source = f"{GIVEN}{given['dataset'].name}"
    names = config.data.train_split, config.data.val_split, config.data.test_split
    splits = (dataclasses.replace(value, split=name) for value, name in zip(given.values(), names, strict=True))
    train, val, test = splits
    return config.lock(), (train, val, test)


def _check_fits(dataset: Dataset, what: str, config: ConfigDict) -> None:
    """Raises `UserError` where data is empty or of another size than the configuration says."""
    if not len(dataset):
        raise UserError(f"{what} has no picture")
    size, channels = config.data.image_size_px, config.data.channels
    if tuple(dataset.images.shape[1:]) != (size, size, channels):
        height, width, has = dataset.images.shape[1:]
        raise UserError(
            f"the pictures of {what} are {height} x {width} px with {has} channels, but config.data.image_size_px="
            f"{size} and config.data.channels={channels}; change these, or give Dataset.from_arrays size_px={size}"
        )


def _held_out(given: Mapping[str, Any], data_config: Any) -> dict[str, Dataset]:
    """Cuts the splits that are not given out of the first, by a hash of the pictures, as from a folder."""
    shares = {part: data_config[f"{part}_fraction"] for part in ("val", "test") if given[f"{part}_dataset"] is None}
    if not shares:
        return {}
    dataset = given["dataset"]
    content = content_of(dataset.images) if dataset.content is None else dataset.content
    signatures = dataset.signatures
    if signatures is None:
        signatures = np.stack([signature(pixels) for pixels in dataset.images])
    part_of = parts(content, signatures, Held(**shares, least=data_config.min_held_out))
    for part, share in shares.items():
        if not (part_of == part).any():
            raise UserError(
                f"nothing of {len(dataset)} pictures can be held out for {part} (config.data.{part}_fraction={share}); "
                f"give a {part}_dataset, or a larger fraction"
            )
    cut = {f"{part}_dataset": dataset.take(part_of == part) for part in shares}
    return {"dataset": dataset.take(part_of == "train"), **cut}
