"""Parquet in the image convention of Hugging Face: `image` {bytes, path}, `text`, `attributes`, `split`."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from t2igan.data.dataset import CAPTION_FIELDS, SPLITS, Record, Skipped, captions_of_row
from t2igan.errors import UserError

IMAGE_FIELDS = ("image", "img", "picture", "jpg", "png")
ROWS_AT_A_TIME = 1024


def parquet_files(path: Path) -> list[Path]:
    """Returns `path` where it is a file, else the .parquet files in the folder and in its `data` folder."""
    if path.is_file():
        return [path]
    files = [*path.glob("*.parquet"), *path.glob("data/*.parquet")]
    return sorted(file for file in files if not file.name.startswith("."))


class Table:
    """Captioned pictures in one or more Parquet files; the encoded pictures of a split are held in memory."""

    def __init__(self, data_config: Any, path: Path):
        """`path` is a .parquet file or a folder of them."""
        self.name = str(data_config.source)
        self._config = data_config
        self._files = parquet_files(path)
        self._root = path.parent if path.is_file() else path

    def splits(self) -> tuple[str, ...]:
        """Returns the values of the `split` column, or what file names begin with: `train-00.parquet`."""
        names: set[str] = set()
        for file, parquet in self._opened.items():
            if "split" in parquet.schema_arrow.names:
                names |= {str(s) for s in parquet.read(columns=["split"])["split"].unique().to_pylist() if s}
            elif split := _file_split(file):
                names.add(split)
        return tuple(sorted(names, key=lambda name: (name != self._config.train_split, name)))

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split in the order of the files, and rows without picture or caption."""
        records: list[Record] = []
        skipped: list[Skipped] = []
        for file, parquet in self._opened.items():
            names = parquet.schema_arrow.names
            image_field = self._image_field(file, names)
            wanted = {
                image_field,
                "split",
                "attributes",
                self._config.caption_field,
                self._config.label_field,
            }
            columns = [name for name in names if name in wanted or name in CAPTION_FIELDS]
            label_names = _label_names(parquet.schema_arrow, self._config.label_field)
            number = 0
            for batch in parquet.iter_batches(ROWS_AT_A_TIME, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    own = (row.get("split") if "split" in names else _file_split(file)) or None
                    if split is not None and (own or self._config.train_split) != split:
                        continue
                    image, path = _image_and_path(row[image_field])
                    where = path or f"{file.stem}:{number}"
                    captions, attributes = captions_of_row(row, self._config, label_names)
                    if isinstance(image, str):
                        image = self._inside(image)
                    if image is None:
                        skipped.append(Skipped(where, "no picture in this row"))
                    elif not captions:
                        skipped.append(Skipped(where, f"no caption: its row has {', '.join(columns)}"))
                    else:
                        records.append(Record(where, image, captions, attributes))
        return records, skipped

    @cached_property
    def _opened(self) -> dict[Path, Any]:
        import pyarrow
        import pyarrow.parquet

        opened = {}
        for file in self._files:
            try:
                opened[file] = pyarrow.parquet.ParquetFile(file)
            except (pyarrow.ArrowException, OSError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(f"{file} cannot be read as Parquet: {reason}") from error
        return opened

    def _image_field(self, file: Path, names: list[str]) -> str:
        for field in IMAGE_FIELDS:
            if field in names:
                return field
        raise UserError(
            f"{file} has no column of pictures; it has {', '.join(map(repr, names))}.\n"
            "Name it 'image', with {bytes, path} or the bytes of a PNG, JPEG... in it."
        )

    def _inside(self, path: str) -> Path | None:
        pure = PurePosixPath(path.replace("\\", "/"))
        return None if pure.is_absolute() or ".." in pure.parts else self._root / pure


def _image_and_path(value: Any) -> tuple[bytes | str | None, str]:
    if isinstance(value, dict):
        path = value.get("path") or ""
        return value.get("bytes") or path or None, path
    if isinstance(value, str):
        return value or None, value
    return value or None, ""


def _file_split(file: Path) -> str | None:
    match = re.match(rf"({'|'.join(SPLITS)})(?![a-z])", file.stem.lower())
    return match[1] if match else None


def _label_names(schema: Any, label_field: str) -> list[str] | None:
    """Returns the names that Hugging Face `datasets` wrote for an integer label column."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return list(features[label_field]["names"])
    except (KeyError, TypeError, ValueError):
        return None
