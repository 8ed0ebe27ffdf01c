"""Data that Python code gives to a training, rather than its configuration names."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from t2igan.data.dataset import Dataset
from t2igan.data.memory import content_of, described, signatures_of
from t2igan.data.splits import Held, parts
from t2igan.errors import UserError

GIVEN = "given:"  # how `config.data.source` begins for data that lies on no disk


def given_data(
    config: ConfigDict, dataset: Dataset | None, val_dataset: Dataset | None = None, test_dataset: Dataset | None = None
) -> tuple[ConfigDict, tuple[Dataset, Dataset, Dataset] | None]:
    """Returns the configuration, and train, val and test of data that was given; None where it names its data.

    Raises:
      UserError: what is given is no `Dataset`, or has not the size that the configuration says.
    """
    given = {"dataset": dataset, "val_dataset": val_dataset, "test_dataset": test_dataset}
    if all(one is None for one in given.values()):
        return config, None
    for what, value in given.items():
        if not isinstance(value, Dataset) and (what == "dataset" or value is not None):
            raise UserError(
                f"{what}={described(value)} must be a t2igan.Dataset; t2igan.Dataset.from_arrays(images, captions) "
                f"makes one, or leave it out and set config.data.source"
            )
    assert dataset is not None
    train, val, test = _parted(dataset, val_dataset, test_dataset, config.data)
    for what, one in (("dataset", train), ("val_dataset", val), ("test_dataset", test)):
        _check_fits(one, what, config)
    config = config.copy_and_resolve_references()  # the caller's own keeps its source
    with config.unlocked():
        config.data.source = f"{GIVEN}{train.name}"
    names = config.data.train_split, config.data.val_split, config.data.test_split
    train, val, test = (dataclasses.replace(one, split=n) for one, n in zip((train, val, test), names, strict=True))
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
            f"{size} and config.data.channels={channels}; change these, or give Dataset.from_arrays size_px={size}, "
            f"channels={channels}"
        )


def _parted(
    dataset: Dataset, val: Dataset | None, test: Dataset | None, data_config: ConfigDict
) -> tuple[Dataset, Dataset, Dataset]:
    """Holds out of the data what is not given of validation and test, by a hash of the pictures, as from a folder."""
    held = Held(
        val=0.0 if val is not None else data_config.val_fraction,
        test=0.0 if test is not None else data_config.test_fraction,
        least=data_config.min_held_out,
    )
    content = content_of(dataset.images) if dataset.content is None else dataset.content
    signatures = signatures_of(dataset.images) if dataset.signatures is None else dataset.signatures
    part = parts(content, signatures, held)
    found = {"val": val, "test": test}
    for name in ("val", "test"):
        if found[name] is None:
            if not (part == name).any():
                raise UserError(
                    f"nothing of {len(dataset)} pictures can be held out for {name} (config.data.{name}_fraction="
                    f"{data_config[f'{name}_fraction']}); give {name}_dataset, or a larger fraction"
                )
            found[name] = dataset.take(part == name)
    val, test = found["val"], found["test"]
    assert val is not None and test is not None
    return dataset.take(part == "train"), val, test
