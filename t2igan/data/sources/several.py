"""Several sources as one, each drawn as often as is wished.

    config.data.source = ("pets:2", "birds")      or "pets:2,birds": pictures of pets are drawn twice as often

A comma parts sources and a number behind the last colon repeats one, unless there is a file of just that name. The
splits of all are joined; a source that names none is training data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from t2igan.data.dataset import Record, Skipped, Source
from t2igan.data.sources.found import Found, FoundSource
from t2igan.data.sources.names import shown_name
from t2igan.data.sources.shards import common_folder, relative_name, splits_by_name
from t2igan.errors import UserError, counted

REPEATED = re.compile(r"(.+):(\d{1,6})")

Part = tuple[str, int]  # a source and its repeats


def parts_of(source: Any, is_named: Callable[[str], bool] = lambda name: False) -> list[Part] | None:  # noqa: ARG005
    """Returns the sources that `config.data.source` names with their repeats; None where it is a single one.

    `is_named` says whether a data format knows a name: the number in its "colours:100" then belongs to the name, unless
    what stands before it is such a name already, as in "tfds:mnist:2".

    UserError for an empty name, and for 0 repeats.
    """

    def repeated(name: str) -> re.Match[str] | None:
        match = REPEATED.fullmatch(name)
        if match and _is_there(name):
            return None
        return None if match and is_named(name) and not is_named(match[1].strip()) else match

    if isinstance(source, str):
        if "," in source and not _is_there(source):
            names = source.split(",")
        elif repeated(source) and not source.startswith(("tfds:", "hf:")):
            names = [source]
        else:
            return None
    elif isinstance(source, Sequence):
        names = [str(name) for name in source]
    else:  # a pathlib.Path
        return None
    parts = []
    for name in map(str.strip, names):
        match = repeated(name)
        parts.append((match[1].strip(), int(match[2])) if match else (name, 1))
        if not parts[-1][0] or parts[-1][1] < 1:
            raise UserError(
                f"config.data.source={source!r}: {name!r} is no source.\n"
                'Accepted: "a,b" for two, "a:2,b" to draw the pictures of the first twice as often, or a tuple of such.'
            )
    return parts


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a zero in it; nobody knows the home folder of its `~`
        return False


class Several(FoundSource):
    """The pictures of several sources, each record with the repeats of its source."""

    def __init__(self, data_config: Any, parts: Sequence[Part], open_one: Callable[[Any], Source]):
        """Opens the sources by `open_one`; nothing is read of them yet. UserError where one is not there."""
        super().__init__(data_config)
        self.name = ",".join(f"{name}:{repeats}" if repeats > 1 else name for name, repeats in parts)
        self._parts = list(parts)
        self._sources = [open_one(_named(data_config, name)) for name, _ in parts]

    def _find(self) -> Found:
        labels = _labels([name for name, _ in self._parts])
        parts = zip(labels, self._sources, self._parts, strict=True)
        found = [_found_in(label, source, repeats) for label, source, (_, repeats) in parts]
        summary = "; ".join(
            f"{label}{f' ({repeats} times)' if repeats > 1 else ''}: {one.summary}"
            for label, one, (_, repeats) in zip(labels, found, self._parts, strict=True)
        )
        return _joined(found, summary)


class OfFiles(FoundSource):
    """Several files of one kind, each of which is a source; their names say the splits: train.npz, test.npz."""

    def __init__(self, data_config: Any, files: Sequence[Path], opened: Callable[[Any, Path], Source]):
        """Opens none yet."""
        super().__init__(data_config)
        self._files = list(files)
        self._opened = opened

    def _find(self) -> Found:
        root = common_folder(self._files, self._config)
        splits = splits_by_name(self._files, root, self._config)
        found = []
        for file in self._files:
            one = _found_in(relative_name(file, root), self._opened(self._config, file), 1)
            split = splits[file]
            records = tuple((own or split, record) for own, record in one.records)
            found.append(replace(one, records=records, skipped=tuple((own or split, s) for own, s in one.skipped)))
        return _joined(found, f"{counted(len(found), 'file')}; {found[0].summary}")


def _found_in(label: str, source: Source, repeats: int) -> Found:
    """Returns what is in a source, its files named below the label, its records repeated."""
    records: list[tuple[str | None, Record]] = []
    skipped: list[tuple[str | None, Skipped]] = []
    for split in source.splits() or (None,):
        of_split, lost = source.records(split)
        for record in of_split:
            file = f"{label}/{record.file}"
            records.append((split, replace(record, file=file, repeats=record.repeats * repeats)))
        skipped += [(split, replace(one, file=f"{label}/{one.file}")) for one in lost]
    unread, notes = (getattr(source, fact, tuple)() for fact in ("unread", "notes"))
    return Found(
        records=tuple(records),
        skipped=tuple(skipped),
        summary=source.describe(),
        unread=tuple(replace(one, file=f"{label}/{one.file}") for one in unread),
        notes=tuple(f"{label}: {note}" for note in notes),
    )


def _joined(found: Sequence[Found], summary: str) -> Found:
    return Found(
        records=tuple(record for one in found for record in one.records),
        skipped=tuple(skipped for one in found for skipped in one.skipped),
        summary=summary,
        unread=tuple(unread for one in found for unread in one.unread),
        notes=tuple(note for one in found for note in one.notes),
    )


def _named(data_config: Any, name: str) -> ConfigDict:
    """Returns the group `data` for one of the sources."""
    values = data_config.to_dict() if hasattr(data_config, "to_dict") else dict(data_config)
    return ConfigDict(values | {"source": name})


def _labels(names: Sequence[str]) -> list[str]:
    """Returns a short name for each source: the last part of its path, with a number where that is not the only one."""
    short = [shown_name(name.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or name) for name in names]
    return [f"{name}#{short[:i].count(name) + 1}" if short.count(name) > 1 else name for i, name in enumerate(short)]
