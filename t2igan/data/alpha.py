"""Pictures with transparency: four channels, uint8 [..., H, W, 4], red, green, blue and alpha (255 = opaque).

Where pictures are kept, given away and written to files, their colours are *straight*: those of the thing, however much
of it shows; black where nothing does. Where colours are mixed, that is, where pictures are resized, moved or learned,
they are *premultiplied*: multiplied by alpha / 255. Otherwise the colour of what cannot be seen, mostly black, would
bleed into the edges of what can (Porter & Duff 1984). `t2igan.nets.to_unit` premultiplies for the networks and
`t2igan.inference.drawing.to_bytes` goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num, UInt8

ALPHA_CHANNELS = 4
BOARD = (255, 204)  # the greys of a checkerboard that is shown behind what is transparent
BOARD_SQUARES = 8  # across a picture


def has_alpha(images: Any) -> bool:
    """Whether an array of pictures has a channel for transparency."""
    return images.shape[-1] == ALPHA_CHANNELS


def premultiplied(images: UInt8[np.ndarray, "*N H W C"]) -> Float[np.ndarray, "*N H W C"]:
    """Returns float64 from 0 to 255 in which pictures can be mixed: of four channels, colours times alpha / 255."""
    values = images.astype(np.float64)
    if has_alpha(images):
        values[..., :3] *= values[..., 3:] / 255
    return values


def straight(premultiplied: Num[np.ndarray, "*N H W 4"]) -> UInt8[np.ndarray, "*N H W 4"]:
    """Returns pictures with straight colours, rounded, of premultiplied ones from 0 to 255; black where none is seen.

    Colours are divided by alpha as rounded, so that on any background the picture looks as it should, to a level.
    """
    values = np.clip(premultiplied.astype(np.float64), 0, 255)
    alpha = np.rint(values[..., 3:])
    colours = np.minimum(values[..., :3] * 255 / np.maximum(alpha, 1), 255)
    return np.concatenate([np.where(alpha > 0, np.rint(colours), 0), alpha], axis=-1).astype(np.uint8)


def clean(images: UInt8[np.ndarray, "*N H W 4"]) -> UInt8[np.ndarray, "*N H W 4"]:
    """Returns pictures that are black where nothing is seen: equal pictures are equal arrays then."""
    return np.where(images[..., 3:] > 0, images, np.uint8(0))


def composited(
    images: UInt8[np.ndarray, "*N H W 4"], background: Sequence[int] | np.ndarray
) -> UInt8[np.ndarray, "*N H W 3"]:
    """Returns pictures as they look on a background, rounded: alpha c + (1 - alpha) b.

    Args:
      images: with straight colours.
      background: one colour, three numbers from 0 to 255, or whatever broadcasts to [H, W, 3].
    """
    alpha = images[..., 3:].astype(np.uint32)
    behind = np.asarray(background, np.uint32)
    return ((images[..., :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def on_checkerboard(images: UInt8[np.ndarray, "*N H W C"]) -> UInt8[np.ndarray, "*N H W _"]:
    """Returns pictures to be looked at: those with transparency over a checkerboard, three channels; others as are."""
    if not has_alpha(images):
        return images
    height, width = images.shape[-3:-1]
    square = max(round(max(height, width) / BOARD_SQUARES), 1)
    odd = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2
    return composited(images, np.where(odd[..., None] == 0, *BOARD))


def in_unit(images: UInt8[np.ndarray, "*N H W C"]) -> Float[np.ndarray, "*N H W C"]:
    """Returns float64 in [-1, 1], as `t2igan.nets.to_unit` gives float32: of four channels colours premultiplied."""
    return premultiplied(images) / 127.5 - 1
