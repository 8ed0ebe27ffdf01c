"""Pictures put together of what is kept and what was drawn: kept pixels stay as they are, to the byte."""

from __future__ import annotations

import numpy as np

from t2igan.data.alpha import has_alpha, premultiplied, straight

SEAM_SHARE = 1 / 16  # how deep a seam is evened out, as a share of the picture's side
PIXEL_ART_MAX_PX = 32  # pictures up to this side have hard edges, which are left hard


def compose(image: np.ndarray, drawn: np.ndarray, hidden: np.ndarray, seam_px: int | float | None = None) -> np.ndarray:
    """Returns what is kept of `image`, and of `drawn` the rest.

    Where they meet, what the drawing is off by at the last kept pixels is taken from the drawing too, less and less
    with the distance: the membrane of "Poisson image editing" (Perez et al. 2003), screened. No kept pixel changes.

    Args:
      image: uint8 [..., H, W, C]; of four channels, colours are mixed by how much of them is seen.
      drawn: uint8 [..., H, W, C].
      hidden: float32 [..., H, W, 1], 0 = kept, 1 = drawn; mixed between them.
      seam_px: how deep the seam is evened out, in pixels; 0 = not, None = a sixteenth of pictures above 32 px.
    """
    side = image.shape[-2]
    if seam_px is None:
        seam_px = side * SEAM_SHARE if side > PIXEL_ART_MAX_PX else 0.0
    kept, filling = premultiplied(image), premultiplied(drawn)
    if seam_px and (hidden == 0).any():
        filling = filling + membrane(kept - filling, hidden == 0, seam_px)
    values = np.clip((1 - hidden) * kept + hidden * filling, 0, 255)
    mixed = straight(values) if has_alpha(image) else np.rint(values).astype(np.uint8)
    return np.where(hidden == 0, image, mixed)


def membrane(values: np.ndarray, known: np.ndarray, reach_px: float) -> np.ndarray:
    """Returns values that are as given where known, and elsewhere solve (Laplace - 1 / reach^2) u = 0, by Jacobi's way.

    Args:
      values: float64 [..., H, W, C].
      known: bool [..., H, W, 1].
      reach_px: the distance in which they fall to 1/e.
    """
    u = np.where(known, values, 0.0)
    for _ in range(int(8 * reach_px) + 8):  # it reaches a pixel further each time, and is nothing beyond some reaches
        around = np.pad(u, [(0, 0)] * (u.ndim - 3) + [(1, 1), (1, 1), (0, 0)], mode="edge")
        mean = (
            around[..., :-2, 1:-1, :] + around[..., 2:, 1:-1, :] + around[..., 1:-1, :-2, :] + around[..., 1:-1, 2:, :]
        ) / 4
        u = np.where(known, values, mean / (1 + 1 / (4 * reach_px**2)))
    return u


def diversity_levels(images: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Returns how much versions of a picture differ: the standard deviation of a value of a pixel, in levels of 255.

    It is the root of the mean variance; 0 for one version, or where no pixel counts.

    Args:
      images: the versions, uint8 [N, H, W, C].
      counts: bool [H, W], which pixels count, such as those that were drawn anew; None = all.
    """
    variance = images.astype(np.float64).var(0).mean(-1)
    counted = variance if counts is None else variance[counts]
    return float(np.sqrt(counted.mean())) if counted.size else 0.0
