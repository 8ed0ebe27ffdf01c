"""Arrays in NumPy's .npz files, piece by piece: headers first, rows as they are wanted, never a whole array.

The format: `numpy.lib.format`. Python objects are refused: to read them would run what is in them.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.data.dataset import Skipped
from t2igan.data.sources.names import shown_name
from t2igan.data.sources.spool import unpacked
from t2igan.data.sources.zipped import data_start, list_zip, member_problem
from t2igan.data.stored import MAX_PICTURE_BYTES, InFile, open_regular, reason_of

CHUNK_BYTES = 1 << 24
OBJECTS = "Python objects, which are not read since that would run what is in them: save text as numpy.array(list, str)"
COLUMN_WISE = "stored column by column (Fortran order): save numpy.ascontiguousarray of it"


@dataclass(frozen=True)
class ArrayRow:
    """A picture that lies as bare numbers in a file: `shape` of `dtype` from `start`; `scale` takes it to 0..255."""

    path: str
    mtime_ns: int
    ctime_ns: int
    start: int
    dtype: str
    shape: tuple[int, ...]
    scale: float = 1.0
    channels_first: bool = False

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """Times of change, place in the file, and how the numbers there are read."""
        return (
            self.mtime_ns,
            self.ctime_ns,
            self.start,
            self.dtype,
            *self.shape,
            repr(self.scale),
            self.channels_first,
        )

    def read(self) -> np.ndarray:
        """Returns uint8 [H, W] or [H, W, C]; ValueError where the file ends within it, or holds what is no number."""
        dtype = np.dtype(self.dtype)
        size_bytes = dtype.itemsize * math.prod(self.shape)
        data = InFile(self.path, self.mtime_ns, size_bytes, self.start).read()
        pixels = np.frombuffer(data, dtype).reshape(self.shape)
        if self.channels_first:
            pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
        if pixels.dtype == np.uint8:
            return pixels
        pixels = pixels.astype(np.float64) * self.scale
        if not np.isfinite(pixels).all():
            raise ValueError("infinite or not a number in places")
        return np.rint(pixels).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Array:
    """What the header of an array says; `column_wise` is Fortran's order. As text: "x_train uint8 [60000, 28, 28]"."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    column_wise: bool
    member: zipfile.ZipInfo
    header_bytes: int

    def __str__(self) -> str:
        return f"{shown_name(self.name)} {self.dtype} {list(self.shape)}"

    @property
    def row_bytes(self) -> int:
        """The size of one entry along the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def check_readable(self) -> None:
        """Raises `ValueError` where the values cannot be read, or not row by row."""
        if self.dtype.hasobject:
            raise ValueError(f"{self} holds {OBJECTS}")
        if self.column_wise:
            raise ValueError(f"{self} is {COLUMN_WISE}")
        if self.row_bytes > MAX_PICTURE_BYTES:
            raise ValueError(f"{self} is too big: {self.row_bytes} bytes a row, {MAX_PICTURE_BYTES} are accepted")


class Npz:
    """An open .npz file: its `arrays` by their headers, and in `skipped` the members that are none."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        """`archive` is the open file; use `open_npz`."""
        self.path = path
        self.arrays: list[Array] = []
        self.skipped: list[Skipped] = []
        self._archive = archive
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                continue
            try:
                self.arrays.append(self._array(name, member))
            except Exception as error:  # zipfile and NumPy raise almost anything on bytes that they do not expect
                self.skipped.append(Skipped(shown_name(name), f"no array that can be read: {reason_of(error)}"))

    def _array(self, name: str, member: zipfile.ZipInfo) -> Array:
        if problem := member_problem(member):
            raise ValueError(problem)
        with self._archive.open(member) as stream:
            dtype, shape, column_wise = _read_header(stream)
            array = Array(name, dtype, shape, column_wise, member, stream.tell())
        if not dtype.hasobject and array.header_bytes + dtype.itemsize * math.prod(shape) != member.file_size:
            raise ValueError(f"{member.file_size} bytes are not those of {dtype} {list(shape)}")
        return array

    def chunks(self, array: Array) -> Iterator[np.ndarray]:
        """Yields an array in pieces [n, ...] of bounded size; ValueError where it cannot be read or is damaged."""
        array.check_readable()
        rows = max(1, CHUNK_BYTES // max(1, array.row_bytes))
        try:
            with self._archive.open(array.member) as stream:
                stream.read(array.header_bytes)
                for start in range(0, array.shape[0], rows):
                    num = min(rows, array.shape[0] - start)
                    data = stream.read(num * array.row_bytes)
                    yield np.frombuffer(data, array.dtype).reshape(num, *array.shape[1:])
        except Exception as error:  # as above
            raise ValueError(f"{shown_name(array.name)} is damaged: {error or type(error).__name__}") from error

    def rows(self, array: Array) -> Iterator[list[Any]]:
        """Yields the values of each row as a list of Python's own numbers, text or bytes."""
        for chunk in self.chunks(array):
            yield from chunk.reshape(len(chunk), -1).tolist()

    def data_of(self, array: Array, data_config: Any) -> tuple[Path, int]:
        """Returns the file that an array's numbers lie in, and from where: this one, or where it is compressed,
        one in the cache.

        OSError, ValueError or UserError as `unpacked` has them.
        """
        if array.member.compress_type == zipfile.ZIP_STORED:
            with open_regular(self.path) as file:
                return self.path, data_start(file, array.member.header_offset) + array.header_bytes
        opened = lambda: self._archive.open(array.member)
        return unpacked(self.path, array.member.filename, opened, data_config), array.header_bytes


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """Opens an .npz file; OSError or ValueError where it is none, or damaged."""
    with open_regular(path) as file, list_zip(file) as archive:
        yield Npz(path, archive)


def _read_header(stream: io.BufferedIOBase) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Returns dtype, shape, and whether columns go first, of an array in NumPy's own format."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"written in version {version[0]}.{version[1]} of the format")
    shape, column_wise, dtype = readers[version](stream)
    if not shape or min(shape) < 0:
        raise ValueError(f"its shape is {list(shape)}")
    return dtype, shape, column_wise and len(shape) > 1
