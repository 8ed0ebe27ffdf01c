"""Noise and an encoded caption to pictures.

A generator is applied as `apply(params, z, text, guidance=None)` with z float32 [B, Z], and returns float32
[B, H, W, C] in [-1, 1] or a little beyond. One that `grows` also takes `grown=(stage, fade)`. One that has `styles`
can be applied in two parts, so that editing has something to hold between them:

    styles = apply(params, z, text.sentence, method="styles")  # float32 [B, U, S]: one for each use
    images = apply(params, styles, text, method="draw")

One that has `skips` takes `added=maps` in `draw`, one for each of its sizes, which are added to its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
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
from t2igan.nets.narrower import MLP, RESIDUAL


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

    def setup(self) -> None:
        """Makes the layers; parameters are named by kind and number, as snapshots have them."""
        maps = self.channels
        self.style = [dense(self.style_dim, dtype=self.dtype) for _ in range(2)]
        self.base = dense(self.base_px**2 * maps[0], dtype=self.dtype)
        self.transition = [None, *(dense(channels, use_bias=False, dtype=self.dtype) for channels in maps[1:])]
        # Two convolutions a block, each modulated, and one modulation before pixels are made of a map.
        self.Conv = [
            conv3x3(channels, scale=float(i % 2 == 0), dtype=self.dtype)
            for channels in maps
            for i in range(2 * self.blocks)
        ]
        self.Modulate = [Modulate(self.dtype) for _ in range(self.num_styles - 1)]
        self.WordAttention = [WordAttention(self.attention_heads, self.dtype) for _ in range(self.num_readings)]
        if self.growing:
            self.pixels = [self._to_pixels(0.0 if level else 0.5) for level in range(len(maps))]
        else:
            self.pixels = self._to_pixels(0.5)

    @property
    def num_styles(self) -> int:
        """The number of places where a style is used: the base, two a block, and one wherever pixels are made."""
        return 1 + 2 * self.blocks * len(self.channels) + (len(self.channels) if self.growing else 1)

    @property
    def num_readings(self) -> int:
        """The number of levels that read the words."""
        return sum(self.reads(level) for level in range(len(self.channels)))

    def __call__(
        self,
        z: Float[Array, "B Z"],
        text: Text,
        guidance: float | Float[Array, ""] | None = None,
        grown: tuple | None = None,
    ) -> Float[Array, "B H W C"]:
        style = self._style(z, text.sentence, guidance)
        return self._draw([style] * self.num_styles, [text] * self.num_readings, grown)

    def styles(
        self,
        z: Float[Array, "B Z"],
        sentence: Float[Array, "B D"],
        guidance: float | Float[Array, ""] | None = None,
    ) -> Float[Array, "B U S"]:
        """Returns a style for each of the `num_styles` places where one is used, all alike.

        `draw(styles(z, text.sentence), text)` is the picture that the generator draws of (z, text).
        """
        style = self._style(z, sentence, guidance)
        return jnp.broadcast_to(style[:, None], (len(style), self.num_styles, self.style_dim))

    def draw(
        self,
        styles: Float[Array, "B U S"],
        words: Text | Sequence[Text],
        grown: tuple | None = None,
        added: Sequence[Float[Array, "B _ _ _"]] | None = None,
    ) -> Float[Array, "B H W C"]:
        """Returns pictures from styles that may differ from use to use, and from words that may from level to level.

        Args:
          styles: from the base to the pixels, `num_styles` of them.
          words: the captions that all levels read, or one for each of the `num_readings` levels that read.
          grown: as in a call.
          added: to the map of each level, before its blocks; None = nothing.
        """
        words = [words] * self.num_readings if isinstance(words, Text) else list(words)
        return self._draw([styles[:, use] for use in range(self.num_styles)], words, grown, added)

    def _style(self, z, sentence, guidance) -> Float[Array, "B S"]:
        def of(sentence):
            style = jnp.concatenate([z, sentence], axis=-1).astype(self.dtype)
            for layer in self.style:
                style = leaky_relu(layer(style))
            return style

        style = of(sentence)
        if guidance is None:
            return style
        without = of(jnp.zeros_like(sentence))
        return without + jnp.asarray(guidance, self.dtype) * (style - without)

    def _draw(
        self,
        styles: Sequence[Array],
        words: Sequence[Text],
        grown: tuple | None,
        added: Sequence[Array] | None = None,
    ) -> Float[Array, "B H W C"]:
        x = self.base(styles[0]).reshape(-1, self.base_px, self.base_px, self.channels[0])
        last, fade = (len(self.channels) - 1, 1.0) if grown is None else grown
        images, modulation, convolution, reading = None, 0, 0, 0

        for level in range(last + 1):
            if level:
                x = upsample(self.transition[level](x))
            if added is not None:
                x = x + added[level]
            for _ in range(self.blocks):
                block = functools.partial(Generator._block, modulation=modulation, convolution=convolution)
                first, second = styles[modulation + 1 : modulation + 3]
                # One style is handed over once: where blocks are recomputed, its gradient is then one sum, as before.
                used = (first,) if second is first else (first, second)
                x = recomputed(block, self.remat)(self, x, *used)
                modulation, convolution = modulation + 2, convolution + 2
            if self.reads(level):
                x = recomputed(functools.partial(Generator._read, number=reading), self.remat)(self, x, words[reading])
                reading += 1
            if self.growing:
                more = self._pixels(x, styles[modulation + 1], self.pixels[level], modulation)
                images = upsample(images) + (fade if level == last else 1.0) * more if level else more
                modulation += 1
        if not self.growing:
            return self._pixels(x, styles[modulation + 1], self.pixels, modulation)
        for _ in range(last + 1, len(self.channels)):
            images = upsample(images)
        return images

    def reads(self, level: int) -> bool:
        """Whether a level reads the words."""
        return self.base_px * 2**level * self.patch_px >= self.attention_from_px > 0

    def _block(self, x, *styles, modulation: int, convolution: int) -> Float[Array, "B H W C"]:
        h = leaky_relu(self.Modulate[modulation](x, styles[0]))
        h = self.Conv[convolution](h)
        h = leaky_relu(self.Modulate[modulation + 1](h, styles[-1]))
        return x + self.Conv[convolution + 1](h)

    def _read(self, x, text: Text, number: int) -> Float[Array, "B H W C"]:
        return self.WordAttention[number](x, text)

    def _pixels(self, x, style, layer: nn.Module, number: int) -> Float[Array, "B H W C"]:
        x = layer(leaky_relu(self.Modulate[number](x, style)))
        return depth_to_space(x, self.patch_px).astype(jnp.float32)

    def _to_pixels(self, scale: float) -> nn.Module:
        return dense(self.patch_px**2 * self.image_channels, scale=scale, dtype=self.dtype)


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


GENERATORS.register(
    "residual", NetworkKind(_build_residual, _check_residual, grows=True, styled=True, skips=True, narrower=RESIDUAL)
)
GENERATORS.register(  # its tanh bounds what it draws
    "mlp", NetworkKind(_build_mlp, check_channels, pixels_only=True, narrower=MLP)
)
