"""What a picture teaches where its caption is true of several: the noise whose drawing it is nearest to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

ROOM = 0.25  # of a batch, beside its share of partial captions: by chance it has more, and there are whole ones too


def nearest_noise(
    draw: Callable[[Float[Array, "b Z"], Any], Float[Array, "b H W C"]],
    real: Float[Array, "B H W C"],
    z: Float[Array, "B Z"],
    text: Any,
    key: jax.Array,
    num: int,
    share: float = 1.0,
    partial: Bool[Array, " B"] | None = None,
) -> Float[Array, "B Z"]:
    """Returns for each picture that of `num` noises whose drawing has the least squared error.

    Conditional implicit maximum likelihood estimation (Li, Zhang, Malik 2020, arXiv:2004.03590): with one noise, the
    squared error teaches the mean of a caption's pictures; with the nearest of several, each picture draws some part
    of the noise to itself, and none is left out. A caption of one picture needs no such choice: whatever the noise, it
    should draw that. No gradient goes through the choice.

    Args:
      draw: draws with noises and as many captions' text, rows of `text`.
      real: the pictures, in the space of the game.
      z: the first noise of each; with `num` = 1 the answer.
      text: of the captions, arrays with a row a picture.
      key: of the others.
      num: how many noises are tried.
      share: of the pictures, for at most so many noises are tried, to save time; of more partial captions the last ones
        of the batch keep their first noise. Of no account where `partial` is None.
      partial: which captions are true of other pictures too; the others keep their first noise. None: all are.
    """
    if num == 1:
        return z
    tried = jnp.stack([z, *jax.random.normal(key, (num - 1, *z.shape))])
    rows: Any = slice(None)
    if partial is not None and (most := math.ceil(share * len(z))) < len(z):
        rows = jnp.argsort(~partial, stable=True)[:most]  # partial ones first
    of_rows = jax.tree.map(lambda x: x[rows], text)
    # One after the other: a loop of the compiler's would run convolutions slowly on a CPU.
    errors = jnp.stack([((real[rows] - draw(one[rows], of_rows)) ** 2).mean((1, 2, 3)) for one in tried])
    nearest = jnp.zeros(len(z), int).at[rows].set(jax.lax.stop_gradient(errors).argmin(0))
    nearest = nearest if partial is None else jnp.where(partial, nearest, 0)
    return jnp.take_along_axis(tried, nearest[None, :, None], 0)[0]


def noises(config: Any) -> tuple[int, float]:
    """Returns the `num` and the `share` of `nearest_noise`: with room for chance, and for names that are parts."""
    return config.loss.paired_noises, min(1.0, config.augment.partial_captions + ROOM)
