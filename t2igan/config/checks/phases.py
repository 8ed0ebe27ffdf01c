"""Checks which phases there are, that each has a length and what it needs, and the section of each."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan.errors import UserError
from t2igan.method.phases import PHASES, check_section, missing_networks


def check_names(config: ConfigDict) -> None:
    """Raises `UserError` where `config.phases` are not different phases in their order."""
    phases = tuple(config.phases)
    if not phases:
        raise UserError(f"config.phases is empty; give one or more of {PHASES.listed()}")
    PHASES.check(phases)
    for i, phase in enumerate(phases):
        if phase in phases[:i] or PHASES.earlier(phase) & set(phases[i + 1 :]):
            raise UserError(f"config.phases={phases} must name each phase once, in the order {PHASES.listed()}")
        if PHASES[phase].section not in config:
            raise UserError(
                f"config.phases has {phase!r}, and the configuration has no section {PHASES[phase].section!r}; add it "
                f"in get_config() of your configuration"
            )


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a section of a phase that cannot be used, and for a phase that lacks what it needs."""
    for phase, kind in PHASES.items():
        if kind.section not in config:  # one's own, which this configuration does without
            continue
        check_section(config, kind.section)
        section = config[kind.section]
        if phase in config.phases and not (section.steps or section.images or section.epochs):
            raise UserError(
                f"config.{kind.section} has no length: steps, images and epochs are 0; give one of them, or leave "
                f"{phase!r} out of config.phases"
            )
        kind.check(config)
    if not config.init_from:
        _check_needs(config)


def _check_needs(config: ConfigDict) -> None:
    for phase, lacking in missing_networks(config).items():
        before = PHASES.names()[: PHASES.names().index(phase)]
        taught = {name: set(PHASES[name].trains(config)) & set(lacking) for name in before}
        teacher = max(before, key=lambda name: len(taught[name]), default="")
        if not teacher or not taught[teacher]:
            raise UserError(
                f"config.phases has {phase!r}, which needs networks that have learned before ({', '.join(lacking)}), "
                f"and no phase teaches them; give a run that had them by config.init_from"
            )
        raise UserError(
            f"config.phases has {phase!r}, which needs what the phase {teacher!r} leaves behind "
            f"({', '.join(name for name in lacking if name in taught[teacher])}); add that phase before it, or give a "
            f"run that had it by config.init_from"
        )
