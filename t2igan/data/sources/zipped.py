"""Members of zip archives, read one by one: nothing is unpacked, and what a member claims about itself is checked.

The format: PKWARE's APPNOTE.TXT, 4.3.7 (local header) and 4.4.5 (methods).
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from t2igan.data.dataset import Skipped
from t2igan.data.stored import MAX_PICTURE_BYTES, inner_name, open_regular

MAX_DIRECTORY_BYTES = 1 << 30  # of the list of members, which is read whole: some ten million of them
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
ENCRYPTED = 0x1  # in a member's flags
METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip archive, stored or deflated."""

    path: str
    mtime_ns: int
    header_start: int  # of the member's local header in the archive, in bytes
    packed_bytes: int
    size_bytes: int
    crc32: int
    method: int

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """Time of change of the archive, place in it, size and checksum."""
        return (self.mtime_ns, self.header_start, self.size_bytes, self.crc32)

    def read(self) -> bytes:
        """Returns the bytes; ValueError where they are too many, damaged, or not what the archive says of them."""
        if max(self.packed_bytes, self.size_bytes) > MAX_PICTURE_BYTES:
            raise ValueError(f"too big: {self.size_bytes} bytes, {MAX_PICTURE_BYTES} are accepted")
        with open_regular(self.path) as file:
            file.seek(data_start(file, self.header_start))
            data = file.read(self.packed_bytes)
        if self.method == zipfile.ZIP_DEFLATED:
            try:
                # One byte more than there should be, to notice that there are more; never all that a bomb holds.
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size_bytes + 1)
            except zlib.error as error:
                raise ValueError(f"damaged in the archive: {error}") from error
        if len(data) != self.size_bytes or zlib.crc32(data) != self.crc32:
            raise ValueError("damaged in the archive: size or checksum is another than the archive says")
        return data


def data_start(file: io.BufferedIOBase, header_start: int) -> int:
    """Returns where the data of a member begins, behind its local header; ValueError where there is no header."""
    file.seek(header_start)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
        raise ValueError("damaged archive: no member where its directory says")
    _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    return header_start + LOCAL_HEADER.size + name_bytes + extra_bytes


def zip_members(path: Path) -> tuple[dict[str, ZipMember], list[Skipped]]:
    """Returns the files in a zip archive by their normal names, and what in it cannot be read.

    Of two members of one name the later counts, as it would on unpacking. OSError or ValueError, with a reason fit for
    the user, where the archive as a whole cannot be read.
    """
    with open_regular(path) as file:
        mtime_ns, location = os.fstat(file.fileno()).st_mtime_ns, str(path)
        infos = list_zip(file).infolist()
    members: dict[str, ZipMember] = {}
    skipped: list[Skipped] = []
    reached = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = inner_name(info.filename)
        problem = "its name leads out of the archive" if name is None else member_problem(info)
        # Members that share their data make small archives unpack to petabytes; no tool writes such.
        if info.header_offset < reached:
            problem = "overlaps another member, as no archiver writes it"
        reached = max(reached, info.header_offset + LOCAL_HEADER.size + info.compress_size)
        if info.is_dir():
            continue
        if problem:
            skipped.append(Skipped(info.filename, problem))
            continue
        if name in members:
            skipped.append(Skipped(info.filename, "stored twice: the later one counts"))
        members[name] = ZipMember(
            path=location,
            mtime_ns=mtime_ns,
            header_start=info.header_offset,
            packed_bytes=info.compress_size,
            size_bytes=info.file_size,
            crc32=info.CRC,
            method=info.compress_type,
        )
    return members, skipped


def list_zip(file: io.BufferedIOBase) -> zipfile.ZipFile:
    """Returns the archive in an open file, its directory read; ValueError where it is none or a damaged one."""
    try:
        return zipfile.ZipFile(_Bounded(file))
    except Exception as error:  # zipfile raises almost anything on bytes that it does not expect
        raise ValueError(f"not a zip archive that can be read: {error or type(error).__name__}") from error


def member_problem(info: zipfile.ZipInfo) -> str:
    """Returns why a member cannot be read, "" where it can."""
    mode = info.external_attr >> 16  # of Unix, where the archive was made there
    if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "a link, a pipe or a device"
    if info.flag_bits & ENCRYPTED:
        return "encrypted"
    if info.compress_type not in METHODS:
        method = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))
        return f"compressed with {method}; read are {' and '.join(METHODS.values())}"
    return ""


class _Bounded(io.BufferedIOBase):
    """An archive that does not give more at once than a directory may need, whatever its headers claim."""

    def __init__(self, file: io.BufferedIOBase):
        super().__init__()
        self._file = file

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise ValueError(f"its directory claims {size} bytes, {MAX_DIRECTORY_BYTES} are accepted")
        return self._file.read(size)
