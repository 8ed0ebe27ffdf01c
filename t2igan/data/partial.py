"""Captions of which a part is left out: what people type is shorter than what describes a picture.

"a laughing person with a long beard, dark skin" describes fewer pictures than "a laughing person", which is true of it
as well. A picture that is learned under either teaches what short prompts mean, and that there are many such pictures.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from t2igan.data.dataset import as_compared

# A part begins after one of these signs (not after "Mrs."), or with one of these words; languages without such words
# have the signs.
SIGNS = re.compile(r"\s*[,;:|]\s+|(?<=\w{4})\.\s+|,(?=[^\x00-\x7f])|\s*[、，；：。]\s*")
WORDS = (
    "with without wearing holding carrying riding playing in on at under over behind beside near by from while who "
    "that which as"
).split()
# "and" opens a part where an article follows: "a man and a dog", but "black and white".
OPENS = re.compile(rf"\s+(?=(?:{'|'.join(WORDS)})\s|and\s+(?:an?|the|his|her|its|their)\s)", re.IGNORECASE)
SHARED = "shared"  # the column of batches that says which captions are true of other pictures too
MOST_PARTIAL = 8  # partial captions that are kept of each
MOST_OF_A_NAME = 24  # whole captions that a whole caption may be a part of, and still be used as one
MOST_PARTS = 8  # of a longer caption the last ones stay together


def parts(caption: str) -> list[str]:
    """Returns the parts of a caption, from the second on with the sign that stands before it, such as ", dark skin".

    A part ends at a comma, colon, semicolon, full stop or bar, and before words such as "with", "wearing" and "in".
    """
    found: list[str] = []
    begin, sign = 0, ""
    for match in itertools.chain(SIGNS.finditer(caption), (None,)):
        clause = caption[begin : match.start() if match else len(caption)]
        first, *others = OPENS.split(clause)
        if first.strip():
            found.append(sign + first if found else first)
        found += [f" {other}" for other in others]
        if match:
            begin, sign = match.end(), match.group()
    return [*found[: MOST_PARTS - 1], "".join(found[MOST_PARTS - 1 :])] if len(found) > MOST_PARTS else found


def partial_captions(caption: str, most: int) -> tuple[str, ...]:
    """Returns up to `most` different captions with some parts of a caption; () of one that has a single part.

    The first part stays, which says what there is; all others may be left out. Which are taken depends on the caption
    alone: of many, those that leave out little are as frequent as those that leave out much.
    """
    first, *others = parts(caption) or [""]
    if len(others) < 2:
        return (first,) if others else ()
    random = np.random.default_rng(zlib.crc32(caption.encode("utf-8", "replace")))
    found: dict[str, None] = {}
    for _ in range(4 * most):
        kept = sorted(random.choice(len(others), random.integers(len(others)), replace=False))
        found.setdefault("".join([first, *(others[i] for i in kept)]))
        if len(found) == most:
            break
    return tuple(found)


class PartialRows:
    """Which captions of a table are replaced by parts of them: the parts follow the whole ones in the table."""

    def __init__(self, captions: Sequence[str], share: float):
        """`share` of the captions that are asked about are replaced, of those that have parts; 0 = none."""
        of_each = [partial_captions(caption, MOST_PARTIAL) if share else () for caption in captions]
        # "man" is a part of a hundred captions, all of other pictures than its own, which it should go on to mean.
        counts = Counter(itertools.chain.from_iterable(of_each))
        names = {caption for caption in captions if counts[caption] > MOST_OF_A_NAME}
        of_each = [tuple(partial for partial in of_one if partial not in names) for of_one in of_each]
        self.captions = list(itertools.chain.from_iterable(of_each))  # what follows in the table
        self._share = share
        self._num = np.array([len(of_one) for of_one in of_each], np.int64)
        self._first = len(captions) + np.cumsum(self._num) - self._num
        compared = [as_compared(caption) for caption in captions]
        parts_of_others, pictures = set(self.captions), Counter(compared)
        self._shared = np.array(
            [a in parts_of_others or pictures[b] > 1 for a, b in zip(captions, compared, strict=True)]
        )

    def replaced(self, rows: np.ndarray, shortens: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows of the table in place of those of whole captions, and which of these are shared.

        Shared is a caption that is true of other pictures too: one with a part left out, a whole one that is a part of
        another, or that of several pictures, as `as_compared` compares them.

        `shortens` and `which` are uniform random numbers in [0, 1), one each for every row.
        """
        is_partial = (shortens < self._share) & (self._num[rows] > 0)
        partial = self._first[rows] + (which * self._num[rows]).astype(np.int64)
        return np.where(is_partial, partial, rows), is_partial | self._shared[rows]
