"""A quick look at some pictures as they are stored: sizes, transparency, colours, flat areas; nothing is kept."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from t2igan.data.decode import formats
from t2igan.data.sources import open_source
from t2igan.data.splits import find_splits
from t2igan.data.spread import evenly_spread
from t2igan.data.stored import Stored
from t2igan.data.summary import MUCH_CUT

PEEKED_PICTURES = 200  # of many, evenly
LOOKED_AT_PX = 128  # larger pictures are reduced to this, so that areas mean the same in all
ALIKE_LEVELS = 1  # neighbouring pixels that differ by no more lie in one flat area
COLOURED_LEVELS = 12  # between two channels of a pixel; less is grey, or what JPEG makes of it
COLOURED_SHARE = 0.002  # of the pixels that may be coloured in a picture that counts as grey


@dataclass(frozen=True)
class Peek:
    """What some pictures of the training split are like.

    Attributes:
      width_px, height_px: medians.
      long_side_px: the median of the longer sides.
      short_side_px: the median of the shorter sides.
      cut_share: share of the pictures that a square crop takes more than a fifth of.
      alpha_share: share with transparent pixels.
      visible_level: mean luma, 0 to 255, of what is not transparent in those; nan where there are none.
      grey_share: share without colour.
      flat_share: median share of pixels that equal their neighbours.
    """

    width_px: int
    height_px: int
    long_side_px: int
    short_side_px: int
    cut_share: float
    alpha_share: float
    visible_level: float
    grey_share: float
    flat_share: float


def peek(data_config: Any) -> Peek | None:
    """Looks at up to `PEEKED_PICTURES` pictures of the training split; None where none of them can be opened.

    Raises:
      UserError: there is no such data.
    """
    source = open_source(data_config)
    splits = find_splits(source.splits(), data_config, getattr(source, "slices", False))
    base, _ = splits.part(splits.resolved(data_config.train_split, data_config))
    records, _ = source.records(base or None)
    places = [record.image for record in records]
    rows = evenly_spread(len(places), PEEKED_PICTURES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files
        seen = [one for row in rows if (one := _look(places[row])) is not None]
    if not seen:
        return None
    widths, heights, visible, grey, flat = (np.array(column, np.float64) for column in zip(*seen, strict=True))
    short, long = np.minimum(widths, heights), np.maximum(widths, heights)
    transparent = ~np.isnan(visible)
    return Peek(
        width_px=int(np.median(widths)),
        height_px=int(np.median(heights)),
        long_side_px=int(np.median(long)),
        short_side_px=int(np.median(short)),
        cut_share=float((1 - short / long > MUCH_CUT).mean()),
        alpha_share=float(transparent.mean()),
        visible_level=float(visible[transparent].mean()) if transparent.any() else float("nan"),
        grey_share=float(grey.mean()),
        flat_share=float(np.median(flat)),
    )


def _look(place: Stored) -> tuple[int, int, float, float, float] | None:
    """Width, height, luma of the visible part (nan: all is visible), whether it is grey, flat share; None if broken."""
    try:
        stored = place.read()
        if isinstance(stored, np.ndarray):
            opened = Image.fromarray(stored[..., 0] if stored.ndim == 3 and stored.shape[2] == 1 else stored)
        else:
            opened = Image.open(io.BytesIO(stored), formats=formats())
        with opened:
            width, height = opened.size
            opened.draft(None, (2 * LOOKED_AT_PX, 2 * LOOKED_AT_PX))
            return width, height, *_colours(opened)
    except Exception:  # a broken file makes Pillow raise almost anything; the decoder says why, later
        return None


def _colours(opened: Image.Image) -> tuple[float, float, float]:
    """Luma of the visible part, whether it is grey (1 or 0), and the share of pixels that equal their neighbours."""
    rgba = opened.convert("RGBA")
    rgba.thumbnail((LOOKED_AT_PX, LOOKED_AT_PX), Image.Resampling.BOX)
    pixels = np.asarray(rgba, np.float32)
    alpha = pixels[..., 3:] / 255
    colours = alpha * pixels[..., :3] + (1 - alpha) * 255
    visible = float("nan")
    if (alpha < 0.5).any() and (alpha > 0.5).any():
        visible = float((pixels[..., :3] @ [0.299, 0.587, 0.114])[alpha[..., 0] > 0.5].mean())
    grey = (np.ptp(colours, axis=2) > COLOURED_LEVELS).mean() <= COLOURED_SHARE
    if min(colours.shape[:2]) < 2:
        return visible, float(grey), 1.0
    inner = colours[:-1, :-1]
    steps = np.maximum(np.abs(colours[1:, :-1] - inner), np.abs(colours[:-1, 1:] - inner)).max(2)
    return visible, float(grey), float((steps <= ALIKE_LEVELS).mean())
