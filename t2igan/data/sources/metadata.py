"""What rows of metadata say of pictures: which file, which captions, attributes and split."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2igan.data.dataset import Skipped
from t2igan.data.encoding import DAMAGED
from t2igan.data.sources.captions import CAPTION_FIELDS, captions_of_row, is_damaged
from t2igan.data.sources.row_files import listed, plain, read_dicts
from t2igan.data.stored import inner_name

FILE_FIELDS = (
    *("file_name", "filename", "file", "path", "filepath", "file_path"),
    *("image", "image_path", "image_name", "img"),
)


@dataclass(frozen=True)
class Row:
    """What a row says of one file, or what is wrong with the row.

    `where` is "metadata.csv:12". `file` is a normalised posix name that stays inside the root; None where the row
    names none. `problem` is the reason why the row gives no caption, "" where it gives one.
    """

    where: str
    file: str | None = None
    captions: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    problem: str = ""


@dataclass
class Gathered:
    """What all rows of one file say: their captions together, the first split, the first value of each attribute."""

    captions: list[str]
    attributes: dict[str, str]
    split: str | None
    problem: str


def read_rows(
    file: str, stream: io.BufferedIOBase, data_config: Any, parent: str = "", root: str | os.PathLike[str] | None = None
) -> Iterator[Row]:
    """Yields the rows of a .jsonl, .csv, .tsv or .parquet file (named `file`, for its suffix and for messages).

    Names in it are relative to `parent`, a folder under the root; absolute names count where they lie under `root`.
    ValueError or OSError where the file, or the rest of it, cannot be read.
    """
    asked = (data_config.caption_field,) if data_config.caption_field else ()
    wanted = {*FILE_FIELDS, *CAPTION_FIELDS, *asked, data_config.label_field, "attributes", "split"}
    for number, values in read_dicts(file, stream, wanted, [FILE_FIELDS, asked] if asked else [FILE_FIELDS]):
        where = f"{file}:{number}"
        if isinstance(values, str):
            yield Row(where, problem=values)
        else:
            yield row_of(values, where, data_config, parent, root)


def row_of(
    values: Mapping[str, Any],
    where: str,
    data_config: Any,
    parent: str = "",
    root: str | os.PathLike[str] | None = None,
) -> Row:
    """Returns what column -> value says; names of columns count without case and without blanks around them."""
    shown = listed(values)
    values = {**{plain(name): value for name, value in values.items()}, **values}
    names = (_first(values.get(column)) for column in FILE_FIELDS)
    name = next((name for name in names if isinstance(name, str) and name.strip()), None)
    if name is None:
        return Row(where, problem=f"no file name: its row has {shown}")
    if "://" in name:
        return Row(where, problem=f"{listed([name])} is an address: pictures are not downloaded")
    file = inner_name(_relative(name, root), parent)
    if file is None:
        return Row(where, problem=f"file name {listed([name])} is not inside the folder")
    split = _first(values.get("split"))
    split = split.strip() or None if isinstance(split, str) else None
    captions, attributes = captions_in(values, data_config)
    asked = f" (config.data.caption_field={data_config.caption_field!r})" if data_config.caption_field else ""
    problem = "" if captions else f"no caption: its row has {shown}{asked}"
    if not captions and any(is_damaged(value, data_config.encoding) for value in values.values()):
        problem = f"no caption: its row has {DAMAGED}"
    return Row(where, file, captions, attributes, split, problem)


def captions_in(values: Mapping[str, Any], data_config: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns captions and attributes of a row: `captions_of_row`, for values of any kind."""
    try:
        return captions_of_row(values, data_config)
    except RecursionError:  # JSON in a cell, nested without end
        return (), {}


def gather(rows: Iterable[Row], into: dict[str, Gathered], skipped: list[Skipped]) -> None:
    """Adds rows to `into` by their files, and those that name no file to `skipped`, as they come."""
    for row in rows:
        if row.file is None:
            skipped.append(Skipped(row.where, row.problem))
        elif (known := into.get(row.file)) is None:
            into[row.file] = Gathered(list(row.captions), dict(row.attributes), row.split, row.problem)
        else:
            known.captions += row.captions
            known.attributes = row.attributes | known.attributes
            known.split = known.split or row.split


def _first(value: Any) -> Any:
    """Returns the first of several columns of one name."""
    return value[0] if isinstance(value, list) and value else value


def _relative(name: str, root: str | os.PathLike[str] | None) -> str:
    """Returns an absolute name relative to the root where it lies under it; other names as they are."""
    if root is None or not Path(name).is_absolute():
        return name
    try:
        return os.path.relpath(name, root)
    except ValueError:  # another drive
        return name
