"""Noise and an encoded caption to pictures.

A generator is applied as `apply(params, z, text, guidance=None)` with z float32 [B, Z], and returns float32
[B, H, W, C] in [-1, 1] or a little beyond. One that `grows` also takes `grown=(stage, fade)`.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.constraints import require_not_negative, require_positive
from t2igan.errors import UserError
from t2igan.nets.kinds import GENERATORS, Common, NetworkKind, check_channels, game_size_px, size_key
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


def _build_residual(section: Any, common: Common) -> Generator:
    return Generator(
        image_channels=common.image_channels,
        channels=tuple(section.channels),
        base_px=section.base_px,
        patch_px=section.patch_px,
        blocks=section.blocks,
        style_dim=section.style_dim,
        attention_from_px=section.attention_from_px,
        attention_heads=section.attention_heads,
        dtype=common.dtype,
        growing=common.growing,
        remat=common.remat,
    )


def _check_residual(config: Any, section: str) -> None:
    check_channels(config, section)
    keys = ("base_px", "patch_px", "blocks", "style_dim", "attention_heads")
    require_positive(config, *(f"{section}.{key}" for key in keys))
    require_not_negative(config, f"{section}.attention_from_px")
    net, size = config[section], game_size_px(config)
    doublings = len(net.channels) - 1
    makes = net.base_px * 2**doublings * net.patch_px
    if makes != size:
        raise UserError(
            f"{size_key(config)}={size} is not what the generator makes: base_px * 2^(channels - 1) * "
            f"patch_px = {net.base_px} * 2^{doublings} * {net.patch_px} = {makes}.\n{_advice(size, net)}"
        )
    if net.attention_from_px and any(channels % net.attention_heads for channels in net.channels):
        raise UserError(
            f"config.{section}.channels={tuple(net.channels)} must be divisible by config.{section}.attention_heads="
            f"{net.attention_heads}"
        )


def _advice(size_px: int, net: Any) -> str:
    """Says which base and how many channels make a picture of this size."""
    for base_px in (4, 5, 6, 7, 3):
        maps = math.log2(size_px / net.patch_px / base_px) + 1
        if maps >= 1 and maps == int(maps):
            return (
                f"For {size_px} px set config.generator.base_px={base_px} and give config.generator.channels "
                f"{int(maps)} entries (smallest map first)."
            )
    return "Choose a size such as 16, 28, 32, 64, 128 or 256."


def _build_mlp(section: Any, common: Common) -> MLPGenerator:
    return MLPGenerator(
        image_px=common.image_px,
        image_channels=common.image_channels,
        widths=tuple(section.channels),
        dtype=common.dtype,
    )


GENERATORS.register("residual", NetworkKind(_build_residual, _check_residual, grows=True))
GENERATORS.register("mlp", NetworkKind(_build_mlp, check_channels, pixels_only=True))  # its tanh bounds what it draws
