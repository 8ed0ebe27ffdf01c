"""What rows of metadata say of pictures: which file, which captions, attributes and split."""

from __future__ import annotations

import io
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from t2igan.data.dataset import Skipped
from t2igan.data.encoding import DAMAGED
from t2igan.data.sources.captions import captions_and_field, is_damaged
from t2igan.data.sources.fields import FILE_FIELDS, caption_fields, plain
from t2igan.data.sources.locate import cleaned, relative_to
from t2igan.data.sources.names import kind_of
from t2igan.data.sources.row_files import listed, no_column, read_dicts
from t2igan.data.stored import inner_name

MAX_NAME_CHARACTERS = 1024
LOOKED_AT_ROWS = 200  # to tell which column is which, where the columns do not say


@dataclass(frozen=True)
class Row:
    """What a row says of one file, or what is wrong with the row.

    `where` is "metadata.csv:12". `file` is a normalised posix name that stays inside the root; None where the row
    names none. `problem` is the reason why the row gives no caption, "" where it gives one. `name` is the file as the
    row writes it, `column` where the captions are; without captions, `has_words` says whether some text might be one.
    `beside` are pictures that other columns name, such as a mask or a sketch of this one.
    """

    where: str
    file: str | None = None
    captions: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    problem: str = ""
    name: str = ""
    column: str = ""
    has_words: bool = False
    beside: tuple[str, ...] = ()


@dataclass
class Gathered:
    """What all rows of one file say: their captions together, the first split, the first value of each attribute."""

    captions: list[str]
    attributes: dict[str, str]
    split: str | None
    problem: str


def read_rows(
    file: str,
    stream: io.BufferedIOBase,
    data_config: Any,
    parent: str = "",
    root: str | os.PathLike[str] | None = None,
    knows: Callable[[object], bool] | None = None,
) -> Iterator[Row]:
    """Yields the rows of a list in any form that `read_dicts` knows (named `file`, for its suffix and for messages).

    Names in it are relative to `parent`, a folder under the root; absolute names count where they lie under `root`.
    `knows` says whether a cell might name a picture: with it, a list need not say which column has the names.
    ValueError or OSError where the file, or the rest of it, cannot be read.
    """
    asked = (data_config.caption_field, plain(data_config.caption_field)) if data_config.caption_field else ()
    needed = [FILE_FIELDS, asked] if asked else [FILE_FIELDS]
    field = ""
    rows = read_dicts(file, stream, needed, knows)
    if knows is not None:
        first = list(itertools.islice(rows, LOOKED_AT_ROWS))
        field = _name_field([row for _, row in first if isinstance(row, Mapping)], knows)
        if field is None and not file.lower().endswith((".jsonl", ".ndjson", ".json")):
            _, row = next((row for row in first if isinstance(row[1], Mapping)), (0, {}))
            raise no_column(FILE_FIELDS, row, file)
        rows, field = itertools.chain(first, rows), field or ""
    for number, values in rows:
        where = f"{file}:{number}"
        if isinstance(values, str):
            yield Row(where, problem=values)
        else:
            yield row_of(values, where, data_config, parent, root, field)


def _name_field(rows: Sequence[Mapping[str, Any]], knows: Callable[[object], bool]) -> str | None:
    """Returns the column that names pictures where no usual one does; "" where one does, None where none is there."""
    columns = dict.fromkeys(column for row in rows for column in row)
    usual = [column for column in columns if plain(column) in FILE_FIELDS]
    if not rows or any(knows(_first(row.get(column))) for column in usual for row in rows):
        return ""
    captions = caption_fields([plain(column) for column in columns])
    others = [column for column in columns if plain(column) not in captions]
    hits = {column: sum(knows(_first(row.get(column))) for row in rows) for column in others}
    best = max(hits, key=hits.__getitem__, default="")
    if best and hits[best] >= len(rows) / 2:
        return best
    return "" if usual else None


def row_of(
    values: Mapping[str, Any],
    where: str,
    data_config: Any,
    parent: str = "",
    root: str | os.PathLike[str] | None = None,
    field: str = "",
) -> Row:
    """Returns what column -> value says; names of columns count without case and without blanks around them.

    `field` is the column with the name of the file; "" = one of the usual ones.
    """
    shown = listed(values)
    name = _first(values.get(field)) if field else None
    name = str(name) if isinstance(name, int) else name
    values = {**{plain(key): value for key, value in values.items() if key != field}, **values}
    if field:
        values.pop(field, None)
    else:
        names = (_first(values.get(column)) for column in FILE_FIELDS)
        name = next((name for name in names if isinstance(name, str) and name.strip()), None)
    if not isinstance(name, str) or not name.strip():
        return Row(where, problem=f"no file name: its row has {shown}")
    if "://" in name and not name.startswith("file://"):
        return Row(where, problem=f"{listed([name])} is an address: pictures are not downloaded")
    split = _first(values.get("split"))
    split = split.strip() or None if isinstance(split, str) else None
    captions, attributes, taken = captions_in(values, data_config)
    asked = f" (config.data.caption_field={data_config.caption_field!r})" if data_config.caption_field else ""
    problem = "" if captions else f"no caption: its row has {shown}{asked}"
    if not captions and any(is_damaged(value, data_config.encoding) for value in values.values()):
        problem = f"no caption: its row has {DAMAGED}"
    file = inner_name(_relative(name, root), parent)
    if file is None:
        problem = f"file name {listed([name])} is not inside the folder"
    words = not captions and any(has_words(value) for value in values.values() if value != name)
    beside = _pictures_beside(name, values) if captions and not field else ()
    return Row(where, file, captions, attributes, split, problem, name, taken, words, beside)


def _pictures_beside(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what looks like pictures' names in a row, but for the name of its own picture."""
    cells = (value for value in values.values() if isinstance(value, str) and len(value) < MAX_NAME_CHARACTERS)
    return tuple(dict.fromkeys(cell for cell in cells if cell != name and kind_of(cell.strip()) == "picture"))


def has_words(value: Any, depth: int = 3) -> bool:
    """Whether there is a text of two words or more in a value: one that might be a caption."""
    if isinstance(value, str):
        return len(re.findall(r"[^\W\d_]{2,}", value)) > 1 and " " in value.strip()
    if isinstance(value, (list, Mapping)) and depth:
        inner = value.values() if isinstance(value, Mapping) else value
        return any(has_words(one, depth - 1) for one in itertools.islice(inner, 20))
    return False


def captions_in(values: Mapping[str, Any], data_config: Any) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Returns captions, attributes and the field of the captions: `captions_and_field`, for values of any kind."""
    try:
        return captions_and_field(values, data_config)
    except RecursionError:  # JSON in a cell, nested without end
        return (), {}, ""


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
    if name.startswith("file://"):
        name = cleaned(name)
    return name if root is None else relative_to(name, root) or name
