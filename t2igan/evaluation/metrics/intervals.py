"""How far a figure might be off by chance: bootstrap intervals (Efron 1979) over groups of pictures.

Pictures of one caption resemble each other, so captions are resampled, each with all its drawings and real pictures;
pictures one by one would make intervals too narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

LEVEL = 0.95


class Interval(NamedTuple):
    """An interval that holds the true value about 95 times of 100."""

    low: float
    high: float


def resampled_counts(num_groups: int, resamples: int, *, seed: int) -> Int[np.ndarray, "S G"]:
    """How often each group is in each of so many resamples with replacement; rows add up to `num_groups`."""
    random = np.random.default_rng(seed)
    return random.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=resamples)


def interval_of_mean(
    values: Shaped[np.ndarray, " N"], groups: Int[np.ndarray, " N"], counts: Int[np.ndarray, "S G"]
) -> Interval:
    """The interval of the mean of `values`, where `values[i]` belongs to group `groups[i]`.

    A share of 0 or 1 gets an interval of no width, which is too narrow: with none wrong of N, up to 3/N may be.
    """
    num_groups = counts.shape[1]
    sums = np.bincount(groups, np.asarray(values, np.float64), num_groups)
    sizes = np.bincount(groups, minlength=num_groups)
    total = counts @ sizes
    return interval((counts @ sums)[total > 0] / total[total > 0])


def interval(resampled: Float[np.ndarray, " S"], centre: float | None = None) -> Interval:
    """The middle 95 % of a figure's resampled values.

    With `centre` they are first moved so that their mean is there: for figures that repeated pictures push to one side.
    """
    resampled = np.asarray(resampled, np.float64)
    if centre is not None:
        resampled = resampled - resampled.mean() + centre
    low, high = np.quantile(resampled, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
