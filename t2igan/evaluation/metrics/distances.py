"""How far the distribution of generated features is from that of real ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from threadpoolctl import threadpool_limits

BLOCK = 1024  # rows of a kernel matrix in memory at once
SMALL = 1024  # features whose matrices one thread decomposes


def frechet_distance(real: Shaped[np.ndarray, "N D"], fake: Shaped[np.ndarray, "M D"]) -> float:
    """The Fréchet distance of two Gaussians fitted to features; lower is better, 0 is the same Gaussian.

        |m_r - m_f|^2 + tr(C_r + C_f - 2 (C_r^1/2 C_f C_r^1/2)^1/2)    (Heusel et al. 2017, arXiv:1706.08500)

    In squared units of the features, no upper bound. Biased upwards by about 1/N: compare only figures with
    the same extractor and the same N and M, and with N well above D if you can. ValueError for fewer than two
    rows, different D, or a feature that is not finite.
    """
    real, fake = _pair(real, fake)
    with _threads(real.shape[1]):
        return _frechet(real.mean(0), _covariance_root(real), fake.mean(0), _covariance_root(fake))


class FrechetInfinity(NamedTuple):
    """The distance extrapolated to endless pictures, and the points of the line that was fitted."""

    value: float
    num_images: Int[np.ndarray, " P"]
    frechet: Float[np.ndarray, " P"]


def frechet_infinity(
    real: Shaped[np.ndarray, "N D"], fake: Shaped[np.ndarray, "M D"], *, points: int = 10, seed: int
) -> FrechetInfinity:
    """The Fréchet distance that endlessly many generated pictures would have; lower is better, about 0 at best.

    FID_infinity of Chong & Forsyth 2020, arXiv:1911.07023: the distance is nearly linear in 1/M, so a line through
    distances of random subsets of the generated pictures, from half of them to all, is read off at 1/M = 0. Free of
    the bias of few generated pictures, not of that of few real ones; may fall below 0 by noise. ValueError where half
    of the generated pictures are not more than D, below which the bias is not linear.
    """
    real, fake = _pair(real, fake)
    if len(fake) // 2 <= real.shape[1]:
        raise ValueError(f"{len(fake)} generated pictures are too few to extrapolate with {real.shape[1]} features")
    random = np.random.default_rng(seed)
    sizes = np.linspace(len(fake) // 2, len(fake), points).astype(int)
    values = []
    with _threads(real.shape[1]):
        root_real, mean_real = _covariance_root(real), real.mean(0)
        for size in sizes:
            subset = fake[random.permutation(len(fake))[:size]]
            values.append(_frechet(mean_real, root_real, subset.mean(0), _covariance_root(subset)))
    _, intercept = np.polyfit(1 / sizes, values, 1)
    return FrechetInfinity(float(intercept), sizes, np.array(values))


def frechet_resampled(
    real: Shaped[np.ndarray, "N D"],
    fake: Shaped[np.ndarray, "M D"],
    real_counts: Int[np.ndarray, "S N"],
    fake_counts: Int[np.ndarray, "S M"],
) -> Float[np.ndarray, " S"]:
    """The Fréchet distances of S resamples, each picture counted as often as a row of counts says.

    Repeated pictures make every one of them larger than the distance itself: use their spread, not their mean.
    """
    real, fake = _pair(real, fake)
    with _threads(real.shape[1]):
        values = [
            _frechet(*_weighted_gaussian(real, of_real), *_weighted_gaussian(fake, of_fake))
            for of_real, of_fake in zip(real_counts, fake_counts, strict=True)
            if (of_real > 0).sum() > 1 and (of_fake > 0).sum() > 1
        ]
    return np.array(values)


class KernelDistance(NamedTuple):
    """The squared maximum mean discrepancy, and its standard error (NaN for too few pictures)."""

    value: float
    standard_error: float


def kernel_distance(
    real: Shaped[np.ndarray, "N D"], fake: Shaped[np.ndarray, "M D"], *, blocks: int = 10, seed: int
) -> KernelDistance:
    """The kernel distance (KID); lower is better, 0 on average for equal distributions.

    The squared maximum mean discrepancy with the kernel k(x, y) = (x·y / D + 1)^3, by the unbiased estimator over all
    pairs (Bińkowski et al. 2018, arXiv:1801.01401; Gretton et al. 2012, equation 3). No upper bound; may fall below 0.
    Not biased by N or M, so figures of different numbers of pictures can be compared. The standard error is that of
    the mean over `blocks` disjoint random parts, slightly too large for the estimate over all pairs; it needs two
    pictures of each kind in every block. ValueError as for `frechet_distance`.
    """
    real, fake = _pair(real, fake)
    value = _mmd2(real, fake)
    if min(len(real), len(fake)) < 2 * blocks:
        return KernelDistance(value, float("nan"))
    random = np.random.default_rng(seed)
    parts = zip(
        np.array_split(random.permutation(len(real)), blocks),
        np.array_split(random.permutation(len(fake)), blocks),
        strict=True,
    )
    values = [_mmd2(real[rows], fake[of_fake]) for rows, of_fake in parts]
    return KernelDistance(value, float(np.std(values, ddof=1) / blocks**0.5))


def _pair(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"features must be [N, D] and [M, D], not {real.shape} and {fake.shape}")
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"a spread needs two or more pictures, not {len(real)} real and {len(fake)} generated")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise ValueError("features must be finite")
    return real, fake


def _threads(features: int) -> threadpool_limits:
    """On matrices this small the threads of LAPACK wait for each other, on a busy machine a hundred times longer."""
    return threadpool_limits(1 if features <= SMALL else None, user_api="blas")


def _frechet(mean_real: np.ndarray, root_real: np.ndarray, mean_fake: np.ndarray, root_fake: np.ndarray) -> float:
    # With C = R'R, the trace of (C_r^1/2 C_f C_r^1/2)^1/2 is the sum of the singular values of R_r R_f'.
    # Covariances are never multiplied out, so that rank-deficient ones (N < D) cost no digits and nothing
    # turns complex.
    cross = np.linalg.svd(root_real @ root_fake.T, compute_uv=False).sum()
    means = ((mean_real - mean_fake) ** 2).sum()
    return float(max(means + (root_real**2).sum() + (root_fake**2).sum() - 2 * cross, 0.0))


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R [min(N, D), D] with R'R = the unbiased covariance."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return np.linalg.qr(centred, mode="r")


def _weighted_gaussian(features: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and R of pictures that count several times; quicker than QR, to about half the digits."""
    used = counts > 0
    features, counts = features[used], counts[used].astype(np.float64)
    total = counts.sum()
    mean = counts @ features / total
    centred = features - mean
    covariance = (centred * counts[:, None]).T @ centred / (total - 1)
    values, vectors = np.linalg.eigh(covariance)
    return mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    within_x = _kernel_sum(x, x) - _kernel(np.einsum("nd,nd->n", x, x), x.shape[1]).sum()
    within_y = _kernel_sum(y, y) - _kernel(np.einsum("nd,nd->n", y, y), y.shape[1]).sum()
    n, m = len(x), len(y)
    return float(within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * _kernel_sum(x, y) / (n * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    return sum(_kernel(x[start : start + BLOCK] @ y.T, x.shape[1]).sum() for start in range(0, len(x), BLOCK))


def _kernel(products: np.ndarray, dimension: int) -> np.ndarray:
    base = products / dimension + 1
    return base * base * base
