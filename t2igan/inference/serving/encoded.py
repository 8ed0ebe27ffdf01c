"""What the text encoder makes of captions, remembered: a client mostly draws the same one again, with other seeds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from t2igan.inference.drawing import Encoded

MOST_BYTES = 16 * 2**20
LONGEST_REMEMBERED = 2_000  # characters of a caption


class EncodedCaptions:
    """The last captions of one model, encoded; on any thread."""

    def __init__(self, encode: Callable[[Sequence[str]], Encoded], most_bytes: int = MOST_BYTES):
        """Remembers what `encode` returns, `Model.encoded` of at most 64 captions, up to so many bytes."""
        self._encode, self._most_bytes = encode, most_bytes
        self._rows: OrderedDict[str, Encoded] = OrderedDict()  # those asked for last come last
        self._lock = threading.Lock()

    def of(self, captions: Sequence[str]) -> Encoded:
        """Returns what the text encoder makes of at most 64 captions: NumPy arrays, a row a caption."""
        with self._lock:
            rows = {caption: self._rows[caption] for caption in captions if caption in self._rows}
        new = [caption for caption in dict.fromkeys(captions) if caption not in rows]
        if new:
            encoded = self._encode(new)  # two threads may both do it: neither waits for the other
            rows |= {caption: tuple(x[i].copy() for x in encoded) for i, caption in enumerate(new)}
        self._remember(rows)
        return tuple(np.stack(each) for each in zip(*(rows[caption] for caption in captions), strict=True))

    def _remember(self, rows: dict[str, Encoded]) -> None:
        most = self._most_bytes // sum(x.nbytes for x in next(iter(rows.values())))
        with self._lock:
            for caption, row in rows.items():
                if len(caption) <= LONGEST_REMEMBERED:
                    self._rows[caption] = row
                    self._rows.move_to_end(caption)
            while len(self._rows) > most:
                self._rows.popitem(last=False)
