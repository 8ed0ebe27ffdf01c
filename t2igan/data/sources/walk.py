"""The files in a folder, walked without following what leads out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from t2igan.data.dataset import Skipped
from t2igan.data.sources.names import is_hidden, kind_of, shown_name
from t2igan.data.stored import NO_SUCH_FILE, InFile, is_inside, reason_of
from t2igan.errors import UserError

FOLDER = "a folder"
LEADS_OUT = "a link that leads out of the folder (config.data.follow_links=True follows it)"
FOUND_ELSEWHERE = "a link to a folder inside: what is in it is found there"
MAX_ENTRIES_LOOKED_AT = 10_000


def holds_pictures(path: Path) -> bool:
    """Whether there is a picture in a folder or below; looks at no more than 10,000 entries."""
    entries = islice(_entries(path, follow_links=False), MAX_ENTRIES_LOOKED_AT)
    return any(not problem and kind_of(name) == "picture" for name, problem in entries)


def walk(root: Path, follow_links: bool = False) -> tuple[list[str], list[Skipped]]:
    """Returns the regular files under a folder as relative posix names, and what was left out with the reason.

    Hidden files and folders are passed over. A link to a file inside counts as a file; a link to a folder inside does
    not, since what is in it is found where it is. Links that lead out are left out; with `follow_links` they are
    followed, into each folder once. UserError where the folder itself cannot be listed.
    """
    names: list[str] = []
    skipped: list[Skipped] = []
    for name, problem in _entries(root, follow_links):
        if not problem:
            names.append(name)
        elif name:
            skipped.append(Skipped(shown_name(name), problem))
        else:
            raise UserError(f"config.data.source={os.fspath(root)!r} {problem}.")
    return names, skipped


def whole_file(path: str | os.PathLike[str]) -> InFile:
    """Returns the place of a picture that is a file of its own; ValueError for an empty one."""
    place = InFile.of(path)
    if not place.size_bytes:
        raise ValueError("an empty file")
    return place


def _entries(root: Path, follow_links: bool) -> Iterator[tuple[str, str]]:
    """Yields the name of each file and why it is left out, "" where it is not; folders only where they cannot be read.

    Without recursion: folders may be nested deeper than calls may. Paths are plain strings: to take each apart, as
    `pathlib` does, costs more than looking at the file.
    """
    seen: set[tuple[int, int]] = set()
    pending = [""]
    while pending:
        parent = pending.pop()
        try:
            if follow_links:
                status = os.stat(f"{root}/{parent}")  # noqa: PTH116
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}/{parent}") as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield parent, reason_of(error)
            continue
        for entry in entries:
            name = f"{parent}/{entry.name}" if parent else entry.name
            if is_hidden(entry.name):
                continue
            what = _look(entry, root, follow_links)
            if what == FOLDER:
                pending.append(name)
            elif not what or kind_of(name) not in ("", "table", "archive") or (what == LEADS_OUT and entry.is_dir()):
                yield name, what


def _look(entry: os.DirEntry[str], root: Path, follow_links: bool) -> str:
    """Returns FOLDER for a folder to be walked, "" for a file, otherwise why the entry is left out."""
    try:
        if entry.is_symlink():
            status = entry.stat()
            inside = is_inside(entry.path, root)
            if not (inside or follow_links):
                return LEADS_OUT
            if stat.S_ISDIR(status.st_mode):
                return FOUND_ELSEWHERE if inside else FOLDER
        elif entry.is_dir():
            return FOLDER
        if not entry.is_file():
            InFile.of(entry.path)  # says what else it is
    except FileNotFoundError:
        return "a link to nothing" if entry.is_symlink() else NO_SUCH_FILE
    except (OSError, ValueError) as error:
        return reason_of(error)
    return ""
