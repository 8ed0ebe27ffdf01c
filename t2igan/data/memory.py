"""Pictures and captions that Python code has in memory, as uint8 squares of one size and tuples of text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2igan.data.alike import signature
from t2igan.data.cache import CONTENT_BYTES
from t2igan.data.decode import Decoding, Unusable, decode
from t2igan.errors import UserError

ACCEPTED = "uint8 (or floats from 0 to 1) [N, H, W, C] with 1, 3 or 4 channels, [N, H, W], or a list of such pictures"


def squares(images: Any, size_px: int | None, channels: int | None = None) -> np.ndarray:
    """Returns uint8 [N, size, size, C] of what `ACCEPTED` names, cut to squares by their centres; UserError for others.

    `size_px` None keeps the size that they all have; `channels` None is 1 where all are grey and otherwise 3.
    """
    if channels not in (None, 1, 3, 4):
        raise UserError(f"channels={channels!r} must be 1 (grey), 3 (RGB), 4 (RGB and transparency) or None")
    return _uniform([_bytes_of(image, i) for i, image in enumerate(_listed(images))], size_px, channels)


def texts(captions: Any, num: int) -> tuple[tuple[str, ...], ...]:
    """Returns one or several captions of each of `num` pictures; UserError where there are fewer, more, or none."""
    if isinstance(captions, str) or not hasattr(captions, "__len__") or len(captions) != num:
        raise UserError(f"there are {num} images, but captions is {described(captions)}; give one for each")
    return tuple(_captions_of(one, i) for i, one in enumerate(captions))


def named_values(attributes: Sequence[Mapping[str, str]] | None, num: int) -> tuple[dict[str, str], ...] | None:
    """Returns the attributes of each of `num` pictures, by name; None where there are none."""
    if attributes is None:
        return None
    if len(attributes) != num or not all(isinstance(one, Mapping) for one in attributes):
        raise UserError(f"there are {num} images, but attributes is {described(attributes)}; give a dict for each")
    return tuple({str(name): str(value) for name, value in one.items()} for one in attributes)


def signatures_of(images: Any) -> np.ndarray:
    """Returns uint8 [N, 72], what `t2igan.data.alike` compares pictures by, of uint8 [N, H, W, C]."""
    return np.stack([signature(np.asarray(image)) for image in images])


def content_of(images: Any) -> np.ndarray:
    """Returns uint8 [N, 16], a hash of the pixels of each picture of uint8 [N, H, W, C]."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=CONTENT_BYTES).digest() for image in images]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), CONTENT_BYTES)


def _listed(images: Any) -> list[Any]:
    if isinstance(images, str | bytes) or not hasattr(images, "__len__"):
        raise UserError(f"images is {described(images)}; accepted is {ACCEPTED}")
    if getattr(images, "ndim", 4) not in (3, 4):
        raise UserError(f"images is {described(images)}; accepted is {ACCEPTED}")
    if not len(images):
        raise UserError("images is empty; give at least one picture")
    return list(images)


def _bytes_of(image: Any, i: int) -> np.ndarray:
    """A picture as uint8; UserError where it is none."""
    pixels = np.asarray(image)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:  # NaN is neither
        return np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        span = f" from {pixels.min():g} to {pixels.max():g}" if pixels.dtype.kind in "iuf" and pixels.size else ""
        raise UserError(f"images[{i}] is {described(pixels)}{span}; accepted is {ACCEPTED}")
    return pixels


def _uniform(pictures: list[np.ndarray], size_px: int | None, channels: int | None) -> np.ndarray:
    """Pictures of any shape as uint8 [N, size, size, C], cut to squares by their centres."""
    sizes = {picture.shape[:2] for picture in pictures}
    if size_px is None:
        height, width = max(sizes) if sizes else (0, 0)
        if len(sizes) > 1 or height != width:
            listed = ", ".join(f"{h} x {w}" for h, w in sorted(sizes)[:3])
            raise UserError(f"the images are no squares of one size ({listed}); give size_px=64, say, to make them so")
        size_px = height
    if not isinstance(size_px, int) or size_px < 1:
        raise UserError(f"size_px={size_px!r} must be a whole number above 0: what the pictures are to measure")
    if channels is None:
        channels = 1 if all(picture.ndim == 2 or picture.shape[-1] == 1 for picture in pictures) else 3
    made = np.empty((len(pictures), size_px, size_px, channels), np.uint8)
    for i, picture in enumerate(pictures):
        try:
            made[i] = decode(picture, Decoding(size_px, channels))[0]
        except Unusable as error:
            raise UserError(f"images[{i}]: {error}") from error
    return made


def _captions_of(caption: Any, i: int) -> tuple[str, ...]:
    several = (caption,) if isinstance(caption, str) else caption
    if not isinstance(several, Sequence) or not several or not all(isinstance(c, str) and c.strip() for c in several):
        raise UserError(f"captions[{i}]={caption!r} must be a text, or a list of several; none may be empty")
    return tuple(several)


def described(value: Any) -> str:
    """What a value is, in a few words."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"a {type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else repr(value)
