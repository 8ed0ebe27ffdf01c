"""A discriminator on pretrained features: Projected GAN (Sauer et al. 2021, arXiv:2111.01007).

A frozen EfficientNet-lite0 gives maps of four sizes. Fixed random 1x1 convolutions mix their channels, and from the
smallest map up each size with the next: what a head sees of a size depends on all coarser ones, and no feature can be
ignored. Small heads, one a size, are all that is trained. The paper plays it with the hinge loss, without a gradient
penalty, with spectral normalisation and augmentation; here the heads' logits are averaged to one.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.constraints import require_positive
from t2igan.errors import UserError
from t2igan.nets.efficientnet import TAP_CHANNELS, EfficientNet
from t2igan.nets.kinds import DISCRIMINATORS, Common, NetworkKind
from t2igan.nets.layers import Text, conv3x3, dense, downsample, leaky_relu, upsample

FIXED = "fixed"  # the collection of what is never trained
FEATURES = "efficientnet"  # in it
MIXED_CHANNELS = 64
HEAD_CHANNELS = 64
TAP_DEVIATIONS = (10.0, 9.0, 7.0, 3.5)  # of the four maps on photographs, about
MIN_PX, MULTIPLE_PX = 64, 32
SMALLEST_MAP = 4  # a head halves its map down to this


class ProjectedDiscriminator(nn.Module):
    """Pictures and an encoded caption to one logit, by heads on frozen features with projection on the sentence.

    Variables: "params", the heads; "fixed", what is never trained: "efficientnet", which starts at random and has to be
    given its pretrained values, and "mix_...", which stays as it starts.
    """

    features: int = 256  # of each head
    features_px: int = 0  # what pictures are resized to; 0 = their own size, at least 64, up to a multiple of 32
    dtype: Any = jnp.float32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], text: Text) -> Float[Array, " B"]:
        images = resized(images, seen_px(images.shape[1], self.features_px)).astype(self.dtype)
        network = EfficientNet()
        key = lambda: self.make_rng("params")
        weights = self.variable(FIXED, FEATURES, lambda: network.init(key(), images.astype(jnp.float32))["params"])
        maps, _ = network.apply({"params": jax.lax.stop_gradient(weights.value)}, images)
        heads = [self._head(x, text, x.shape[1]) for x in self._mixed(maps)]
        self.sow("intermediates", "trunk", jnp.concatenate([f for _, f in heads], axis=-1))
        return sum(logits for logits, _ in heads) / len(heads)

    def _mixed(self, maps: list[Float[Array, "B _ _ _"]]) -> list[Float[Array, "B _ _ _"]]:
        """The maps mixed across channels, and from the smallest up across sizes; the smallest first."""
        mixed: list[Array] = []
        for i in reversed(range(len(maps))):
            x = self._random(f"mix_channels_{i}", TAP_CHANNELS[i], maps[i] / TAP_DEVIATIONS[i])
            if mixed:
                x = self._random(f"mix_sizes_{i}", MIXED_CHANNELS, (x + upsample(mixed[-1])) / 2**0.5)
            mixed.append(x)
        return mixed

    def _random(self, name: str, channels: int, x: Float[Array, "B H W _"]) -> Float[Array, "B H W D"]:
        """A fixed random 1x1 convolution that keeps the variance."""
        draw = lambda: jax.random.normal(self.make_rng("params"), (channels, MIXED_CHANNELS)) / channels**0.5
        matrix = self.variable(FIXED, name, draw)
        return x @ jax.lax.stop_gradient(matrix.value).astype(self.dtype)

    def _head(
        self, x: Float[Array, "B H W D"], text: Text, size: int
    ) -> tuple[Float[Array, " B"], Float[Array, "B F"]]:
        number = 0
        while True:
            x = leaky_relu(conv3x3(HEAD_CHANNELS, dtype=self.dtype, name=f"conv_{size}_{number}")(x))
            if x.shape[1] <= SMALLEST_MAP or x.shape[1] % 2:
                break
            x, number = downsample(x), number + 1
        x = x.reshape(len(x), -1)
        f = leaky_relu(dense(self.features, dtype=self.dtype, name=f"features_{size}")(x)).astype(jnp.float32)
        f = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(f)
        projected = dense(self.features, dtype=jnp.float32, name=f"project_{size}")(text.sentence)
        realness = dense(1, dtype=jnp.float32, name=f"realness_{size}")(f)[:, 0]
        return realness + (f * projected).sum(-1) / self.features**0.5, f


def seen_px(image_px: int, features_px: int) -> int:
    """Returns the size at which the feature network sees pictures: a multiple of 32, which halves evenly."""
    wanted = features_px or max(image_px, MIN_PX)
    return -(-wanted // MULTIPLE_PX) * MULTIPLE_PX


def resized(images: Float[Array, "B H W C"], px: int) -> Float[Array, "B {px} {px} C"]:
    """Resizes pictures bilinearly; larger ones are smoothed before."""
    if images.shape[1] == px:
        return images
    return jax.image.resize(images, (len(images), px, px, images.shape[-1]), "bilinear", antialias=True)


def _build(section: Any, common: Common) -> ProjectedDiscriminator:
    return ProjectedDiscriminator(section.features, section.features_px, common.dtype, section.dropout)


def _check(config: Any, section: str) -> None:
    d = config[section]
    require_positive(config, f"{section}.features")
    if config.data.channels == 4:
        raise UserError(
            f"config.{section}.kind='projected' judges by features of opaque pictures, and config.data.channels=4; set "
            f"the channels to 3, or the kind to 'residual'"
        )
    if not d.features_from:
        raise UserError(
            f"config.{section}.kind='projected' judges by pretrained features, and config.{section}.features_from is "
            f"empty; set it to 'efficientnet_lite0' (docs/pretrained.md)"
        )
    if d.features_px and not d.features_px >= MULTIPLE_PX:
        raise UserError(
            f"config.{section}.features_px={d.features_px} must be 0 (as the pictures are) or {MULTIPLE_PX} or more"
        )


DISCRIMINATORS.register("projected", NetworkKind(_build, _check, pixels_only=True))
