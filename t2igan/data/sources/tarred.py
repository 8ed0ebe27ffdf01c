"""Members of tar archives, each read where it lies: an uncompressed tar is as good as a folder.

Damage loses what is behind it, no more. Archives that were joined (`cat a.tar b.tar`) are read to the end.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from t2igan.data.dataset import Skipped
from t2igan.data.stored import InFile, inner_name, open_regular

MAX_HEADER_BYTES = 1 << 14  # of all headers of one member: a long name, times, owners
MAX_PADDING_BYTES = 1 << 24  # zeros between joined archives
BLOCK = tarfile.BLOCKSIZE
NUMBER_OF_ATTACK = re.compile(rb"[0-9]{1000}")


def tar_members(path: Path, packed: os.stat_result | None = None) -> tuple[dict[str, InFile], list[Skipped]]:
    """Returns the files in an uncompressed tar by their normal names, and what in it cannot be read.

    A reason that concerns the archive itself has "" as its file. Of two members of one name the later counts, as it
    would on unpacking. Of a tar that was unpacked, `packed` is the status of the packed file: the times that count are
    its own. OSError or ValueError, with a reason fit for the user, where it is no tar at all.
    """
    members: dict[str, InFile] = {}
    skipped: list[Skipped] = []
    with open_regular(path) as file:
        status, location = os.fstat(file.fileno()), str(path)
        changed = packed or status
        for info in _headers(file, status.st_size, skipped):
            if info.isdir():
                continue
            name = inner_name(info.name)
            if name is None:
                skipped.append(Skipped(info.name, "its name leads out of the archive"))
            elif not info.isreg():
                skipped.append(Skipped(info.name, "not a file but a link, a pipe or a device"))
            elif info.issparse():
                skipped.append(Skipped(info.name, "a sparse file, stored without its zeros"))
            elif info.size < 0 or info.offset_data + info.size > status.st_size:
                skipped.append(Skipped(info.name, "the archive ends within it"))
            else:
                if name in members:
                    skipped.append(Skipped(info.name, "stored twice: the later one counts"))
                members[name] = InFile(location, changed.st_mtime_ns, info.size, info.offset_data, changed.st_ctime_ns)
    return members, skipped


def _headers(file: io.BufferedIOBase, size_bytes: int, skipped: list[Skipped]) -> Iterator[tarfile.TarInfo]:
    """Yields the headers of an archive and of those joined to it; says in `skipped` where it is damaged."""
    start: int | None = 0
    first = True
    while start is not None:
        file.seek(start)
        guarded = _Guarded(file)
        try:
            tar = tarfile.TarFile(fileobj=guarded)
            while info := tar.next():
                yield info
                first = False
                # tarfile keeps all members, and what global headers say: without end, if an archive has it so.
                tar.members.clear()
                tar.pax_headers.clear()
                guarded.expect_header()
        except Exception as error:  # tarfile raises almost anything on bytes that it does not expect
            if first:
                raise ValueError(f"not a tar archive: {error or type(error).__name__}") from error
            skipped.append(Skipped("", f"damaged: what lies behind {file.tell()} of {size_bytes} bytes is lost"))
            return
        start = _next_archive(file, tar.offset, size_bytes)
        if tar.offset >= size_bytes:
            skipped.append(Skipped("", "it has no end mark: is it whole?"))
        elif start == tar.offset:
            skipped.append(Skipped("", f"damaged: what lies behind {start} of {size_bytes} bytes is lost"))
            return


def _next_archive(file: io.BufferedIOBase, position: int, size_bytes: int) -> int | None:
    """Returns where zeros end and something else begins; None where they go on to the end, or too long."""
    file.seek(position)
    for start in range(position, min(size_bytes, position + MAX_PADDING_BYTES), BLOCK):
        if file.read(BLOCK).strip(b"\0"):
            return start
    return None


class _Guarded:
    """A file in which no header leads tarfile astray: they are read in order, and not much at once.

    A negative size would send it round in circles (CVE-2025-8194), a long number keep it busy for hours
    (CVE-2024-6232), a name of 4 GB fill the memory.
    """

    def __init__(self, file: io.BufferedIOBase):
        self._file = file
        self._read_up_to = 0
        self._left_bytes = MAX_HEADER_BYTES

    def expect_header(self) -> None:
        """Allows for the headers of another member."""
        self._left_bytes = MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(position, whence)

    def read(self, size: int) -> bytes:
        if size == 1:  # tarfile looks whether the file goes on
            return self._file.read(size)
        if self._file.tell() < self._read_up_to:
            raise tarfile.ReadError("a header leads back")
        if not 0 <= size <= self._left_bytes:
            raise tarfile.ReadError("a header is too long")
        data = self._file.read(size)
        self._read_up_to = self._file.tell()
        self._left_bytes -= size
        if NUMBER_OF_ATTACK.search(data):
            raise tarfile.ReadError("a header has too long a number")
        return data
