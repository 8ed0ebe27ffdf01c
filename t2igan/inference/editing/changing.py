"""A picture changed: by another caption ("text diff"), or a little by chance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from t2igan.errors import UserError
from t2igan.inference.arguments import as_seeds, check_number
from t2igan.inference.drawing import noise
from t2igan.inference.editing.codes import Codes
from t2igan.inference.editing.composing import PIXEL_ART_MAX_PX, compose
from t2igan.inference.editing.inverting import checked, draw_noise, invert
from t2igan.inference.editing.tuning import model_of
from t2igan.inference.forked import check_not_forked
from t2igan.inference.prompts import Prompt
from t2igan.inference.sample import Model

# Where a caption changes a picture is asked of noises at random, and of its own moved half of the way to some of them.
RANDOM_WITNESSES, NEAR_WITNESSES = 16, 8
ALIKE_LEVELS, ALIKE_WITNESSES = 32, 3  # those are asked that draw a pixel within so many levels, if they are so many
CHANGED_SHARE = 0.3  # what changes by more than this share of what changes most is drawn anew ...
STRONGEST = 0.98  # ... which is this quantile of all pixels ...
LEAST_LEVELS, MOST_LEVELS = 10, 32  # ... but by more than so many levels of 255, and no more than so many are wanted
SOFT_EDGE_PX = 1  # pictures above `PIXEL_ART_MAX_PX` have soft edges: what lies beside a change changes a little, too


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

    The picture's codes are drawn with the old and with the new caption, and a pixel is taken from the new drawing where
    the caption changes it (`changed_places`).

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
        codes = invert(model, images, caption, quality, seed=seed, asked=meant.captions, progress=progress)
    check_codes(model, codes)
    model = model_of(model, [(1.0, codes.tuning())])
    z, offsets = codes.noise, codes.offsets
    if hidden is None:
        seeds = jnp.arange(seed + 1, seed + 1 + RANDOM_WITNESSES, dtype=jnp.uint32)
        random = np.asarray(noise(seeds, model.networks.z_dim))
        z = np.concatenate([z, random, _moved(z, random[:NEAR_WITNESSES], math.pi / 4)])
        offsets = np.pad(offsets, ((0, len(z) - 1), (0, 0), (0, 0)))  # of its own the picture alone has any
    draw = lambda text: draw_noise(model, z, [text] * len(z), offsets)
    after = draw(meant)
    if hidden is None:
        hidden = changed_places(draw(Prompt.plain(caption)), after)
    return Edited(compose(image, after[0], hidden, seam_px), hidden, codes)


def changed_places(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Returns where a caption changes a picture: float32 [S, S, 1], 1 or 0.

    How much a pixel changes is the less of what it changes in the picture and of the median of what it changes in
    drawings with other noises: not what the codes happen to do, but what the caption does. Asked are those drawings
    that have there, with the old caption, what the picture has: of a hairdo that some noises draw, the others do not
    know what becomes of it with other colours. Where fewer than three have, all are asked. A pixel is changed if that
    is more than 0.3 of what the most changed pixels change by, since some captions change colours a little and others
    a lot; always more than 10 levels of 255, and always where it is more than 32. In pictures above 32 px the pixels
    beside these count as changed, too: an edge is a mixture there, of which little may be new, and what is left of the
    old colour would be seen as a fringe.

    Args:
      before: uint8 [1 + W, S, S, C], drawn with the old caption: the picture, and W drawings with other noises.
      after: the same with the new caption.
    """
    moved = np.abs(after.astype(int) - before).max(-1)
    alike = np.abs(before[1:].astype(int) - before[0]).max(-1) <= ALIKE_LEVELS
    asked = alike | (alike.sum(0) < ALIKE_WITNESSES)
    strength = np.minimum(moved[0], _median(moved[1:], asked))
    least = np.clip(CHANGED_SHARE * np.quantile(strength, STRONGEST), LEAST_LEVELS, MOST_LEVELS)
    changed = strength > least
    return (grown(changed, SOFT_EDGE_PX) if len(changed) > PIXEL_ART_MAX_PX else changed).astype(np.float32)[..., None]


def _median(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the median along the first axis of the values that count, of which there is one or more everywhere."""
    number = counts.sum(0, keepdims=True)
    ordered = np.sort(np.where(counts, values, np.iinfo(values.dtype).max), axis=0)
    at = lambda place: np.take_along_axis(ordered, place, axis=0)[0]
    return (at((number - 1) // 2) + at(number // 2)) / 2


def grown(mask: np.ndarray, reach_px: int) -> np.ndarray:
    """Returns a mask, bool [H, W], with the pixels that lie within a square of `reach_px` around its own."""
    height, width = mask.shape
    around = np.pad(mask, reach_px)
    shifts = range(2 * reach_px + 1)
    return np.any([around[y : y + height, x : x + width] for y in shifts for x in shifts], axis=0)


def _moved(noise: np.ndarray, other: np.ndarray, angle: float) -> np.ndarray:
    """Noise [N, Z], moved by an angle along the circle through it and other noise."""
    return math.cos(angle) * noise + math.sin(angle) * other


def vary(model: Model, codes: Codes, strength: float, *, num: int = 1, seed: int = 0) -> np.ndarray:
    """Returns variations of a picture: other noise, as near as `strength` says, with the same caption.

    z' = cos(a) z + sin(a) n with n normal and a = strength pi / 2, on the circle through both; offsets, and by what the
    generator was tuned, count by cos(a).

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
    z = _moved(codes.noise, other, angle)
    meant = [Prompt.plain(codes.captions[0])] * num
    offsets = np.repeat(math.cos(angle) * codes.offsets, num, axis=0)
    model = model_of(model, [(math.cos(angle), codes.tuning())])
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
