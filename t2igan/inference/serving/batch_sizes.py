"""How many of the pictures that wait are drawn in one call."""

from __future__ import annotations

from t2igan.inference.drawing import padded_size
from t2igan.inference.serving.queueing import Group

_RISE = 1.1  # by which the least time of a size may grow with each batch, since machines have other work
_CALL_S = 0.0005  # what a further call takes besides drawing
_WORTH_A_CALL = 0.9  # of the time of one call, that two of smaller batches may take


class Durations:
    """How long batches took of late, by model and size; what padding costs follows from it."""

    def __init__(self) -> None:
        self._least_s: dict[tuple[str, int], float] = {}

    def note(self, group: Group, images: int, seconds: float) -> None:
        """Takes note of a batch; the least time of late counts."""
        key = group.model, padded_size(images)
        self._least_s[key] = min(seconds, _RISE * self._least_s.get(key, seconds))

    def worth(self, group: Group, images: int) -> int:
        """Returns how many of so many pictures to draw now: all of them, or as many as fill a smaller batch.

        The latter where that batch and the rest take less time than a padded one of all; so far as is known. Of the
        rest's batch only what it fills counts: while the first is drawn others come and fill it.
        """
        size = padded_size(images)
        smaller = size // 2
        if size == images or smaller == 0:
            return images
        sizes = (size, smaller, padded_size(images - smaller))
        whole_s, first_s, rest_s = (self._least_s.get((group.model, each), 0.0) for each in sizes)
        known = whole_s and first_s and rest_s
        in_two_s = first_s + rest_s * (images - smaller) / sizes[2] + _CALL_S
        return smaller if known and in_two_s < _WORTH_A_CALL * whole_s else images


def part(images: int, idle: int) -> int:
    """Returns how many of so many pictures one of several idle threads draws: all for one, else a power of two."""
    return images if idle <= 1 else 1 << max(images // idle, 1).bit_length() - 1
