"""Where an encoded picture lies, and how it is read without harm: files, parts of archives, rows of tables, arrays.

A place is small, picklable (worker processes read by it) and reads nothing until asked. Its `stamp` changes when what
lies there changes: what was decoded once is found again by it. Nothing here follows a name that data gives: sources
decide which names are inside their root, and places hold what they decided.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np

MAX_PICTURE_BYTES = 1 << 28  # of one encoded picture; more is an attack or a mistake
MAX_TEXT_BYTES = 1 << 20  # of one file of captions; the rest is not read
NO_SUCH_FILE = "there is no such file"


@runtime_checkable
class Stored(Protocol):
    """A place with one picture."""

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """Facts that change when the picture may have changed, without the folder that the data lies in."""
        ...

    def read(self) -> bytes | np.ndarray:
        """Returns the encoded picture, or uint8 [H, W] or [H, W, C] where it is stored as an array.

        OSError or ValueError, with a reason fit for the user, where it cannot be read.
        """
        ...


@dataclass(frozen=True)
class InMemory:
    """Encoded bytes, or pixels, uint8 [H, W, C], at hand: for small data only."""

    data: bytes | np.ndarray

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """The hash of what is at hand."""
        data = self.data.tobytes() if isinstance(self.data, np.ndarray) else self.data
        return (hashlib.sha256(data).hexdigest()[:32],)

    def read(self) -> bytes | np.ndarray:
        """Returns the bytes or the pixels."""
        return self.data


@dataclass(frozen=True)
class InFile:
    """A file of its own, or `size_bytes` from `start` in a larger one, as in an uncompressed tar."""

    path: str
    mtime_ns: int
    size_bytes: int
    start: int = 0
    ctime_ns: int = 0  # of what it is known by: programs set the time of change as they like, but not this one

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> InFile:
        """Returns the place of a whole file as it is now; OSError where there is none, ValueError for a pipe."""
        status = Path(path).stat()
        _check_regular(status.st_mode)
        return cls(os.fspath(path), status.st_mtime_ns, status.st_size, ctime_ns=status.st_ctime_ns)

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """Times of change, of the contents and of the file's entry, size and place in the file."""
        return (self.mtime_ns, self.ctime_ns, self.size_bytes, self.start)

    def read(self) -> bytes:
        """Returns the bytes; ValueError where they are too many, or fewer than there should be."""
        if self.size_bytes > MAX_PICTURE_BYTES:
            raise ValueError(f"too big: {self.size_bytes} bytes, {MAX_PICTURE_BYTES} are accepted")
        with open_regular(self.path) as file:
            file.seek(self.start)
            data = file.read(self.size_bytes)
        if len(data) != self.size_bytes:
            raise ValueError(f"the file ends after {len(data)} of {self.size_bytes} bytes")
        return data


def reason_of(error: Exception) -> str:
    """Returns why a file could not be opened or read, for the user."""
    if isinstance(error, (FileNotFoundError, UnicodeEncodeError)):  # the latter: no file can have such a name
        return NO_SUCH_FILE
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error) or type(error).__name__


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a regular file to read; ValueError for anything else, without waiting as a pipe would make one."""
    # Non-blocking: to open a pipe that nobody writes to would wait for ever. It does nothing to regular files.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(os.fstat(descriptor).st_mode)
    except ValueError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_text(path: str | os.PathLike[str], max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Returns at most `max_bytes` of a text file: UTF-8 (what is not becomes U+FFFD) or, with its mark, UTF-16.

    OSError where there is none, ValueError for what is not a regular file.
    """
    with open_regular(path) as file:
        data = file.read(max_bytes)
    return decode_text(data)


def decode_text(data: bytes) -> str:
    """Returns the text in bytes: UTF-16 where a byte order mark says so, otherwise UTF-8, wrong bytes as U+FFFD."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data[: len(data) // 2 * 2].decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def is_inside(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> bool:
    """Whether a path, with all links followed, stays in a folder (itself followed too)."""
    try:
        real, root = Path(path).resolve(strict=False), Path(root).resolve(strict=False)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return False
    return real == root or root in real.parents


def inner_name(name: str, parent: str = "") -> str | None:
    """Returns the normal posix form of a name that data gives, under `parent`; None where it leads out or is no name.

    Backslashes count as slashes, so that Windows lists work; absolute names, drives, NULs and ".." that climb above
    the root are refused.
    """
    drive = name[1:2] == ":" and name[0].isalpha()
    if drive or name.startswith(("/", "\\")) or "\0" in name:
        return None
    parts = [part for part in parent.split("/") if part]
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or None


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
        what = next((name for test, name in kinds if test(mode)), "a device")
        raise ValueError(f"not a regular file but {what}")
