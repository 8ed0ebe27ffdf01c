"""Captioned pictures from anywhere, as arrays: `open_dataset(config.data, "train")`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from t2igan.data.batches import Batches
from t2igan.data.dataset import TEST_SPLITS, Dataset, Record, Skipped, Source, held_out, read
from t2igan.errors import UserError, nearest

__all__ = ["Batches", "Dataset", "Skipped", "list_splits", "open_dataset"]

ACCEPTED = (
    '"pixel_avatars" (embedded), "tfds:NAME", a folder of pictures with captions, a .parquet file or a folder of them'
)


def list_splits(data_config: Any) -> tuple[str, ...]:
    """Returns the names of the splits that `open_dataset` opens; UserError where there is no such data."""
    _check(data_config)
    source = _open_source(data_config)
    return _splits(source, data_config)


def open_dataset(data_config: Any, split: str) -> Dataset:
    """Opens one split of the data that `data_config` (the `data` group of a configuration) names, decoded.

    Where the data has no test split of its own, `test_fraction` of the training pictures become
    `test_split`, chosen by a hash of the file name. UserError for data or a split that is not there, and for
    a split in which no picture can be used.
    """
    _check(data_config)
    source = _open_source(data_config)
    splits = _splits(source, data_config)
    if split not in splits:
        raise UserError(
            f"{source.name} has no split {split!r}{nearest(split, splits)}\n"
            f"There are: {', '.join(splits)}. Set config.data.train_split and config.data.test_split."
        )
    records, skipped = _records(source, split, data_config)
    dataset = read(source, split, records, skipped, data_config)
    if not len(dataset):
        raise UserError(_nothing_usable(source, split, dataset.skipped))
    return dataset


def _open_source(data_config: Any) -> Source:
    name = data_config.source
    if name == "pixel_avatars":
        from t2igan.data.avatars import Avatars

        return Avatars()
    if name.startswith("tfds:"):
        from t2igan.data.tfds import Tfds

        return Tfds(data_config)
    path = Path(name).expanduser()
    if name and path.suffix.lower() == ".parquet" and path.is_file():
        from t2igan.data.table import Table

        return Table(data_config, path)
    if name and path.is_dir():
        from t2igan.data.folder import Folder
        from t2igan.data.table import Table, parquet_files

        return Table(data_config, path) if parquet_files(path) else Folder(data_config, path)
    what = "is not a folder or a .parquet file" if name and path.exists() else "does not exist"
    hint = nearest(name, ("pixel_avatars",))
    raise UserError(f"config.data.source={name!r} {what}{hint}\nAccepted: {ACCEPTED}.")


def _splits(source: Source, data_config: Any) -> tuple[str, ...]:
    own = source.splits()
    if not _holds_out(own, data_config):
        return own or (data_config.train_split,)
    return (*(own or (data_config.train_split,)), data_config.test_split)


def _holds_out(own: tuple[str, ...], data_config: Any) -> bool:
    """Whether the test split is to be cut out of the training split."""
    train, test = data_config.train_split, data_config.test_split
    if data_config.test_fraction == 0 or test in own or test == train:
        return False
    if not own or own == (train,):
        return True
    # Other splits are there: only a customary name is taken for a wish, since any other may be a slip.
    return train in own and test in TEST_SPLITS and not set(own) & set(TEST_SPLITS)


def _records(source: Source, split: str, data_config: Any) -> tuple[list[Record], list[Skipped]]:
    own = source.splits()
    train, test = data_config.train_split, data_config.test_split
    if not _holds_out(own, data_config) or split not in (train, test):
        return source.records(split if own else None)
    records, skipped = source.records(train if own else None)
    test_files = held_out([record.file for record in records], data_config.test_fraction)
    wanted = [record for record in records if (record.file in test_files) == (split == test)]
    return wanted, skipped if split == train else []  # one report of what belongs to neither


def _nothing_usable(source: Source, split: str, skipped: tuple[Skipped, ...]) -> str:
    where = f"{source.name}, split {split!r}"
    if not skipped:
        return f"{where}: there is no picture. Accepted: {ACCEPTED}."
    reasons = Counter(s.reason for s in skipped).most_common(3)
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons)
    if all(s.reason.startswith("no caption") for s in skipped):
        return (
            f"{where}: {len(skipped)} pictures, and not one has a caption.\n"
            "Write it into NAME.txt beside NAME.png, or into metadata.jsonl or .csv (file_name, text)."
        )
    first = skipped[0].file
    return f"{where}: not one of {len(skipped)} pictures can be used.\nFirst: {first}. Reasons: {listed}."


def _check(data_config: Any) -> None:
    if data_config.channels not in (1, 3):
        raise UserError(f"config.data.channels={data_config.channels} is not 3 (RGB) or 1 (grey).")
    if data_config.image_size_px < 1:
        raise UserError(f"config.data.image_size_px={data_config.image_size_px} must be 1 or more.")
    if not 0 <= data_config.test_fraction < 1:
        raise UserError(f"config.data.test_fraction={data_config.test_fraction} must be in [0, 1).")
    background = tuple(data_config.background)
    if len(background) != 3 or not all(isinstance(b, int) and 0 <= b <= 255 for b in background):
        raise UserError(f"config.data.background={background} must be three numbers from 0 to 255.")
