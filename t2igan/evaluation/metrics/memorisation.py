"""Does a network know the training pictures better than it should?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped


def closer_than(
    fake: Shaped[np.ndarray, " N"],
    real: Shaped[np.ndarray, " M"],
    fake_weights: Shaped[np.ndarray, " N"] | None = None,
    real_weights: Shaped[np.ndarray, " M"] | None = None,
) -> float:
    """The probability that a generated picture lies nearer to the training pictures than a held-out real one.

    From distances to the nearest training picture, of generated and of held-out real pictures: the area under the ROC
    curve, that is the Mann-Whitney statistic over N M, ties counted half. 0..1; 0.5 = as near as real pictures are,
    1 = all nearer (memorised, or bland), 0 = all farther. The idea of comparing with held-out pictures is that of
    Meehan et al. 2020 (arXiv:2004.05675). Not biased by N or M, but by the number of training pictures for both
    alike. Weights count pictures several times. ValueError for no pictures.
    """
    fake, real = np.asarray(fake, np.float64), np.asarray(real, np.float64)
    if not len(fake) or not len(real):
        raise ValueError(f"nothing to compare: {len(fake)} generated and {len(real)} held-out distances")
    fake_weights = np.ones(len(fake)) if fake_weights is None else np.asarray(fake_weights, np.float64)
    real_weights = np.ones(len(real)) if real_weights is None else np.asarray(real_weights, np.float64)
    order = np.argsort(real, kind="stable")
    real, above = real[order], np.append(real_weights[order][::-1].cumsum()[::-1], 0.0)
    nearer = above[np.searchsorted(real, fake, side="right")]  # weight of real ones farther than each fake
    tied = above[np.searchsorted(real, fake, side="left")] - nearer
    return float(fake_weights @ (nearer + tied / 2) / (fake_weights.sum() * real_weights.sum()))


def distance_ratio(fake: Shaped[np.ndarray, " N"], real: Shaped[np.ndarray, " M"]) -> float:
    """The median distance of generated pictures to the nearest training picture, over that of held-out real ones.

    0 and more; 1 = as near as real pictures are, 0 = copies. NaN where held-out pictures are copies themselves.
    """
    of_real = float(np.median(real))
    return float(np.median(fake)) / of_real if of_real > 0 else float("nan")


def copies(digests: Shaped[np.ndarray, " N"], training: Shaped[np.ndarray, " M"]) -> Bool[np.ndarray, " N"]:
    """Whether each picture is, bit by bit, a training picture; both are given as digests of the pixels."""
    return np.isin(digests, training)


def overfitting(
    train: Shaped[np.ndarray, " N"], held_out: Shaped[np.ndarray, " M"], fake: Shaped[np.ndarray, " K"]
) -> float:
    """How much of what the discriminator knows it knows of the training pictures only, from logits.

        r_v = (E[D_train] - E[D_held_out]) / (E[D_train] - E[D_fake])    (Karras et al. 2020, arXiv:2006.06676, eq. 1)

    0 = it has learned what real pictures look like; 1 = held-out real pictures look generated to it. About 0..1, lower
    is better. NaN where it does not tell real training pictures from generated ones.
    """
    top, middle, bottom = (float(np.mean(np.asarray(x, np.float64))) for x in (train, held_out, fake))
    return (top - middle) / (top - bottom) if top > bottom else float("nan")


def quantiles(values: Shaped[np.ndarray, " N"]) -> Float[np.ndarray, " Q"]:
    """The 5 %, 25 %, 50 %, 75 % and 95 % quantiles."""
    return np.quantile(np.asarray(values, np.float64), (0.05, 0.25, 0.5, 0.75, 0.95))
