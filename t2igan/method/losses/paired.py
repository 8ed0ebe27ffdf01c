"""Which noise a picture is drawn from where its caption is true of several: the nearest of some, or the inverter's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from t2igan.method.losses.inversion import divergence_from_normal
from t2igan.nets import Networks
from t2igan.nets.inverter import invert

_FAR = 4.0  # the noise of training hardly lies beyond; what does, a generator of many modulations multiplies


def paired_noise(
    networks: Networks,
    params: dict[str, Any],
    draw: Callable[[Float[Array, "B Z"]], Float[Array, "B H W C"]],
    real: Float[Array, "B H W C"],
    sentence: Float[Array, "B D"],
    z: Float[Array, "B Z"],
    key: jax.Array,
    num: int,
    shared: Bool[Array, " B"] | None = None,
) -> tuple[Float[Array, "B Z"], Float[Array, " B"]]:
    """Returns the noise of the drawing that is held to each picture, and what it costs to tell it.

    With `num` = 0 the inverter says what noise a picture is drawn from, and the two are a conditional variational
    autoencoder (Sohn, Lee, Yan 2015): what the caption leaves open goes by way of the noise, and the divergence of that
    from the noise of training is the cost. Otherwise `nearest_noise`, which costs nothing.

    Args:
      networks: of which the inverter is used, with `num` = 0.
      params: by network.
      draw, real, z, key, num, shared: as in `nearest_noise`; captions that are not shared keep `z`, at no cost.
      sentence: of the captions, for inverters that read it.
    """
    if num:
        return nearest_noise(draw, real, z, key, num, shared), jnp.zeros(len(z))
    inverted = invert(networks.inverter, params["inverter"], real, jnp.ones_like(real[..., :1]), sentence)
    own = inverted.mean + jnp.exp(inverted.log_std) * jax.random.normal(key, z.shape)
    own = jnp.clip(own, -_FAR, _FAR)  # the cost leads back from there
    cost = divergence_from_normal(inverted)
    if shared is None:
        return own, cost
    return jnp.where(shared[:, None], own, z), jnp.where(shared, cost, 0.0)


def nearest_noise(
    draw: Callable[[Float[Array, "B Z"]], Float[Array, "B H W C"]],
    real: Float[Array, "B H W C"],
    z: Float[Array, "B Z"],
    key: jax.Array,
    num: int,
    shared: Bool[Array, " B"] | None = None,
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
      shared: which captions are true of other pictures too; the others keep their first noise. None: all are.
    """
    if num == 1:
        return z
    tried = jnp.stack([z, *jax.random.normal(key, (num - 1, *z.shape))])
    # One after the other: a loop of the compiler's would run convolutions slowly on a CPU.
    errors = jnp.stack([((real - draw(one)) ** 2).mean((1, 2, 3)) for one in tried])
    nearest = jax.lax.stop_gradient(errors).argmin(0)
    nearest = nearest if shared is None else jnp.where(shared, nearest, 0)
    return jnp.take_along_axis(tried, nearest[None, :, None], 0)[0]
