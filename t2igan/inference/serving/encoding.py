"""Pictures as files of the size and form that a client asks for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from t2igan.data.alpha import composited, has_alpha
from t2igan.inference.pictures import SHOWN_PX, enlarge
from t2igan.inference.provenance import picture_bytes
from t2igan.inference.serving.links import Recipe
from t2igan.inference.watermark import Secret, mark

WHITE = (255, 255, 255)
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}


def shown_px(native_px: int) -> int:
    """Returns the size in which a picture is handed out where none is asked for: as drawn, or enlarged to 128 px."""
    return -(-SHOWN_PX // native_px) * native_px


def resized(image: np.ndarray, px: int) -> np.ndarray:
    """Returns a square picture at `px`: pixels stay sharp squares, also where `px` is no whole multiple.

    It is enlarged by the next whole factor and brought to the size by means over areas, which is exact for multiples.

    Args:
      image: uint8 [H, H, C].
      px: the size wanted, larger or smaller.
    """
    from PIL import Image

    native_px = image.shape[0]
    if px == native_px:
        return image
    large = enlarge(image[None], -(-px // native_px))[0]
    if large.shape[0] == px:
        return large
    grey = large.shape[-1] == 1
    picture = Image.fromarray(large[..., 0] if grey else large).resize((px, px), Image.Resampling.BOX)
    return np.asarray(picture).reshape(px, px, image.shape[-1])


def as_file(
    image: np.ndarray, px: int, form: str, quality: int, facts: Mapping[str, Any], secret: Secret | None = None
) -> bytes:
    """Returns a picture as a file; it says how it was made, as those of `t2igan sample` do.

    Args:
      image: uint8 [H, H, C] as drawn.
      px: its size in the file.
      form: "png", "jpeg" or "webp".
      quality: of the latter two, from 0 to 100.
      facts: how it was made; a PNG holds them, as those of `t2igan sample` do.
      secret: of a watermark; None = without.
    """
    enlarged = px > image.shape[0]
    if secret is not None:
        image, facts = mark(image[None], secret)[0], {**facts, "watermark": secret.fingerprint}
    image = resized(image, px)
    if form == "jpeg" and has_alpha(image):  # which knows no transparency
        image = composited(image, WHITE)
    options: dict[str, Any] = {"compress_level": 1} if form == "png" else {"quality": quality}
    if form == "png" and enlarged:  # rows of repeated pixels: quicker, and smaller
        options["compress_type"] = zlib.Z_RLE
    return picture_bytes(image, form.upper(), facts, **options)


def encode(image: np.ndarray, recipe: Recipe, version: str, secret: Secret | None = None) -> bytes:
    """Returns the picture of a recipe as a file; `version` is that of t2igan, `secret` that of a watermark."""
    facts: dict[str, Any] = {"model": recipe.model, "t2igan": version}
    facts |= {"truncation": recipe.truncation, "guidance": recipe.guidance}
    if recipe.negative:
        facts["negative"] = recipe.negative
    facts |= {"prompt": recipe.prompt, "seed": recipe.seed}
    return as_file(image, recipe.px, recipe.form, recipe.quality, facts, secret)
