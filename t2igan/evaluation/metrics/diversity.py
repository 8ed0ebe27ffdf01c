"""How different pictures are from each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Shaped


def within_groups(vectors: Shaped[np.ndarray, "N D"], groups: Sequence[Hashable]) -> dict[Hashable, float]:
    """The mean absolute difference of two vectors of the same group, by group; 0 = all alike.

    With pixels divided by 255 and captions as groups: what noise changes, 0..1 of the full range. 0 everywhere is mode
    collapse; higher is more varied, not by itself better: read it beside real pictures. A group counts by all its
    pairs, and is not biased by their number; groups of one are left out. ValueError where no group has two.
    """
    vectors = np.asarray(vectors)
    if len(vectors) != len(groups):
        raise ValueError(f"{len(vectors)} vectors and {len(groups)} groups")
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    found = {group: across_groups(vectors[rows]) for group, rows in members.items() if len(rows) > 1}
    if not found:
        raise ValueError("no caption has two pictures to compare")
    return found


def across_groups(vectors: Shaped[np.ndarray, "N D"]) -> float:
    """The mean absolute difference, over elements, of two vectors among `vectors`; ValueError for fewer than two.

    With one picture of each caption: how much pictures of different captions differ. In units of the elements, not
    biased by N.
    """
    n = len(vectors)
    if n < 2:
        raise ValueError("a difference needs two pictures")
    # Mean of |x_i - x_j| over pairs, from the elements in order: sum_i (2i - n + 1) x_(i).
    ordered = np.sort(np.asarray(vectors, np.float64), axis=0)
    weights = 2.0 * np.arange(n) - n + 1
    return float((weights @ ordered).mean() / (n * (n - 1) / 2))
