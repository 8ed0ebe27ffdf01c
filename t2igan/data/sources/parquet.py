"""Cells of Parquet files, read when they are asked for: of each column only some rows at a time are in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from t2igan.data.sources.columns import Leaf, leaf_array
from t2igan.data.stored import MAX_PICTURE_BYTES, InFile, open_regular

WINDOW_BYTES = 16 << 20  # rows of pictures that are read together; one row may be larger
MAX_WINDOW_ROWS = 256
TEXT_BYTES = 64 << 20  # rows of texts that are read together
MAX_TEXT_ROWS = 4096
KEPT_BYTES = 64 << 20  # windows that are kept, a process
KEPT_CURSORS = 8
KEPT_FILES = 64


@dataclass(frozen=True, slots=True)
class InParquet:
    """A picture in a cell: `row` counts within the row group `group`.

    Whether the cell holds anything shows when it is read; `otherwise` is where to look if not, or what to say.
    """

    file: InFile
    group: int
    leaf: Leaf
    row: int
    otherwise: InFile | str = "no picture in this row"

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """The file's own, and which cell."""
        otherwise = self.otherwise.stamp if isinstance(self.otherwise, InFile) else ()
        return (*self.file.stamp, self.group, *self.leaf, self.row, *otherwise)

    def read(self) -> bytes:
        """Returns the encoded picture; ValueError where there is none, or it is damaged or too big."""
        with arrow_errors():
            found = cell_bytes(*_windows.find(self.file, self.group, self.leaf, self.row))
        if found is not None:
            return found
        if isinstance(self.otherwise, str):
            raise ValueError(self.otherwise)
        return self.otherwise.read()


def cell_bytes(array: Any, row: int) -> bytes | None:
    """Returns a cell of an array of bytes, plain or of a dictionary; None if empty. ValueError if it is too big."""
    cell = array[row]
    if hasattr(cell, "dictionary"):
        index = cell.index.as_py()
        cell = cell.dictionary[index] if index is not None else cell
    if not cell.is_valid or cell.as_buffer().size == 0:
        return None
    if cell.as_buffer().size > MAX_PICTURE_BYTES:
        raise ValueError(f"too big: {cell.as_buffer().size} bytes, {MAX_PICTURE_BYTES} are accepted")
    return cell.as_buffer().to_pybytes()


@contextmanager
def arrow_errors(what: str = "damaged") -> Iterator[None]:
    """Makes a ValueError with one line of reason of what pyarrow raises for data that it cannot read."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, EOFError, MemoryError, OverflowError) as error:
        if getattr(error, "errno", None) is not None:  # the system's own: no such file, no permission
            raise
        reason = " ".join(str(error).split("\n")[0].split())[:200]
        raise ValueError(f"{what}: {reason or type(error).__name__}") from error


@lru_cache(maxsize=KEPT_FILES)
def open_parquet(file: InFile, dictionary: Leaf | None = None) -> Any:
    """Returns a `pyarrow.parquet.ParquetFile`; OSError or ValueError where it cannot be read, or was changed since.

    Of the column `dictionary`, values that are repeated are held once.
    """
    import pyarrow
    import pyarrow.parquet

    open_regular(file.path).close()
    if InFile.of(file.path) != file:
        raise ValueError("the file has changed since it was listed")
    # Column chunks as streams of pages: as a whole they may be as large as the file.
    return pyarrow.parquet.ParquetFile(
        pyarrow.OSFile(file.path),
        buffer_size=1 << 20,
        pre_buffer=False,
        read_dictionary=[".".join(dictionary)] if dictionary else None,
    )


def text_batches(file: InFile, group: int, leaves: Sequence[Leaf]) -> Iterator[Any]:
    """Yields the rows of some columns of a row group as `pyarrow.RecordBatch`es, a few at a time."""
    parquet = open_parquet(file)
    rows = min((_rows_at_a_time(parquet, group, leaf, TEXT_BYTES, MAX_TEXT_ROWS) for leaf in leaves), default=1)
    yield from _batches(parquet, group, leaves, rows)


class _Windows:
    """The rows of columns that were read last. Threads share it; each process has its own."""

    def __init__(self):
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, Any] = OrderedDict()
        self._kept_bytes = 0
        # (file, group, leaf) -> [the windows still to come, the number of the next]
        self._cursors: OrderedDict[tuple, list] = OrderedDict()

    def find(self, file: InFile, group: int, leaf: Leaf, row: int) -> tuple[Any, int]:
        """Returns the array with a row, and where in it the row is; ValueError where the file lacks it."""
        with self._lock:
            rows = _window_rows(file, group, leaf)
            column, number = (file, group, leaf), row // rows if rows else 0
            if (*column, number) not in self._kept:
                if rows:
                    self._read_to(column, number, rows)
                else:
                    self._keep((*column, 0), _whole(file, group, leaf))
            self._kept.move_to_end((*column, number))
            window, row = self._kept[(*column, number)], row - number * rows
        if row >= len(window):
            raise ValueError("damaged: it has fewer rows than it says")
        return window, row

    def _read_to(self, column: tuple, number: int, rows: int) -> None:
        windows, following = self._cursors.pop(column, (None, 0))
        if windows is None or following > number:  # columns are read forward only: from the start again
            windows, following = _batches(open_parquet(column[0]), column[1], [column[2]], rows), 0
        for i in range(following, number + 1):
            batch = next(windows, None)
            if batch is None or (i < number and batch.num_rows < rows):
                raise ValueError("damaged: it has fewer rows than it says")
            self._keep((*column, i), leaf_array(batch, column[2]))
        if batch.num_rows == rows:  # otherwise it was the last
            self._cursors[column] = [windows, number + 1]
        if len(self._cursors) > KEPT_CURSORS:
            self._cursors.popitem(last=False)

    def _keep(self, key: tuple, array: Any) -> None:
        if (before := self._kept.pop(key, None)) is not None:
            self._kept_bytes -= before.nbytes
        self._kept[key] = array
        self._kept_bytes += array.nbytes
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


_windows = _Windows()


def _batches(parquet: Any, group: int, leaves: Sequence[Leaf], rows: int) -> Iterator[Any]:
    names = [".".join(leaf) for leaf in leaves]
    yield from parquet.iter_batches(rows, row_groups=[group], columns=names, use_threads=False)


def _whole(file: InFile, group: int, leaf: Leaf) -> Any:
    import pyarrow

    parquet = open_parquet(file, leaf)
    rows = max(parquet.metadata.row_group(group).num_rows, 1)
    return pyarrow.chunked_array([leaf_array(batch, leaf) for batch in _batches(parquet, group, [leaf], rows)])


@lru_cache(maxsize=4096)
def _window_rows(file: InFile, group: int, leaf: Leaf) -> int:
    """Returns how many rows of a column are read together; 0 = all of a small row group, repeated values held once."""
    parquet = open_parquet(file)
    if sum(chunk.total_uncompressed_size for chunk in _chunks(parquet, group, leaf)) <= WINDOW_BYTES:
        return 0
    return _rows_at_a_time(parquet, group, leaf, WINDOW_BYTES, MAX_WINDOW_ROWS)


def _rows_at_a_time(parquet: Any, group: int, leaf: Leaf, limit_bytes: int, limit_rows: int) -> int:
    """Returns how many rows of a column surely fit into `limit_bytes`, as far as the file tells the truth."""
    rows, row_bytes = max(parquet.metadata.row_group(group).num_rows, 1), 1
    for chunk in _chunks(parquet, group, leaf):
        row_bytes = max(row_bytes, chunk.total_uncompressed_size // rows)
        if chunk.has_dictionary_page:
            # Every row may be the longest in the dictionary.
            stored_bytes = max(chunk.data_page_offset - (chunk.dictionary_page_offset or 0), 0)
            dictionary_bytes = stored_bytes * chunk.total_uncompressed_size // max(chunk.total_compressed_size, 1)
            row_bytes = max(row_bytes, dictionary_bytes)
    return max(1, min(limit_bytes // row_bytes, limit_rows))


def _chunks(parquet: Any, group: int, leaf: Leaf) -> list[Any]:
    """Returns what the footer says of the physical columns that make up a leaf (`ColumnChunkMetaData`)."""
    # A damaged footer makes pyarrow abort the process in `row_group.column`, but only raise where it reads.
    next(_batches(parquet, group, [leaf], rows=1), None)
    row_group, name = parquet.metadata.row_group(group), ".".join(leaf)
    paths = (parquet.schema.column(i).path for i in range(row_group.num_columns))
    return [row_group.column(i) for i, path in enumerate(paths) if f"{path}.".startswith(f"{name}.")]
