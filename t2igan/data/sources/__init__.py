"""Which source opens what `config.data.source` names: by its name, its suffix, or by what lies in the folder.

To add a format, write a file here with a source (`t2igan.data.dataset.Source`), and name it in FORMATS.
"""

from __future__ import annotations

import glob
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.data.dataset import Source
from t2igan.data.given import GIVEN
from t2igan.data.sources.names import ARCHIVE_SUFFIXES
from t2igan.data.sources.record_files import is_record_file
from t2igan.errors import UserError, nearest

ACCEPTED = (
    '"pixel_avatars" (embedded), "tfds:NAME", "hf:FOLDER" (save_to_disk), a folder of pictures with captions, .tar or '
    ".zip archives, .parquet, lists (.csv, .tsv, .jsonl, .json, .txt), .npz, .array_record, .tfrecord; or several of "
    'these: "pets:2,birds"'
)


@dataclass(frozen=True)
class Format:
    """Files of one kind: how they are known, and the class in this folder that reads them.

    `takes_several` says whether the class is given all files together; otherwise each becomes a source of its own.
    `in_folders` says whether the files of a folder without loose pictures are opened so.
    """

    fits: Callable[[Path], bool]
    module: str
    source: str
    takes_several: bool = True
    in_folders: bool = True

    def open(self, data_config: Any, files: list[Path]) -> Source:
        """Returns the source of these files."""
        opened = getattr(importlib.import_module(f"{__name__}.{self.module}"), self.source)
        if self.takes_several:
            return opened(data_config, files)
        if len(files) == 1:
            return opened(data_config, files[0])
        from t2igan.data.sources.several import OfFiles

        return OfFiles(data_config, files, opened)


def _ends(*suffixes: str) -> Callable[[Path], bool]:
    return lambda file: file.name.lower().endswith(suffixes)


FORMATS = (
    Format(_ends(*ARCHIVE_SUFFIXES), "archive", "Archive"),
    Format(_ends(".parquet"), "table", "Table"),
    Format(is_record_file, "array_record", "ArrayRecords"),
    Format(_ends(".npz"), "arrays", "Arrays", takes_several=False),
    Format(_ends(".json"), "coco", "Coco", takes_several=False, in_folders=False),
    Format(
        _ends(".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".txt", ".token", ".lst"),
        *("listing", "Listing"),
        takes_several=False,
        in_folders=False,
    ),
)


def open_source(data_config: Any) -> Source:
    """Returns the source of pictures that `data_config.source` names; UserError where there is none."""
    from t2igan.data.sources.several import Several, parts_of

    given = str(data_config.source).startswith(GIVEN)
    parts = None if given else parts_of(data_config.source)
    if parts is not None:
        return Several(data_config, parts, open_one)
    return open_one(data_config)


def open_one(data_config: Any) -> Source:
    """Returns the source of pictures that a single name names; UserError where there is none."""
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
    opened = next((form.open(data_config, files) for form in FORMATS if form.fits(files[0])), None)
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


def _in_folder(data_config: Any, path: Path) -> Source:
    """Returns the source for a folder; what only one format writes is asked for first."""
    if (path / "features.json").is_file() and (path / "dataset_info.json").is_file():
        from t2igan.data.sources.tfds import Tfds

        return Tfds(data_config, path)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(data_config, path)
    from t2igan.data.sources.coco import is_coco
    from t2igan.data.sources.folder import Folder
    from t2igan.data.sources.walk import holds_pictures

    if is_coco(path):
        from t2igan.data.sources.coco import Coco

        return Coco(data_config, path)
    # Pictures first: img2dataset writes a Parquet of facts beside each folder or archive of pictures.
    if holds_pictures(path):
        return Folder(data_config, path)
    for form in FORMATS:
        if form.in_folders and (files := _below(path, form.fits)):
            return form.open(data_config, files)
    return Folder(data_config, path)


def _below(path: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Returns the files of a kind in a folder, in its sub-folders and in theirs; hidden ones are passed over."""
    files = [file for depth in ("*", "*/*", "*/*/*") for file in path.glob(depth) if fits(file) and file.is_file()]
    return sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(path).parts))


def _saved(data_config: Any, path: Path) -> Source:
    from t2igan.data.sources.arrow import Saved

    return Saved(data_config, path)
