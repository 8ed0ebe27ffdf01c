"""Data that Python code gives to a training, rather than its configuration names."""

from __future__ import annotations

import dataclasses

import numpy as np
from ml_collections import ConfigDict

from t2igan.data.dataset import Dataset
from t2igan.data.memory import content_of, described
from t2igan.data.splits import Held, divide
from t2igan.errors import UserError

GIVEN = "given:"  # how `config.data.source` begins for data that lies on no disk


def given_data(
    config: ConfigDict, dataset: Dataset | None, test_dataset: Dataset | None
) -> tuple[ConfigDict, tuple[Dataset, Dataset] | None]:
    """Returns the configuration and both splits of data that was given to a training; None where it names its data.

    Raises:
      UserError: what is given is no `Dataset`, or has not the size that the configuration says.
    """
    if dataset is None and test_dataset is None:
        return config, None
    for what, value in (("dataset", dataset), ("test_dataset", test_dataset)):
        if not isinstance(value, Dataset) and not (what == "test_dataset" and value is None):
            raise UserError(
                f"{what}={described(value)} must be a t2igan.Dataset; t2igan.Dataset.from_arrays(images, captions) "
                f"makes one, or leave it out and set config.data.source"
            )
    assert dataset is not None
    if test_dataset is None:
        dataset, test_dataset = _parted(dataset, Held(test=config.data.test_fraction, least=config.data.min_held_out))
    train, test = (_fitting(*one, config) for one in ((dataset, "dataset"), (test_dataset, "test_dataset")))
    config = config.copy_and_resolve_references()  # the caller's own keeps its source
    with config.unlocked():
        config.data.source = f"{GIVEN}{train.name}"
    train = dataclasses.replace(train, split=config.data.train_split)
    return config.lock(), (train, dataclasses.replace(test, split=config.data.test_split))


def _fitting(dataset: Dataset, what: str, config: ConfigDict) -> Dataset:
    """The data itself; UserError where it is empty or of another size than the configuration says."""
    if not len(dataset):
        raise UserError(f"{what} has no picture")
    size, channels = config.data.image_size_px, config.data.channels
    if tuple(dataset.images.shape[1:]) != (size, size, channels):
        height, width, has = dataset.images.shape[1:]
        raise UserError(
            f"the pictures of {what} are {height} x {width} px with {has} channels, but config.data.image_size_px="
            f"{size} and config.data.channels={channels}; change these, or give Dataset.from_arrays size_px={size}"
        )
    return dataset


def _parted(dataset: Dataset, held: Held) -> tuple[Dataset, Dataset]:
    """Cuts a test split out of the data, by a hash of the pictures, as from a folder."""
    content = content_of(dataset.images) if dataset.content is None else dataset.content
    ranks = content[:, 8:].copy().view(">u8")[:, 0].astype(np.float64) / 2.0**64
    out = divide(ranks, held) == "test"
    if not out.any():
        raise UserError(
            f"nothing of {len(dataset)} pictures can be held out to test on (config.data.test_fraction={held.test}); "
            f"give a test_dataset, or a larger fraction"
        )
    return dataset.take(~out), dataset.take(out)
