"""Files that are written whole or not at all, and failed writes explained in a line."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from t2igan.errors import UserError


class explain_write_errors:
    """Turns a failed write below `folder` (a full or read-only disk, mostly) into a `UserError`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None or not _is_disk_error(error):
            return False
        raise UserError(
            f"could not write below {self.folder}: {first_line(error)}\n"
            f"What was saved before is whole. Free some space or mend the folder, then run the same command to go on."
        ) from error


def _is_disk_error(error: BaseException) -> bool:
    """Orbax and TensorStore report a failed write as OSError, ValueError or RuntimeError with the system's words."""
    words = ("No space left", "Read-only file system", "Permission denied", "File too large", "Disk quota", "ENOSPC")
    return isinstance(error, OSError) or any(word in str(error) for word in words)


def first_line(error: BaseException) -> str:
    """Returns what went wrong in one line: the system's words for a failed write, or the first line of the message."""
    for words in ("No space left on device", "Read-only file system", "Permission denied", "File too large"):
        if words in str(error):
            return words
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@contextlib.contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Gives a place beside a file to write it to, which takes its name when all of it is there.

    No two writers have the same place, of whatever process and machine; where one fails, nothing is left of it. What is
    `durable` is on the disk afterwards, name and content, and a machine that loses its power does not lose it.
    """
    place = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        yield place
        if durable:
            _to_disk(place)
        os.replace(place, path)  # noqa: PTH105 - atomic, and says so
        if durable and os.name == "posix":  # elsewhere folders cannot be opened
            _to_disk(path.parent)
    finally:
        place.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Returns when what a file holds, or which names a folder has, is no longer in the system's memory alone."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Writes JSON whole or not at all; `durable` as in `whole`."""
    write_bytes(path, (json.dumps(value, indent=2, default=list) + "\n").encode(), durable=durable)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a file whole or not at all; `durable` as in `whole`."""
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path, durable=durable) as place:
            place.write_bytes(content)


def write_secret(path: Path, raw: bytes) -> None:
    """Writes a new file that only its owner may read (mode 0600); UserError where there is one already."""
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise UserError(f"{path} is there already; keys are not overwritten, so give another --out") from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
        except OSError:
            path.unlink(missing_ok=True)  # half a key would be in the way of a whole one
            raise


def read_small(path: Path, most_bytes: int = 100_000) -> bytes:
    """Returns the first bytes of a file that is small, such as a key; UserError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most_bytes)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes NumPy arrays to a `.safetensors` file, whole or not at all, with the mode that the umask gives."""
    from safetensors.numpy import save_file

    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as place:
            with place.open("wb"):  # the library's own temporary file could be read by nobody but its owner
                mode = stat.S_IMODE(place.stat().st_mode)
            try:
                save_file(dict(tensors), place, metadata=dict(metadata))
            except Exception as error:
                raise OSError(str(error)) from error  # safetensors has an exception of its own for a failed write
            place.chmod(mode)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON-lines file, [] where there is none; a last line cut short by a kill is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def shown(path: Path) -> str:
    """Returns a path as it is shown to the user: from the current folder, where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
