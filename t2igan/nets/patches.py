"""Principal components of patches: the linear space of `config.space.kind = "patches"`, learned in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from t2igan.data.alpha import in_unit

MAX_PATCHES = 200_000  # that the components are computed from, taken evenly


def fit(
    images: UInt8[np.ndarray, "N H W C"], factor: int, channels: int, whitening: float = 0.5
) -> dict[str, dict[str, Any]]:
    """Returns the parameters of `t2igan.nets.autoencoder.PatchComponents`: those that lose least of `images`.

    With v_i the variances of the components, codes are divided by v_i^(whitening / 2) up to a common factor, by which
    the mean of their variances is 1.

    Args:
      images: training pictures, enough of them that they show what patches there are.
      factor: pixels of a patch's side; it divides height and width.
      channels: components that are kept; at most factor**2 * C.
      whitening: 1 gives every component variance 1, 0 leaves their proportions as they are in pixels.
    """
    num, height, width, colours = images.shape
    patches = images.reshape(num, height // factor, factor, width // factor, factor, colours)
    patches = patches.transpose(0, 1, 3, 2, 4, 5).reshape(-1, factor, factor, colours)
    patches = in_unit(patches[:: max(len(patches) // MAX_PATCHES, 1)]).reshape(-1, factor**2 * colours)
    mean = patches.mean(0)
    variances, basis = np.linalg.eigh(np.cov((patches - mean).T))
    variances, basis = np.maximum(variances[::-1][:channels], 1e-8), basis[:, ::-1][:, :channels]
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(channels)])  # eigenvectors have no sign of theirs
    scale = variances ** (whitening / 2)
    scale = scale * np.sqrt((variances / scale**2).mean())
    as_float = lambda x: np.asarray(x, np.float32)
    return {"params": {"mean": as_float(mean), "basis": as_float(basis), "scale": as_float(scale)}}


def reconstruction_variance(params: dict[str, Any], images: Float[np.ndarray, "N H W C"]) -> float:
    """Returns the mean squared error of pictures in [-1, 1] that are kept by the components alone."""
    p = params["params"]
    num, height, width, colours = images.shape
    factor = round((len(p["mean"]) / colours) ** 0.5)
    patches = images.reshape(num, height // factor, factor, width // factor, factor, colours)
    centred = patches.transpose(0, 1, 3, 2, 4, 5).reshape(-1, factor**2 * colours) - p["mean"]
    return float(((centred - centred @ p["basis"] @ p["basis"].T) ** 2).mean())
