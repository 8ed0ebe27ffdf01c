"""The members of an archive, by what is in the file: tar, also packed, or zip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from t2igan.data.dataset import Skipped
from t2igan.data.sources.spool import unpacked
from t2igan.data.sources.tarred import tar_members
from t2igan.data.sources.zipped import zip_members
from t2igan.data.stored import Stored, open_regular

PACKED: dict[bytes, Callable[[io.BufferedIOBase], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
ZIP = b"PK"
ZSTD = b"\x28\xb5\x2f\xfd"
TEXT_KINDS = ("text", "json", "metadata", "table")  # of members and other files that may have captions


def members_of(file: Path, data_config: Any) -> tuple[Mapping[str, Stored], list[Skipped]]:
    """Returns the files in an archive by name, and what in it cannot be read; OSError, ValueError for the whole."""
    with open_regular(file) as stream:
        head = stream.read(8)
    if head.startswith(ZIP) or file.suffix.lower() == ".zip":  # a program that unpacks it may come first
        return zip_members(file)
    if head.startswith(ZSTD):
        raise ValueError("packed with zstd, which is not read: unpack it")
    opened = next((opened for mark, opened in PACKED.items() if head.startswith(mark)), None)
    if opened is None:
        return tar_members(file)
    with open_regular(file) as stream:
        whole = unpacked(file, "all.tar", lambda: opened(stream), data_config, keep_damaged=True)
        return tar_members(whole, os.fstat(stream.fileno()))
