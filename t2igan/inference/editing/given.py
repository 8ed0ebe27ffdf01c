"""Pictures and masks that a user gives: through the decoder of the training data, to the size of the model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2igan.data.decode import Decoding, Unusable, decode, formats, transparency
from t2igan.data.stored import InFile, reason_of
from t2igan.errors import UserError
from t2igan.inference.pictures import only_picture
from t2igan.inference.provenance import read_claims

MAX_ENLARGED_PX = 4096  # the largest picture that is looked at for pixels that were repeated


@dataclasses.dataclass(frozen=True)
class Given:
    """A picture at the model's size, uint8 [S, S, C], with its name, its own size in pixels, and its hash."""

    pixels: np.ndarray
    name: str
    size_px: tuple[int, int]  # width and height
    digest: str


def decoding_of(config: dict[str, Any], **changed: Any) -> Decoding:
    """Returns how a model's pictures become arrays, from the configuration in its snapshot."""
    data = config["data"]
    how = Decoding(
        size_px=data["image_size_px"],
        channels=data["channels"],
        background=tuple(data.get("background", (255, 255, 255))),
        resize=data.get("resize", "crop"),
        resample=data.get("resample", "auto"),
    )
    return dataclasses.replace(how, **changed)


def read_picture(picture: str | Path | bytes | np.ndarray, how: Decoding) -> Given:
    """Returns a picture of any size, mode and format at the model's size.

    A picture whose pixels were only repeated, as those that `sample` writes, is taken back to what it was, exactly;
    so is the one of a sheet that `sample` drew of one picture.

    Raises:
      UserError: there is no such file, or it is no picture, or a sheet of several.
    """
    content, name = _content(picture)
    try:
        pixels, size = decode(content, how)
        if (facts := _recipe_of_sheet(content, size)) is not None:
            content = _of_sheet(content, facts, name, how)
            pixels, size = decode(content, how)
        pixels = _reduced(content, how, size, pixels)
    except Unusable as error:
        raise UserError(f"{name} cannot be used: {error}") from error
    return Given(pixels, name, size, hashlib.sha256(pixels.tobytes()).hexdigest()[:12])


def _content(picture: str | Path | bytes | np.ndarray) -> tuple[bytes | np.ndarray, str]:
    if isinstance(picture, bytes | np.ndarray):
        return picture, "the picture"
    try:
        return InFile.of(picture).read(), str(picture)
    except (OSError, ValueError) as error:
        raise UserError(f"{picture}: {reason_of(error)}; give the file of a picture") from error


def _recipe_of_sheet(content: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    """The recipe in a sheet of `sample` or of an edit; None of anything else, and of one that was cut to a square."""
    if size[0] == size[1] or not isinstance(content, bytes):
        return None
    with contextlib.suppress(UserError):
        facts = read_claims(io.BytesIO(content)).facts
        return facts if isinstance(facts.get("seeds"), list) else None
    return None


def _of_sheet(content: Any, facts: dict[str, Any], name: str, how: Decoding) -> np.ndarray:
    """The picture of a sheet that has one, as large as it is there."""
    prompts = facts.get("prompts")
    num = len(facts["seeds"]) * (len(prompts) if isinstance(prompts, list) else 1)
    if num == 1 and isinstance(prompts, list) and how.channels != 4:  # transparent ones stand on a checkerboard
        with contextlib.suppress(ValueError), Image.open(io.BytesIO(content), formats=formats()) as picture:
            return only_picture(np.asarray(picture.convert("RGB")))
    raise UserError(
        f"{name} is a sheet of {num} picture{'s' * (num != 1)}; give a single one: `t2igan sample --out=FOLDER` writes "
        "a file for each"
    )


def _reduced(content: Any, how: Decoding, size: tuple[int, int], pixels: np.ndarray) -> np.ndarray:
    """The pixels that were repeated, where all blocks of a square picture are of one colour; `pixels` otherwise."""
    side = size[0]
    factor = side // how.size_px
    if size[0] != size[1] or side % how.size_px or not side // how.size_px > 1 or side > MAX_ENLARGED_PX:
        return pixels
    whole, _ = decode(content, dataclasses.replace(how, size_px=side))
    small = whole[::factor, ::factor]
    return small.copy() if (small.repeat(factor, 0).repeat(factor, 1) == whole).all() else pixels


def read_mask(mask: str | Path | bytes | np.ndarray, of: Given, how: Decoding) -> np.ndarray:
    """Returns what a mask hides: float32 [S, S, 1] from 0, kept to the byte, to 1, drawn anew; between them, mixed.

    White is drawn anew; in a mask with transparency, what is transparent. It has the size of the picture, or the
    model's.

    Raises:
      UserError: it is no picture, has another size, or hides nothing.
    """
    content, name = _content(mask)
    if isinstance(content, np.ndarray) and content.dtype != np.uint8:
        raise UserError(f"the mask is {content.dtype}; give uint8 [H, W], 255 where the picture is drawn anew")
    transparent = _transparency(content)
    # What is beside the picture ("pad") is no part of it, and is kept.
    grey = dataclasses.replace(how, channels=1, background=(0, 0, 0), resample="area")
    try:
        hidden, size = decode(content if transparent is None else transparent, grey)
    except Unusable as error:
        raise UserError(f"the mask {name} cannot be used: {error}") from error
    if size not in (of.size_px, (how.size_px, how.size_px)):
        width, height = of.size_px
        raise UserError(
            f"the mask {name} has {size[0]}x{size[1]} pixels, and the picture {width}x{height}; give one of the "
            f"picture's size, or of the model's, {how.size_px}x{how.size_px}"
        )
    if not hidden.any():
        raise UserError(
            f"the mask {name} hides nothing: it is black all over; what is white, or transparent, is drawn anew"
        )
    return hidden.astype(np.float32) / 255


def _transparency(content: Any) -> np.ndarray | None:
    """255 where a picture is transparent, uint8 [H, W]; None where it is opaque or cannot be opened."""
    if isinstance(content, np.ndarray):
        return None if content.ndim < 3 or content.shape[2] != 4 else 255 - content[..., 3]
    return transparency(content)


def padded(picture: str | Path | bytes | np.ndarray, pad: Sequence[int], how: Decoding) -> tuple[Given, np.ndarray]:
    """Returns a picture made smaller, with room around it, and what is hidden: that room; as `read_mask` does.

    Args:
      picture: as in `read_picture`.
      pad: pixels of the model's picture on the left, the top, the right and the bottom.
      how: the model's.

    Raises:
      UserError: the room is none, too large, or leaves no square.
    """
    left, top, right, bottom = pad
    inner, size = how.size_px - left - right, how.size_px
    shown = ",".join(map(str, pad))
    if min(pad) < 0 or not any(pad):
        raise UserError(f"pad={shown} must be four numbers of pixels, 0 or more and not all 0: left,top,right,bottom")
    if left + right != top + bottom:
        raise UserError(
            f"pad={shown} leaves {inner}x{size - top - bottom} pixels of {size}x{size}, and pictures are square; let "
            f"left + right be top + bottom"
        )
    if inner < 1:
        raise UserError(f"pad={shown} leaves nothing of the {size}x{size} pixels of this model's pictures")
    given = read_picture(picture, dataclasses.replace(how, size_px=inner))
    pixels = np.full((size, size, how.channels), 127, np.uint8)
    pixels[top : top + inner, left : left + inner] = given.pixels
    hidden = np.ones((size, size, 1), np.float32)
    hidden[top : top + inner, left : left + inner] = 0
    return dataclasses.replace(given, pixels=pixels), hidden
