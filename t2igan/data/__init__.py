"""Captioned pictures from anywhere, as arrays: `open_dataset(config.data, "train")`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from t2igan.data.batches import Batches, prefetched
from t2igan.data.dataset import TEST_SPLITS, Dataset, Skipped, Source, read
from t2igan.data.settings import check_data
from t2igan.data.sources import ACCEPTED, open_source
from t2igan.errors import UserError, nearest

__all__ = [
    "Batches",
    "Dataset",
    "Skipped",
    "check_data",
    "check_usable",
    "list_splits",
    "open_dataset",
    "open_datasets",
    "prefetched",
]


def list_splits(data_config: Any) -> tuple[str, ...]:
    """Returns the names of the splits that `open_dataset` opens; UserError where there is no such data."""
    check_data(data_config)
    return _splits(open_source(data_config), data_config)


def open_dataset(data_config: Any, split: str) -> Dataset:
    """Opens one split of the data that `data_config` (the `data` group of a configuration) names, decoded.

    Where the data has no test split of its own, `test_fraction` of the training pictures become `test_split`, chosen
    by a hash of what is in their files. UserError for data or a split that is not there, and for a split in which no
    picture can be used; `check_usable` says whether enough of them can.
    """
    return open_datasets(data_config, [split])[0]


def open_datasets(data_config: Any, splits: Sequence[str]) -> list[Dataset]:
    """Opens several splits as `open_dataset` does; what lies there is listed once for all of them."""
    check_data(data_config)
    source = open_source(data_config)
    return [_open(source, data_config, split) for split in splits]


def _open(source: Source, data_config: Any, split: str) -> Dataset:
    splits = _splits(source, data_config)
    if split not in splits and not _is_slice(source, split):
        raise UserError(
            f"{source.name} has no split {split!r}{nearest(split, splits)}\n"
            f"There are: {', '.join(splits)}. Set config.data.train_split and config.data.test_split."
        )
    own = source.splits()
    train, test = data_config.train_split, data_config.test_split
    if _holds_out(source, data_config) and split in (train, test):
        part = "test" if split == test else "train"
        dataset = read(source, train if own else "", data_config, part, name=split)
    else:
        dataset = read(source, split if own else "", data_config, name=split)
    if not len(dataset):
        raise UserError(_nothing_usable(dataset))
    return dataset


def check_usable(dataset: Dataset, data_config: Any) -> None:
    """Raises `UserError` where fewer of a split's pictures can be used than `config.data.min_usable` asks for."""
    found = len(dataset) + len(dataset.skipped)
    if len(dataset) < data_config.min_usable * found:
        raise UserError(
            f"{dataset.name}, split {dataset.split!r}: only {len(dataset)} of {found} pictures can be used: "
            f"{_reasons(dataset.skipped)}.\nMend them, or lower config.data.min_usable={data_config.min_usable} to go "
            "on with these."
        )


def _splits(source: Source, data_config: Any) -> tuple[str, ...]:
    own = source.splits() or (data_config.train_split,)
    return (*own, data_config.test_split) if _holds_out(source, data_config) else own


def _holds_out(source: Source, data_config: Any) -> bool:
    """Whether the test split is to be cut out of the training split."""
    own = source.splits()
    train, test = data_config.train_split, data_config.test_split
    if data_config.test_fraction == 0 or test in own or test == train or _is_slice(source, test):
        return False
    if not own or own == (train,):
        return True
    # Other splits are there: only a customary name is taken for a wish, since any other may be a slip.
    return (train in own or _is_slice(source, train)) and test in TEST_SPLITS and not set(own) & set(TEST_SPLITS)


def _is_slice(source: Source, split: str) -> bool:
    """Whether a split is a part of one, as TFDS writes it: "train[:10%]"."""
    return getattr(source, "slices", False) and any(split.startswith(f"{own}[") for own in source.splits())


def _nothing_usable(dataset: Dataset) -> str:
    where = f"{dataset.name}, split {dataset.split!r}"
    if not dataset.skipped:
        return f"{where}: there is no picture. Accepted: {ACCEPTED}."
    if all(s.reason.startswith("no caption") for s in dataset.skipped):
        return (
            f"{where}: {len(dataset.skipped)} pictures, and not one has a caption.\n"
            "Write it into NAME.txt beside NAME.png, or into metadata.jsonl or .csv (file_name, text)."
        )
    first = dataset.skipped[0].file
    return (
        f"{where}: not one of {len(dataset.skipped)} pictures can be used.\n"
        f"First: {first}. Reasons: {_reasons(dataset.skipped)}."
    )


def _reasons(skipped: tuple[Skipped, ...]) -> str:
    counts = Counter(s.reason for s in skipped).most_common(3)
    return "; ".join(f"{reason} ({count})" for reason, count in counts)
