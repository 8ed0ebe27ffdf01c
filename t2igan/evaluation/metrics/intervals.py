"""How far a figure might be off by chance: Wilson's interval for shares, the bootstrap (Efron 1979) for the rest.

Pictures of one caption resemble each other, and count for less than as many of different captions: captions are
resampled, each with all its drawings and real pictures, and for a share they make the number of pictures smaller.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

LEVEL = 0.95
Z = 1.959964  # the standard normal's quantile at (1 + LEVEL) / 2


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
    """The interval of the mean of `values`, where `values[i]` belongs to group `groups[i]`; for shares see below."""
    num_groups = counts.shape[1]
    sums = np.bincount(groups, np.asarray(values, np.float64), num_groups)
    sizes = np.bincount(groups, minlength=num_groups)
    total = counts @ sizes
    return interval((counts @ sums)[total > 0] / total[total > 0])


def interval_of_share(right: Bool[np.ndarray, " N"], groups: Int[np.ndarray, " N"]) -> Interval:
    """Wilson's interval of a share (Wilson 1927), which holds near 0 and 1 too, where the bootstrap does not.

        (p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n)

    `right[i]` belongs to group `groups[i]`, and n is the number of values over the design effect (Kish 1965): how many
    times larger the groups make the variance of the share, from 1, where values of a group differ as any do, to where
    all values of a group are alike. That is assumed for a share of 0 or 1, which says nothing of it.
    """
    right = np.asarray(right, np.float64)
    num, share = len(right), float(right.mean())
    sizes = np.bincount(groups)
    most = float((sizes**2).sum() / num)
    sizes = sizes[sizes > 0]
    effect = most
    if 0 < share < 1 and len(sizes) > 1:
        errors = np.bincount(groups, right - share)
        variance = (errors**2).sum() / num**2 * len(sizes) / (len(sizes) - 1)
        effect = float(np.clip(variance / (share * (1 - share) / num), 1, max(most, 1)))
    n = num / effect
    centre, reach = share + Z**2 / (2 * n), Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low, high = (centre - reach) / (1 + Z**2 / n), (centre + reach) / (1 + Z**2 / n)
    return Interval(float(max(low, 0.0)) if share else 0.0, float(min(high, 1.0)) if share < 1 else 1.0)


def interval(resampled: Float[np.ndarray, " S"], centre: float | None = None) -> Interval:
    """The middle 95 % of a figure's resampled values.

    With `centre` they are first moved so that their mean is there: for figures that repeated pictures push to one side.
    """
    resampled = np.asarray(resampled, np.float64)
    if centre is not None:
        resampled = resampled - resampled.mean() + centre
    low, high = np.quantile(resampled, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
