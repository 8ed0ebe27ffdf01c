"""Checks the section `space`, and that what else is asked for has a meaning in that space."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan import nets
from t2igan.config.constraints import listed
from t2igan.config.space import check_auto
from t2igan.errors import UserError
from t2igan.nets import SPACES

# Augmentations that mean the same for a map of codes: codes themselves are neither turned nor coloured.
CODE_AUGMENTATIONS = ("translate", "cutout")


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a space that cannot be, or in which something that is asked for has no meaning."""
    kind = config.space.kind
    SPACES.find(kind)
    check_auto(config)
    if kind != "autoencoder" and "autoencoder" in config.phases:
        raise UserError(
            f"config.phases has 'autoencoder', and config.space.kind={kind!r} has none; leave that phase out, or set "
            f"the kind to 'autoencoder'"
        )
    SPACES[kind].check(config, "space")
    if kind != "pixels":
        _check_what_codes_allow(config)


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
