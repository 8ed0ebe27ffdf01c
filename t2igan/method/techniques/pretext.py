"""Questions about a picture whose answers need no person: how was it turned, mirrored, cut out?

Answering them teaches a network what is in pictures (rotations: Gidaris et al. 2018, arXiv:1803.07728; as a
discriminator's task: Chen et al. 2019, arXiv:1811.11212).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

TRANSFORMS = {"rotation": 4, "flip": 2, "place": 5}  # question -> number of answers
CROP = 0.75  # side of what is cut out, as a share of the picture's


def transform(key: jax.Array, images: Float[Array, "B H W C"]) -> tuple[Float[Array, "B H W C"], Int[Array, "B 3"]]:
    """Cuts out, mirrors and turns square pictures at random; returns them, and what was done in `TRANSFORMS`' order.

    Rotation counts quarter turns against the clock, flip is 1 for mirrored left to right, place is one of the four
    corners or 4 for the middle, of which 3/4 of the picture's sides are enlarged to the whole.
    """
    num = len(images)
    keys = jax.random.split(key, len(TRANSFORMS))
    drawn = [jax.random.randint(k, (num,), 0, n) for k, n in zip(keys, TRANSFORMS.values(), strict=True)]
    rotation, flip, place = drawn
    images = _pick([_crop(images, i) for i in range(TRANSFORMS["place"])], place)
    images = _pick([images, images[:, :, ::-1]], flip)
    images = _pick([jnp.rot90(images, k, axes=(1, 2)) for k in range(4)], rotation)
    return images, jnp.stack(drawn, axis=1)


def classification(
    logits: Float[Array, "B K"], labels: Int[Array, "B A"], sizes: Sequence[int]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Returns cross-entropy and share of right answers, per sample, over questions of `sizes` answers.

    The logits of all questions stand one after another, sum(sizes) = K. A label below 0 is unknown and does not count.
    """
    cuts = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    losses, right = [], []
    for column, of_one in enumerate(jnp.split(logits, cuts, axis=1)):
        log_probability = jax.nn.log_softmax(of_one)
        label = jnp.maximum(labels[:, column], 0)
        losses.append(-jnp.take_along_axis(log_probability, label[:, None], axis=1)[:, 0])
        right.append(of_one.argmax(1) == label)
    known = (labels >= 0).astype(jnp.float32)
    count = jnp.maximum(known.sum(1), 1)
    mean = lambda values: (jnp.stack(values, 1) * known).sum(1) / count
    return mean(losses), mean(right)


def _pick(choices: list[Array], which: Int[Array, " B"]) -> Array:
    """For each sample, its row of the choice that is its."""
    return jnp.stack(choices)[which, jnp.arange(len(which))]


def _crop(images: Float[Array, "B H W C"], place: int) -> Float[Array, "B H W C"]:
    num, height, width, channels = images.shape
    part = max(round(height * CROP), 1), max(round(width * CROP), 1)
    rest = height - part[0], width - part[1]
    top, left = [(0, 0), (0, rest[1]), (rest[0], 0), rest, (rest[0] // 2, rest[1] // 2)][place]
    images = images[:, top : top + part[0], left : left + part[1]]
    return jax.image.resize(images, (num, height, width, channels), "linear")
