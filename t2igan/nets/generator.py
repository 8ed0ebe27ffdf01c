"""Noise and an encoded caption to pictures."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.layers import (
    Modulate,
    Text,
    WordAttention,
    conv3x3,
    dense,
    depth_to_space,
    leaky_relu,
    recomputed,
    upsample,
)


class Generator(nn.Module):
    """A residual generator: every block is modulated by noise and sentence, and from some size on reads the words.

    `channels` are given from the smallest map (`base_px`) up; each further one doubles the size. No normalisation: the
    last convolution of a block starts at zero (fix-up initialisation; Zhang et al. 2019, arXiv:1901.09321) instead.

    With `guidance` g the style starts from that of no caption: style(z, 0) + g (style(z, s) - style(z, 0)), so that
    above 1 it leans towards the caption. It wants a training in which captions were left out now and then.

    With `growing` the picture is the sum of what each level adds, and `grown` = (stage, fade) stops after that level,
    which counts by `fade`; the result is enlarged to full size (`t2igan.method.techniques.growing`).
    """

    image_channels: int
    channels: tuple[int, ...]
    base_px: int = 4
    patch_px: int = 1
    blocks: int = 1
    style_dim: int = 256
    attention_from_px: int = 8
    attention_heads: int = 4
    dtype: Any = jnp.float32
    growing: bool = False
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "B Z"],
        text: Text,
        guidance: float | Float[Array, ""] | None = None,
        grown: tuple | None = None,
    ) -> Float[Array, "B H W C"]:
        layers = [dense(self.style_dim, dtype=self.dtype, name=f"style_{layer}") for layer in range(2)]

        def style_of(sentence):
            style = jnp.concatenate([z, sentence], axis=-1).astype(self.dtype)
            for layer in layers:
                style = leaky_relu(layer(style))
            return style

        style = style_of(text.sentence)
        if guidance is not None:
            without = style_of(jnp.zeros_like(text.sentence))
            style = without + jnp.asarray(guidance, self.dtype) * (style - without)
        x = dense(self.base_px**2 * self.channels[0], dtype=self.dtype, name="base")(style)
        x = x.reshape(-1, self.base_px, self.base_px, self.channels[0])
        last, fade = (len(self.channels) - 1, 1.0) if grown is None else grown
        images = None
        for level, channels in enumerate(self.channels[: last + 1]):
            if level:
                x = upsample(dense(channels, use_bias=False, dtype=self.dtype, name=f"transition_{level}")(x))
            for _ in range(self.blocks):
                x = recomputed(Generator._block, self.remat)(self, x, style)
            if x.shape[1] * self.patch_px >= self.attention_from_px > 0:
                x = recomputed(Generator._read, self.remat)(self, x, text)
            if self.growing:
                added = self._pixels(x, style, f"pixels_{level}", scale=0.0 if level else 0.5)
                images = upsample(images) + (fade if level == last else 1.0) * added if level else added
        if not self.growing:
            return self._pixels(x, style, "pixels", scale=0.5)
        for _ in range(last + 1, len(self.channels)):
            images = upsample(images)
        return images

    def _block(self, x, style) -> Float[Array, "B H W C"]:
        h = leaky_relu(Modulate(self.dtype)(x, style))
        h = conv3x3(x.shape[-1], dtype=self.dtype)(h)
        h = leaky_relu(Modulate(self.dtype)(h, style))
        return x + conv3x3(x.shape[-1], scale=0.0, dtype=self.dtype)(h)

    def _read(self, x, text: Text) -> Float[Array, "B H W C"]:
        return WordAttention(self.attention_heads, self.dtype)(x, text)

    def _pixels(self, x, style, name: str, scale: float) -> Float[Array, "B H W C"]:
        x = leaky_relu(Modulate(self.dtype)(x, style))
        x = dense(self.patch_px**2 * self.image_channels, scale=scale, dtype=self.dtype, name=name)(x)
        return depth_to_space(x, self.patch_px).astype(jnp.float32)


class MLPGenerator(nn.Module):
    """The classical generator: noise and sentence concatenated, then 128 -> 256 -> 512 -> pixels (Goodfellow 2014).

    The output lies in (-1, 1) by tanh, which is the classical sigmoid on pictures scaled to [-1, 1].
    """

    image_px: int
    image_channels: int
    widths: tuple[int, ...] = (128, 256, 512)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, z: Float[Array, "B Z"], text: Text, guidance: float | Float[Array, ""] | None = None
    ) -> Float[Array, "B H W C"]:
        sentence = text.sentence if guidance is None else guidance * text.sentence  # no caption is a sentence of zeros
        x = jnp.concatenate([z, sentence], axis=-1).astype(self.dtype)
        for width in self.widths:
            x = leaky_relu(dense(width, dtype=self.dtype)(x))
        x = dense(self.image_px**2 * self.image_channels, dtype=self.dtype, name="pixels")(x)
        x = jax.nn.tanh(x.astype(jnp.float32))
        return x.reshape(-1, self.image_px, self.image_px, self.image_channels)
