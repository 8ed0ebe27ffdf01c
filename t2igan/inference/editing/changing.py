"""A picture changed: by another caption ("text diff"), or a little by chance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from t2igan.errors import UserError
from t2igan.inference.arguments import as_seeds, check_number
from t2igan.inference.editing.codes import Codes
from t2igan.inference.editing.composing import compose
from t2igan.inference.editing.inverting import checked, draw_noise, invert
from t2igan.inference.forked import check_not_forked
from t2igan.inference.prompts import Prompt
from t2igan.inference.sample import Model, noise

CHANGED_LEVELS = 12  # of 255: what differs by more is changed by the caption
WITNESSES = 8  # random noises that are asked where a caption changes pictures
AGREEING = 3  # so many of them have to say so


@dataclasses.dataclass(frozen=True)
class Edited:
    """An edited picture, uint8 [S, S, C], what was drawn anew, float32 [S, S, 1], and the codes of the picture."""

    image: np.ndarray
    hidden: np.ndarray
    codes: Codes


def edit(
    model: Model,
    image: np.ndarray,
    prompt: str,
    *,
    caption: str,
    hidden: np.ndarray | None = None,
    negative: str = "",
    codes: Codes | None = None,
    quality: str = "good",
    seed: int = 0,
    seam_px: int | float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Edited:
    """Returns the picture as another caption has it; what the caption does not change stays, to the byte.

    The picture's codes are drawn with the old and with the new caption. A pixel is taken from the new drawing where the
    two differ by more than 12 of 255, and where they do so for 3 of 8 random noises as well: not what the codes happen
    to do, but what the caption does.

    Args:
      model: its generator has styles.
      image: uint8 [S, S, C].
      prompt: what it is to show; in the language of `t2igan.inference.prompts`.
      caption: what it shows.
      hidden: float32 [S, S, 1], where it may change and is all drawn anew, 1, or stays, 0; None = found out as above.
      negative: what is not wanted.
      codes: of the picture, where they are at hand.
      quality: of the inversion.
      seed: of the noises.
      seam_px: as in `compose`.
      progress: told (steps done, steps in all).

    Raises:
      UserError: as `invert` and `Model.sample`.
    """
    images, _ = checked(model, image[None], caption)
    (meant,) = model.understood([prompt], negative)
    if codes is None:
        codes = invert(model, images, caption, quality, seed=seed, progress=progress)
    check_codes(model, codes)
    if hidden is None:
        hidden, drawn = _changed(model, codes, Prompt.plain(caption), meant, seed)
    else:
        drawn = draw_noise(model, codes.noise, [meant], codes.offsets)[0]
    return Edited(compose(image, drawn, hidden, seam_px), hidden, codes)


def _changed(model: Model, codes: Codes, before: Prompt, after: Prompt, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where another caption changes a picture, float32 [S, S, 1], and the picture as that caption has it."""
    random = np.asarray(noise(jnp.arange(seed + 1, seed + 1 + WITNESSES, dtype=jnp.uint32), model.networks.z_dim))
    z = np.concatenate([codes.noise, random])
    offsets = np.concatenate([codes.offsets, np.zeros((WITNESSES, *codes.offsets.shape[1:]), np.float32)])
    old, new = (draw_noise(model, z, [meant] * len(z), offsets) for meant in (before, after))
    moved = np.abs(new.astype(int) - old).max(-1, keepdims=True) > CHANGED_LEVELS  # [1 + W, S, S, 1]
    return (moved[0] & (moved[1:].sum(0) >= AGREEING)).astype(np.float32), new[0]


def vary(model: Model, codes: Codes, strength: float, *, num: int = 1, seed: int = 0) -> np.ndarray:
    """Returns variations of a picture: other noise, as near as `strength` says, with the same caption.

    z' = cos(a) z + sin(a) n with n normal and a = strength pi / 2, on the circle through both; offsets count
    by cos(a).

    Args:
      model: its generator has styles.
      codes: of one picture.
      strength: 0 = the picture as it is drawn, 1 = any other of its caption.
      num: variations.
      seed: of the first one.

    Returns:
      uint8 [num, S, S, C].

    Raises:
      UserError: a strength out of range, codes of another model or of several pictures.
    """
    check_number("strength", strength, 1, "0 is the picture itself, 1 any other picture of its caption")
    check_codes(model, codes)
    if num < 1:
        raise UserError(f"num={num} must be 1 or more")
    angle = strength * math.pi / 2
    seeds = jnp.asarray(as_seeds([seed + i for i in range(num)], num), jnp.uint32)
    other = np.asarray(noise(seeds, model.networks.z_dim))
    z = math.cos(angle) * codes.noise + math.sin(angle) * other
    meant = [Prompt.plain(codes.captions[0])] * num
    offsets = np.repeat(math.cos(angle) * codes.offsets, num, axis=0)
    return draw_noise(model, z, meant, offsets)


def check_codes(model: Model, codes: Codes) -> None:
    """Raises `UserError` where codes are another model's, or not of one picture."""
    check_not_forked()
    if codes.model != model.digest:
        raise UserError(
            f"these codes are of the model {codes.model}, and this one is {model.digest}; invert the picture with it"
        )
    if len(codes) != 1:
        raise UserError(f"there are codes of {len(codes)} pictures; give those of one")
