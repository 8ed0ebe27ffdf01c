"""A picture and an encoded caption to one logit: real and matching, or not."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.layers import ResidualTower, Text, dense, leaky_relu


class Discriminator(nn.Module):
    """A residual discriminator with projection on the sentence (Miyato & Koyama 2018, arXiv:1802.05637).

    logits = linear(f) + <f, project(sentence)> / sqrt(F), with f the features of the picture. There is no normalisation
    across the batch, so that gradient penalties stay per sample and one device equals many.
    """

    channels: tuple[int, ...]
    features: int = 256
    blocks: int = 1
    patch_px: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], text: Text) -> Float[Array, " B"]:
        x = ResidualTower(self.channels, self.blocks, self.patch_px, self.dtype)(images)
        x = leaky_relu(x).reshape(len(x), -1)
        f = leaky_relu(dense(self.features, dtype=self.dtype, name="features")(x)).astype(jnp.float32)
        self.sow("intermediates", "features", f)  # for heads on the trunk; nothing where nobody asks
        projected = dense(self.features, dtype=jnp.float32, name="project")(text.sentence)
        realness = dense(1, dtype=jnp.float32, name="realness")(f)[:, 0]
        return realness + (f * projected).sum(-1) / self.features**0.5


class MLPDiscriminator(nn.Module):
    """The classical discriminator: pixels and sentence concatenated, then 512 -> 256 -> 128 -> one logit."""

    widths: tuple[int, ...] = (512, 256, 128)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], text: Text) -> Float[Array, " B"]:
        x = jnp.concatenate([images.reshape(len(images), -1), text.sentence], axis=-1).astype(self.dtype)
        for width in self.widths:
            x = leaky_relu(dense(width, dtype=self.dtype)(x))
        self.sow("intermediates", "features", x)
        return dense(1, dtype=jnp.float32, name="realness")(x.astype(jnp.float32))[:, 0]
