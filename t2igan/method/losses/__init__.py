"""Losses: pure functions on arrays and callables, per sample and float32; whoever calls takes the mean.

`real` and `fake` are logits of the discriminator, high = "real and matching".
"""

from __future__ import annotations

from t2igan.method.losses.adversarial import ADVERSARIAL, Adversarial, smoothable, smoothed
from t2igan.method.losses.matching import angular_distance, contrastive, normalize
from t2igan.method.losses.penalties import (
    FINITE_DIFFERENCE_SIGMA,
    PENALTIES,
    Scores,
    finite_difference,
    ma_gp,
    no_penalty,
    r1,
    r1_r2,
    r2,
    wgan_gp,
    with_mismatched,
)
from t2igan.method.losses.variety import drift, drifting_loss, mode_seeking

__all__ = [
    "ADVERSARIAL",
    "FINITE_DIFFERENCE_SIGMA",
    "PENALTIES",
    "Adversarial",
    "Scores",
    "angular_distance",
    "contrastive",
    "drift",
    "drifting_loss",
    "finite_difference",
    "ma_gp",
    "mode_seeking",
    "no_penalty",
    "normalize",
    "r1",
    "r1_r2",
    "r2",
    "smoothable",
    "smoothed",
    "wgan_gp",
    "with_mismatched",
]
