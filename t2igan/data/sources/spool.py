"""What can only be read from its beginning, unpacked once: compressed archives and arrays, as files in the cache.

    CACHE/unpacked/KEY.tar, KEY.npy

KEY is a hash of where the packed file lies, its size and times of change. A file gets its name when all of it is
written. What is unpacked may be deleted at any time between runs; it is made again. It counts among what the cache may
take (`config.data.cache_gb`), and the longest unused goes first.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from t2igan.data.cache import cache_folder
from t2igan.data.room import STALE_AFTER_S, UNPACKED, hold, make_room
from t2igan.errors import UserError

MAX_RATIO = 200  # unpacked to packed: pictures, and even text in tar's padding, are far below
RATIO_COUNTS_FROM_BYTES = 1 << 28  # less harms nobody
LEAVE_FREE_BYTES = 1 << 30  # on the disk of the cache
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


def unpacked(
    path: Path, part: str, open_packed: Callable[[], io.BufferedIOBase], data_config: Any, keep_damaged: bool = False
) -> Path:
    """Returns a file with all that the stream of `open_packed` gives, from the cache where it was unpacked before.

    `path` is the packed file and `part` what of it is meant, with the suffix that the result gets ("x.npy"). Damage
    loses what is behind it with `keep_damaged`, and is a ValueError without; so is, in any case, a bomb: what unpacks
    to more than MAX_RATIO times its size. UserError where the cache has no room.
    """
    status = path.stat()
    identity = (os.fspath(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, part)
    key = hashlib.sha256(repr(identity).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    folder = cache_folder(data_config) / UNPACKED
    target = folder / f"{key}{Path(part).suffix}"
    with suppress(OSError):  # there is none yet
        hold(target)
        return target
    unfinished = folder / f"{target.name}.{os.getpid()}.unfinished"
    with open_packed() as packed:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _tidy(folder)
            log.info("unpacking %s into %s", path, target)
            with unfinished.open("wb") as file:
                for chunk in _chunks(packed, status.st_size, keep_damaged):
                    _check_room(folder)
                    file.write(chunk)
            unfinished.replace(target)
            hold(target)
            make_room(folder.parent, 0, limit_bytes=round(data_config.cache_gb * 1e9))
        except OSError as error:
            raise UserError(
                f"{path} is compressed and cannot be unpacked into {folder}: {error.strerror or error}.\n"
                "Set config.data.cache_dir to a folder with more room, or unpack it yourself."
            ) from error
        finally:
            unfinished.unlink(missing_ok=True)
    return target


def _chunks(packed: io.BufferedIOBase, packed_bytes: int, keep_damaged: bool) -> Iterator[bytes]:
    """Yields what a stream gives; ValueError where it is damaged, or gives far more than was packed."""
    unpacked_bytes = 0
    while True:
        try:
            chunk = packed.read1(CHUNK_BYTES)  # not `read`, which would lose what is before the damage
        except Exception as error:  # gzip, bz2, lzma and zipfile have different ones for damage
            if keep_damaged and unpacked_bytes:
                return
            raise ValueError(f"damaged: {error or type(error).__name__}") from error
        if not chunk:
            return
        unpacked_bytes += len(chunk)
        if unpacked_bytes > max(RATIO_COUNTS_FROM_BYTES, MAX_RATIO * packed_bytes):
            raise ValueError(f"a bomb: it unpacks to more than {MAX_RATIO} times its size")
        yield chunk


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < LEAVE_FREE_BYTES:
        raise OSError(f"less than {LEAVE_FREE_BYTES / 1e9:.1f} GB are left on the disk")


def _tidy(folder: Path) -> None:
    """Deletes what killed processes left."""
    for left in folder.glob("*.unfinished"):
        with suppress(FileNotFoundError):  # another process may just have finished it
            if time.time() - left.stat().st_mtime > STALE_AFTER_S:
                left.unlink()
