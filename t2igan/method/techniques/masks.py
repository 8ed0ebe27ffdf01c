"""Which part of a picture is hidden when networks learn to complete it, and how far off the rest is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.registry import Registry

# (key, number of pictures, rows [1, H, 1], columns [1, 1, W]) -> what is hidden, bool [num, H, W] or fewer of size 1.
# Rows and columns are shares of the picture from 0 to 1.
MASKS: Registry[Callable] = Registry("mask", key="pretrain_generator.masks")

STROKE_POINTS = 6  # corners of a free-form stroke
STROKE_WIDTH = (0.06, 0.16)  # in widths of the picture
BOX_SIDE = (0.25, 0.75)


def random_visible(
    key: jax.Array, num: int, height: int, width: int, kinds: Sequence[str]
) -> Float[Array, "num height width 1"]:
    """Returns what stays visible of `num` pictures: 1, and 0 where hidden; each picture has one of `kinds` at random.

    "whole" hides nothing; "box" a rectangle of 1/4 to 3/4 of each side; "half" the left, right, upper or lower half;
    "stroke" a free-form line (after Yu et al. 2019, arXiv:1806.03589); "around" all but such a rectangle.
    """
    of_kind, *keys = jax.random.split(key, 1 + len(kinds))
    chosen = jax.random.randint(of_kind, (num,), 0, len(kinds))
    hidden = [MASKS[kind](k, num, *_places(height, width)) for kind, k in zip(kinds, keys, strict=True)]
    hidden = jnp.stack([jnp.broadcast_to(h, (num, height, width)) for h in hidden])
    return 1 - hidden[chosen, jnp.arange(num)][..., None].astype(jnp.float32)


def visible_distance(error: Float[Array, "B H W C"], visible: Float[Array, "B H W 1"]) -> Float[Array, " B"]:
    """Returns the mean of |e| + e^2 over what is visible, of each picture."""
    each = (jnp.abs(error) + error**2) * visible
    return each.sum((1, 2, 3)) / (error.shape[-1] * visible.sum((1, 2, 3)) + 1e-6)


def _places(height: int, width: int) -> tuple[Array, Array]:
    """Rows and columns of the pixels' centres, as shares of the picture from 0 to 1."""
    return ((jnp.arange(height) + 0.5) / height)[None, :, None], ((jnp.arange(width) + 0.5) / width)[None, None, :]


@MASKS.register("whole")
def _nothing(key, num, y, x):  # noqa: ARG001
    return jnp.zeros((1, 1, 1), bool)


@MASKS.register("box")
def _box(key, num, y, x):
    sides_key, corner_key = jax.random.split(key)
    sides = jax.random.uniform(sides_key, (2, num, 1, 1), minval=BOX_SIDE[0], maxval=BOX_SIDE[1])
    corner = jax.random.uniform(corner_key, (2, num, 1, 1)) * (1 - sides)
    inside = lambda place, i: (place >= corner[i]) & (place < corner[i] + sides[i])
    return inside(y, 0) & inside(x, 1)


@MASKS.register("around")
def _around(key, num, y, x):
    return ~_box(key, num, y, x)


@MASKS.register("half")
def _half(key, num, y, x):
    which = jax.random.randint(key, (num, 1, 1), 0, 4)
    place = jnp.where(which < 2, y, x)
    return jnp.where(which % 2 == 0, place < 0.5, place >= 0.5)


@MASKS.register("stroke")
def _stroke(key, num, y, x):
    """All that is nearer than half a brush to a line of straight pieces."""
    points_key, width_key = jax.random.split(key)
    points = jax.random.uniform(points_key, (STROKE_POINTS, 2, num, 1, 1))
    radius = jax.random.uniform(width_key, (num, 1, 1), minval=STROKE_WIDTH[0], maxval=STROKE_WIDTH[1])

    def near(start, end):
        along, from_start = end - start, (y - start[0], x - start[1])
        share = (from_start[0] * along[0] + from_start[1] * along[1]) / ((along**2).sum(0) + 1e-6)
        share = jnp.clip(share, 0, 1)
        return (from_start[0] - share * along[0]) ** 2 + (from_start[1] - share * along[1]) ** 2 < radius**2

    return jax.vmap(near)(points[:-1], points[1:]).any(0)
