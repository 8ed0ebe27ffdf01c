"""Which caption belongs to which picture, by the names of files and by what some of them say.

The conventions are the same for a folder and for an archive of one, so nothing here knows either: it is given names
and a way to open them (`Files`), and returns records (`Found`).
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.encoding import DAMAGED, REPLACED
from t2igan.data.sources.captions import chosen_captions, label_captions, readable_label
from t2igan.data.sources.metadata import Gathered, Row, captions_in, gather, read_rows
from t2igan.data.sources.names import Folders, folded, is_hidden, kind_of, shown_name, stem
from t2igan.data.sources.translations import Captions
from t2igan.data.stored import MAX_TEXT_BYTES, NO_SUCH_FILE, Stored, decode_text, reason_of
from t2igan.errors import UserError

NO_CAPTION = "no caption: no text of its name beside it, and no row in metadata.jsonl or metadata.csv"


@dataclass(frozen=True)
class Files:
    """Files by name, wherever they lie: what a folder and an archive have in common.

    `where` is the source as the user wrote it. `names` are relative posix names of regular files. `open` opens one of
    them, `place` says where a picture lies. Both raise OSError or ValueError, with a reason fit for the user, for what
    cannot be read; so may reading what `open` returned. `skipped` is what was found but is no file to be read.
    """

    where: str
    names: Sequence[str]
    open: Callable[[str], io.BufferedIOBase]
    place: Callable[[str], Stored]
    skipped: Sequence[Skipped] = ()


@dataclass(frozen=True)
class Found:
    """Captioned pictures with the split of each (None: it belongs to none), and what cannot be used."""

    records: tuple[tuple[str | None, Record], ...]
    skipped: tuple[tuple[str | None, Skipped], ...]
    summary: str  # "785 pictures with captions in text files beside them"
    notes: tuple[str, ...] = ()  # what was decided and might have been meant otherwise, each in a line

    def splits(self, train_split: str) -> tuple[str, ...]:
        """Returns the names of the splits, that for training first; () where nothing names one."""
        names = {split for split, _ in (*self.records, *self.skipped)}
        if names <= {None}:
            return ()
        # What belongs to no split, beside others that do, is training data.
        return tuple(sorted({name or train_split for name in names}, key=lambda name: (name != train_split, name)))

    def of_split(self, split: str | None, train_split: str) -> tuple[list[Record], list[Skipped]]:
        """Returns what is in a split; everything for None."""
        return (
            [record for own, record in self.records if split in (None, own or train_split)],
            [skipped for own, skipped in self.skipped if split in (None, own or train_split)],
        )


class FoundSource:
    """A source that looks for all its pictures at once, when it is first asked; `_find` says what is there."""

    def __init__(self, data_config: Any):
        """Looks at nothing yet."""
        self.name = str(data_config.source)
        self._config = data_config

    def describe(self) -> str:
        """Returns what was found, in a line: "785 pictures with captions in text files beside them"."""
        return self._found.summary

    def notes(self) -> tuple[str, ...]:
        """Returns what was decided and might have been meant otherwise: "38 texts are not UTF-8 and read as cp932"."""
        return self._found.notes

    def splits(self) -> tuple[str, ...]:
        """Returns the names of the splits, that for training first; () where nothing names one."""
        return self._found.splits(self._config.train_split)

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split (None: all) in the order of the data, and what cannot be used."""
        return self._found.of_split(split, self._config.train_split)

    @cached_property
    def _found(self) -> Found:
        return self._find()

    def _find(self) -> Found:
        raise NotImplementedError


def pair(files: Files, data_config: Any) -> Found:
    """Returns the pictures among files with their captions, in the order of their names.

    A picture has its captions from its rows in metadata.jsonl, .csv or .parquet; without such from the lines of
    NAME.txt or NAME.caption beside it; without such from NAME.json. Where no picture has any of these and each lies in
    a folder, the names of the folders are labels. Hidden files are passed over.

    UserError where metadata cannot be read and nothing else gives captions, and where no text is in the language that
    `config.data.language` asks for.
    """
    return _Pairing(files, data_config).found()


class _Beside:
    """Files of one kind by the picture they lie beside: cat.txt or cat.png.txt, in any case, beside cat.png."""

    def __init__(self, names: Iterable[str]):
        self._by_stem: dict[str, list[str]] = {}
        for name in names:
            self._by_stem.setdefault(stem(name), []).append(name)
        self._exact = {folded(key): key for key in reversed(self._by_stem)}

    def of(self, picture: str) -> list[str]:
        keys = (stem(picture), picture)
        exact = (self._exact.get(folded(key), "") for key in keys)
        return next((self._by_stem[key] for key in chain(keys, exact) if key in self._by_stem), [])


class _Pairing:
    """The work of `pair`, and what is counted on the way."""

    def __init__(self, files: Files, data_config: Any):
        self._files = files
        self._config = data_config
        by_kind: dict[str, list[str]] = {}
        for name in sorted(files.names):
            if not is_hidden(name):
                by_kind.setdefault(kind_of(name), []).append(name)
        self._names = {name for names in by_kind.values() for name in names}
        self._metadata = by_kind.get("metadata", [])
        self._pictures = by_kind.get("picture", []) + by_kind.get("unreadable", [])
        self._unreadable = set(by_kind.get("unreadable", []))
        self._readable_stems = {stem(name) for name in by_kind.get("picture", [])}
        # Of cat.txt and cat.caption, the first is read first.
        self._texts = _Beside(sorted(by_kind.get("text", []), key=lambda name: not name.lower().endswith(".txt")))
        self._jsons = _Beside(by_kind.get("json", []))
        self._in_texts = Captions(data_config)
        self._folders = Folders(self._pictures, data_config)
        beside = any(self._texts.of(name) or self._jsons.of(name) for name in self._pictures)
        self._labels = {} if self._metadata or beside else self._folders.labels()
        self._records: list[tuple[str | None, Record]] = []
        self._skipped = [(self._folders.split(one.file), one) for one in files.skipped]
        self._already_skipped = {one.file for one in files.skipped}
        self._origins: Counter[str] = Counter()

    def found(self) -> Found:
        rows: dict[str, Gathered] = {}
        lost = [problem for name in self._metadata if (problem := self._read_metadata(name, rows))]
        for file in sorted({*self._pictures, *rows}):
            self._add(file, rows.get(file))
        if lost and not self._records:
            raise UserError(f"{self._files.where}: {lost[0]}.\nNothing else there gives captions to pictures.")
        if self._pictures:
            self._in_texts.check(self._files.where)
        return Found(tuple(self._records), tuple(self._skipped), self._summary())

    def _read_metadata(self, name: str, rows: dict[str, Gathered]) -> str:
        """Adds the rows of a file; returns what is wrong with the file or with its rest, "" where nothing is."""
        split, problem = self._folders.split(name), ""
        skipped: list[Skipped] = []
        try:
            with self._files.open(name) as stream:
                read = read_rows(shown_name(name), stream, self._config, name.rpartition("/")[0])
                gather((self._with_exact_name(row) for row in read), rows, skipped)
        except (OSError, ValueError) as error:
            skipped.append(Skipped(shown_name(name), reason_of(error)))
            problem = f"{skipped[-1].file}: {skipped[-1].reason}"
        self._skipped += [(split, one) for one in skipped]
        return problem

    @cached_property
    def _exact(self) -> dict[str, str]:
        return {folded(name): name for name in sorted(self._names, reverse=True)}

    def _with_exact_name(self, row: Row) -> Row:
        known = row.file is None or row.file in self._names
        return row if known else replace(row, file=self._exact.get(folded(row.file), row.file))

    def _add(self, file: str, row: Gathered | None) -> None:
        if file in self._unreadable and row is None and stem(file) in self._readable_stems:
            return  # the same picture in another format
        if file not in self._names and shown_name(file) in self._already_skipped:
            return
        split = (row and row.split) or self._folders.split(file)
        try:
            captions, attributes, origin = self._captions(file, row)
            record = Record(shown_name(file), self._files.place(file), captions, attributes)
        except (OSError, ValueError) as error:
            self._skipped.append((split, Skipped(shown_name(file), reason_of(error))))
        else:
            self._records.append((split, record))
            self._origins[origin] += 1

    def _captions(self, file: str, row: Gathered | None) -> tuple[tuple[str, ...], dict[str, str], str]:
        """Returns captions, attributes, and where they come from; ValueError with the reason where there are none."""
        if file not in self._names:
            raise ValueError(NO_SUCH_FILE)
        if file in self._unreadable:
            suffix = file[len(stem(file)) :].lower()
            raise ValueError(f"a kind of picture that cannot be read: {suffix} (convert it to .png)")
        attributes = row.attributes if row else {}
        if row and row.captions:
            return chosen_captions(tuple(dict.fromkeys(row.captions)), self._config), attributes, "metadata"
        problem = row.problem if row else ""
        ways = [("text files beside them", self._from_texts), ("JSON files beside them", self._from_json)]
        for origin, read in reversed(ways) if self._config.caption_field else ways:  # only JSON has fields to choose
            try:
                captions, more = read(file)
            except (OSError, ValueError) as error:
                problem = problem or f"no caption: {reason_of(error)}"
            else:
                if captions:
                    return chosen_captions(captions, self._config), more | attributes, origin
        if label := self._labels.get(file):
            captions = chosen_captions(label_captions(label, self._config.caption_templates), self._config)
            return captions, {self._config.label_field: readable_label(label)}, "the names of their folders"
        raise ValueError(problem or NO_CAPTION)

    def _from_texts(self, picture: str) -> tuple[tuple[str, ...], dict[str, str]]:
        captions: list[str] = []
        names = self._texts.of(picture)
        damaged = False
        for name in names:
            text = decode_text(self._read(name))
            captions += self._in_texts.of(text)
            damaged |= REPLACED in text
        if names and not captions:
            raise ValueError(f"{shown_name(names[0])} has {DAMAGED if damaged else 'none'}")
        return tuple(dict.fromkeys(captions)), {}

    def _from_json(self, picture: str) -> tuple[tuple[str, ...], dict[str, str]]:
        for name in self._jsons.of(picture):
            try:
                values = json.loads(decode_text(self._read(name)), strict=False)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{shown_name(name)} is not JSON that can be read") from error
            if isinstance(values, dict):
                return captions_in(values, self._config)
        return (), {}

    def _read(self, name: str) -> bytes:
        try:
            with self._files.open(name) as stream:
                return stream.read(MAX_TEXT_BYTES)
        except (OSError, ValueError) as error:
            raise ValueError(f"{shown_name(name)}: {reason_of(error)}") from error

    def _summary(self) -> str:
        origins = [origin for origin, _ in self._origins.most_common()]
        if len(origins) == 1:
            where = f" in {origins[0]}"
        else:
            where = "".join(f", {self._origins[origin]} in {origin}" for origin in origins)
        return f"{len(self._records)} pictures with captions{where}{self._in_texts.summary()}"
