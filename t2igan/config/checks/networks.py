"""Checks the sections of the networks and of the tokenizer: what kinds there are, and whether each can be built."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan import nets
from t2igan.config.constraints import require_below_one, require_not_negative, require_positive
from t2igan.errors import UserError
from t2igan.method.phases import PHASES
from t2igan.method.techniques.regularize import NORMALISATIONS
from t2igan.nets import ROLES


def check_kinds(config: ConfigDict) -> None:
    """Raises `UserError` for a kind of network that is not registered."""
    for section, kinds in ROLES.values():
        kinds.find(config[section].kind)
    NORMALISATIONS.find(config.discriminator.normalisation)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a network, among those that any phase applies, that cannot be built."""
    used = {"generator", "discriminator", "text"}
    for phase in config.phases:
        kind = PHASES[phase]
        used |= {*kind.trains(config), *kind.needs(config), *kind.uses(config)}
    if config.init_from:
        used |= set(ROLES) - {"completer"}  # not every generator can have one, nor has to
    for role, (section, _) in ROLES.items():
        if role in used:
            nets.kind_of(config, role).check(config, section)
    require_positive(config, "generator.z_dim", "image_encoder.features")
    require_below_one(config, "discriminator.dropout")
    require_not_negative(config, "inverter.prior_weight", "inverter.perceptual_weight")
    d = config.discriminator
    if d.multi_scale and not nets.kind_of(config, "discriminator").multi_scale:
        having = ", ".join(repr(name) for name, kind in nets.DISCRIMINATORS.items() if kind.multi_scale)
        raise UserError(
            f"config.discriminator.multi_scale=True wants maps of several sizes, and config.discriminator.kind="
            f"{d.kind!r} has none; set it to False, or the kind to {having}"
        )
    vocab_size, max_tokens = config.tokenizer.vocab_size, config.tokenizer.max_tokens
    if vocab_size < 259:
        raise UserError(f"config.tokenizer.vocab_size={vocab_size} must be at least 259: 256 bytes and 3 marks")
    if max_tokens < 3:
        raise UserError(f"config.tokenizer.max_tokens={max_tokens} must be at least 3")
