"""Extractor `pixels`: no network at all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from t2igan.evaluation.extractors.extractor import shrink

MAX_PX = 16


class Pixels:
    """The pixels, 0..1, at 16 px or less, each the mean over its area.

    What no network was taught to overlook: shades, single pixels, copies. Sees two pictures of the same thing a pixel
    apart as different.
    """

    name = "pixels"

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N D"]:
        """Returns float32 [N, size * size * C] with size at most 16."""
        small = shrink(images, min(images.shape[1], MAX_PX))
        return small.reshape(len(small), -1).astype(np.float32) / 255
