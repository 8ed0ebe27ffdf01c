"""Pictures to vectors: the image tower that teaches the text encoder, and the classifiers that evaluate.

An image encoder is applied as `apply(params, images)` with images float32 [B, H, W, C] in [-1, 1], and returns features
float32 [B, F] with F = `config.image_encoder.features`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.kinds import IMAGE_ENCODERS, Common, NetworkKind, check_tower
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


def _build(section: Any, common: Common) -> ImageEncoder:
    return ImageEncoder(
        channels=tuple(section.channels),
        features=section.features,
        blocks=section.blocks,
        patch_px=section.patch_px,
        dtype=common.dtype,
    )


IMAGE_ENCODERS.register("residual", NetworkKind(_build, check_tower))
