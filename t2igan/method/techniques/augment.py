"""Differentiable augmentation: what the discriminator is shown, of real and generated pictures alike.

A discriminator of few pictures learns them by heart. Changing all that it sees, in the same random ways whether real or
generated, keeps it from that without the changes becoming part of what is generated, as long as each change leaves
enough pictures as they are (Karras et al. 2020, arXiv:2006.06676: a probability below 0.8). The generator learns
through the change, so it must be differentiable (DiffAugment, Zhao et al. 2020, arXiv:2006.10738).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

KINDS = ("flip", "translate", "scale", "rotate", "colour", "cutout")

# The ranges that are drawn from, uniformly.
TRANSLATE = 0.125  # shift of the picture in each direction, in widths of it
SCALE = 1.25  # enlarged or reduced by at most this factor, uniform in its logarithm
ROTATE = 30.0  # degrees either way
BRIGHTNESS = 0.5  # added to pictures in [-1, 1]
SATURATION, CONTRAST = (0.0, 2.0), (0.5, 1.5)  # factors of the distance from grey, from the picture's mean
CUTOUT = 0.5  # side of the square that is made grey, in widths of the picture


def augment(
    key: jax.Array,
    images: Float[Array, "B H W C"],
    probability: float | Float[Array, ""],
    kinds: Sequence[str],
    num: int | None = None,
) -> Float[Array, "B H W C"]:
    """Changes each picture by each of `kinds` with a probability, independently.

    Args:
      key: decides the changes; the same key and number of pictures give the same changes, whatever the pictures.
      images: in [-1, 1] or beyond; square.
      probability: from 0 (the pictures themselves, bit for bit) to 1; may be traced.
      kinds: of `KINDS`. "flip", "translate", "scale" and "rotate" become one affine map and one bilinear resampling, in
        which the picture goes on mirrored outside its borders; then "colour", then "cutout".
      num: after so many pictures the changes begin anew; None = all are changed differently.
    """
    num, repeats = (len(images), 1) if num is None else (num, len(images) // num)
    draw = {kind: jax.random.split(jax.random.fold_in(key, i), 4) for i, kind in enumerate(KINDS)}

    def happens(kind: str) -> Float[Array, " B"]:
        return jnp.tile(jax.random.bernoulli(draw[kind][0], probability, (num,)).astype(images.dtype), repeats)

    def uniform(kind: str, which: int, low: float, high: float) -> Float[Array, " B"]:
        return jnp.tile(jax.random.uniform(draw[kind][which], (num,), images.dtype, low, high), repeats)

    # From places in the result to places in the picture, as y <- m[0] y + m[1] x + m[2] in units of half a picture.
    one, zero = jnp.ones(len(images), images.dtype), jnp.zeros(len(images), images.dtype)
    affine = _matrix([[one, zero, zero], [zero, one, zero]])
    if "flip" in kinds:  # a coin is thrown for it: half of the pictures at probability 1
        mirrored = happens("flip") * (uniform("flip", 1, 0.0, 1.0) < 0.5)
        affine = affine @ _matrix([[one, zero, zero], [zero, 1 - 2 * mirrored, zero]])
    if "rotate" in kinds:
        angle = happens("rotate") * uniform("rotate", 1, -ROTATE, ROTATE) * (jnp.pi / 180)
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        affine = affine @ _matrix([[cos, -sin, zero], [sin, cos, zero]])
    if "scale" in kinds:
        factor = jnp.asarray(SCALE, images.dtype) ** (happens("scale") * uniform("scale", 1, -1.0, 1.0))
        affine = affine @ _matrix([[factor, zero, zero], [zero, factor, zero]])
    if "translate" in kinds:
        moves, largest = happens("translate"), 2 * TRANSLATE
        down, right = (moves * uniform("translate", i, -largest, largest) for i in (1, 2))
        pixel = 2 / images.shape[1]  # whole pixels: a shift shall not blur
        down, right = (jnp.round(shift / pixel) * pixel for shift in (down, right))
        affine = affine @ _matrix([[one, zero, down], [zero, one, right]])
    if {"flip", "translate", "scale", "rotate"} & set(kinds):
        images = resample(images, affine[:, :2])

    if "colour" in kinds:
        changes, each = happens("colour"), (slice(None), None, None, None)
        images = images + (changes * uniform("colour", 1, -BRIGHTNESS, BRIGHTNESS))[each]
        grey = images.mean(-1, keepdims=True)
        images = images + (changes * (uniform("colour", 2, *SATURATION) - 1))[each] * (images - grey)
        mean = images.mean((1, 2, 3), keepdims=True)
        images = images + (changes * (uniform("colour", 3, *CONTRAST) - 1))[each] * (images - mean)
    if "cutout" in kinds:
        place = jnp.linspace(0, 1, images.shape[1], dtype=images.dtype)
        down, right = (abs(place - uniform("cutout", i, 0.0, 1.0)[:, None]) < CUTOUT / 2 for i in (1, 2))
        hole = (down[:, :, None] & right[:, None, :])[..., None]
        images = images * (1 - happens("cutout")[:, None, None, None] * hole)
    return images


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


def _matrix(rows) -> Float[Array, "B 3 3"]:
    """Affine maps from two rows of three numbers a picture each."""
    num = rows[0][0].shape
    last = [jnp.zeros(num), jnp.zeros(num), jnp.ones(num)]
    return jnp.stack([jnp.stack(row, -1) for row in [*rows, last]], 1)


def _mirror(place, size: int):
    """Reflects places beyond the borders back, the outer pixel doubled: -1 is 0, `size` is size - 1."""
    place = jnp.mod(place, 2 * size)
    return jnp.minimum(place, 2 * size - 1 - place)
