"""The networks of a configuration: linen modules, arrays in and arrays out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from t2igan.nets.discriminator import Discriminator, MLPDiscriminator
from t2igan.nets.generator import Generator, MLPGenerator
from t2igan.nets.image_encoder import ImageEncoder
from t2igan.nets.inverter import Inverter
from t2igan.nets.layers import Text
from t2igan.nets.matching import MatchingHeads
from t2igan.nets.text_encoder import TextEncoder

__all__ = ["Networks", "Text", "build"]

Module = Any  # an `nn.Module`; a checker cannot know what its `apply` returns, and would say so at each call


class Networks(NamedTuple):
    """The networks, and the size of the generator's noise."""

    generator: Module
    discriminator: Module
    text_encoder: Module
    image_encoder: Module
    matching: Module
    z_dim: int
    inverter: Module | None = None  # None where the configuration has none, as those of older snapshots


def build(config, vocab_size: int) -> Networks:
    """Returns the networks that `config` (a checked one, see `t2igan.config`) describes; no parameters yet."""
    dtype = jnp.dtype(config.compute_dtype)
    remat = config.get("remat", False)  # snapshots of older versions lack it
    growing = config.train.get("grow_share", 0.0) > 0 if "train" in config else False
    g, d, t, i = config.generator, config.discriminator, config.text_encoder, config.image_encoder
    if g.kind == "residual":
        generator = Generator(
            image_channels=config.data.channels,
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
        generator = MLPGenerator(config.data.image_size_px, config.data.channels, tuple(g.channels), dtype)
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
    return Networks(generator, discriminator, text_encoder, image_encoder, matching, g.z_dim, inverter)
