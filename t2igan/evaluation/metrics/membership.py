"""Can it be told from a model whether a picture was among its training pictures?"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Shaped

from t2igan.evaluation.metrics.memorisation import closer_than


def true_positives(
    members: Shaped[np.ndarray, " N"], others: Shaped[np.ndarray, " M"], false_share: float = 0.01
) -> float:
    """The share of members that are found where at most `false_share` of the others are taken for members.

    From scores, higher = more likely a member; the threshold is the lowest that lets through at most that share of the
    others (Carlini et al. 2022, arXiv:2112.03570). 0..1; a guess finds `false_share`. ValueError for no scores.
    """
    members, others = np.asarray(members, np.float64), np.asarray(others, np.float64)
    if not len(members) or not len(others):
        raise ValueError(f"nothing to compare: {len(members)} members and {len(others)} others")
    let_through = math.floor(false_share * len(others))
    threshold = np.sort(others)[::-1][let_through] if let_through < len(others) else -np.inf
    return float((members > threshold).mean())


def membership_auc(members: Shaped[np.ndarray, " N"], others: Shaped[np.ndarray, " M"]) -> float:
    """The probability that a member has the higher score, ties counted half; 0..1, a guess has 0.5."""
    return closer_than(-np.asarray(members, np.float64), -np.asarray(others, np.float64))


def copies_placed(distances: Float[np.ndarray, "N K"], share: float, *, seed: int) -> Float[np.ndarray, "N K"]:
    """Distances as they would be of a model that draws a member's own picture in `share` of its drawings: 0 there."""
    return np.where(np.random.default_rng(seed).random(distances.shape) < share, 0.0, distances)


def near_share(distances: Float[np.ndarray, "N K"], radius: float) -> Float[np.ndarray, " N"]:
    """The share of drawings within `radius` of the picture: the Monte Carlo attack (Hilprecht et al. 2019)."""
    return (np.asarray(distances) <= radius).mean(1)
