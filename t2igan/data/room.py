"""The room that the cache may take: everything in it together, the longest unused deleted first.

    CACHE/pictures/KEY/...            guarded by KEY.lock while it is written
          unpacked/KEY.tar, KEY.npy   in use as long as a process holds them (`hold`)
          captions/KEY/...            vectors of pretrained models (`t2igan.inference.pretrained.captions`)

When an entry was last used is its time of change. Pictures and vectors may be deleted under those who have mapped them,
since the disk keeps what is mapped; unpacked files are opened again and again, so that those which are held stay.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from t2igan.errors import lacks_locks

PICTURES, UNPACKED, CAPTIONS = "pictures", "unpacked", "captions"
STALE_AFTER_S = 86_400.0  # what is unfinished for so long is no longer being written

_held: dict[Path, BinaryIO] = {}


@dataclass(frozen=True, order=True)
class _Entry:
    used_s: float
    size_bytes: int
    path: Path


def make_room(cache: Path, needed_bytes: int, limit_bytes: int) -> None:
    """Deletes what was not used for longest until the limit is kept. OSError where the disk has no room even so."""
    entries = sorted(_entries(cache))
    total = sum(entry.size_bytes for entry in entries)
    for entry in entries:
        if total + needed_bytes <= limit_bytes:
            break
        if entry.path.name.endswith(".unfinished") and time.time() - entry.used_s < STALE_AFTER_S:
            continue  # perhaps being written just now
        if _delete(entry.path):
            total -= entry.size_bytes
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < needed_bytes:
        raise OSError(f"{needed_bytes / 1e9:.1f} GB are needed, {free_bytes / 1e9:.1f} GB are free")


def hold(path: Path) -> None:
    """Keeps an unpacked file from being deleted as long as this process lives, and notes that it is used now.

    OSError where there is no such file (any more). Where the disk has no locks, the file is only noted as used.
    """
    if path not in _held:
        file = path.open("rb")
        try:
            _lock(file, exclusive=False)
        except OSError:
            file.close()
        else:
            _held[path] = file
    os.utime(path)


def _entries(cache: Path) -> list[_Entry]:
    entries = []
    for kind in (PICTURES, UNPACKED, CAPTIONS):
        for path in (cache / kind).iterdir() if (cache / kind).is_dir() else ():
            if path.suffix == ".lock":
                continue
            with contextlib.suppress(FileNotFoundError):  # deleted by another process meanwhile
                files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]
                entries.append(_Entry(path.stat().st_mtime, sum(file.stat().st_size for file in files), path))
    return entries


def _delete(path: Path) -> bool:
    """Deletes an entry that nobody uses; returns whether it is gone."""
    from filelock import FileLock, Timeout

    if path.is_dir():
        try:
            with FileLock(path.with_name(f"{path.name}.lock"), timeout=0):
                shutil.rmtree(path, ignore_errors=True)
        except Timeout:
            return False
        except (NotImplementedError, OSError) as error:
            if not lacks_locks(error):
                raise
            return False
        return not path.exists()
    if path in _held:
        return False
    try:
        with path.open("rb") as file:
            _lock(file, exclusive=True)
            path.unlink()
    except OSError:
        return not path.exists()
    return True


def _lock(file: BinaryIO, exclusive: bool) -> None:
    """Locks an open file, or shares it with others who do; OSError at once where that cannot be.

    Windows does not delete files that are open, so that there is nothing to lock.
    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
