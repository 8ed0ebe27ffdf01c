"""Losses: pure functions on arrays and callables, per sample and float32; whoever calls takes the mean.

`real` and `fake` are logits of the discriminator, high = "real and matching".
"""

from __future__ import annotations

from t2igan.method.losses.adversarial import ADVERSARIAL, RELATIVE, SMOOTHABLE, Adversarial, smoothed
from t2igan.method.losses.matching import angular_distance, contrastive, normalize
from t2igan.method.losses.penalties import (
    FINITE_DIFFERENCE_SIGMA,
    PENALTIES,
    Judged,
    judge,
    judge_finite_difference,
    judge_ma_gp,
    judge_r1,
    judge_r1_r2,
    judge_r2,
    judge_wgan_gp,
    with_mismatched,
)

__all__ = [
    "ADVERSARIAL",
    "FINITE_DIFFERENCE_SIGMA",
    "PENALTIES",
    "RELATIVE",
    "SMOOTHABLE",
    "Adversarial",
    "Judged",
    "angular_distance",
    "contrastive",
    "judge",
    "judge_finite_difference",
    "judge_ma_gp",
    "judge_r1",
    "judge_r1_r2",
    "judge_r2",
    "judge_wgan_gp",
    "normalize",
    "smoothed",
    "with_mismatched",
]
