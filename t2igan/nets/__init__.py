"""The networks of a configuration: linen modules, arrays in and arrays out."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from t2igan.nets.discriminator import Discriminator, MLPDiscriminator
from t2igan.nets.generator import Generator, MLPGenerator
from t2igan.nets.image_encoder import ImageEncoder
from t2igan.nets.inverter import Inverter
from t2igan.nets.layers import Text
from t2igan.nets.matching import MatchingHeads
from t2igan.nets.pretrained_text import FROZEN, FrozenText, LanguageModel, TunedText
from t2igan.nets.projected import ProjectedDiscriminator
from t2igan.nets.text_encoder import TextEncoder

__all__ = ["Networks", "Text", "build"]


class Networks(NamedTuple):
    """The networks, and the size of the generator's noise."""

    generator: nn.Module
    discriminator: nn.Module
    text_encoder: nn.Module
    image_encoder: nn.Module
    matching: nn.Module
    z_dim: int
    inverter: nn.Module | None = None  # None where the configuration has none, as those of older snapshots


def build(config, vocab_size: int, pretrained: LanguageModel | None = None) -> Networks:
    """Returns the networks that `config` (a checked one, see `t2igan.config`) describes; no parameters yet.

    Args:
      config: the configuration.
      vocab_size: of the run's tokenizer.
      pretrained: what the text encoder is built on (`Tokenizer.pretrained`); None = one of its own.
    """
    dtype = jnp.dtype(config.compute_dtype)
    remat = config.get("remat", False)  # snapshots of older versions lack it
    growing = config.train.get("grow_share", 0.0) > 0 if "train" in config else False
    g, d, i = config.generator, config.discriminator, config.image_encoder
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
    elif d.kind == "projected":
        discriminator = ProjectedDiscriminator(d.features, d.features_px, dtype, d.get("dropout", 0.0))
    else:
        discriminator = MLPDiscriminator(tuple(d.channels), dtype, d.get("dropout", 0.0))
    text_encoder = _text_encoder(config, vocab_size, pretrained)
    image_encoder = ImageEncoder(tuple(i.channels), i.features, i.blocks, i.patch_px, dtype)
    matching = MatchingHeads(i.features)
    inverter = None
    if "inverter" in config:
        e = config.inverter
        inverter = Inverter(g.z_dim, tuple(e.channels), e.features, e.blocks, e.patch_px, dtype)
    return Networks(generator, discriminator, text_encoder, image_encoder, matching, g.z_dim, inverter)


def _text_encoder(config, vocab_size: int, pretrained: LanguageModel | None) -> nn.Module:
    t, dtype = config.text_encoder, jnp.dtype(config.compute_dtype)
    if pretrained is not None:
        sizes = (t.width, t.sentence_dim, t.pooling_queries, dtype)
        return FrozenText(*sizes) if pretrained.mode == FROZEN else TunedText(pretrained, *sizes)
    return TextEncoder(
        vocab_size=vocab_size,
        max_tokens=config.tokenizer.max_tokens,
        width=t.width,
        layers=t.layers,
        heads=t.heads,
        sentence_dim=t.sentence_dim,
        pooling_queries=t.pooling_queries,
        dtype=dtype,
    )
