"""A picture, or a part of it, back to the noise that draws it.

An inverter is applied as `apply(params, images, visible)` and returns an `Inverted`.
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


def _build(section: Any, common: Common) -> Inverter:
    return Inverter(
        z_dim=common.z_dim,
        channels=tuple(section.channels),
        features=section.features,
        blocks=section.blocks,
        patch_px=section.patch_px,
        dtype=common.dtype,
    )


INVERTERS.register("residual", NetworkKind(_build, check_tower))
