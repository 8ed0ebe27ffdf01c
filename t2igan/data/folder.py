"""A folder of pictures with captions: NAME.txt beside NAME.png, or metadata.jsonl or .csv in any folder.

Sub-folders called `train`, `test`, `validation`... at the top are splits; so are the values of a `split`
column.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from t2igan.data.dataset import SPLITS, Record, Skipped, as_captions, captions_of_row
from t2igan.errors import UserError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
FILE_FIELDS = ("file_name", "filename", "file", "image")
MAX_CSV_FIELD_CHARACTERS = 1 << 24
NO_CAPTION = "no caption: no NAME.txt beside it and no row in metadata.jsonl or metadata.csv"


class Folder:
    """Captioned pictures in a folder and its sub-folders; hidden files and folders are passed over."""

    def __init__(self, data_config: Any, path: Path):
        """Looks at nothing yet: `splits` and `records` do, once."""
        self.name = str(data_config.source)
        self._path = path
        self._config = data_config

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that sub-folders or `split` columns name; () where nothing does."""
        names = {split for split, _ in self._scan[0]}
        if names <= {None}:
            return ()
        # What belongs to no split, beside others that do, is training data.
        names = {name or self._config.train_split for name in names}
        return tuple(sorted(names, key=lambda name: (name != self._config.train_split, name)))

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split in the order of their names, and what has no caption."""
        found, skipped = self._scan
        if split is None:
            return [record for _, record in found], [s for _, s in skipped]
        train = self._config.train_split
        return (
            [record for name, record in found if (name or train) == split],
            [s for name, s in skipped if (name or train) == split],
        )

    @cached_property
    def _scan(self) -> tuple[list[tuple[str | None, Record]], list[tuple[str | None, Skipped]]]:
        pictures, captions, metadata = self._walk()
        skipped: list[tuple[str | None, Skipped]] = []
        # file -> [captions, attributes, split]; several rows of one file are several captions.
        rows: dict[str, list[Any]] = {}
        for path in metadata:
            for where, row in self._rows(path):
                file, texts, attributes, problem = self._read_row(path, row)
                if problem:
                    skipped.append((self._folder_split(file), Skipped(file or where, problem)))
                elif file in rows:
                    rows[file][0] += texts
                else:
                    rows[file] = [texts, attributes, str(row.get("split") or "").strip() or None]
        skipped = [(name, s) for name, s in skipped if s.file not in rows]
        named = {s.file for _, s in skipped}
        for file in pictures:
            if file in rows or file in named:
                continue
            texts = self._beside(captions.get(_stem(file)))
            if texts:
                rows[file] = [texts, {}, None]
            else:
                skipped.append((self._folder_split(file), Skipped(file, NO_CAPTION)))
        found = [
            (
                split or self._folder_split(file),
                Record(file, self._path / file, tuple(dict.fromkeys(texts)), attributes),
            )
            for file, (texts, attributes, split) in sorted(rows.items())
        ]
        return found, skipped

    def _walk(self) -> tuple[list[str], dict[str, str], list[str]]:
        """Returns pictures, caption files by lower-case stem, and metadata files: relative posix paths."""
        pictures, captions, metadata = [], {}, []
        for parent, folders, names in os.walk(self._path):
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
            for name in sorted(names):
                if name.startswith("."):
                    continue
                file = Path(parent, name).relative_to(self._path).as_posix()
                suffix = PurePosixPath(name).suffix.lower()
                if name.lower() in METADATA_NAMES:
                    metadata.append(file)
                elif suffix in PICTURE_SUFFIXES:
                    pictures.append(file)
                elif suffix == ".txt":
                    captions[_stem(file)] = file
        return pictures, captions, metadata

    @cached_property
    def _split_folders(self) -> frozenset[str]:
        config = self._config
        folders = {entry.name for entry in self._path.iterdir() if entry.is_dir()}
        # Without a folder for training, "test" and "dev" are names like any others.
        if not folders & {"train", "training", config.train_split}:
            return frozenset()
        return frozenset(folders & {*SPLITS, config.train_split, config.test_split})

    def _folder_split(self, file: str | None) -> str | None:
        parts = PurePosixPath(file or "").parts
        return parts[0] if len(parts) > 1 and parts[0] in self._split_folders else None

    def _beside(self, file: str | None) -> tuple[str, ...]:
        if file is None:
            return ()
        try:
            return as_captions((self._path / file).read_text("utf-8-sig", "replace").splitlines())
        except OSError:
            return ()

    def _rows(self, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields "FILE:LINE" and the row, or {"problem": reason} for a line that cannot be read."""
        with (self._path / file).open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            if file.lower().endswith(".csv"):
                yield from self._csv_rows(file, stream)
                return
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    row = {"problem": f"not JSON: {error}"}
                yield f"{file}:{number}", row if isinstance(row, dict) else {"problem": "not a JSON object"}

    def _csv_rows(self, file: str, stream: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        csv.field_size_limit(MAX_CSV_FIELD_CHARACTERS)
        reader = csv.DictReader(stream)
        fields = [name for name in reader.fieldnames or () if name]
        field = self._config.caption_field
        if not set(fields) & set(FILE_FIELDS) or (field and field not in fields):
            missing = repr(field) if set(fields) & set(FILE_FIELDS) else "'file_name'"
            raise UserError(
                f"{self._path / file} has no column {missing}; it has {', '.join(fields) or 'none'}.\n"
                "Its first line must name the columns: file_name,text"
            )
        try:
            for row in reader:
                yield f"{file}:{reader.line_num}", row
        except csv.Error as error:
            raise UserError(f"{self._path / file}, line {reader.line_num}: not CSV: {error}.") from error

    def _read_row(self, metadata: str, row: dict[str, Any]) -> tuple[str | None, tuple[str, ...], dict[str, str], str]:
        """Returns file, captions, attributes and what is wrong with the row ("" = nothing)."""
        if "problem" in row and not any(field in row for field in FILE_FIELDS):
            return None, (), {}, row["problem"]
        name = next((row[f] for f in FILE_FIELDS if isinstance(row.get(f), str) and row[f].strip()), None)
        if name is None:
            return None, (), {}, "no file_name in this row"
        # Names are data: none may lead out of the folder.
        if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "\0" in name:
            return None, (), {}, f"file_name {name!r} is not inside the folder"
        parts = list(PurePosixPath(metadata).parent.parts)
        for part in name.replace("\\", "/").split("/"):
            if part == "..":
                if not parts:
                    return None, (), {}, f"file_name {name!r} is not inside the folder"
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        file = "/".join(parts)
        texts, attributes = captions_of_row(row, self._config)
        if not texts:
            asked = f" (config.data.caption_field={self._config.caption_field!r})"
            has = ", ".join(repr(key) for key in row if isinstance(key, str))
            return (
                file,
                (),
                {},
                f"no caption: its row has {has}{asked if self._config.caption_field else ''}",
            )
        return file, texts, attributes, ""


def _stem(file: str) -> str:
    return file[: -len(PurePosixPath(file).suffix)].lower()
