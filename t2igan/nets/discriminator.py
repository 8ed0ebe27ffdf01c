"""A picture and an encoded caption to one logit: real and matching, or not.

A discriminator is applied as `apply(params, images, text)` with images float32 [B, H, W, C] in [-1, 1], and returns
logits float32 [B]. It sows its last features, float32 or narrower [B, F], as "trunk" in the collection "intermediates",
which the phase "discriminator" reads. One that `grows` also takes `grown=(stage, fade)`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.kinds import DISCRIMINATORS, Common, NetworkKind, check_channels, check_tower
from t2igan.nets.layers import GrowingTower, ResidualTower, Text, dense, leaky_relu


class Discriminator(nn.Module):
    """A residual discriminator with projection on the sentence (Miyato & Koyama 2018, arXiv:1802.05637).

    logits = linear(f) + <f, project(sentence)> / sqrt(F), with f the features of the picture. There is no normalisation
    across the batch, so that gradient penalties stay per sample and one device equals many.

    With `multi_scale` each larger map has a head of the same form on the mean of its places, and the logit is the mean
    of all heads': early maps judge texture, the last one the whole (after MSG-GAN, Karnewar & Wang 2020, 1903.06048).
    """

    channels: tuple[int, ...]
    features: int = 256
    blocks: int = 1
    patch_px: int = 1
    dtype: Any = jnp.float32
    dropout: float = 0.0  # share of the features dropped, where a random stream "dropout" is given
    multi_scale: bool = False
    growing: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], text: Text, grown: tuple | None = None) -> Float[Array, " B"]:
        settings = {"blocks": self.blocks, "patch_px": self.patch_px, "dtype": self.dtype, "remat": self.remat}
        if self.growing:
            *larger, x = GrowingTower(self.channels, **settings)(images, grown)
        else:
            *larger, x = ResidualTower(self.channels, all_maps=True, **settings)(images)
        logits = [self._head(leaky_relu(x).reshape(len(x), -1), text, "")]
        if self.multi_scale:
            logits += [self._head(leaky_relu(x).mean((1, 2)), text, f"_{x.shape[1]}") for x in larger]
        return sum(logits) / len(logits)

    def _head(self, x: Float[Array, "B N"], text: Text, suffix: str) -> Float[Array, " B"]:
        f = leaky_relu(dense(self.features, dtype=self.dtype, name=f"features{suffix}")(x)).astype(jnp.float32)
        if not suffix:
            self.sow("intermediates", "trunk", f)  # for heads on the trunk; nothing where nobody asks
        f = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(f)
        projected = dense(self.features, dtype=jnp.float32, name=f"project{suffix}")(text.sentence)
        realness = dense(1, dtype=jnp.float32, name=f"realness{suffix}")(f)[:, 0]
        return realness + (f * projected).sum(-1) / self.features**0.5


class MLPDiscriminator(nn.Module):
    """The classical discriminator: pixels and sentence concatenated, then 512 -> 256 -> 128 -> one logit."""

    widths: tuple[int, ...] = (512, 256, 128)
    dtype: Any = jnp.float32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], text: Text) -> Float[Array, " B"]:
        x = jnp.concatenate([images.reshape(len(images), -1), text.sentence], axis=-1).astype(self.dtype)
        for width in self.widths:
            x = leaky_relu(dense(width, dtype=self.dtype)(x))
        self.sow("intermediates", "trunk", x)
        x = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(x)
        return dense(1, dtype=jnp.float32, name="realness")(x.astype(jnp.float32))[:, 0]


def _build_residual(section: Any, common: Common) -> Discriminator:
    return Discriminator(
        channels=tuple(section.channels),
        features=section.features,
        blocks=section.blocks,
        patch_px=section.patch_px,
        dtype=common.dtype,
        dropout=section.dropout,
        multi_scale=section.multi_scale,
        growing=common.growing,
        remat=common.remat,
    )


def _build_mlp(section: Any, common: Common) -> MLPDiscriminator:
    return MLPDiscriminator(widths=tuple(section.channels), dtype=common.dtype, dropout=section.dropout)


DISCRIMINATORS.register("residual", NetworkKind(_build_residual, check_tower, grows=True, multi_scale=True))
DISCRIMINATORS.register("mlp", NetworkKind(_build_mlp, check_channels))
