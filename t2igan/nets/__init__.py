"""The networks of a configuration: linen modules, arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.nets.autoencoder import Autoencoder, PatchComponents
from t2igan.nets.discriminator import Discriminator, MLPDiscriminator
from t2igan.nets.generator import Generator, MLPGenerator
from t2igan.nets.image_encoder import ImageEncoder
from t2igan.nets.inverter import Inverter
from t2igan.nets.layers import Text
from t2igan.nets.matching import MatchingHeads
from t2igan.nets.text_encoder import TextEncoder

__all__ = ["Networks", "Text", "build"]


class Networks(NamedTuple):
    """The networks, the size of the generator's noise, and the space in which all of them but `space` itself live.

    That space is pixels in [-1, 1], or the codes of `space`. Pictures come in by `to_network` and leave by `to_pixels`;
    nothing between the two knows which space it is.
    """

    generator: nn.Module
    discriminator: nn.Module
    text_encoder: nn.Module
    image_encoder: nn.Module
    matching: nn.Module
    z_dim: int
    inverter: nn.Module | None = None  # None where the configuration has none, as those of older snapshots
    space: nn.Module | None = None  # of `t2igan.nets.autoencoder`; None where the game is played on pixels

    def to_network(self, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """Returns what the networks see of a batch's "images", float32 [B, h, w, c].

        Args:
          params: by network; of use are those of "space", where there is one and `images` are pictures.
          images: pictures, uint8 [B, H, W, C], or codes that were computed before, of any other dtype.
        """
        if images.dtype != jnp.uint8:
            return images.astype(jnp.float32)
        pixels = images.astype(jnp.float32) / 127.5 - 1
        return pixels if self.space is None else self.space.apply(params["space"], pixels, method="encode")

    def to_pixels(self, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """Returns pictures in [-1, 1], or a little beyond, of what the generator draws; float32 [B, H, W, C]."""
        return x if self.space is None else self.space.apply(params["space"], x, method="decode")


def build(config, vocab_size: int) -> Networks:
    """Returns the networks that `config` (a checked one, see `t2igan.config`) describes; no parameters yet."""
    dtype = jnp.dtype(config.compute_dtype)
    remat = config.get("remat", False)  # snapshots of older versions lack it
    growing = config.train.get("grow_share", 0.0) > 0 if "train" in config else False
    size_px, channels, space = _space(config, dtype)
    g, d, t, i = config.generator, config.discriminator, config.text_encoder, config.image_encoder
    if g.kind == "residual":
        generator = Generator(
            image_channels=channels,
            channels=tuple(g.channels),
            base_px=g.base_px,
            patch_px=g.patch_px,
            blocks=g.blocks,
            style_dim=g.style_dim,
            attention_from_px=g.attention_from_px,
            attention_heads=g.attention_heads,
            dtype=dtype,
            growing=growing,
            remat=remat,
        )
    else:
        generator = MLPGenerator(size_px, channels, tuple(g.channels), dtype)
    if d.kind == "residual":
        options = (
            d.get("dropout", 0.0),
            d.get("multi_scale", False),
            growing,
            remat,
        )  # snapshots of older versions have neither
        discriminator = Discriminator(tuple(d.channels), d.features, d.blocks, d.patch_px, dtype, *options)
    else:
        discriminator = MLPDiscriminator(tuple(d.channels), dtype, d.get("dropout", 0.0))
    text_encoder = TextEncoder(
        vocab_size=vocab_size,
        max_tokens=config.tokenizer.max_tokens,
        width=t.width,
        layers=t.layers,
        heads=t.heads,
        sentence_dim=t.sentence_dim,
        pooling_queries=t.pooling_queries,
        dtype=dtype,
    )
    image_encoder = ImageEncoder(tuple(i.channels), i.features, i.blocks, i.patch_px, dtype)
    matching = MatchingHeads(i.features)
    inverter = None
    if "inverter" in config:
        e = config.inverter
        inverter = Inverter(g.z_dim, tuple(e.channels), e.features, e.blocks, e.patch_px, dtype)
    return Networks(generator, discriminator, text_encoder, image_encoder, matching, g.z_dim, inverter, space)


def _space(config, dtype) -> tuple[int, int, nn.Module | None]:
    """Returns size and channels of the maps that the game is played on, and the network of the space, if it has one."""
    size_px, channels = config.data.get("image_size_px", 0), config.data.channels
    s = config.get("space")
    if s is None or s.kind == "pixels":
        return size_px, channels, None
    if s.kind == "patches":
        return size_px // s.factor, s.channels, PatchComponents(channels, s.factor, s.channels)
    widths = tuple(s.encoder_channels), tuple(s.decoder_channels)
    return size_px // s.factor, s.channels, Autoencoder(channels, s.factor, s.channels, *widths, s.blocks, dtype)
