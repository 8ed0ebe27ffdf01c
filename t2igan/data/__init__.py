"""Captioned pictures from anywhere, as arrays: `open_dataset(config.data, "train")`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from t2igan.config import check_data
from t2igan.data.batches import Batches, prefetched
from t2igan.data.dataset import TEST_SPLITS, Dataset, Skipped, Source, read
from t2igan.data.reasons import reasons
from t2igan.data.sources import ACCEPTED, open_source
from t2igan.data.splits import configured, own_split
from t2igan.errors import UserError, nearest

__all__ = [
    "Batches",
    "Dataset",
    "Skipped",
    "check_usable",
    "list_splits",
    "open_dataset",
    "open_datasets",
    "prefetched",
]


def list_splits(data_config: Any) -> tuple[str, ...]:
    """Returns the names of the splits that `open_dataset` opens; UserError where there is no such data."""
    check_data(data_config)
    return tuple(_splits(open_source(data_config), data_config))


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
    names = _splits(source, data_config)
    own = source.splits()
    meant = names.get(split) or own_split(split, own, data_config)
    if meant is None and not _is_slice(source, split):
        raise UserError(
            f"{source.name} has no split {split!r}{nearest(split, names)}\n"
            f"There are: {', '.join(names)}. Set config.data.train_split and config.data.test_split."
        )
    train, test = data_config.train_split, data_config.test_split
    if _holds_out(source, data_config) and split in (train, test):
        part = "test" if split == test else "train"
        dataset = read(source, names[train] if own else "", data_config, part, name=split)
    else:
        dataset = read(source, (meant or split) if own else "", data_config, name=split)
        if own and meant not in (None, split):
            note = f"the data's own split {meant!r} is taken for {split!r}"
            dataset = dataclasses.replace(dataset, notes=(*dataset.notes, note))
    if not len(dataset):
        raise UserError(_nothing_usable(dataset, source, data_config))
    return dataset


def check_usable(dataset: Dataset, data_config: Any) -> None:
    """Raises `UserError` where fewer of a split's pictures can be used than `config.data.min_usable` asks for."""
    found = len(dataset) + len(dataset.skipped)
    if len(dataset) < data_config.min_usable * found:
        raise UserError(
            f"{dataset.name}, split {dataset.split!r}: only {len(dataset)} of {found} pictures can be used: "
            f"{reasons(dataset.skipped)}.\nMend them, or lower config.data.min_usable={data_config.min_usable} to go "
            "on with these."
        )


def _splits(source: Source, data_config: Any) -> dict[str, str]:
    """Returns the splits that can be opened: the configuration's name -> the data's own name of it."""
    train, test = data_config.train_split, data_config.test_split
    names = configured(source.splits(), data_config) or {train: train}
    return names | {test: test} if _holds_out(source, data_config) else names


def _holds_out(source: Source, data_config: Any) -> bool:
    """Whether the test split is to be cut out of the training split."""
    own = source.splits()
    train, test = data_config.train_split, data_config.test_split
    if data_config.test_fraction == 0 or own_split(test, own, data_config) or test == train or _is_slice(source, test):
        return False
    own_train = own_split(train, own, data_config)
    if not own or own == (own_train,):
        return True
    # Other splits are there: only a customary name is taken for a wish, since any other may be a slip.
    return bool((own_train or _is_slice(source, train)) and test in TEST_SPLITS and not set(own) & set(TEST_SPLITS))


def _is_slice(source: Source, split: str) -> bool:
    """Whether a split is a part of one, as TFDS writes it: "train[:10%]"."""
    return getattr(source, "slices", False) and any(split.startswith(f"{own}[") for own in source.splits())


def _nothing_usable(dataset: Dataset, source: Source, data_config: Any) -> str:
    """Returns why a split is empty, which file that lies there is to blame, and what to do."""
    where = f"{dataset.name}, split {dataset.split!r}"
    skipped = dataset.skipped
    if not skipped and dataset.split == data_config.test_split and _holds_out(source, data_config):
        # It is cut out of the training pictures, which are listed with what was left out of them.
        train = own_split(data_config.train_split, source.splits(), data_config)
        records, skipped = source.records(train)
        if records:
            left_out = f", and {len(skipped)} were left out: {reasons(skipped)}" if skipped else ""
            return (
                f"{where} is cut out of the training pictures, and of {len(records)} there is nothing to cut "
                f"off{left_out}.\nGive more pictures that can be used: two different ones are the least."
            )
    unread = [one for one in dataset.unread if "not needed" not in one.reason]
    beside = "; ".join(f"{one.file} ({one.reason})" for one in unread[:2])
    beside += f"; and {len(unread) - 2} more" if len(unread) > 2 else ""
    if not skipped:
        there = next((f" ({note})" for note in dataset.notes if note.startswith("what lies there")), "")
        return f"{where}: there is no picture{there}. Accepted: {ACCEPTED}."
    if not all(one.reason.startswith("no caption") for one in skipped):
        more = f" Not read: {beside}." if beside else ""
        return (
            f"{where}: not one of {len(skipped)} pictures can be used.\n"
            f"First: {skipped[0].file}. Reasons: {reasons(skipped)}.{more}"
        )
    said = f" Not read: {beside}." if beside else ""
    why = reasons(skipped).removeprefix("no caption: ")
    if any("its row has" in one.reason or " has '" in one.reason for one in skipped):
        advice = "Name the field that holds the caption: config.data.caption_field=NAME."
    elif data_config.caption_from_name:
        advice = f"Its template is {data_config.caption_from_name!r}, and the first name is {skipped[0].file!r}."
    else:
        advice = "Write it into NAME.txt beside NAME.png, or into metadata.jsonl or .csv (file_name, text)."
    return f"{where}: {len(skipped)} pictures, and not one has a caption: {why}.{said}\n{advice}"
