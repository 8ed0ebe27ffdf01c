"""Pictures to vectors: the image tower that teaches the text encoder, and the classifiers that judge."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.layers import ResidualTower, dense, leaky_relu


class ImageEncoder(nn.Module):
    """A residual tower whose last map is flattened into one vector of features."""

    channels: tuple[int, ...]
    features: int
    blocks: int = 1
    patch_px: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B F"]:
        x = ResidualTower(self.channels, self.blocks, self.patch_px, self.dtype)(images)
        x = leaky_relu(x).reshape(len(x), -1)
        return dense(self.features, dtype=self.dtype, name="features")(x).astype(jnp.float32)
