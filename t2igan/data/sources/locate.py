"""Which picture a list means by a name, where the list was written in another folder or on another machine.

A list is resolved as a whole, since one way of reading it must fit all its rows: a name that is missing must not be
taken for a picture of that name somewhere else.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from t2igan.data.sources.folders import MASK_WORDS, PICTURE_WORDS, is_called
from t2igan.data.sources.names import folded, kind_of, stem
from t2igan.data.stored import inner_name

COMMENT_NUMBER = re.compile(r"#\d{1,4}$")  # of Flickr8k's "1000268201_693b08cb0e.jpg#0"


class Locator:
    """The pictures of a source by all the names that a list may have for them."""

    def __init__(self, pictures: Iterable[str], root: str = ""):
        """`pictures` are relative posix names under `root`, the path of a folder; "" where there is none."""
        self._names = set(pictures)
        self._root = root
        self._root_name = folded(Path(root).resolve().name) if root else ""
        self._folded: dict[str, str] = {}
        self._by_base: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in sorted(self._names):
            key = folded(name)
            self._folded.setdefault(key, name)
            base = key.rpartition("/")[2]
            self._by_base.setdefault(base, []).append(name)
            self._by_stem.setdefault(stem(base), []).append(name)

    def knows(self, cell: object) -> bool:
        """Whether a cell of a table might name a picture: by its last part, with or without a suffix."""
        if not isinstance(cell, (str, int)) or isinstance(cell, bool):
            return False
        base = folded(cleaned(str(cell)).rpartition("/")[2])
        return bool(base) and (base in self._by_base or base in self._by_stem)

    def resolve(self, wanted: Iterable[str], parent: str = "") -> dict[str, str]:
        """Returns name in a list -> picture, for those names that mean one; the list lies in the folder `parent`.

        Names are relative to the list, to the root, or absolute. Where no name is, they may be relative to the folder
        with the pictures, or to one above the root, or bare and unique; a suffix may be missing or be another one.
        """
        names = {name: cleaned(name) for name in wanted}
        found = {}
        for name, path in names.items():
            # As it is written first: a file may really be called "a%20b.png".
            if picture := self._direct(name.replace("\\", "/"), parent) or self._direct(path, parent):
                found[name] = picture
        left = {name: path for name, path in names.items() if name not in found}
        if not found:
            found = self._elsewhere(left, parent)
        elif left:  # converted since, or listed without a suffix: beside those that are there
            taken = set(found.values())
            for name, path in left.items():
                same = self._same_stem(inner_name(path, parent) or "")
                if same and same not in taken:
                    found[name] = same
        return found

    def _direct(self, path: str, parent: str) -> str | None:
        if (absolute := self._under_root(path)) is not None:
            return self._exact(absolute)
        return next((hit for above in (parent, "") if (hit := self._exact(inner_name(path, above) or ""))), None)

    def _exact(self, name: str) -> str | None:
        return name if name in self._names else self._folded.get(folded(name)) if name else None

    def _under_root(self, path: str) -> str | None:
        """Returns an absolute path relative to the root, with links on the way to it followed; None for others."""
        return relative_to(path, self._root) if self._root else None

    def _same_stem(self, name: str) -> str | None:
        """Returns the only picture with this path but for the suffix."""
        parent, _, base = folded(name).rpartition("/")
        for key in (base, stem(base)):
            fits = [one for one in self._by_stem.get(key, ()) if folded(one).rpartition("/")[0] == parent]
            if len(fits) == 1 and (key == base or kind_of(base) in ("picture", "unreadable")):
                return fits[0]
        return None

    def _elsewhere(self, names: Mapping[str, str], parent: str) -> dict[str, str]:
        """Returns the pictures of names none of which lies where the list says."""
        bare = {name: path for name, path in names.items() if "/" not in path}
        found = self._bare(bare, parent)
        deep = {name: path for name, path in names.items() if name not in bare}
        return found | self._rebased(deep, parent)

    def _bare(self, names: Mapping[str, str], parent: str) -> dict[str, str]:
        """Returns the picture of each name without folders that is the only one of its name, or clearly the meant one.

        First below the folder of the list, and elsewhere only if there is none at all.
        """
        for inside in dict.fromkeys([f"{parent}/" if parent else "", ""]):
            for index, key_of in ((self._by_base, folded), (self._by_stem, lambda path: folded(_bare_stem(path)))):
                found = {}
                for name, path in names.items():
                    fits = [one for one in index.get(key_of(path), ()) if one.startswith(inside)]
                    if len(fits) > 1:
                        best = min(map(_rank, fits))
                        fits = [one for one in fits if _rank(one) == best]
                    if len(fits) == 1:
                        found[name] = fits[0]
                if found:
                    return found
        return {}

    def _rebased(self, names: Mapping[str, str], parent: str) -> dict[str, str]:
        """Returns the pictures of names with folders that begin or end elsewhere: "data/pets/a.png" in the folder pets.

        What is cut off the names must be the same for all, and so must what is put before them.
        """
        ways: Counter[tuple[str, str]] = Counter()
        fits: dict[str, dict[tuple[str, str], str]] = {}
        for name, path in names.items():
            fits[name] = {}
            for way, picture in self._ways(path, parent):
                fits[name].setdefault(way, picture)
            ways.update(fits[name].keys())
        if not ways:
            return {}
        best = max(ways, key=lambda way: (self._is_root(way[0]), ways[way], -len(way[0]), -len(way[1])))
        if not self._is_root(best[0]):
            # Of a path of another machine, the last part alone says little: several names have to agree.
            foreign = any(map(_is_foreign, names.values()))
            if foreign and ways[best] < 2 and not any("/" in path[len(best[0]) + 1 :] for path in names.values()):
                return {}
            claimed = {one[best]: name for name, one in fits.items() if best in one}
            if any(claimed.get(picture, name) != name for name, one in fits.items() for picture in one.values()):
                return {}  # two names would be the same picture: nothing says which is
            rivals = [way for way in ways if way != best and ways[way] == ways[best]]
            if any(one.get(way, one.get(best)) != one.get(best) for one in fits.values() for way in rivals):
                return {}  # one name would be two pictures
        return {name: one[best] for name, one in fits.items() if best in one}

    def _ways(self, path: str, parent: str) -> Iterable[tuple[tuple[str, str], str]]:
        """Yields what to cut off a name and what to put before it, with the picture that results."""
        parts = path.split("/")
        for cut in range(len(parts)):
            head, tail = "/".join(parts[:cut]), "/".join(parts[cut:])
            if not tail:
                continue
            for above in dict.fromkeys([parent, ""]):
                name = f"{above}/{tail}" if above else tail
                if (hit := self._exact(name) or self._same_stem(name)) and (cut or above != parent):
                    yield (head, above), hit
        tail = folded(path)
        for one in self._by_base.get(tail.rpartition("/")[2], ()):
            if folded(one).endswith(f"/{tail}"):
                yield ("", one[: -len(tail) - 1]), one
        if _is_foreign(path):
            for one in self._named(parts[-1]):
                own = one.split("/")
                same = 1
                while same < min(len(own), len(parts)) and folded(own[-same - 1]) == folded(parts[-same - 1]):
                    same += 1
                yield ("/".join(parts[:-same]), "/".join(own[:-same])), one

    def _named(self, base: str) -> list[str]:
        """Returns the pictures in any folder that are called so, with or without a suffix."""
        return self._by_base.get(folded(base)) or self._by_stem.get(folded(_bare_stem(base)), [])

    def _is_root(self, head: str) -> bool:
        """Whether what is cut off ends with the name of the root's own folder."""
        return bool(self._root_name) and folded(head.rpartition("/")[2]) == self._root_name


def cleaned(name: str) -> str:
    """Returns a name as lists write it in a form to compare: slashes, no "file://", no "#0" at its end, no quotes."""
    name = name.strip().strip("\"'")
    if name.startswith("file://"):
        name = unquote(name.removeprefix("file://"))
    if "%" in name:
        name = unquote(name)
    name = COMMENT_NUMBER.sub("", name.replace("\\", "/"))
    parts = [part for part in name.split("/") if part != "."]
    return "/".join([part for i, part in enumerate(parts) if part or i == 0])


def relative_to(path: str, root: str | os.PathLike[str]) -> str | None:
    """Returns an absolute path relative to a folder that it lies in; None where it is not absolute or not inside."""
    if path.startswith("~"):
        path = os.path.expanduser(path)  # noqa: PTH111
    if "\0" in path or not Path(path).is_absolute():
        return None
    for base in (os.path.abspath(root), os.path.realpath(root)):  # noqa: PTH100
        try:
            inner = os.path.relpath(os.path.normpath(path), base)
        except ValueError:  # another drive
            continue
        if inner != ".." and not inner.startswith(f"..{os.sep}"):
            return inner.replace(os.sep, "/")
    return None


def _is_foreign(path: str) -> bool:
    """Whether a path is absolute, or climbs: relative to what is not here."""
    return path.startswith(("/", "..")) or path[1:2] == ":"


def _bare_stem(path: str) -> str:
    return stem(path) if kind_of(path) in ("picture", "unreadable") else path


def _rank(name: str) -> int:
    """Of pictures of one name in several folders, the one in "images" is meant, and the one in "masks" is not."""
    parent = name.rpartition("/")[0].rpartition("/")[2]
    return 0 if parent and is_called(parent, PICTURE_WORDS) else 2 if is_called(parent, MASK_WORDS) and parent else 1
