"""What sources have in common: the files they are given, and what they find among them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.splits import TRAIN_SPLITS
from t2igan.data.stored import Stored


@dataclass(frozen=True)
class Files:
    """Files by name, wherever they lie: what a folder and an archive have in common.

    `where` is the source as the user wrote it. `names` are relative posix names of regular files. `open` opens one of
    them, `place` says where a picture lies. Both raise OSError or ValueError, with a reason fit for the user, for what
    cannot be read; so may reading what `open` returned. `skipped` is what was found but is no file to be read. `root`
    is the folder that holds them, where they are files: names in lists may be absolute.
    """

    where: str
    names: Sequence[str]
    open: Callable[[str], io.BufferedIOBase]
    place: Callable[[str], Stored]
    skipped: Sequence[Skipped] = ()
    root: str = ""


@dataclass(frozen=True)
class Found:
    """Captioned pictures with the split of each (None: it belongs to none), and what cannot be used."""

    records: tuple[tuple[str | None, Record], ...]
    skipped: tuple[tuple[str | None, Skipped], ...]
    summary: str  # "785 pictures with captions in text files beside them"
    notes: tuple[str, ...] = ()  # what was decided and might have been meant otherwise, each in a line
    unread: tuple[Skipped, ...] = ()  # files that might have captions, and why none was taken from them
    from_labels: bool = False  # all captions are made of the names of folders

    def splits(self, train_split: str) -> tuple[str, ...]:
        """Returns the names of the splits, that for training first; () where nothing names one."""
        names = {split for split, _ in (*self.records, *self.skipped)}
        if names <= {None}:
            return ()
        train = self._train(train_split)
        # What belongs to no split, beside others that do, is training data.
        return tuple(sorted({name or train for name in names}, key=lambda name: (name != train, name)))

    def of_split(self, split: str | None, train_split: str) -> tuple[list[Record], list[Skipped]]:
        """Returns what is in a split; everything for None."""
        train = self._train(train_split)
        return (
            [record for own, record in self.records if split in (None, own or train)],
            [skipped for own, skipped in self.skipped if split in (None, own or train)],
        )

    def _train(self, train_split: str) -> str:
        """Returns what the data calls its training split: "training" where it has that, and no `train_split`."""
        names = {split for split, _ in self.records}
        return next((name for name in (train_split, *TRAIN_SPLITS) if name in names), train_split)


class FoundSource:
    """A source that looks for all its pictures at once, when it is first asked; `_find` says what is there."""

    def __init__(self, data_config: Any):
        """Looks at nothing yet."""
        self.name = str(data_config.source)
        self._config = data_config

    def describe(self) -> str:
        """Returns what was found, in a line: "785 pictures with captions in text files beside them"."""
        return self._found.summary

    def unread(self) -> tuple[Skipped, ...]:
        """Returns the files that might have captions and of which none was taken, with the reason."""
        return self._found.unread

    def notes(self) -> tuple[str, ...]:
        """Returns what was decided and might have been meant otherwise: "captions from the column 'alt' of x.csv"."""
        return self._found.notes

    def splits(self) -> tuple[str, ...]:
        """Returns the names of the splits, that for training first; () where nothing names one."""
        return self._found.splits(self._config.train_split)

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split (None: all) in the order of the data, and what cannot be used."""
        return self._found.of_split(split, self._config.train_split)

    def found(self) -> Found:
        """Returns all that was found, of all splits."""
        return self._found

    @cached_property
    def _found(self) -> Found:
        return self._find()

    def _find(self) -> Found:
        raise NotImplementedError
