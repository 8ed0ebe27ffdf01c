"""Checks what a configuration says of the space in which the game is played, and of settings that are "auto"."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from t2igan.config.values import get, listed, whole
from t2igan.errors import UserError, nearest

SPACES = ("pixels", "patches", "autoencoder")
AUTO = "auto"
AUTO_KEYS = ("loss.penalty_weight", "loss.penalty_weight_end", "loss.paired_weight")
# Augmentations that mean the same for a map of codes: codes themselves are neither turned nor coloured.
CODE_AUGMENTATIONS = ("translate", "cutout")


def game_size_px(config: Any) -> int:
    """Returns the height and width of the maps of pixels or codes that the game is played on."""
    size = config.data.image_size_px
    return size if config.space.kind == "pixels" else size // config.space.factor


def is_auto(config: Any, key: str) -> bool:
    """Whether a key that may be a number or "auto" is the latter."""
    return key in AUTO_KEYS and get(config, key) == AUTO


def check_space(config: ConfigDict) -> None:
    """Raises `UserError` for a space that cannot be, or in which something that is asked for has no meaning."""
    space = config.space
    if space.kind not in SPACES:
        raise UserError(
            f"config.space.kind={space.kind!r} is none of {listed(SPACES)}{nearest(str(space.kind), SPACES)}"
        )
    _check_auto(config)
    if space.kind == "pixels":
        if "autoencoder" in config.phases:
            raise UserError(
                "config.phases has 'autoencoder', and config.space.kind='pixels' has none; leave that phase out, or "
                "set the kind to 'autoencoder'"
            )
        return
    _check_codes(config)
    if space.kind == "patches":
        _check_patches(config)
    else:
        _check_autoencoder(config)


def _check_auto(config: ConfigDict) -> None:
    for key in AUTO_KEYS:
        value = get(config, key)
        if value != AUTO and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"config.{key}={value!r} must be a number, or 'auto'")
    weights = config.loss.penalty_weight, config.loss.penalty_weight_end
    if AUTO in weights and weights != (AUTO, AUTO):
        raise UserError(
            f"config.loss.penalty_weight={weights[0]!r} and config.loss.penalty_weight_end={weights[1]!r} must both be "
            f"'auto', or both numbers"
        )
    if AUTO in weights and config.loss.penalty not in ("r1", "r2", "r1_r2", "finite_difference"):
        raise UserError(
            f"config.loss.penalty_weight='auto' is for R1 and R2, but config.loss.penalty={config.loss.penalty!r}; "
            f"give a number"
        )


def _check_codes(config: ConfigDict) -> None:
    space, size = config.space, config.data.image_size_px
    for key in ("factor", "channels", "blocks"):
        if not space[key] > 0:
            raise UserError(f"config.space.{key}={space[key]} must be greater than 0")
    if size % space.factor:
        raise UserError(
            f"config.data.image_size_px={size} cannot be divided into patches of config.space.factor={space.factor} "
            f"pixels; choose a divisor of it, as 4"
        )
    for name in ("generator", "discriminator"):
        if config[name].kind == "mlp":
            raise UserError(
                f"config.{name}.kind='mlp' knows pixels only, and config.space.kind={space.kind!r}; set it to "
                f"'residual'"
            )
    unfit = [kind for kind in config.augment.kinds if kind not in CODE_AUGMENTATIONS]
    if unfit and (config.augment.probability or config.augment.target):
        raise UserError(
            f"config.augment.kinds has {listed(tuple(unfit))}, which mean nothing for the codes of config.space.kind="
            f"{space.kind!r}; leave some or all of {listed(CODE_AUGMENTATIONS)}, or play on 'pixels'"
        )


def _check_patches(config: ConfigDict) -> None:
    space = config.space
    most = space.factor**2 * config.data.channels
    if space.channels > most:
        raise UserError(
            f"config.space.channels={space.channels}: patches of {space.factor} x {space.factor} pixels have {most} "
            f"components at most"
        )
    if not 0 <= space.whitening <= 1:
        raise UserError(f"config.space.whitening={space.whitening} must lie between 0 and 1")
    if "autoencoder" in config.phases:
        raise UserError(
            "config.phases has 'autoencoder', and config.space.kind='patches' needs none; leave that phase out"
        )


def _check_autoencoder(config: ConfigDict) -> None:
    space = config.space
    for key in ("encoder_channels", "decoder_channels"):
        channels = tuple(space[key])
        if not channels or not all(whole(c) and c > 0 for c in channels):
            raise UserError(f"config.space.{key}={channels} must be one or more whole numbers above 0")
        if space.factor % 2 ** (len(channels) - 1):
            raise UserError(
                f"config.space.{key}={channels} doubles the map {len(channels) - 1} times, which config.space.factor="
                f"{space.factor} does not allow; give it fewer entries"
            )
    if "autoencoder" not in config.phases and not config.init_from:
        raise UserError(
            f"config.space.kind='autoencoder' wants the phase 'autoencoder', and config.phases={tuple(config.phases)} "
            f"leaves it out; add it in front, or give by config.init_from a run that had it"
        )
