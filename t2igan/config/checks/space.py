"""Checks the section `space`, and that what else is asked for has a meaning in that space."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan import nets
from t2igan.config.constraints import listed
from t2igan.errors import UserError
from t2igan.method.phases import PHASES
from t2igan.nets import SPACES

# Augmentations that mean the same for a map of codes: codes themselves are neither turned nor coloured.
CODE_AUGMENTATIONS = ("translate", "cutout")


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a space that cannot be, or in which something that is asked for has no meaning."""
    kind = SPACES.find(config.space.kind)
    _check_phases(config, kind.learns)
    kind.check(config, "space")
    if kind.codes:
        _check_what_codes_allow(config)


def _check_phases(config: ConfigDict, learns: bool) -> None:
    """A space that is learned has a phase for it, and no other has."""
    kind, teachers = config.space.kind, [name for name in PHASES if "space" in PHASES[name].trains(config)]
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
        if nets.kind_of(config, role).pixels_only:
            others = listed(name for name, other in kinds.items() if not other.pixels_only)
            raise UserError(
                f"config.{section}.kind={config[section].kind!r} knows pixels only, and config.space.kind={kind!r}; "
                f"set it to {others}, or play on 'pixels'"
            )
    unfit = [name for name in config.augment.kinds if name not in CODE_AUGMENTATIONS]
    if unfit and (config.augment.probability or config.augment.target):
        raise UserError(
            f"config.augment.kinds has {listed(unfit)}, which mean nothing for codes (config.space.kind={kind!r}); "
            f"leave some or all of {listed(CODE_AUGMENTATIONS)}, or play on 'pixels'"
        )
