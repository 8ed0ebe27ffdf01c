"""A distance of pictures in pretrained features, for networks that reproduce pictures."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.efficientnet import EfficientNet


def perceptual_distance(
    network: EfficientNet, params: Any, a: Float[Array, "B H W C"], b: Float[Array, "B H W C"]
) -> Float[Array, " B"]:
    """Mean over maps of the squared distance of features of length one, from 0 to 4; differentiable by both pictures.

    d = mean_l mean_xy || f_l(a)_xy / |f_l(a)_xy| - f_l(b)_xy / |f_l(b)_xy| ||^2, the form of LPIPS (Zhang et al. 2018,
    arXiv:1801.03924) without its learned weights of channels.

    Args:
      network: gives the maps, `EfficientNet(num_taps=3)` for instance.
      params: its parameters, which get no gradient.
      a: pictures in [-1, 1], 1 or 3 channels.
      b: pictures of the same shape.
    """
    params = jax.lax.stop_gradient(params)
    both, _ = network.apply(params, jnp.concatenate([a, b]))
    distances = []
    for x in both:
        x = x.astype(jnp.float32)
        unit = x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-10)
        of_a, of_b = jnp.split(unit, 2)
        distances.append(((of_a - of_b) ** 2).sum(-1).mean((1, 2)))
    return sum(distances) / len(distances)
