"""How near an edited or completed picture comes to the true one, where that is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

LEAST_ERROR = 0.05  # squared levels of 255: equal pictures have 61 dB, and means stay finite


class EditScores(NamedTuple):
    """Of each edit; what no pixel counts for is NaN."""

    whole_db: Float[np.ndarray, " N"]  # peak signal-to-noise ratio to the truth, all pixels
    inside_db: Float[np.ndarray, " N"]  # the same, of the pixels that the truth changes
    outside_exact: Float[np.ndarray, " N"]  # share of the pixels that it leaves alone, and that were left alone


def psnr_db(
    images: UInt8[np.ndarray, "N H W C"],
    others: UInt8[np.ndarray, "N H W C"],
    counts: Bool[np.ndarray, "N H W"] | None = None,
) -> Float[np.ndarray, " N"]:
    """Returns the peak signal-to-noise ratio 10 log10(255^2 / mean squared error) in dB; at most 61.

    Args:
      images: one.
      others: the other.
      counts: which pixels count; None = all. NaN where none does.
    """
    error = ((images.astype(np.float64) - others) ** 2).mean(-1)
    counts = np.ones(error.shape, bool) if counts is None else counts
    number = counts.sum((1, 2))
    mean = np.where(counts, error, 0).sum((1, 2)) / np.maximum(number, 1)
    return np.where(number > 0, 10 * np.log10(255**2 / np.maximum(mean, LEAST_ERROR)), np.nan)


def edit_scores(
    before: UInt8[np.ndarray, "N H W C"],
    edited: UInt8[np.ndarray, "N H W C"],
    truth: UInt8[np.ndarray, "N H W C"],
) -> EditScores:
    """Returns how near edits come to the true pictures, pixel by pixel."""
    changes = (before != truth).any(-1)
    kept = (edited == before).all(-1)
    left = (~changes).sum((1, 2))
    outside = np.where(left > 0, (kept & ~changes).sum((1, 2)) / np.maximum(left, 1), np.nan)
    return EditScores(psnr_db(edited, truth), psnr_db(edited, truth, changes), outside)
