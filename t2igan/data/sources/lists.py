"""Lists among the files of a source: metadata.csv, captions.txt, dataset.json, and which of them give captions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from t2igan.data.dataset import Skipped
from t2igan.data.sources.documents import NO_PICTURES
from t2igan.data.sources.fields import EXPECTED_FIELDS
from t2igan.data.sources.folders import Folders, splits_among
from t2igan.data.sources.found import Files
from t2igan.data.sources.locate import Locator
from t2igan.data.sources.metadata import Gathered, Row, gather, read_rows
from t2igan.data.sources.names import kind_of, shown_name, stem
from t2igan.data.sources.row_files import listed
from t2igan.data.sources.unread import Unread, is_caption_like, of_no_picture
from t2igan.data.stored import reason_of

MAX_CANDIDATES = 200  # texts and JSON that match no picture; of more, only those that are called like captions


class Lists:
    """What lists say of pictures, gathered by the pictures' files."""

    def __init__(self, files: Files, pictures: Collection[str], folders: Folders, data_config: Any):
        """`pictures` are the names that a list may mean; nothing is read yet."""
        self.rows: dict[str, Gathered] = {}
        self.skipped: list[tuple[str | None, Skipped]] = []
        self.problems: list[str] = []  # of lists that cannot be read, or not to their end
        self.unread: list[Unread] = []
        self.notes: list[str] = []
        self.used: list[str] = []
        self.beside: dict[str, str] = {}  # pictures that a row names beside its own, and the list
        self._files = files
        self._pictures = pictures
        self._folders = folders
        self._config = data_config

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self._pictures, self._files.root)

    def read_metadata(self, names: Iterable[str]) -> None:
        """Reads lists that are called metadata: they are meant for the pictures, whatever becomes of them."""
        for name in names:
            rows, problem = self._read(name)
            self._take(name, rows, None)
            if not rows and not problem:
                self.unread.append(Unread(name, "it has no rows", True))
            if problem:
                self._lose(name, problem)

    def read_others(self, names: Collection[str]) -> None:
        """Reads lists of other names: those that give captions to pictures here are used, the others are `unread`.

        Their names may say which split they are for: train.csv, val.csv.
        """
        splits = splits_among([stem(name.rpartition("/")[2]) for name in names], self._config)
        with_texts: list[tuple[str, list[Row]]] = []
        with_labels: list[tuple[str, list[Row]]] = []
        for name in self._candidates(names):
            rows, problem = self._read(name)
            hits = [row for row in rows if row.file in self._pictures]
            captioned = [row for row in hits if row.captions]
            if not captioned:
                self.unread.append(self._useless(name, rows, hits, problem))
                continue
            is_text = any(row.column != self._config.label_field for row in captioned)
            (with_texts if is_text else with_labels).append((name, rows))
            if problem:
                self._lose(name, problem)
        for name, rows in with_texts or with_labels:
            self._take(name, rows, splits.get(stem(name.rpartition("/")[2])))
        for name, rows in with_labels if with_texts else ():  # labels beside captions: facts, no captions
            self._take(name, [replace(row, captions=()) for row in rows if row.file in self.rows], None)

    def _candidates(self, names: Collection[str]) -> list[str]:
        names = [name for name in names if not (of_no_picture(name) and name.lower().endswith(".txt"))]
        return [name for name in names if is_caption_like(name)] if len(names) > MAX_CANDIDATES else names

    def _read(self, name: str) -> tuple[list[Row], str]:
        """Returns the rows of a list with the pictures that they mean, and what is wrong with it or with its rest."""
        rows: list[Row] = []
        problem = ""
        parent = name.rpartition("/")[0]
        try:
            with self._files.open(name) as stream:
                knows = self._locator.knows
                read = read_rows(shown_name(name), stream, self._config, parent, self._files.root or None, knows)
                rows.extend(read)
        except (OSError, ValueError) as error:
            problem = reason_of(error)
        return located(rows, self._pictures, self._locator, parent), problem

    def _take(self, name: str, rows: list[Row], split: str | None) -> None:
        skipped: list[Skipped] = []
        gather((replace(row, split=row.split or split) for row in rows), self.rows, skipped)
        self.skipped += [(split or self._folders.split(name), one) for one in skipped]
        columns = dict.fromkeys(row.column for row in rows if row.captions)
        if columns:
            self.used.append(name)
            others = dict.fromkeys(other for row in rows for other in row.beside)
            found = self._locator.resolve(others, name.rpartition("/")[0]) if others else {}
            self.beside |= dict.fromkeys(found.values(), shown_name(name))
        if set(columns) - set(EXPECTED_FIELDS if kind_of(name) == "metadata" else ()):
            self.notes.append(f"captions from {listed(columns)} of {shown_name(name)}")

    def _lose(self, name: str, problem: str) -> None:
        self.problems.append(f"{shown_name(name)}: {problem}")
        self.skipped.append((self._folders.split(name), Skipped(shown_name(name), problem)))

    def _useless(self, name: str, rows: list[Row], hits: list[Row], problem: str) -> Unread:
        """Returns why no caption was taken of a list, and whether it evidently has some."""
        if hits:
            reason = next((row.problem for row in hits if row.problem), "no captions in it")
            has_words = any(row.has_words for row in hits)
            more = ": name the column in config.data.caption_field" if has_words else ""
            return Unread(name, f"{reason}{more}", has_words, names_some=True)
        if any(row.captions and row.name for row in rows):
            first = next(row for row in rows if row.captions and row.name)
            return Unread(
                name, f"it names no picture that is here, or none clearly; the first is {listed([first.name])}", True
            )
        if not problem and not rows:
            return Unread(name, "it has no rows", is_caption_like(name))
        reason = problem or next((row.problem for row in rows if row.problem), "") or "it names no picture that is here"
        return Unread(name, reason, is_caption_like(name) and not problem.startswith(NO_PICTURES))


def located(rows: list[Row], pictures: Collection[str], locator: Locator, parent: str) -> list[Row]:
    """Returns the rows of a list in the folder `parent`, with the pictures that they mean where they mean some."""
    unknown = {row.name for row in rows if row.name and row.file not in pictures}
    if not unknown:
        return rows
    found = locator.resolve(dict.fromkeys(row.name for row in rows if row.name), parent)
    return [_at(row, found) if row.name in unknown else row for row in rows]


def _at(row: Row, found: Mapping[str, str]) -> Row:
    if row.name not in found:
        return row
    problem = row.problem if not row.captions and row.file is not None else ""
    return replace(row, file=found[row.name], problem=problem or ("" if row.captions else "no caption in its row"))
