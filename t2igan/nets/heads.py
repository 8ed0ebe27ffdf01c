"""Heads that are learned with and thrown away."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.layers import dense


class LinearHeads(nn.Module):
    """A linear classifier of several questions; the logits of all of them stand one after another."""

    sizes: tuple[int, ...]  # answers to each question

    @nn.compact
    def __call__(self, features: Float[Array, "B F"]) -> Float[Array, "B K"]:
        return dense(sum(self.sizes), scale=0.0, dtype=jnp.float32, name="logits")(features)
