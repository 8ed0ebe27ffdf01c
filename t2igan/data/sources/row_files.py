"""Files of rows as a stream of dicts: JSON lines, CSV, TSV, Parquet; JSON documents and plain text as rows, too.

A row that cannot be read costs that row, a damaged file what lies behind the damage. Memory is bounded by one row
(Parquet: by one batch of rows), whatever the file holds.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import posixpath
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from t2igan.data.sources.documents import rows_of
from t2igan.data.sources.fields import FILE_FIELDS, plain
from t2igan.data.sources.headerless import cells_of, reader_of
from t2igan.data.stored import decode_text

DELIMITERS = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
MAX_DOCUMENT_BYTES = 1 << 30  # of a JSON document, which is read whole
NO_HEADER = "; its first line must name the columns, as in: file_name,text"
LOOKED_AT_LINES = 100  # to tell names from captions where no header does
MAX_ROW_CHARACTERS = 1 << 24
MAX_CSV_ROW_LINES = 256  # a quotation mark that is never closed would swallow the rest of the file
MAX_READ_AGAIN_CHARACTERS = 1 << 27  # of what such marks swallowed, in one file
MAX_UNREADABLE_ROWS = 10_000  # in one file; the rest of it is not worth reading then
PARQUET_ROWS_AT_A_TIME = 1024

Numbered = Iterator[tuple[int, dict[str, Any] | str]]


def read_dicts(
    file: str,
    stream: io.BufferedIOBase,
    needed: Sequence[Collection[str]],
    knows: Callable[[object], bool] | None = None,
) -> Numbered:
    """Yields the number of each row (of its first line in a text) and the row, or the reason why it is none.

    The suffix of `file` tells its format. `needed` are groups of names, the first that of names of files: a table
    without a column of each group is refused, except where `knows` tells names of pictures by themselves. ValueError or
    OSError where the file, or the rest of it, cannot be read.
    """
    suffix = posixpath.splitext(file)[1].lower()
    if knows is not None:
        needed = needed[1:]
    if suffix == ".parquet":
        rows = _parquet_rows(stream, needed)
    elif suffix in (".jsonl", ".ndjson"):
        rows = _json_rows(_lines(stream))
    elif suffix == ".json":
        rows = _document_rows(stream, knows)
    else:
        rows = _csv_rows(_lines(stream), DELIMITERS.get(suffix, ","), needed, knows)
    unreadable = 0
    for number, row in rows:
        yield number, row
        unreadable += isinstance(row, str)
        if unreadable == MAX_UNREADABLE_ROWS:
            raise ValueError(f"{unreadable} rows cannot be read; what follows row {number} is left out")


def listed(names: Iterable[Any]) -> str:
    """Returns names for a message: "'file_name', 'text'"; long ones and many of them are cut."""
    names = [str(name) for name in names if isinstance(name, (str, int))]
    shown = [repr(name if len(name) <= 60 else name[:57] + "...") for name in names[:12]]
    return ", ".join(shown + ["..."] * (len(names) > 12)) or "nothing"


def _lines(stream: io.BufferedIOBase) -> Iterator[str | None]:
    """Yields lines with their ends, None for one that is too long. UTF-16 where its mark says so, otherwise UTF-8."""
    mark = stream.read(2)
    stream.seek(0)
    utf16 = mark in (b"\xff\xfe", b"\xfe\xff")
    text = io.TextIOWrapper(stream, "utf-16" if utf16 else "utf-8-sig", errors="replace", newline="")
    while line := text.readline(MAX_ROW_CHARACTERS):
        if len(line) < MAX_ROW_CHARACTERS or line[-1] in "\r\n":
            yield line
            continue
        while (rest := text.readline(MAX_ROW_CHARACTERS)) and rest[-1] not in "\r\n":
            pass
        yield None


def _json_rows(lines: Iterator[str | None]) -> Numbered:
    first = True
    for number, line in enumerate(lines, start=1):
        if line is None:
            yield number, f"longer than {MAX_ROW_CHARACTERS} characters"
            continue
        line = line.strip()
        if not line:
            continue
        if first and (line == "{" or line[0] == "["):
            raise ValueError("it is one JSON document; each line must be a JSON object of its own")
        first = False
        try:
            row = json.loads(line, strict=False)  # a bare tab in a text is no reason to lose it
        except ValueError as error:
            yield number, f"not JSON: {error}"
        except RecursionError:
            yield number, "not JSON that can be read: nested too deep"
        else:
            yield number, row if isinstance(row, dict) else "not a JSON object"


class _Unclosed(Exception):
    """A row of a CSV file has no end."""


def _csv_rows(
    lines: Iterator[str | None],
    delimiter: str,
    needed: Sequence[Collection[str]],
    knows: Callable[[object], bool] | None,
) -> Numbered:
    blank = 0
    for first in lines:
        if first is None:
            raise ValueError(f"its first line is longer than {MAX_ROW_CHARACTERS} characters")
        if first.strip():
            break
        blank += 1
    else:
        return
    # Spreadsheets separate by what their country is used to.
    headers = {mark: _header(first, mark) for mark in (delimiter, *",;\t|")}
    named = next((mark for mark, names in headers.items() if not _missing(names, [FILE_FIELDS])), None)
    if named is None and knows is not None:
        ahead = list(itertools.islice(lines, LOOKED_AT_LINES))
        lines = itertools.chain(ahead, lines)
        texts = [line for line in (first, *ahead) if line]
        # No header: the first line is about a picture already.
        if (read := reader_of(texts, knows)) is not None and (found := read(first)) and knows(found[0]):
            yield from _lines_without_header(itertools.chain([first], lines), blank + 1, read)
            return
        mark = max(headers, key=lambda mark: (len(headers[mark]), mark == delimiter))
        if not any(knows(cell) for line in texts[1:] for cell in cells_of(line, mark)):
            _check_columns(headers[delimiter], [FILE_FIELDS], NO_HEADER)
        named = mark
    delimiter = named or delimiter
    columns = headers[delimiter]
    _check_columns(columns, needed, NO_HEADER)
    for number, cells in _csv_records(lines, delimiter, start=blank + 2):
        if isinstance(cells, str):
            yield number, cells
        elif any(map(str.strip, cells[len(columns) :])):
            count = f"{len(cells)} cells for {len(columns)} columns"
            yield number, f"{count}: a text with {delimiter!r} in it needs quotation marks"
        elif any(map(str.strip, cells)):
            yield number, _row(columns, cells)


def _lines_without_header(
    lines: Iterable[str | None], start: int, read: Callable[[str], tuple[str, str] | None]
) -> Numbered:
    for number, line in enumerate(lines, start):
        found = read(line) if line else None
        if found:
            name, caption = found
            yield number, {"file_name": name, "text": caption} if caption else {"file_name": name}
        elif line is None or line.strip():
            yield number, "not of the form of the lines before it: a name and a caption"


def _document_rows(stream: io.BufferedIOBase, knows: Callable[[object], bool] | None) -> Numbered:
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"too big: more than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = json.loads(decode_text(data), strict=False)
    except (ValueError, RecursionError) as error:
        lines = data.split(b"\n", 2)
        if lines[0].strip().endswith(b"}") and len(lines) > 1:  # JSON lines by another suffix
            yield from _json_rows(_lines(io.BytesIO(data)))
            return
        raise ValueError(f"not JSON that can be read: {error}") from error
    yield from enumerate(rows_of(document, knows), start=1)


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Returns column -> cell, or column -> list of cells where several columns have one name."""
    gathered: dict[str, list[str]] = {}
    for column, cell in zip(columns, cells, strict=False):
        gathered.setdefault(column, []).append(cell)
    return {column: texts[0] if len(texts) == 1 else texts for column, texts in gathered.items()}


def _csv_records(lines: Iterator[str | None], delimiter: str, start: int) -> Iterator[tuple[int, list[str] | str]]:
    """Yields the number of the first line of each row and its cells, or what is wrong with it.

    The `csv` module takes a quotation mark that is never closed for the begin of a text that lasts to the end of the
    file. Here it costs its own line: reading starts again on the next.
    """
    again: deque[str | None] = deque()
    row: list[str | None] = []  # the lines of the row that is being read

    def feed() -> Iterator[str]:
        characters = 0
        for line in iter(lambda: again.popleft() if again else next(lines, ""), ""):
            characters = len(line or "") + (characters if row else 0)
            row.append(line)
            if line is None or len(row) > MAX_CSV_ROW_LINES or characters > MAX_ROW_CHARACTERS:
                raise _Unclosed
            yield line
        if row:
            raise _Unclosed

    read_again = 0
    number, reader = start, csv.reader(feed(), delimiter=delimiter)
    while True:
        row.clear()
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except (_Unclosed, csv.Error) as error:
            what = "a quotation mark that is never closed" if isinstance(error, _Unclosed) else f"not CSV: {error}"
            yield number, f"longer than {MAX_ROW_CHARACTERS} characters" if row[0] is None else what
            read_again += sum(len(line or "") for line in row[1:])
            if read_again > MAX_READ_AGAIN_CHARACTERS:
                raise ValueError(f"too many quotation marks that are never closed: read up to row {number}") from error
            again.extendleft(reversed(row[1:]))
            del row[1:]
            reader = csv.reader(feed(), delimiter=delimiter)
        number += len(row)


def _parquet_rows(stream: io.BufferedIOBase, needed: Sequence[Collection[str]]) -> Numbered:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(stream)
        _check_columns(file.schema_arrow.names, needed, "")
        columns = [field.name for field in file.schema_arrow if not _holds_bytes(field.type)]
        number = 0
        for batch in file.iter_batches(PARQUET_ROWS_AT_A_TIME, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeError) as error:
        raise ValueError(f"not Parquet that can be read: {str(error).splitlines()[0]}") from error


def _holds_bytes(kind: Any) -> bool:
    """Whether a `pyarrow.DataType` is bytes, or lists or structs of such: pictures and embeddings, not captions."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return types.is_floating(kind.value_type) or _holds_bytes(kind.value_type)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _missing(columns: Iterable[str], needed: Sequence[Collection[str]]) -> Collection[str]:
    """Returns the first group of names of which there is no column; () where none is missing."""
    present = {*columns, *map(plain, columns)}
    return next((group for group in needed if not present.intersection(group)), ())


def _check_columns(columns: Sequence[str], needed: Sequence[Collection[str]], hint: str) -> None:
    if group := _missing(columns, needed):
        raise ValueError(f"no column {next(iter(group))!r}; it has {listed(columns)}{hint}")


def no_column(group: Sequence[str], columns: Iterable[str], file: str) -> ValueError:
    """Returns the error for a list of which no column is one of a group of names."""
    is_table = not file.lower().endswith((".json", ".jsonl", ".ndjson", ".parquet"))
    hint = NO_HEADER if is_table else ""
    return ValueError(f"no column {group[0]!r}; it has {listed(columns)}{hint}")
