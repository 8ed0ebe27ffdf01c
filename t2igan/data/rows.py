"""Pictures in the form of an array: rows of a mapped file, decoded at every visit, joined, or on a background.

All have `shape`, `dtype`, `ndim`, a length, and give uint8 [n, H, W, C] for an array of indices or a slice, [H, W, C]
for one index. `numpy.asarray` reads everything: for as few as fit in memory.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from t2igan.data.alpha import composited
from t2igan.data.decode import Decoding, decode
from t2igan.data.stored import Stored, reason_of
from t2igan.data.workers import Workers, usable_cores
from t2igan.errors import UserError

log = logging.getLogger(__name__)


class _Pictures:
    """What looks like a uint8 array [N, H, W, C]; `_take` returns rows by number."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shape: tuple[int, int, int, int]):
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self))[index]  # numpy's own rules for slices, masks, negative numbers and errors
        return self._take(rows.reshape(-1)).reshape(*rows.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _take(self, rows: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Mapped(_Pictures):
    """Some rows of a memory-mapped array, in a given order."""

    def __init__(self, images: np.ndarray, rows: np.ndarray):
        super().__init__((len(rows), *images.shape[1:]))
        self._images = images
        self._rows = rows

    def _take(self, rows: np.ndarray) -> np.ndarray:
        return self._images[self._rows[rows]]


class Composited(_Pictures):
    """Pictures with transparency as they look on a background; composited whenever they are asked for."""

    def __init__(self, images: Any, background: Sequence[int]):
        super().__init__((*images.shape[:3], 3))
        self._images = images
        self._background = tuple(background)

    def _take(self, rows: np.ndarray) -> np.ndarray:
        return composited(self._images[rows], self._background)


class Joined(_Pictures):
    """The pictures of one array, and then those of another."""

    def __init__(self, first: Any, second: Any):
        super().__init__((len(first) + len(second), *first.shape[1:]))
        self.dtype = np.dtype(first.dtype)
        self._first, self._second = first, second

    def _take(self, rows: np.ndarray) -> np.ndarray:
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        of_first = rows < len(self._first)
        taken[of_first] = self._first[rows[of_first]]
        taken[~of_first] = self._second[rows[~of_first] - len(self._first)]
        return taken


class Streamed(_Pictures):
    """Pictures that are read and decoded whenever they are asked for, by `workers` processes (0 = one a core).

    A picture that has become unreadable is replaced by the next one that is not, and said once: what a batch holds
    stays a function of the step and of what is on the disk. UserError where ten in a row are unreadable, or where
    the processes die.
    """

    MAX_REPLACED = 10

    def __init__(self, places: Sequence[Stored], how: Decoding, workers: int = 0):
        super().__init__((len(places), how.size_px, how.size_px, how.channels))
        self._places = places
        self._how = how
        self._num_workers = workers or usable_cores()
        self._workers: Workers | None = None
        self._starting = threading.Lock()
        self._said: set[int] = set()

    def _take(self, rows: np.ndarray) -> np.ndarray:
        places = [self._places[row] for row in rows]
        # Few are not worth sending around.
        decoded = _decode_all(places, self._how) if len(rows) <= 2 * self._num_workers else self._decode_apart(places)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for i, (row, picture) in enumerate(zip(rows, decoded, strict=True)):
            images[i] = self._replacement(int(row), picture) if isinstance(picture, str) else picture
        return images

    def _decode_apart(self, places: list[Stored]) -> list[np.ndarray | str]:
        """Decodes in the workers; where they died they are started once more, since a signal may have hit the first."""
        size = -(-len(places) // self._num_workers)
        jobs = [places[start : start + size] for start in range(0, len(places), size)]
        for last in (False, True):
            workers = self._started()
            try:
                # Not in this process's threads: Python's lock would have them wait for each other, and for training.
                results = list(workers.map(_decode_all, jobs, [self._how] * len(jobs)))
            except (BrokenProcessPool, CancelledError, RuntimeError) as error:  # also of a pool another thread closed
                self._forget(workers)
                if last:
                    raise UserError(
                        "the processes that decode pictures died: there may be too little memory.\n"
                        f"Set config.data.workers below {self._num_workers}, or raise config.data.cache_gb so that "
                        "pictures are decoded once. In a program of your own, start from "
                        '`if __name__ == "__main__":`.'
                    ) from error
            else:
                return [picture for part in results for picture in part]
        raise AssertionError

    def _replacement(self, row: int, why: str) -> np.ndarray:
        if row not in self._said:
            self._said.add(row)
            log.warning("a picture is unreadable now (%s: %s); the next one takes its place", self._places[row], why)
        for step in range(1, self.MAX_REPLACED + 1):
            picture = _decode_all([self._places[(row + step) % len(self)]], self._how)[0]
            if not isinstance(picture, str):
                return picture
        raise UserError(f"{self.MAX_REPLACED} pictures in a row can no longer be read ({why}): is the disk there?")

    def _started(self) -> Workers:
        with self._starting:
            if self._workers is None:
                self._workers = Workers(self._num_workers)
            return self._workers

    def _forget(self, workers: Workers) -> None:
        with self._starting:
            workers.end()
            if self._workers is workers:
                self._workers = None


def _decode_all(places: Sequence[Stored], how: Decoding) -> list[np.ndarray | str]:
    """Returns a picture or the reason why there is none for each place; runs in a worker process."""
    results: list[np.ndarray | str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files
        for place in places:
            try:
                results.append(decode(place.read(), how)[0])
            except Exception as error:
                results.append(reason_of(error))
    return results
