"""Settings that are "auto": what follows from the training data rather than from taste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from t2igan.config import get
from t2igan.config.auto import AUTO, PAIRED_WEIGHT, PENALTY_WEIGHTS, WEIGHTS, is_auto
from t2igan.data.alpha import in_unit
from t2igan.data.dataset import OWN_PICTURE_BELOW

# R1's weight 0.1 was found for the pixel avatars of base.py, whose pictures have this total variance.
BASE_PENALTY_WEIGHT, BASE_VARIANCE = 0.1, 203.4
# A weight of 20 was found for emoji in codes of 2,048 values and a total variance of 1,379.
BASE_PAIRED_WEIGHT = 20.0 * 1_379 / 2_048
MAX_PICTURES = 10_000  # that the variance is measured on


def total_variance(images: Any) -> float:
    """Returns V, the sum over all values of a picture of their variance over pictures.

    `images` is [N, H, W, C], an array or what is indexed like one: uint8 pictures, which count in units of [-1, 1], or
    codes. Of many, `MAX_PICTURES` taken evenly are looked at.
    """
    step = max(len(images) // MAX_PICTURES, 1)
    sums = squares = None
    rows = np.arange(0, len(images), step)
    for part in np.array_split(rows, max(len(rows) // 256, 1)):
        values = np.asarray(images[part])
        values = in_unit(values) if values.dtype == np.uint8 else values.astype(np.float64)
        sums = values.sum(0) if sums is None else sums + values.sum(0)
        squares = (values**2).sum(0) if squares is None else squares + (values**2).sum(0)
    return float((squares / len(rows) - (sums / len(rows)) ** 2).sum())


def penalty_weight(variance: float) -> float:
    """0.1 * V / 203.4: gamma of R1 for pictures of total variance V.

    R1 weighs |dD/dx|^2. If x is multiplied by s, the gradient of the same judgement is divided by s, and V is
    multiplied by s^2: so gamma V^-1 is what stays the same. Like the automatic gamma of StyleGAN2-ADA (Karras et al.
    2020, arXiv:2006.06676) it grows with the number of pixels. It was tried on two data sets of 64 px (docs/space.md).
    """
    return BASE_PENALTY_WEIGHT * variance / BASE_VARIANCE


def paired_weight(pictures_a_caption: float, variance: float, values: int) -> float:
    """Returns the weight of the mean squared error between a picture and what its caption draws.

    Full at one picture a caption, none from two on, where it would take the variety away; between them along a line.
    It is inverse to the variance of a value, V / values, so that error and game keep their proportion in any space.
    """
    share = np.clip(OWN_PICTURE_BELOW - pictures_a_caption, 0.0, 1.0)
    return float(share * BASE_PAIRED_WEIGHT * values / max(variance, 1e-6))


def wanted(config: Any, keys: Sequence[str]) -> tuple[str, ...]:
    """Returns those of the keys that a phase reads (`PhaseKind.auto`) that are "auto"."""
    return tuple(key for key in keys if get(config, key) == AUTO)


def needs_variance(keys: Sequence[str]) -> bool:
    """Whether what is wanted depends on the variance of the training pictures."""
    return any(key in WEIGHTS for key in keys)


def settle(
    config: Any, variance: float, values: int, pictures_a_caption: float, judged_variance: float | None = None
) -> Any:
    """Returns a copy of a configuration in which nothing is "auto" any more.

    Args:
      config: the configuration.
      variance: V of the training pictures in the space of the game; not looked at where no weight is "auto".
      values: numbers of a picture in that space.
      pictures_a_caption: on average.
      judged_variance: V of what the discriminator sees, where that is something else (`config.discriminator.sees`).
    """
    judged_variance = variance if judged_variance is None else judged_variance
    config = config.copy_and_resolve_references().unlock()
    with config.ignore_type():
        for key in PENALTY_WEIGHTS:
            if is_auto(config, key):
                config.update_from_flattened_dict({key: penalty_weight(judged_variance)})
        if is_auto(config, PAIRED_WEIGHT):
            config.loss.paired_weight = paired_weight(pictures_a_caption, variance, values)
    if config.pretrain_generator.task == AUTO:
        few = pictures_a_caption < OWN_PICTURE_BELOW
        config.pretrain_generator.task = "regress" if few else "complete"
    return config.lock()
