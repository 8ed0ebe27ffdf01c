"""The networks of a configuration: linen modules, arrays in and arrays out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# These modules register their kinds.
from t2igan.nets import (  # noqa: F401
    autoencoder,
    captioner,
    completer,
    discriminator,
    generator,
    image_encoder,
    inverter,
    pretrained_text,
    projected,
    text_encoder,
)
from t2igan.nets.kinds import (
    CAPTIONERS,
    COMPLETERS,
    DISCRIMINATORS,
    GENERATORS,
    IMAGE_ENCODERS,
    INVERTERS,
    ROLES,
    SPACES,
    TEXT_ENCODERS,
    Common,
    NetworkKind,
    SpaceKind,
    game_size_px,
)
from t2igan.nets.layers import Text
from t2igan.nets.matching import MatchingHeads
from t2igan.nets.pretrained_text import LanguageModel

__all__ = [
    "CAPTIONERS",
    "COMPLETERS",
    "DISCRIMINATORS",
    "GENERATORS",
    "IMAGE_ENCODERS",
    "INVERTERS",
    "ROLES",
    "SPACES",
    "TEXT_ENCODERS",
    "Common",
    "NetworkKind",
    "Networks",
    "SpaceKind",
    "Text",
    "build",
    "kind_of",
    "largest_map_values",
    "to_unit",
]

Module = Any  # an `nn.Module`; a checker cannot know what its `apply` returns, and would say so at each call


class Networks(NamedTuple):
    """The networks, the size of the generator's noise, and the space in which all of them but `space` itself live.

    That space is pixels in [-1, 1], or the codes of `space`. Pictures come in by `to_network` and leave by `to_pixels`;
    nothing between the two knows which space it is.
    """

    generator: Module
    discriminator: Module
    text_encoder: Module
    image_encoder: Module
    matching: Module
    z_dim: int
    inverter: Module | None = None
    captioner: Module | None = None
    completer: Module | None = None  # None where the generator is of a kind that none can be built on
    space: Module | None = None  # of `t2igan.nets.autoencoder`; None where the game is played on pixels
    judges_pictures: bool = False  # whether the discriminator, unlike all others, sees what `space` decodes
    decoder_learns: bool = False  # whether real pictures are judged as they are then, and not coded and decoded

    def to_network(self, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """Returns what the networks see of a batch's "images", float32 [B, h, w, c].

        Args:
          params: by network; of use are those of "space", where there is one and `images` are pictures.
          images: pictures, uint8 [B, H, W, C], or codes that were computed before, of any other dtype.
        """
        if images.dtype != jnp.uint8:
            return images.astype(jnp.float32)
        pixels = to_unit(images)
        return pixels if self.space is None else self.space.apply(params["space"], pixels, method="encode")

    def to_pixels(self, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """Returns pictures in [-1, 1], or a little beyond, of what the generator draws; float32 [B, H, W, C].

        Colours of four channels are premultiplied, as in `to_unit`; `t2igan.inference.drawing.to_bytes` undoes it.
        """
        return x if self.space is None else self.space.apply(params["space"], x, method="decode")

    def judged(self, params: Mapping[str, Any], x: jax.Array, images: jax.Array | None = None) -> jax.Array:
        """Returns what the discriminator sees of `x`: that itself or, where it judges pictures, what is decoded of it.

        Args:
          params: by network; of use are those of "space".
          x: what the generator draws, or `to_network` made of a batch's "images".
          images: these, where they are at hand: real pictures are judged as they are where the decoder learns.
        """
        if not self.judges_pictures:
            return x
        if self.decoder_learns and images is not None and images.dtype == jnp.uint8:
            return to_unit(images)
        return self.to_pixels(params, x)


def to_unit(images: jax.Array) -> jax.Array:
    """Returns uint8 pictures as float32 in [-1, 1].

    Of pictures with four channels, red, green, blue and alpha, the colours become premultiplied: alpha c, alpha. So
    what cannot be seen is -1 throughout, and mixing places or pictures mixes what is seen of them.
    """
    levels = images.astype(jnp.float32)
    if images.shape[-1] == 4:
        alpha = levels[..., 3:]
        levels = jnp.concatenate([levels[..., :3] * (alpha / 255), alpha], axis=-1)
    return levels / 127.5 - 1


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
        sentence_dim=config.text_encoder.sentence_dim,
        caption_vocab_size=vocab_size if pretrained is None else config.tokenizer.vocab_size,
        pretrained=pretrained,
    )
    space, of_pictures = SPACES[config.space.kind].build(config.space, common), common
    if space is not None:  # all others live in it
        common = dataclasses.replace(common, image_px=game_size_px(config), image_channels=config.space.channels)
    kinds = {role: kind_of(config, role) for role in ROLES}
    if pretrained is not None:
        kinds["text"] = TEXT_ENCODERS["pretrained"]
    if kinds["generator"].styled:
        draws = kinds["generator"].build(config.generator, common)
        shape = (draws.num_styles, draws.style_dim)
        on = draws if kinds["generator"].skips else None
        common = dataclasses.replace(common, style_shape=shape, generator=on)
    judges_pictures, decoder_learns = config.discriminator.sees == "pictures", config.train.tune_decoder
    judged = {"judges_pictures": judges_pictures, "decoder_learns": decoder_learns}
    built = {
        section: kinds[role].build(
            config[section], of_pictures if judges_pictures and role == "discriminator" else common
        )
        for role, (section, _) in ROLES.items()
    }
    matching = MatchingHeads(config.image_encoder.features)
    return Networks(**built, **judged, matching=matching, z_dim=common.z_dim, space=space)


def kind_of(config: Any, role: str) -> NetworkKind:
    """Returns the kind of network that a configuration chooses for a role of `ROLES`."""
    section, kinds = ROLES[role]
    return kinds[config[section].kind]


def largest_map_values(config: Any) -> int:
    """Returns places times channels of the largest map that the game of a configuration convolves, a picture's.

    That is the generator's last one or, where a game goes through a decoder, that one's.
    """
    section = config.generator
    found = (game_size_px(config) // section.patch_px) ** 2 * section.channels[-1]
    if config.discriminator.sees == "pictures" and SPACES[config.space.kind].learns:
        found = max(found, autoencoder.largest_map_values(config.space, config.data.image_size_px))
    return found
