"""How weights are stored in few bits: which of them are, and whole numbers of 8 bits with a scale a channel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int8

INT8_MAX = 127
SMALL_ARRAY = 256  # weights with fewer values stay float32, whatever the type of the others


def int8_levels(
    array: Float[np.ndarray, "*shape"], axis: int
) -> tuple[Int8[np.ndarray, "*shape"], Float[np.ndarray, "*scales"]]:
    """Returns levels from -127 to 127, and the scale of each entry of an axis, so that levels * scale ~ array."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = np.abs(array).max(others, keepdims=True).astype(np.float32) / np.float32(INT8_MAX)
    scale = np.where(scale == 0, np.float32(1), scale)
    return np.clip(np.round(array / scale), -INT8_MAX, INT8_MAX).astype(np.int8), scale
