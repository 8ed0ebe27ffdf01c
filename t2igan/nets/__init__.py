"""The networks of a configuration: linen modules, arrays in and arrays out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

# These modules register their kinds.
from t2igan.nets import discriminator, generator, image_encoder, inverter, pretrained_text, projected, text_encoder  # noqa: F401
from t2igan.nets.kinds import (
    DISCRIMINATORS,
    GENERATORS,
    IMAGE_ENCODERS,
    INVERTERS,
    ROLES,
    TEXT_ENCODERS,
    Common,
    NetworkKind,
)
from t2igan.nets.layers import Text
from t2igan.nets.matching import MatchingHeads
from t2igan.nets.pretrained_text import LanguageModel

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "IMAGE_ENCODERS",
    "INVERTERS",
    "ROLES",
    "TEXT_ENCODERS",
    "Common",
    "NetworkKind",
    "Networks",
    "Text",
    "build",
    "kind_of",
]

Module = Any  # an `nn.Module`; a checker cannot know what its `apply` returns, and would say so at each call


class Networks(NamedTuple):
    """The networks, and the size of the generator's noise."""

    generator: Module
    discriminator: Module
    text_encoder: Module
    image_encoder: Module
    matching: Module
    z_dim: int
    inverter: Module | None = None


def build(config: Any, vocab_size: int, pretrained: LanguageModel | None = None) -> Networks:
    """Returns the networks that `config` (a checked one, see `t2igan.config`) describes; no parameters yet.

    Args:
      config: the configuration.
      vocab_size: of the run's tokenizer.
      pretrained: what the text encoder is built on (`Tokenizer.pretrained`); None = one of its own.

    Raises:
      UserError: nothing is registered as a `kind` of the configuration.
    """
    common = Common(
        image_px=config.data.image_size_px,
        image_channels=config.data.channels,
        z_dim=config.generator.z_dim,
        vocab_size=vocab_size,
        max_tokens=config.tokenizer.max_tokens,
        dtype=jnp.dtype(config.compute_dtype),
        remat=config.remat,
        growing=config.train.grow_share > 0,
        pretrained=pretrained,
    )
    kinds = {role: kind_of(config, role) for role in ROLES}
    if pretrained is not None:
        kinds["text"] = TEXT_ENCODERS["pretrained"]
    built = {section: kinds[role].build(config[section], common) for role, (section, _) in ROLES.items()}
    return Networks(**built, matching=MatchingHeads(config.image_encoder.features), z_dim=common.z_dim)


def kind_of(config: Any, role: str) -> NetworkKind:
    """Returns the kind of network that a configuration chooses for a role of `ROLES`."""
    section, kinds = ROLES[role]
    return kinds[config[section].kind]
