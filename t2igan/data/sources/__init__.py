"""Which source opens what `config.data.source` names: by its name, its suffix, or by what lies in the folder.

A format is a file of this folder with a `t2igan.data.dataset.Source`, and a line here that registers it.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.data.dataset import Source
from t2igan.data.given import GIVEN
from t2igan.data.sources.formats import FORMATS, Format, ends, lazily
from t2igan.data.sources.names import ARCHIVE_SUFFIXES
from t2igan.data.sources.record_files import is_record_file
from t2igan.errors import UserError, nearest

__all__ = ["ACCEPTED", "FORMATS", "Format", "open_source"]

ACCEPTED = (
    '"pixel_avatars", "toon_avatars", "noto_emoji" (embedded), "tfds:NAME", "hf:FOLDER" (save_to_disk), a folder '
    "of pictures with captions, .tar or .zip archives, .parquet, lists (.csv, .tsv, .jsonl, .json, .txt), .npz, "
    '.array_record, .tfrecord; or several of these: "pets:2,birds"'
)
PACKED = ("toon_avatars", "noto_emoji")
LISTS = (".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".txt", ".token", ".lst")


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all((folder / name).is_file() for name in names)


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _is_coco(folder: Path) -> bool:
    from t2igan.data.sources.coco import is_coco

    return is_coco(folder)


def _open_avatars(data_config: Any, paths: list[Path]) -> Source:  # noqa: ARG001
    from t2igan.data.sources.avatars import Avatars

    return Avatars()


def _open_saved(data_config: Any, paths: list[Path]) -> Source:
    from t2igan.data.sources.arrow import Saved

    return Saved(
        data_config, paths[0] if paths else expanded(data_config.source.removeprefix("hf:"), "config.data.source")
    )


def _open_packed(data_config: Any, paths: list[Path]) -> Source:  # noqa: ARG001
    from t2igan.data.sources.packed import Packed

    return Packed(data_config.source)


_TFDS = lazily("tfds", "Tfds", several=False)
FORMATS.register("pixel_avatars", Format(_open_avatars, named=lambda name: name == "pixel_avatars"))
for packed in PACKED:
    FORMATS.register(packed, Format(_open_packed, named=packed.__eq__))
FORMATS.register(
    "tfds",
    Format(_TFDS, named=lambda name: name.startswith("tfds:"), folder=_has("features.json", "dataset_info.json")),
)
FORMATS.register("datasets", Format(_open_saved, named=lambda name: name.startswith("hf:"), folder=_is_saved))
FORMATS.register("archives", Format(lazily("archive", "Archive"), fits=ends(*ARCHIVE_SUFFIXES)))
FORMATS.register("parquet", Format(lazily("table", "Table"), fits=ends(".parquet")))
FORMATS.register("records", Format(lazily("array_record", "ArrayRecords"), fits=is_record_file))
FORMATS.register("npz", Format(lazily("arrays", "Arrays", several=False), fits=ends(".npz")))
FORMATS.register("list", Format(lazily("listing", "Listing", several=False), fits=ends(*LISTS), in_folders=False))
FORMATS.register(
    "coco", Format(lazily("coco", "Coco", several=False), fits=ends(".json"), folder=_is_coco, in_folders=False)
)


def open_source(data_config: Any) -> Source:
    """Returns the source of pictures that `data_config.source` names; UserError where there is none."""
    from t2igan.data.sources.several import Several, parts_of

    named = any(form.named(str(data_config.source)) for form in FORMATS.values())  # "tfds:mnist" is one, not a repeat
    parts = None if named else parts_of(data_config.source)
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
    for form in FORMATS.values():
        if form.named(name):
            return form.opens(data_config, [])
    path = expanded(name, "config.data.source") if name else Path()
    if name and path.is_dir():
        return _in_folder(data_config, path)
    files = _files(name, path)
    if not files:
        what = "does not exist" if not path.exists() else "is neither a file nor a folder"
        near = nearest(name, [known for known, form in FORMATS.items() if form.named(known)])
        raise UserError(f"config.data.source={name!r} {what}{near}\nAccepted: {ACCEPTED}.")
    for form in FORMATS.values():
        if form.fits(files[0]):
            return form.opens(data_config, files)
    raise UserError(
        f"config.data.source={name!r} is a file of a kind that is not read ({files[0].suffix or 'no suffix'})\n"
        f"Accepted: {ACCEPTED}."
    )


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
    for form in FORMATS.values():
        if form.folder(path):
            return form.opens(data_config, [path])
    from t2igan.data.sources.folder import Folder
    from t2igan.data.sources.walk import holds_pictures

    # Pictures first: img2dataset writes a Parquet of facts beside each folder or archive of pictures.
    if holds_pictures(path):
        return Folder(data_config, path)
    for form in FORMATS.values():
        if form.in_folders and (files := _below(path, form.fits)):
            return form.opens(data_config, files)
    return Folder(data_config, path)


def _below(path: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Returns the files of a kind in a folder, in its sub-folders and in theirs; hidden ones are passed over."""
    files = [file for depth in ("*", "*/*", "*/*/*") for file in path.glob(depth) if fits(file) and file.is_file()]
    return sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(path).parts))
