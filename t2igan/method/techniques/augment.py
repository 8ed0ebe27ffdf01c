"""Differentiable augmentation: what the discriminator is shown, of real and generated pictures alike.

A discriminator of few pictures learns them by heart. Changing all that it sees, in the same random ways whether real or
generated, keeps it from that without the changes becoming part of what is generated, as long as each change leaves
enough pictures as they are (Karras et al. 2020, arXiv:2006.06676: a probability below 0.8). The generator learns
through the change, so it must be differentiable (DiffAugment, Zhao et al. 2020, arXiv:2006.10738).
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.registry import Registry

# The ranges that are drawn from, uniformly.
TRANSLATE = 0.125  # shift of the picture in each direction, in widths of it
SCALE = 1.25  # enlarged or reduced by at most this factor, uniform in its logarithm
ROTATE = 30.0  # degrees either way
BRIGHTNESS = 0.5  # added to pictures in [-1, 1]
SATURATION, CONTRAST = (0.0, 2.0), (0.5, 1.5)  # factors of the distance from grey, from the picture's mean
CUTOUT = 0.5  # side of the square that is made grey, in widths of the picture


@dataclasses.dataclass(frozen=True)
class Draws:
    """What one kind of augmentation draws at random for each of a batch's pictures."""

    keys: jax.Array  # [4]: of whether it happens, and of three numbers
    probability: float | Float[Array, ""]
    num: int  # after so many pictures the draws begin anew
    repeats: int
    image_px: int
    dtype: jnp.dtype
    alpha: bool = False  # whether the pictures have transparency: four channels, colours premultiplied

    def happens(self) -> Float[Array, " B"]:
        """Returns 1 for pictures that are changed, and 0 for the others."""
        drawn = jax.random.bernoulli(self.keys[0], self.probability, (self.num,))
        return jnp.tile(drawn.astype(self.dtype), self.repeats)

    def uniform(self, which: int, low: float, high: float) -> Float[Array, " B"]:
        """Returns a number between `low` and `high` for each picture; `which` of the three, from 1."""
        drawn = jax.random.uniform(self.keys[which], (self.num,), self.dtype, low, high)
        return jnp.tile(drawn, self.repeats)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A kind of augmentation as it is registered; it has one of the two.

    Attributes:
      affine: draws -> maps [B, 3, 3] from places (y, x, 1) in the result to places in the picture, in units of half a
        picture from its centre. All affine maps become one resampling.
      pixels: (pictures [B, H, W, C], draws) -> pictures; after all affine ones. Where it does not happen the pictures
        must stay as they are, bit for bit.
    """

    affine: Callable[[Draws], Array] | None = None
    pixels: Callable[[Array, Draws], Array] | None = None


AUGMENTATIONS: Registry[Augmentation] = Registry("kind of augmentation", key="augment.kinds")


def augment(
    key: jax.Array,
    images: Float[Array, "B H W C"],
    probability: float | Float[Array, ""],
    kinds: Sequence[str],
    num: int | None = None,
    alpha: bool = False,
) -> Float[Array, "B H W C"]:
    """Changes each picture by each of `kinds` with a probability, independently.

    Args:
      key: decides the changes; the same key and number of pictures give the same changes, whatever the pictures.
      images: in [-1, 1] or beyond; square.
      probability: from 0 (the pictures themselves, bit for bit) to 1; may be traced.
      kinds: of `AUGMENTATIONS`. The affine ones become one map and one bilinear resampling, in which the picture goes
        on mirrored outside its borders; then come the others, all in the order in which they are registered.
      num: after so many pictures the changes begin anew; None = all are changed differently.
      alpha: whether the pictures have transparency (`t2igan.nets.to_unit`): colours change, how much of them is seen
        does not, and what is cut out is transparent.
    """
    num, repeats = (len(images), 1) if num is None else (num, len(images) // num)
    chosen = []
    for name, kind in AUGMENTATIONS.items():
        if name in kinds:
            keys = jax.random.split(jax.random.fold_in(key, zlib.crc32(name.encode())), 4)
            chosen.append((kind, Draws(keys, probability, num, repeats, images.shape[1], images.dtype, alpha)))
    maps = [kind.affine(draws) for kind, draws in chosen if kind.affine is not None]
    if maps:
        affine = maps[0]
        for further in maps[1:]:
            affine = affine @ further
        images = resample(images, affine[:, :2])
    for kind, draws in chosen:
        if kind.pixels is not None:
            images = kind.pixels(images, draws)
    return images


def _flip(draws: Draws) -> Float[Array, "B 3 3"]:
    mirrored = draws.happens() * (draws.uniform(1, 0.0, 1.0) < 0.5)  # a coin: half of the pictures at probability 1
    one, zero = jnp.ones_like(mirrored), jnp.zeros_like(mirrored)
    return _matrix([[one, zero, zero], [zero, 1 - 2 * mirrored, zero]])


def _rotate(draws: Draws) -> Float[Array, "B 3 3"]:
    angle = draws.happens() * draws.uniform(1, -ROTATE, ROTATE) * (jnp.pi / 180)
    sin, cos, zero = jnp.sin(angle), jnp.cos(angle), jnp.zeros_like(angle)
    return _matrix([[cos, -sin, zero], [sin, cos, zero]])


def _scale(draws: Draws) -> Float[Array, "B 3 3"]:
    factor = jnp.asarray(SCALE, draws.dtype) ** (draws.happens() * draws.uniform(1, -1.0, 1.0))
    zero = jnp.zeros_like(factor)
    return _matrix([[factor, zero, zero], [zero, factor, zero]])


def _translate(draws: Draws) -> Float[Array, "B 3 3"]:
    moves, largest = draws.happens(), 2 * TRANSLATE
    down, right = (moves * draws.uniform(i, -largest, largest) for i in (1, 2))
    pixel = 2 / draws.image_px  # whole pixels: a shift shall not blur
    down, right = (jnp.round(shift / pixel) * pixel for shift in (down, right))
    one, zero = jnp.ones_like(down), jnp.zeros_like(down)
    return _matrix([[one, zero, down], [zero, one, right]])


def _colour(images: Float[Array, "B H W C"], draws: Draws) -> Float[Array, "B H W C"]:
    changes, each = draws.happens(), (slice(None), None, None, None)
    if draws.alpha:
        return _colour_seen(images, draws, changes[each])
    images = images + (changes * draws.uniform(1, -BRIGHTNESS, BRIGHTNESS))[each]
    grey = images.mean(-1, keepdims=True)
    images = images + (changes * (draws.uniform(2, *SATURATION) - 1))[each] * (images - grey)
    mean = images.mean((1, 2, 3), keepdims=True)
    return images + (changes * (draws.uniform(3, *CONTRAST) - 1))[each] * (images - mean)


def _colour_seen(
    images: Float[Array, "B H W 4"], draws: Draws, changes: Float[Array, "B 1 1 1"]
) -> Float[Array, "B H W 4"]:
    """The same where colours are premultiplied: what is done to a colour c is done to a c, constants weighed by a.

    The picture's mean, from which contrast is measured, is that of what is seen of it. Changes are written as what is
    added, so that without them pictures stay as they are.
    """
    each = (slice(None), None, None, None)
    seen = (images[..., 3:] + 1) / 2
    colours = images[..., :3] + 1 - seen  # a c with c in [-1, 1], for p = 2 a (c + 1) / 2 - 1
    brighter = changes * draws.uniform(1, -BRIGHTNESS, BRIGHTNESS)[each] * seen
    x = colours + brighter
    saturated = changes * (draws.uniform(2, *SATURATION) - 1)[each] * (x - x.mean(-1, keepdims=True))
    x = x + saturated
    mean = x.mean((1, 2, 3), keepdims=True) / jnp.maximum(seen.mean((1, 2, 3), keepdims=True), 1e-6)
    contrasted = changes * (draws.uniform(3, *CONTRAST) - 1)[each] * (x - mean * seen)
    return jnp.concatenate([images[..., :3] + brighter + saturated + contrasted, images[..., 3:]], axis=-1)


def _cutout(images: Float[Array, "B H W C"], draws: Draws) -> Float[Array, "B H W C"]:
    place = jnp.linspace(0, 1, images.shape[1], dtype=images.dtype)
    down, right = (abs(place - draws.uniform(i, 0.0, 1.0)[:, None]) < CUTOUT / 2 for i in (1, 2))
    hole = (down[:, :, None] & right[:, None, :])[..., None]
    hole = draws.happens()[:, None, None, None] * hole
    return images * (1 - hole) - hole if draws.alpha else images * (1 - hole)


AUGMENTATIONS.register("flip", Augmentation(affine=_flip))
AUGMENTATIONS.register("rotate", Augmentation(affine=_rotate))
AUGMENTATIONS.register("scale", Augmentation(affine=_scale))
AUGMENTATIONS.register("translate", Augmentation(affine=_translate))
AUGMENTATIONS.register("colour", Augmentation(pixels=_colour))
AUGMENTATIONS.register("cutout", Augmentation(pixels=_cutout))


def resample(images: Float[Array, "B H W C"], affine: Float[Array, "B 2 3"]) -> Float[Array, "B H W C"]:
    """Returns pictures whose pixel at place p is the bilinear value of the old one at `affine` of p.

    Places are (y, x, 1), from -1 to 1 between the outer edges of the pixels; beyond, the picture goes on mirrored.
    """
    num, height, width, channels = images.shape
    y, x = (2 * (jnp.arange(n, dtype=images.dtype) + 0.5) / n - 1 for n in (height, width))
    grid = jnp.stack([*jnp.meshgrid(y, x, indexing="ij"), jnp.ones((height, width), images.dtype)], -1)
    source = jnp.einsum("bij,hwj->bhwi", affine, grid, precision="highest")
    source = (source + 1) / 2 * jnp.asarray([height, width], images.dtype) - 0.5  # in pixels
    # Places that rounding has moved off a pixel by a hair are put back, so that no change is no change.
    nearest = jnp.round(source)
    source = jnp.where(abs(source - nearest) < 1e-4, nearest, source)
    low = jnp.floor(source)
    share, low = source - low, low.astype(jnp.int32)
    flat = images.reshape(num, height * width, channels)

    def pixels(rows, columns):
        places = _mirror(rows, height) * width + _mirror(columns, width)
        return jnp.take_along_axis(flat, places.reshape(num, -1, 1), axis=1).reshape(images.shape)

    top, left, down, right = low[..., 0], low[..., 1], share[..., :1], share[..., 1:]
    above = pixels(top, left) * (1 - right) + pixels(top, left + 1) * right
    below = pixels(top + 1, left) * (1 - right) + pixels(top + 1, left + 1) * right
    return above * (1 - down) + below * down


def adapt(
    probability: Float[Array, ""], real_logits_sign: Float[Array, ""], target: float, images: int, whole_images: int
) -> Float[Array, ""]:
    """Moves the probability so that the share of real pictures that look real to the discriminator stays at a target.

    ADA (Karras et al. 2020, arXiv:2006.06676, section 3): E[sign(D(real))] rises towards 1 as the discriminator learns
    its pictures by heart; above the target the probability rises, below it falls.

    Args:
      probability: the present one, from 0 to 1.
      real_logits_sign: mean sign of the discriminator's logits of real pictures, -1 to 1; less those of generated ones,
        where the loss looks at differences alone.
      target: of that mean; 0.6 in the paper.
      images: pictures that were seen since the last call.
      whole_images: pictures in which the probability can go from 0 to 1; 500,000 in the paper.
    """
    moved = probability + jnp.sign(real_logits_sign - target) * (images / whole_images)
    return jnp.clip(moved, 0, 1)


def adapted(method: Any, state: Any, metrics: dict[str, jax.Array]) -> Any:
    """Moves the probability in a game's state (`t2igan.step.State`), where it has a target; says it in the metrics."""
    if not method.augment_target:
        return state
    metrics["augment_probability"] = probability = state.control["augment_probability"]
    images = method.batch_images * method.discriminator_steps
    sign, target = metrics["logits/real_sign"], method.augment_target
    moved = adapt(probability, sign, target, images, method.augment_images)
    return state.replace(control=state.control | {"augment_probability": moved})


def _matrix(rows) -> Float[Array, "B 3 3"]:
    """Affine maps from two rows of three numbers a picture each."""
    num = rows[0][0].shape
    last = [jnp.zeros(num), jnp.zeros(num), jnp.ones(num)]
    return jnp.stack([jnp.stack(row, -1) for row in [*rows, last]], 1)


def _mirror(place, size: int):
    """Reflects places beyond the borders back, the outer pixel doubled: -1 is 0, `size` is size - 1."""
    place = jnp.mod(place, 2 * size)
    return jnp.minimum(place, 2 * size - 1 - place)
