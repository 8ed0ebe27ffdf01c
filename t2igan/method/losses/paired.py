"""What a picture teaches where its caption is true of several: the noise whose drawing it is nearest to."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def nearest_noise(
    draw: Callable[[Float[Array, "B Z"]], Float[Array, "B H W C"]],
    real: Float[Array, "B H W C"],
    z: Float[Array, "B Z"],
    key: jax.Array,
    num: int,
    partial: Bool[Array, " B"] | None = None,
) -> Float[Array, "B Z"]:
    """Returns for each picture that of `num` noises whose drawing has the least squared error.

    Conditional implicit maximum likelihood estimation (Li, Zhang, Malik 2020, arXiv:2004.03590): with one noise, the
    squared error teaches the mean of a caption's pictures; with the nearest of several, each picture draws some part
    of the noise to itself, and none is left out. A caption of one picture needs no such choice: whatever the noise, it
    should draw that. No gradient goes through the choice.

    Args:
      draw: draws each picture's caption with a noise.
      real: the pictures, in the space of the game.
      z: the first noise of each; with `num` = 1 the answer.
      key: of the others.
      num: how many noises are tried.
      partial: which captions are true of other pictures too; the others keep their first noise. None: all are.
    """
    if num == 1:
        return z
    tried = jnp.stack([z, *jax.random.normal(key, (num - 1, *z.shape))])
    # One after the other: a loop of the compiler's would run convolutions slowly on a CPU.
    errors = jnp.stack([((real - draw(one)) ** 2).mean((1, 2, 3)) for one in tried])
    nearest = jax.lax.stop_gradient(errors).argmin(0)
    nearest = nearest if partial is None else jnp.where(partial, nearest, 0)
    return jnp.take_along_axis(tried, nearest[None, :, None], 0)[0]
