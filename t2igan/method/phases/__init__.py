"""The phases of a training, one file each, registered in `PHASES` in the order in which they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2igan.errors import UserError

# These modules register their phases.
from t2igan.method.phases import (  # noqa: F401
    adversarial,
    autoencoder,
    caption,
    completion,
    discriminator,
    generator,
    inversion,
    joint,
    text,
    text_matching,
)
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, check_section

__all__ = ["PHASES", "Phase", "PhaseKind", "PhaseMethod", "PhaseState", "build", "check_section", "missing_networks"]


def build(name: str, run: Any, given: Mapping[str, Any]) -> Phase:
    """Returns a phase of a run that begins with `given`, parameters by network.

    Raises:
      UserError: networks that it needs have not learned yet, or the data is not of the kind that it learns from.
    """
    kind = PHASES[name]
    missing = [network for network in kind.needs(run.config) if network not in given]
    if missing:
        raise UserError(
            f"the phase {name!r} needs networks that have learned before, and there is no {', '.join(missing)}; add "
            f"the phases that teach them, or give by config.init_from the folder of a run that had these (a snapshot "
            f"has less)"
        )
    return kind.build(run, given)


def missing_networks(config: Any) -> dict[str, tuple[str, ...]]:
    """Returns, for each phase of a configuration that needs them, the networks that no phase before it teaches."""
    learned: set[str] = set()
    missing = {}
    for name in config.phases:
        kind = PHASES[name]
        if lacking := tuple(network for network in kind.needs(config) if network not in learned):
            missing[name] = lacking
        learned |= set(kind.trains(config))
    return missing
