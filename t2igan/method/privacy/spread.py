"""How pictures of one caption differ, from one noisy release: the directions in which they leave their means.

With W of `t2igan.method.privacy.means`, which is public by then, and residuals r = x - phi(c) W of private pictures,

    R = sum over pictures of r r^T min(1, C / |r|)^2 + sigma C^2 N         is released, N symmetric and normal.

**Sensitivity.** A picture less takes one term away, whose Frobenius norm is |r|^2 min(1, C / |r|)^2, C^2 at most; the
entries on and above the diagonal, which get the noise, are fewer. So R is one Gaussian mechanism with the noise
multiplier sigma (Dwork et al. 2014, "Analyze Gauss"). Residuals depend on W, which composition allows.

Eigenvalues of R that stand out of what noise alone has are those of the pictures, made too large by the noise in a way
that is known, and so are directions too uncertain (Benaych-Georges & Nadakuditi 2011, arXiv:0910.2120). They become
modes: pictures of a caption are phi W + sum over modes of z_k a_k, with z normal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from t2igan.method.privacy.means import AT_ONCE
from t2igan.method.privacy.noise import standard_normals

LARGEST_PX = 16  # directions are looked for in pictures of at most this size


def factor_of(size_px: int) -> int:
    """Returns the side of the squares that are averaged before directions are looked for; 1 = none are."""
    return next(factor for factor in range(1, size_px + 1) if size_px % factor == 0 and size_px // factor <= LARGEST_PX)


def reduced(pictures: np.ndarray, factor: int) -> np.ndarray:
    """Returns float64 [N, V / factor^2] of [N, H, W, C]: sums over squares by their side, which no norm exceeds."""
    n, height, width, channels = pictures.shape
    squares = pictures.reshape(n, height // factor, factor, width // factor, factor, channels)
    return squares.sum((2, 4)).reshape(n, -1) / factor


def enlarged(rows: np.ndarray, shape: tuple[int, ...], factor: int) -> np.ndarray:
    """Returns [K, V] of [K, V / factor^2]: the transpose of `reduced`."""
    height, width, channels = shape
    small = rows.reshape(len(rows), height // factor, width // factor, channels) / factor
    return small.repeat(factor, 1).repeat(factor, 2).reshape(len(rows), -1)


def clipped_scatter(features: np.ndarray, images: Any, weights: np.ndarray, norm: float) -> np.ndarray:
    """Returns R without noise, float64 [v, v]; a picture moves it by the square of `norm` at most (Frobenius).

    Args:
      features: float [N, F] of the pictures' captions.
      images: uint8 [N, H, W, C].
      weights: W.
      norm: C, of a residual in units of [-1, 1] at most; longer ones are scaled to it.
    """
    shape = images.shape[1:]
    factor, total = factor_of(shape[0]), 0.0
    for start in range(0, len(images), AT_ONCE):
        x = np.asarray(images[start : start + AT_ONCE]) / 127.5 - 1
        of_captions = (features[start : start + AT_ONCE] @ weights).reshape(x.shape)
        r = reduced(x - of_captions, factor)
        r *= np.minimum(1.0, norm / np.maximum(np.linalg.norm(r, axis=1, keepdims=True), 1e-12))
        total = total + r.T @ r
    return total


def released(features: np.ndarray, images: Any, weights: np.ndarray, norm: float, noise_multiplier: float) -> np.ndarray:
    """Returns R, float32 [v, v], symmetric: `clipped_scatter` and fresh noise of `noise_multiplier` times `norm`^2."""
    total = clipped_scatter(features, images, weights, norm)
    upper = np.triu_indices(len(total))
    noise = np.zeros_like(total)
    noise[upper] = standard_normals(len(upper[0]))
    noise = noise + np.triu(noise, 1).T
    return (total + noise_multiplier * norm**2 * noise).astype(np.float32)


def modes(scatter: np.ndarray, deviation: float, num_pictures: int, most: int) -> np.ndarray:
    """Returns the modes, float32 [K, v], K at most `most`, the strongest first.

    Args:
      scatter: R.
      deviation: standard deviation of the noise in each entry of R.
      num_pictures: that there are, which is public.
      most: K at most.
    """
    found, directions = np.linalg.eigh(scatter.astype(np.float64))
    found, directions = found[::-1][:most], directions.T[::-1][:most]
    edge = 2 * deviation * len(scatter) ** 0.5
    stands_out = found > edge
    found, directions = found[stands_out], directions[stands_out]
    true = (found + np.sqrt(found**2 - edge**2)) / 2
    certain = 1 - (edge / 2 / true) ** 2
    return (np.sqrt(true * certain / num_pictures)[:, None] * directions).astype(np.float32)
