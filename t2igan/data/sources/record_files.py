"""Files of records, read by index: ArrayRecord, and TFRecord without TensorFlow.

A record is bytes; `t2igan.data.sources.examples` says what is in them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from t2igan.data.stored import MAX_PICTURE_BYTES, InFile, Stored, open_regular

BYTES_AT_A_TIME = 16 << 20
RECORDS_AT_A_TIME = 1024
KEPT_READERS = 64
KINDS = (".array_record", ".tfrecord")  # anywhere in a name: "mnist-train.array_record-00000-of-00001"
TFRECORD_HEADER = struct.Struct("<QI")  # length of the record in bytes, masked CRC-32C of these eight bytes
TFRECORD_FOOTER_BYTES = 4  # masked CRC-32C of the record
CRC32C = 0x82F63B78  # Castagnoli's polynomial, reversed


@runtime_checkable
class RecordFile(Protocol):
    """A file of records. `damage` says why its rest cannot be read, "" where all can."""

    damage: str

    def __len__(self) -> int: ...

    def place(self, index: int) -> Stored:
        """Returns where a record lies; its `read()` returns the record."""
        ...

    def read(self, start: int, stop: int) -> Iterator[bytes | str]:
        """Yields records in order; for one that cannot be read, the reason."""
        ...


def is_record_file(file: Path) -> bool:
    """Whether a file is of records, by its name."""
    return any(kind in file.name.lower() for kind in KINDS)


def open_records(file: InFile) -> RecordFile:
    """Opens a file of records; OSError or ValueError where there are none in it."""
    open_regular(file.path).close()
    return TfRecords(file) if ".tfrecord" in Path(file.path).name.lower() else ArrayRecordFile(file)


@dataclass(frozen=True, slots=True)
class InArrayRecord:
    """A record of an ArrayRecord file."""

    file: InFile
    index: int

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """The file's own, and which record."""
        return (*self.file.stamp, self.index)

    def read(self) -> bytes:
        """Returns the record; ValueError where it is damaged or too big."""
        try:
            record = _reader(self.file).read([self.index])[0]
        except RuntimeError as error:
            raise ValueError(_damage(error)) from error
        if len(record) > MAX_PICTURE_BYTES:
            raise ValueError(f"too big: {len(record)} bytes, {MAX_PICTURE_BYTES} are accepted")
        return record


class ArrayRecordFile:
    """An ArrayRecord file."""

    damage = ""

    def __init__(self, file: InFile):
        self._file = file
        self._num = _reader(file).num_records()
        if not self._num:  # its reader takes anything for an empty file
            raise ValueError("no records: it is empty, cut short or not an ArrayRecord file")

    def __len__(self) -> int:
        return self._num

    def place(self, index: int) -> InArrayRecord:
        """Returns where a record lies."""
        return InArrayRecord(self._file, index)

    def read(self, start: int, stop: int) -> Iterator[bytes | str]:
        """Yields records in order, a few megabytes read together; for one that cannot be read, the reason."""
        mean_bytes = max(self._file.size_bytes // self._num, 1)
        step = max(1, min(BYTES_AT_A_TIME // mean_bytes, RECORDS_AT_A_TIME))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            try:
                yield from _reader(self._file).read(first, last)
            except RuntimeError:  # one of them is damaged: each for itself
                for index in range(first, last):
                    try:
                        yield self.place(index).read()
                    except ValueError as error:
                        yield str(error)


class TfRecords:
    """A TFRecord file: length, checksum of the length, record, checksum of the record, and so on.

    The checksums of the lengths are compared, since a wrong length loses all that follows. Those of the records are
    not: decoding finds damage, too.
    """

    def __init__(self, file: InFile):
        self._file = file
        self.damage = ""
        starts, sizes, at = [], [], 0
        with open_regular(file.path) as stream:
            while header := stream.read(TFRECORD_HEADER.size):
                at += TFRECORD_HEADER.size
                size = _record_bytes(header)
                if size is None or at + size + TFRECORD_FOOTER_BYTES > file.size_bytes:
                    self.damage = f"damaged or cut short at byte {at - TFRECORD_HEADER.size}"
                    break
                starts.append(at)
                sizes.append(size)
                at += size + TFRECORD_FOOTER_BYTES
                stream.seek(at)
        if not starts:
            raise ValueError("no records: it is empty, compressed or not a TFRecord file")
        self._starts, self._sizes = np.array(starts, np.int64), np.array(sizes, np.int64)

    def __len__(self) -> int:
        return len(self._starts)

    def place(self, index: int) -> InFile:
        """Returns where a record lies: the part of the file."""
        file = self._file
        return InFile(file.path, file.mtime_ns, int(self._sizes[index]), int(self._starts[index]), file.ctime_ns)

    def read(self, start: int, stop: int) -> Iterator[bytes | str]:
        """Yields records in order; for one that cannot be read, the reason."""
        for index in range(start, stop):
            try:
                yield self.place(index).read()
            except (OSError, ValueError) as error:
                yield str(error)


def masked_crc32c(data: bytes) -> int:
    """Returns the checksum of TFRecord: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc32c_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (CRC32C if value & 1 else 0)
        table.append(value)
    return table


_CRC32C_TABLE = _crc32c_table()


def _record_bytes(header: bytes) -> int | None:
    """Returns the length in a header of TFRecord; None where it is damaged."""
    if len(header) < TFRECORD_HEADER.size:
        return None
    size, checksum = TFRECORD_HEADER.unpack(header)
    return size if masked_crc32c(header[:8]) == checksum else None


@lru_cache(maxsize=KEPT_READERS)
def _reader(file: InFile) -> Any:
    """Returns a reader, which any number of threads may use."""
    from array_record.python import array_record_module

    if InFile.of(file.path) != file:
        raise ValueError("the file has changed since it was listed")
    # Nothing ahead: records are read by index, and pictures are large.
    return array_record_module.ArrayRecordReader(file.path, "readahead_buffer_size:0", file_reader_buffer_size=32768)


def _damage(error: Exception) -> str:
    return f"damaged: {' '.join(str(error).split())[:200]}"
