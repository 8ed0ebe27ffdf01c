"""Which source opens what `config.data.source` names: by its name, its suffix, or by what lies in the folder."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.data.dataset import Source
from t2igan.data.given import GIVEN
from t2igan.data.sources.record_files import is_record_file
from t2igan.errors import UserError, nearest

ACCEPTED = (
    '"pixel_avatars" (embedded), "tfds:NAME", "hf:FOLDER" (save_to_disk), a folder of pictures with captions, .tar or '
    ".zip archives, .parquet, .csv, .jsonl, COCO's .json, .npz, .array_record, .tfrecord"
)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
LISTS = (".csv", ".tsv", ".jsonl", ".ndjson")


def open_source(data_config: Any) -> Source:
    """Returns the source of pictures that `data_config.source` names; UserError where there is none."""
    name = str(data_config.source)
    if name.startswith(GIVEN):
        raise UserError(
            f"config.data.source={name!r}: this data was given to t2igan.train by Python code and lies on no disk.\n"
            f"Give it there again, as to t2igan.evaluate(workdir, dataset=..., train_dataset=...)."
        )
    if name == "pixel_avatars":
        from t2igan.data.sources.avatars import Avatars

        return Avatars()
    if name.startswith("tfds:"):
        from t2igan.data.sources.tfds import Tfds

        return Tfds(data_config)
    if name.startswith("hf:"):
        return _saved(data_config, expanded(name.removeprefix("hf:"), "config.data.source"))
    path = expanded(name, "config.data.source") if name else Path()
    if name and path.is_dir():
        return _in_folder(data_config, path)
    files = _files(name, path)
    if not files:
        what = "does not exist" if not path.exists() else "is neither a file nor a folder"
        raise UserError(f"config.data.source={name!r} {what}{nearest(name, ('pixel_avatars',))}\nAccepted: {ACCEPTED}.")
    opened = _open_files(data_config, files)
    if opened is None:
        raise UserError(
            f"config.data.source={name!r} is a file of a kind that is not read ({files[0].suffix or 'no suffix'})\n"
            f"Accepted: {ACCEPTED}."
        )
    return opened


def _files(name: str, path: Path) -> list[Path]:
    """Returns the file that is named, or all that a pattern such as "shards/*.tar" stands for."""
    if not name:
        return []
    if path.is_file():
        return [path]
    if glob.has_magic(name) and not path.exists():
        return sorted(file for file in map(Path, glob.glob(str(path))) if file.is_file())  # noqa: PTH207 - absolute too
    return []


def _open_files(data_config: Any, files: list[Path]) -> Source | None:
    """Returns the source of files of one kind, by the suffix of the first."""
    name = files[0].name.lower()
    if _is_archive(files[0]):
        from t2igan.data.sources.archive import Archive

        return Archive(data_config, files)
    if _is_parquet(files[0]):
        from t2igan.data.sources.table import Table

        return Table(data_config, files)
    if name.endswith(LISTS):
        from t2igan.data.sources.listing import Listing

        return Listing(data_config, files[0])
    if name.endswith(".json"):
        from t2igan.data.sources.coco import Coco

        return Coco(data_config, files[0])
    if name.endswith(".npz"):
        from t2igan.data.sources.arrays import Arrays

        return Arrays(data_config, files[0])
    if is_record_file(files[0]):
        from t2igan.data.sources.array_record import ArrayRecords

        return ArrayRecords(data_config, files)
    return None


def _in_folder(data_config: Any, path: Path) -> Source:
    """Returns the source for a folder; what only one format writes is asked for first."""
    if (path / "features.json").is_file() and (path / "dataset_info.json").is_file():
        from t2igan.data.sources.tfds import Tfds

        return Tfds(data_config, path)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(data_config, path)
    from t2igan.data.sources.coco import annotations
    from t2igan.data.sources.folder import Folder, holds_pictures

    if annotations(path):
        from t2igan.data.sources.coco import Coco

        return Coco(data_config, path)
    # Pictures first: img2dataset writes a Parquet of facts beside each folder or archive of pictures.
    if holds_pictures(path):
        return Folder(data_config, path)
    kinds: tuple[Callable[[Path], bool], ...] = (_is_archive, _is_parquet, is_record_file)
    for of_kind in kinds:
        files = _below(path, of_kind)
        if files and (opened := _open_files(data_config, files)) is not None:
            return opened
    return Folder(data_config, path)


def _is_archive(file: Path) -> bool:
    return file.name.lower().endswith(ARCHIVES)


def _is_parquet(file: Path) -> bool:
    return file.name.lower().endswith(".parquet")


def _below(path: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Returns the files of a kind in a folder, in its sub-folders and in theirs; hidden ones are passed over."""
    files = [file for depth in ("*", "*/*", "*/*/*") for file in path.glob(depth) if fits(file) and file.is_file()]
    return sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(path).parts))


def _saved(data_config: Any, path: Path) -> Source:
    from t2igan.data.sources.arrow import Saved

    return Saved(data_config, path)
