"""What the networks are made of: scaled activations, convolutions that run well on CPU and GPU, modulation.

Only three kinds of linear map are used, because XLA runs nothing else well on every device: dense 3x3 convolutions of
stride 1, 1x1 convolutions as matrix products, and fully connected layers. Resampling is a reshape or a repeat.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SLOPE = 0.2


@flax.struct.dataclass
class Text:
    """An encoded caption: one vector for the sentence, one a token, and which tokens are real."""

    sentence: Float[Array, "B D"]
    words: Float[Array, "B T W"]
    mask: Bool[Array, "B T"]


def leaky_relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU of slope 0.2, scaled so that unit-variance input gives unit second moment."""
    gain = (2.0 / (1.0 + SLOPE**2)) ** 0.5
    return jnp.asarray(gain, x.dtype) * jax.nn.leaky_relu(x, SLOPE)


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
    """Doubles height and width by repeating pixels."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def downsample(x: Float[Array, "B H W C"]) -> Float[Array, "B H//2 W//2 C"]:
    """Halves height and width by the mean over blocks of 2x2 pixels."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def space_to_depth(x: Float[Array, "B H W C"], patch_px: int) -> Float[Array, "B h w c"]:
    """Folds each patch of `patch_px` x `patch_px` pixels into channels."""
    if patch_px == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // patch_px, patch_px, width // patch_px, patch_px, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // patch_px, width // patch_px, -1)


def depth_to_space(x: Float[Array, "B h w c"], patch_px: int) -> Float[Array, "B H W C"]:
    """Unfolds channels into patches; the inverse of `space_to_depth`."""
    if patch_px == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, patch_px, patch_px, channels // patch_px**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * patch_px, width * patch_px, -1)


def dense(features: int, *, scale: float = 1.0, use_bias: bool = True, dtype: Any, name: str | None = None):
    """A fully connected layer (on pictures: a 1x1 convolution) of output variance `scale**2`; 0 starts at zero."""
    return nn.Dense(features, use_bias=use_bias, kernel_init=initializer(scale), dtype=dtype, name=name)


def conv3x3(features: int, *, scale: float = 1.0, dtype: Any, name: str | None = None):
    """A dense 3x3 convolution of stride 1 with zero padding, of output variance `scale**2`; 0 starts at zero."""
    return nn.Conv(features, (3, 3), kernel_init=initializer(scale), dtype=dtype, name=name)


def initializer(scale: float):
    """Normal weights of standard deviation scale / sqrt(fan in)."""
    if scale == 0.0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(scale**2, "fan_in", "normal")


def recomputed(block: Callable, remat: bool) -> Callable:
    """Returns a part of a network, (module, *arrays) -> arrays, itself or so that only its arrays are kept for the
    backward pass, which computes it once more (Chen et al. 2016, arXiv:1604.06174).

    Parameters keep their names. It holds for gradients of gradients too.
    """
    return nn.remat(block) if remat else block


class Modulate(nn.Module):
    """Scales and shifts channels by a style vector: x * (1 + scale(style)) + shift(style); near identity at first."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], style: Float[Array, "B S"]) -> Float[Array, "B H W C"]:
        scale_shift = dense(2 * x.shape[-1], scale=0.1, dtype=self.dtype)(style)
        scale, shift = jnp.split(scale_shift[:, None, None, :], 2, axis=-1)
        return x * (1 + scale) + shift


class WordAttention(nn.Module):
    """Lets each place of a picture look at the words: residual cross-attention, starting at zero.

    `apply(..., mutable="intermediates")` also returns where each place looks: "weights", float32 [B, H, W, T], the mean
    over heads, which sums to 1 over the words. Otherwise the weights are not even computed.
    """

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], text: Text) -> Float[Array, "B H W C"]:
        batch, height, width, channels = x.shape
        head_dim = channels // self.heads

        def split_heads(y):
            return y.reshape(batch, -1, self.heads, head_dim)

        query = split_heads(dense(channels, dtype=self.dtype, name="query")(leaky_relu(x)))
        key = split_heads(dense(channels, dtype=self.dtype, name="key")(text.words))
        value = split_heads(dense(channels, dtype=self.dtype, name="value")(text.words))
        attended = jax.nn.dot_product_attention(query, key, value, mask=text.mask[:, None, None, :])
        attended = attended.reshape(batch, height, width, channels)
        if self.is_mutable_collection("intermediates"):
            self.sow(
                "intermediates", "weights", _attention_weights(query, key, text.mask).reshape(batch, height, width, -1)
            )
        return x + dense(channels, scale=0.0, dtype=self.dtype, name="out")(attended)


def _attention_weights(
    query: Float[Array, "B P N D"], key: Float[Array, "B T N D"], mask: Bool[Array, "B T"]
) -> Float[Array, "B P T"]:
    """softmax(q k / sqrt(D)) as in `jax.nn.dot_product_attention`, which keeps it to itself; the mean over heads."""
    logits = jnp.einsum("bpnd,btnd->bnpt", query, key).astype(jnp.float32) / query.shape[-1] ** 0.5
    logits = jnp.where(mask[:, None, None, :], logits, -jnp.inf)
    return jax.nn.softmax(logits, axis=-1).mean(1)


def _residual_block(tower: nn.Module, x: Float[Array, "B H W C"], name: str = "") -> Float[Array, "B H W C"]:
    """Two convolutions that add to what they are given; their names follow from `name`, or are the tower's next."""
    h = conv3x3(x.shape[-1], dtype=tower.dtype, name=f"{name}_in" if name else None)(leaky_relu(x))
    h = conv3x3(x.shape[-1], scale=0.0, dtype=tower.dtype, name=f"{name}_out" if name else None)(leaky_relu(h))
    return x + h


class GrowingTower(nn.Module):
    """A residual tower that can begin at any of its map sizes, looking at pictures reduced to that.

    `grown` = (stage, fade): stage 0 begins with the smallest map. What a stage's largest map hands down counts by
    `fade`, and by the rest the picture as the stage before would have looked at it (Karras et al. 2018, 1710.10196).
    """

    channels: tuple[int, ...]
    blocks: int = 1
    patch_px: int = 1
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], grown: tuple | None = None) -> list[Float[Array, "B _ _ _"]]:
        largest_first, maps = self.channels[::-1], []
        stage, fade = (len(self.channels) - 1, 1.0) if grown is None else grown
        first = len(self.channels) - 1 - stage

        def stem(level: int):
            reduced = images
            for _ in range(level):
                reduced = downsample(reduced)
            reduced = space_to_depth(reduced.astype(self.dtype), self.patch_px)
            return conv3x3(largest_first[level], dtype=self.dtype, name=f"stem_{level}")(reduced)

        stems = {level: stem(level) for level in range(len(self.channels)) if self.is_initializing() or level == first}
        x = stems[first]
        for level in range(first, len(self.channels)):
            channels = largest_first[level]
            if level > first:
                x = downsample(x)
                x = dense(channels, use_bias=False, dtype=self.dtype, name=f"transition_{level}")(x)
            if level == first + 1 and grown is not None:
                fade = jnp.asarray(fade, self.dtype)  # a float32 array would make float32 of the maps
                x = fade * x + (1 - fade) * stem(level)
            for block in range(self.blocks):
                named = functools.partial(_residual_block, name=f"block_{level}_{block}")
                x = recomputed(named, self.remat)(self, x)
            maps.append(x)
        return maps


class ResidualTower(nn.Module):
    """Pictures to a small map of features: what the discriminator and the image encoder have in common.

    `channels` are given from the smallest map up, as in the generator, so that the two mirror each other. With
    `all_maps` the maps of all sizes are returned, the largest first.
    """

    channels: tuple[int, ...]
    blocks: int = 1
    patch_px: int = 1
    dtype: Any = jnp.float32
    all_maps: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B h w F"] | list[Float[Array, "B _ _ _"]]:
        x = space_to_depth(images.astype(self.dtype), self.patch_px)
        largest_first, maps = self.channels[::-1], []
        x = conv3x3(largest_first[0], dtype=self.dtype, name="stem")(x)
        for level, channels in enumerate(largest_first):
            if level:
                x = downsample(x)
                x = dense(channels, use_bias=False, dtype=self.dtype, name=f"transition_{level}")(x)
            for _ in range(self.blocks):
                x = recomputed(_residual_block, self.remat)(self, x)
            maps.append(x)
        return maps if self.all_maps else x
