"""A picture, or a part of it, back to the noise that draws it.

An inverter is applied as `apply(params, images, visible)` and returns an `Inverted`. One that is `told` the caption is
applied as `apply(params, images, visible, sentence)`; `invert` knows which is which.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.kinds import INVERTERS, Common, NetworkKind, check_tower
from t2igan.nets.layers import ResidualTower, dense, leaky_relu


class Inverted(NamedTuple):
    """A normal distribution of noise for each picture, and the features it was read from."""

    mean: Float[Array, "B Z"]
    log_std: Float[Array, "B Z"]  # from -5 to 2
    features: Float[Array, "B F"]
    offsets: Float[Array, "B U S"] | None = None  # of the generator's styles, from inverters that know these


def invert(
    inverter: Any,  # a linen module, or one whose parameters are sharded
    params: Any,
    images: Float[Array, "B H W C"],
    visible: Float[Array, "B H W 1"],
    sentence: Float[Array, "B D"],
) -> Inverted:
    """Applies an inverter, with the captions' sentences where it reads them."""
    if getattr(inverter, "told", False):
        return inverter.apply(params, images, visible, sentence)
    return inverter.apply(params, images, visible)


class Inverter(nn.Module):
    """A residual tower that says which noise would draw a picture of which it may see only a part."""

    z_dim: int
    channels: tuple[int, ...]
    features: int = 256
    blocks: int = 1
    patch_px: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], visible: Float[Array, "B H W 1"]) -> Inverted:
        x = jnp.concatenate([images * visible, visible], axis=-1)
        x = ResidualTower(self.channels, self.blocks, self.patch_px, self.dtype)(x)
        x = leaky_relu(x).reshape(len(x), -1)
        f = leaky_relu(dense(self.features, dtype=self.dtype, name="features")(x)).astype(jnp.float32)
        mean = dense(self.z_dim, dtype=jnp.float32, name="mean")(f)
        # Sure of nothing at first: the distribution of the training's noise.
        log_std = dense(self.z_dim, scale=0.0, dtype=jnp.float32, name="log_std")(f)
        return Inverted(mean, jnp.clip(log_std, -5.0, 2.0), f)


class ToldInverter(nn.Module):
    """An inverter that is told the caption, and that also says by what the styles of the noise are off.

    Without a sentence it reads zeros, as for `no_caption`.
    """

    z_dim: int
    channels: tuple[int, ...]
    style_shape: tuple[int, int]  # uses and size of the generator's styles; (0, 0) where it has none
    features: int = 256
    blocks: int = 1
    patch_px: int = 1
    sentence_dim: int = 128
    dtype: Any = jnp.float32
    told: bool = True

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "B H W C"],
        visible: Float[Array, "B H W 1"],
        sentence: Float[Array, "B D"] | None = None,
    ) -> Inverted:
        if sentence is None:
            sentence = jnp.zeros((len(images), self.sentence_dim))
        x = jnp.concatenate([images * visible, visible], axis=-1)
        x = ResidualTower(self.channels, self.blocks, self.patch_px, self.dtype)(x)
        x = leaky_relu(x).reshape(len(x), -1)
        seen = dense(self.features, dtype=self.dtype, name="features")(x)
        read = dense(self.features, dtype=self.dtype, name="sentence")(sentence)
        f = leaky_relu((seen + read) * 0.5**0.5)
        f = leaky_relu(dense(self.features, dtype=self.dtype, name="both")(f)).astype(jnp.float32)
        mean = dense(self.z_dim, dtype=jnp.float32, name="mean")(f)
        log_std = dense(self.z_dim, scale=0.0, dtype=jnp.float32, name="log_std")(f)
        offsets = None
        if self.style_shape[0]:
            size = self.style_shape[0] * self.style_shape[1]
            offsets = dense(size, scale=0.0, dtype=jnp.float32, name="offsets")(f).reshape(len(f), *self.style_shape)
        return Inverted(mean, jnp.clip(log_std, -5.0, 2.0), f, offsets)


def _shape(section: Any, common: Common) -> dict[str, Any]:
    return {
        "z_dim": common.z_dim,
        "channels": tuple(section.channels),
        "features": section.features,
        "blocks": section.blocks,
        "patch_px": section.patch_px,
        "dtype": common.dtype,
    }


def _build_residual(section: Any, common: Common) -> Inverter:
    return Inverter(**_shape(section, common))


def _build_told(section: Any, common: Common) -> ToldInverter:
    return ToldInverter(style_shape=common.style_shape, sentence_dim=common.sentence_dim, **_shape(section, common))


INVERTERS.register("residual", NetworkKind(_build_residual, check_tower))
INVERTERS.register("told", NetworkKind(_build_told, check_tower))
