"""Captioned pictures from anywhere, as arrays: `open_dataset(config.data, "train")`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2igan.config import CONFIGURATIONS, get_config
from t2igan.data.batches import Batches, prefetched
from t2igan.data.dataset import Dataset, Listed, Skipped, Source, list_split, part_of
from t2igan.data.reasons import reasons
from t2igan.data.settings import check_data
from t2igan.data.sources import ACCEPTED, open_source
from t2igan.data.splits import Splits, find_splits, no_such_split
from t2igan.errors import UserError, counted

__all__ = [
    "Batches",
    "Dataset",
    "Skipped",
    "check_all_usable",
    "check_data",
    "check_usable",
    "different",
    "list_splits",
    "open_dataset",
    "open_datasets",
    "prefetched",
    "split_names",
]


def list_splits(data_config: Any) -> tuple[str, ...]:
    """Returns the names of the splits that `open_dataset` opens; UserError where there is no such data."""
    data_config = _data_of(data_config)
    check_data(data_config)
    return _splits_of(open_source(data_config), data_config).names


def open_dataset(data_config: Any, split: str) -> Dataset:
    """Opens one split of the data that a configuration names, decoded.

    `data_config` is a configuration, its group `data`, the name of a preset, or a file with `get_config()`.

    Where the data has no validation or no test split of its own, `val_fraction` and `test_fraction` of the training
    pictures become `val_split` and `test_split`, chosen by a hash of what is in their files. UserError for data or a
    split that is not there, and for a split in which no picture can be used; `check_usable` says whether enough of them
    can.
    """
    return open_datasets(data_config, [split])[0]


def open_datasets(data_config: Any, splits: Sequence[str]) -> list[Dataset]:
    """Opens several splits as `open_dataset` does; what lies there is listed and decoded once for all of them."""
    data_config = _data_of(data_config)
    check_data(data_config)
    source = open_source(data_config)
    known = _splits_of(source, data_config)
    listed: dict[str, Listed] = {}
    opened: dict[str, Dataset] = {}
    for split in dict.fromkeys(known.resolved(split, data_config) for split in splits):
        if split not in known.names and not _is_slice(source, split):
            raise no_such_split(source.name, split, known, data_config)
        base, part = known.part(split)
        if base not in listed:
            listed[base] = list_split(source, base, data_config)
        opened[split] = part_of(listed[base], data_config, part, split, known.held)
        if not len(opened[split]):
            raise UserError(_too_few(listed[base], opened[split]) or _nothing_usable(opened[split], data_config))
    return [opened[known.resolved(split, data_config)] for split in splits]


def _data_of(config: Any) -> Any:
    """The group `data` of whatever names a configuration."""
    if isinstance(config, str | Path):
        config = get_config(config)
    config = config.data if hasattr(config, "data") else config
    if not hasattr(config, "source"):
        raise UserError(f"config={config!r} must be {CONFIGURATIONS}")
    return config


def split_names(data_config: Any) -> tuple[str, str, str]:
    """Returns what the configuration calls the splits for training, validation and test."""
    return data_config.train_split, data_config.val_split, data_config.test_split


def check_usable(dataset: Dataset, data_config: Any) -> None:
    """Raises `UserError` where fewer of a split's pictures can be used than `config.data.min_usable` asks for."""
    found = len(dataset) + len(dataset.skipped)
    if len(dataset) < data_config.min_usable * found:
        raise UserError(
            f"{dataset.name}, split {dataset.split!r}: only {len(dataset)} of {found} pictures can be used: "
            f"{reasons(dataset.skipped)}.\nMend them, or lower config.data.min_usable={data_config.min_usable} to go "
            "on with these."
        )


def check_all_usable(datasets: Sequence[Dataset], data_config: Any) -> None:
    """Raises `UserError` where `check_usable` does for one of several splits."""
    for dataset in different(datasets):
        check_usable(dataset, data_config)


def different(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Returns the splits without those that are there twice, as where a run validates on the training split."""
    return list({dataset.split: dataset for dataset in reversed(datasets)}.values())[::-1]


def _splits_of(source: Source, data_config: Any) -> Splits:
    return find_splits(source.splits(), data_config, getattr(source, "slices", False))


def _is_slice(source: Source, split: str) -> bool:
    """Whether a split is a part of one, as TFDS writes it: "train[:10%]"."""
    return getattr(source, "slices", False) and any(split.startswith(f"{own}[") for own in source.splits())


def _too_few(listed: Listed, dataset: Dataset) -> str:
    """Returns what to do where pictures are too few to hold any out; "" where there is none at all."""
    num = len(listed.usable)
    if not num:
        return ""
    found = len(listed.records) + len(listed.skipped) - len(listed.found.failures)
    left_out = f" ({num} of {found} can be used: {reasons(listed.skipped)})" if listed.skipped else ""
    count = "1 picture is" if num == 1 else f"{num} pictures are"
    return (
        f"{dataset.name}, split {dataset.split!r}: {count} too few{left_out}: three different ones are the least, one "
        "each to train on, to validate (val) and to test on.\n"
        "Add pictures, or set config.data.val_split=train and config.data.test_split=train to look at the training "
        "pictures themselves."
    )


def _nothing_usable(dataset: Dataset, data_config: Any) -> str:
    """Returns why a split is empty, which file that lies there is to blame, and what to do."""
    where = f"{dataset.name}, split {dataset.split!r}"
    skipped = dataset.skipped
    unread = [one for one in dataset.unread if "not needed" not in one.reason]
    beside = "; ".join(f"{one.file} ({one.reason})" for one in unread[:2])
    beside += f"; and {len(unread) - 2} more" if len(unread) > 2 else ""
    more = f" Not read: {beside}." if beside else ""
    if not skipped:
        there = next((f" ({note})" for note in dataset.notes if note.startswith("what lies there")), "")
        return f"{where}: there is no picture{there}. Accepted: {ACCEPTED}."
    if not all(one.reason.startswith("no caption") for one in skipped):
        return (
            f"{where}: not one of {counted(len(skipped), 'picture')} can be used.\n"
            f"First: {skipped[0].file}. Reasons: {reasons(skipped)}.{more}"
        )
    why = reasons(skipped).removeprefix("no caption: ")
    if any("its row has" in one.reason or " has '" in one.reason for one in skipped):
        advice = "Name the field that holds the caption: config.data.caption_field=NAME."
    elif data_config.caption_from_name:
        advice = f"The template is {data_config.caption_from_name!r}, and the first name is {skipped[0].file!r}."
    else:
        advice = (
            "Write it into NAME.txt beside NAME.png, or into metadata.jsonl or .csv (file_name, text); where the names "
            'of files say it, set config.data.caption_from_name="{caption}_{}" or the like.'
        )
    return f"{where}: {counted(len(skipped), 'picture')}, and not one has a caption: {why}.{more}\n{advice}"
