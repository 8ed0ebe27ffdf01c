"""How long each phase is, so that all of them fit into the minutes: a pure function of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from t2igan.method.phases import PHASES
from t2igan.training.auto.choose import Decision
from t2igan.training.auto.facts import DataFacts, MachineFacts, Rates

# Shares of the time for training, where a phase is there; the trials of docs/space.md spent about so much of it.
SHARES = {
    True: {"autoencoder": 0.42, "text": 0.12, "generator": 0.24, "adversarial": 0.22},  # one picture a caption
    False: {"autoencoder": 0.35, "text": 0.13, "generator": 0.0, "adversarial": 0.52},  # many
}
# How often a phase shows each picture, at most: more is learning by heart.
MOST_VISITS = {"autoencoder": 400, "text": 150, "generator": 200, "adversarial": 120}
REST_SHARE = 0.08  # logs, sheets, checkpoints, figures on the way
JUDGES_FLOP = 4e12  # learning the networks that evaluate: 34 s of two cores of 116 GFLOP/s (docs/metrics.md)
CAPTION_FLOP = 5e8  # reading a caption with MiniLM: 4.6 ms of a core (docs/pretrained.md)
LEAST_STEPS = 20


def overhead_s(
    config: Any, data: DataFacts, machine: MachineFacts, rates: Mapping[str, Rates], seconds: float
) -> float:
    """Returns the seconds in which nothing is trained: compiling, feature extractors, codes, encoded captions."""
    found = REST_SHARE * seconds + sum(rate.compile_s for rate in rates.values())
    if config.evaluate.at_end:
        found += JUDGES_FLOP / machine.float32_flop_s
    if "autoencoder" in rates:  # forward only, once
        found += data.pictures / (3 * rates["autoencoder"].images_s)
    if config.text_encoder.pretrained:
        found += data.captions * CAPTION_FLOP / machine.float32_flop_s
    return found


def phase_images(
    phases: Sequence[str], data: DataFacts, rates: Mapping[str, Rates], left_s: float, batches: Mapping[str, int]
) -> dict[str, int]:
    """Returns how many pictures each phase takes, so that all together take `left_s` seconds.

    Each phase has its share of the time. What one cannot use, since it has seen every picture often enough, goes to the
    others.

    Args:
      phases: their names.
      data: facts of the data.
      rates: pictures a second, by phase.
      left_s: seconds for training.
      batches: pictures of a step, by phase.
    """
    shares = SHARES["generator" in phases]
    share = {phase: shares.get(phase, 0.1) for phase in phases}
    most_s = {phase: MOST_VISITS.get(phase, 100) * data.distinct / rates[phase].images_s for phase in phases}
    given_s: dict[str, float] = {}
    while len(given_s) < len(phases):
        free = [phase for phase in phases if phase not in given_s]
        rest_s, whole = left_s - sum(given_s.values()), sum(share[phase] for phase in free)
        full = [phase for phase in free if rest_s * share[phase] / whole > most_s[phase]]
        if not full:
            given_s |= {phase: rest_s * share[phase] / whole for phase in free}
        else:
            given_s |= {phase: most_s[phase] for phase in full}
    return {
        phase: max(_rounded(given_s[phase] * rates[phase].images_s), LEAST_STEPS * batches[phase]) for phase in phases
    }


def lengths(
    config: Any,
    data: DataFacts,
    machine: MachineFacts,
    rates: Mapping[str, Rates],
    minutes: float,
    spent_s: float = 0.0,
) -> tuple[list[Decision], dict[str, int]]:
    """Returns decisions about the lengths of the phases and all that follows from them, and pictures by phase.

    Args:
      config: the configuration, with everything else decided.
      data: facts of the data.
      machine: facts of the machine.
      rates: measured, by phase.
      minutes: for the whole training.
      spent_s: seconds that are gone already.
    """
    seconds = 60 * minutes - spent_s
    idle_s = overhead_s(config, data, machine, rates, seconds)
    left_s = max(seconds - idle_s, 0.2 * seconds)
    batches = {phase: config[PHASES[phase].section].batch_images for phase in config.phases}
    images = phase_images(config.phases, data, rates, left_s, batches)
    needed_s = {phase: images[phase] / rates[phase].images_s for phase in images}
    values: dict[str, Any] = {}
    for phase, num in images.items():
        values |= {f"{PHASES[phase].section}.{key}": 0 for key in ("steps", "epochs")}
        values[f"{PHASES[phase].section}.images"] = num
    spelled = ", ".join(
        f"{phase} {images[phase]:,} ({_time(needed_s[phase])} at {rates[phase].images_s:,.0f}/s)" for phase in images
    )
    why = f"pictures a phase: {spelled}; {_time(idle_s)} for compiling, codes, figures and sheets"
    if sum(needed_s.values()) < 0.8 * left_s:
        why += f"; it ends early, after about {_time(sum(needed_s.values()) + idle_s + spent_s)}: more would only be "
        why += "learning by heart"
    game = images.get("adversarial", max(images.values()))
    every = max(math.ceil(game / 2), 1)
    rhythm = {f"{section}.every_images": every for section in ("sample", "evaluate")}
    rhythm["checkpoint.every_images"] = max(math.ceil(max(images.values()) / 4), 1)
    rhythm["log.every_images"] = max(_rounded(game / 40), 10 * batches.get("adversarial", 32))
    if config.augment.target:
        rhythm["augment.adapt_images"] = max(game // 2, 1)
    return [
        Decision("lengths", why, values),
        Decision("rhythm", f"a sheet and figures every {every:,} pictures of the game", rhythm),
    ], images


def _rounded(number: float) -> int:
    """Two digits that count, as one would write it oneself."""
    unit = 10 ** max(int(math.log10(max(number, 1))) - 1, 0)
    return max(int(number // unit) * unit, 1)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
