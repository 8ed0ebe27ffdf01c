"""Which rows of many are looked at where all would be too many."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def evenly_spread(total: int, num: int) -> Int[np.ndarray, " n"]:
    """Returns up to `num` different ones of the numbers below `total`, in order and as far apart as they can be.

    With two and more the first and the last are among them; none where `total` is 0.
    """
    return np.linspace(0, max(total - 1, 0), min(num, total)).round().astype(int)
