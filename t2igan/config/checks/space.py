"""Checks the section `space`, and that what else is asked for has a meaning in that space."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan import nets
from t2igan.config.constraints import listed, require_among
from t2igan.config.values import get
from t2igan.errors import UserError
from t2igan.method.phases import PHASES
from t2igan.nets import SPACES

# Augmentations that mean the same for a map of codes: codes themselves are neither turned nor coloured.
CODE_AUGMENTATIONS = ("translate", "cutout")
SEEN = ("space", "pictures")  # by the discriminator
IN_SPACE_ALONE = ("discriminator", "completion")  # phases whose discriminator sees maps of the space


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a space that cannot be, or in which something that is asked for has no meaning."""
    kind = SPACES.find(config.space.kind)
    _check_phases(config, kind.learns)
    kind.check(config, "space")
    if kind.codes:
        _check_what_codes_allow(config)
    _check_judged(config, kind.codes, kind.learns)


def _check_phases(config: ConfigDict, learns: bool) -> None:
    """A space that is learned has a phase for it, and no other has."""
    kind = config.space.kind
    teachers = [name for name, phase in PHASES.items() if "space" in phase.trains(config) and not phase.game]
    there = [name for name in teachers if name in config.phases]
    if there and not learns:
        raise UserError(
            f"config.phases has {there[0]!r}, and config.space.kind={kind!r} has nothing to learn; leave that phase "
            f"out, or set the kind to {listed(name for name in SPACES if SPACES[name].learns)}"
        )
    if learns and not there and not config.init_from:
        raise UserError(
            f"config.space.kind={kind!r} wants the phase {listed(teachers)}, and config.phases={tuple(config.phases)} "
            f"leaves it out; add it in front, or give by config.init_from a run that had it"
        )


def _check_what_codes_allow(config: ConfigDict) -> None:
    kind = config.space.kind
    for role, (section, kinds) in nets.ROLES.items():
        if nets.kind_of(config, role).pixels_only and not (role == "discriminator" and _judges_pictures(config)):
            others = listed(name for name, other in kinds.items() if not other.pixels_only)
            raise UserError(
                f"config.{section}.kind={config[section].kind!r} knows pixels only, and config.space.kind={kind!r}; "
                f"set it to {others}, or play on 'pixels'"
            )
    unfit = [name for name in config.augment.kinds if name not in CODE_AUGMENTATIONS]
    if unfit and (config.augment.probability or config.augment.target) and not _judges_pictures(config):
        raise UserError(
            f"config.augment.kinds has {listed(unfit)}, which mean nothing for codes (config.space.kind={kind!r}); "
            f"leave some or all of {listed(CODE_AUGMENTATIONS)}, or play on 'pixels'"
        )


def _judges_pictures(config: ConfigDict) -> bool:
    return config.discriminator.sees == "pictures"


def _check_judged(config: ConfigDict, codes: bool, learns: bool) -> None:
    """What the discriminator sees, and what has a meaning only where it sees pictures that are decoded."""
    require_among(config, "discriminator.sees", SEEN)
    kind, judges_pictures = config.space.kind, _judges_pictures(config)
    if judges_pictures and not codes:
        raise UserError(
            f"config.discriminator.sees='pictures' is for games on codes, and with config.space.kind={kind!r} there is "
            f"nothing to decode; set it to 'space'"
        )
    if judges_pictures and (unfit := [name for name in config.phases if name in IN_SPACE_ALONE]):
        raise UserError(
            f"config.discriminator.sees='pictures' does not go with the phase {unfit[0]!r}, whose discriminator sees "
            f"codes; set it to 'space', or leave the phase out"
        )
    if judges_pictures and config.train.grow_share:
        raise UserError(
            f"config.discriminator.sees='pictures' does not go with config.train.grow_share={config.train.grow_share}: "
            f"maps of codes that grow are no small pictures; set one of them back"
        )
    for key in ("train.tune_decoder", "loss.paired_pixel_weight"):
        if get(config, key) and not judges_pictures:
            raise UserError(
                f"config.{key}={get(config, key)} wants pictures that are decoded in the game: set "
                f"config.discriminator.sees to 'pictures', or this back to {type(get(config, key))()}"
            )
    if config.train.tune_decoder and not learns:
        raise UserError(
            f"config.train.tune_decoder=True wants a decoder that is learned, and that of config.space.kind={kind!r} "
            f"is computed; set it to False, or the kind to {listed(name for name in SPACES if SPACES[name].learns)}"
        )
