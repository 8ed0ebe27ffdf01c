"""The kinds of networks that a configuration can choose by `kind`, role by role, and how one's own are added.

A kind is registered with a function that builds its linen module from the role's section of the configuration:

    def build(section, common):
        return Skip(widths=tuple(section.channels), image_px=common.image_px, ...)

    GENERATORS.register("skip", NetworkKind(build))

What each role is called with, and what it returns, is in the docstrings of `t2igan.nets.generator` and its neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from t2igan.config.constraints import is_whole, require_positive
from t2igan.config.registry import Registry
from t2igan.errors import UserError
from t2igan.nets.channels import Narrower


@dataclasses.dataclass(frozen=True)
class Common:
    """What the networks of a configuration have in common."""

    image_px: int  # height and width of what the generator draws and the discriminator sees: pixels, or codes
    image_channels: int
    z_dim: int
    vocab_size: int
    max_tokens: int
    dtype: Any  # what networks compute in
    remat: bool  # whether blocks are computed again in the backward pass
    growing: bool  # whether pictures grow during training (`t2igan.method.techniques.growing`)
    sentence_dim: int = 0
    style_shape: tuple[int, int] = (0, 0)  # uses and size of the generator's styles, where it has any
    caption_vocab_size: int = 0  # of the run's own tokenizer, where the text encoder reads another's; 0 = vocab_size
    generator: Any = None  # the generator's module, where its kind has `skips`: completers build on it
    pretrained: Any = None  # a `t2igan.nets.pretrained_text.LanguageModel` that the text encoder is built on


@dataclasses.dataclass(frozen=True)
class NetworkKind:
    """A kind of network as it is registered.

    Attributes:
      build: (the role's section of the configuration, what networks have in common) -> linen module.
      check: (the whole configuration, name of the role's section) -> None; raises `UserError` for what cannot be built.
      grows: whether the module takes `grown=(stage, fade)`, for progressive growing.
      styled: of generators, whether the module has `styles` and `draw`, which editing needs (`t2igan.nets.generator`).
      skips: of generators with styles, whether `draw` takes maps that are `added` to its own, which completers need.
      narrower: of generators, how they are made narrower (`t2igan.nets.channels`); None = they cannot be.
      multi_scale: of discriminators, whether the module has maps of several sizes, for `discriminator.multi_scale`.
      pixels_only: whether the module knows pictures in [-1, 1] alone, and no codes (`config.space`).
    """

    build: Callable[[Any, Common], nn.Module | None]
    check: Callable[[Any, str], None] = lambda config, section: None  # noqa: ARG005
    grows: bool = False
    styled: bool = False
    skips: bool = False
    narrower: Narrower | None = None
    multi_scale: bool = False
    pixels_only: bool = False


@dataclasses.dataclass(frozen=True)
class SpaceKind(NetworkKind):
    """A space of the game as it is registered.

    What is built is a module with `encode`, `decode`, `factor`, `channels` and `image_channels`, as those of
    `t2igan.nets.autoencoder`, or None for pixels themselves; `Common` is that of the pictures.

    Attributes:
      codes: whether the game is played on codes: maps smaller by `config.space.factor`, of `config.space.channels`.
      fit: (training pictures, uint8 [N, H, W, C], the section) -> parameters, where these are computed at once.
      learns: whether the parameters are learned instead, in a phase that trains the network "space".
    """

    codes: bool = True
    fit: Callable[[Any, Any], Any] | None = None
    learns: bool = False


GENERATORS: Registry[NetworkKind] = Registry("kind of generator", key="generator.kind")
DISCRIMINATORS: Registry[NetworkKind] = Registry("kind of discriminator", key="discriminator.kind")
TEXT_ENCODERS: Registry[NetworkKind] = Registry("kind of text encoder", key="text_encoder.kind")
IMAGE_ENCODERS: Registry[NetworkKind] = Registry("kind of image encoder", key="image_encoder.kind")
INVERTERS: Registry[NetworkKind] = Registry("kind of inverter", key="inverter.kind")
CAPTIONERS: Registry[NetworkKind] = Registry("kind of captioner", key="captioner.kind")
COMPLETERS: Registry[NetworkKind] = Registry("kind of completer", key="completer.kind")
SPACES: Registry[SpaceKind] = Registry("space of the game", key="space.kind")

# The network's name in states and snapshots -> its section of the configuration, and its kinds. A network's field in
# `t2igan.nets.Networks` is named like the section.
ROLES: dict[str, tuple[str, Registry[NetworkKind]]] = {
    "generator": ("generator", GENERATORS),
    "discriminator": ("discriminator", DISCRIMINATORS),
    "text": ("text_encoder", TEXT_ENCODERS),
    "image": ("image_encoder", IMAGE_ENCODERS),
    "inverter": ("inverter", INVERTERS),
    "captioner": ("captioner", CAPTIONERS),
    "completer": ("completer", COMPLETERS),
}


def game_size_px(config: Any) -> int:
    """Returns the height and width of the maps of pixels or codes that the game is played on."""
    size = config.data.image_size_px
    return size // config.space.factor if SPACES[config.space.kind].codes else size


def size_key(config: Any) -> str:
    """Returns how messages name that size."""
    return f"config.data.image_size_px{' / config.space.factor' if SPACES[config.space.kind].codes else ''}"


def check_channels(config: Any, section: str) -> None:
    """Raises `UserError` where `channels` of a section are not one or more whole numbers above 0."""
    channels = tuple(config[section].channels)
    if not channels or not all(is_whole(c) and c > 0 for c in channels):
        raise UserError(f"config.{section}.channels={channels} must be one or more whole numbers above 0")


def check_tower(config: Any, section: str) -> None:
    """Raises `UserError` where a residual tower cannot halve the pictures as often as it has channels."""
    check_channels(config, section)
    require_positive(config, *(f"{section}.{key}" for key in ("features", "blocks", "patch_px")))
    net, size, key = config[section], game_size_px(config), size_key(config)
    if section == "discriminator" and net.sees == "pictures":
        size, key = config.data.image_size_px, "config.data.image_size_px"
    halvings = len(net.channels) - 1
    if size % (2**halvings * net.patch_px):
        raise UserError(
            f"{key}={size} cannot be halved {halvings} times by config.{section}: "
            f"give {section}.channels fewer entries or choose a size divisible by {2**halvings * net.patch_px}"
        )
