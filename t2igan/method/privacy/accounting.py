"""What updates on private pictures cost: epsilon at a delta, by the library dp-accounting, and a ledger on disk.

An update is a Gaussian mechanism on a Poisson sample. Neighbours are two data sets of which one lacks one picture
(add or remove one; the pictures' captions are public and stay, which is called zero-out and has the same figures).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from pathlib import Path
from typing import Any

from t2igan.errors import UserError

ACCOUNTANTS = ("pld", "rdp")
LEDGER_NAME = "privacy.json"
# Of privacy losses, in which they are rounded up (pessimistic): epsilon is then at most some thousandths too large.
PLD_INTERVAL = 1e-3
MOST_NOISE = 1_000.0


@dataclasses.dataclass(frozen=True)
class Budget:
    """What may be spent, and on how many updates.

    Attributes:
      epsilon: the budget.
      delta: the probability that the bound does not hold.
      sampling_rate: probability with which each picture takes part in an update.
      noise_multiplier: standard deviation of the noise as a multiple of the clipping norm.
      accountant: "pld", privacy loss distributions, or "rdp", Renyi divergences, which is looser.
      updates: of the discriminator that may be made, at most.
    """

    epsilon: float
    delta: float
    sampling_rate: float
    noise_multiplier: float
    accountant: str
    updates: int

    def spent(self, updates: int) -> float:
        """Returns the epsilon of so many updates."""
        return epsilon_of(self.sampling_rate, self.noise_multiplier, updates, self.delta, self.accountant)


def settle(privacy: Any, num_images: int, updates: int) -> Budget:
    """Returns the budget of `config.privacy` for a training of `updates` updates on `num_images` pictures.

    With a noise multiplier of 0 it is found so that these updates spend the budget; a given one may allow fewer, and
    then `updates` says how many.

    Raises:
      UserError: a batch would have more pictures than there are, or delta is no small probability for so many, or the
        budget does not allow one update, or no noise would be enough.
    """
    if math.isinf(privacy.epsilon):  # nothing is counted: for a plan without data, and to compare with
        return Budget(math.inf, privacy.delta, 1.0, privacy.noise_multiplier, privacy.accountant, updates)
    if privacy.batch_images > num_images:
        raise UserError(
            f"config.privacy.batch_images={privacy.batch_images} is more than the {num_images:,} training pictures; "
            f"set it to a small part of them"
        )
    if privacy.delta >= 1 / num_images:
        raise UserError(
            f"config.privacy.delta={privacy.delta:g} would allow to publish one of the {num_images:,} training "
            f"pictures; set it well below {1 / num_images:.1e}"
        )
    rate = privacy.batch_images / num_images
    budget = Budget(privacy.epsilon, privacy.delta, rate, privacy.noise_multiplier, privacy.accountant, updates)
    if not budget.noise_multiplier:
        return dataclasses.replace(budget, noise_multiplier=_noise_for(budget))
    if budget.spent(updates) <= budget.epsilon:
        return budget
    low, high = 0, updates  # low can be afforded, high cannot
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if budget.spent(middle) <= budget.epsilon else (low, middle)
    if not low:
        raise UserError(
            f"config.privacy.noise_multiplier={privacy.noise_multiplier:g} spends more than config.privacy.epsilon="
            f"{privacy.epsilon:g} with one update; set it to 0, and it is found"
        )
    return dataclasses.replace(budget, updates=low)


@functools.lru_cache(maxsize=256)
def epsilon_of(sampling_rate: float, noise_multiplier: float, updates: int, delta: float, accountant: str) -> float:
    """Returns the epsilon at `delta` of so many updates, each on a Poisson sample; inf without noise.

    Raises:
      UserError: dp-accounting is not installed.
    """
    if not updates:
        return 0.0
    if not noise_multiplier:
        return math.inf
    dp_accounting = _library()
    event: Any = dp_accounting.GaussianDpEvent(noise_multiplier)
    if sampling_rate < 1:
        event = dp_accounting.PoissonSampledDpEvent(sampling_rate, event)
    counted = _accountant(accountant)
    counted.compose(event, updates)
    return float(counted.get_epsilon(delta))


def _noise_for(budget: Budget) -> float:
    """Returns the least noise multiplier, to a thousandth, with which all updates stay within the budget."""
    of = lambda noise: epsilon_of(budget.sampling_rate, noise, budget.updates, budget.delta, budget.accountant)
    low, high = 0.3, 1.0
    while of(high) > budget.epsilon:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise UserError(
                f"config.privacy.epsilon={budget.epsilon:g} wants a noise multiplier above {MOST_NOISE:g} for "
                f"{budget.updates:,} updates; train for less, or raise it"
            )
    if of(low) <= budget.epsilon:  # with less noise than that, accounting is slow and the figure of no use
        return low
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if of(middle) <= budget.epsilon else (middle, high)
    return math.ceil(high * 1e3) / 1e3


def _accountant(name: str) -> Any:
    dp_accounting = _library()
    neighbours = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    if name == "rdp":
        from dp_accounting import rdp

        return rdp.RdpAccountant(neighboring_relation=neighbours)
    from dp_accounting import pld

    return pld.PLDAccountant(neighbours, value_discretization_interval=PLD_INTERVAL)


def _library() -> Any:
    try:
        import dp_accounting
    except ModuleNotFoundError as error:
        raise UserError("config.privacy needs a package: pip install 't2igan[privacy]'") from error
    return dp_accounting


class Ledger:
    """How many updates a run has made on its private pictures, those included that a crash has lost.

    It is written before each step, so that a killed process has at most counted one too many.
    """

    def __init__(self, workdir: Path):
        """Reads the ledger of a run's folder, if there is one."""
        self.path = workdir / LEDGER_NAME

    def updates(self) -> int | None:
        """Returns the updates that are counted; None where there is no ledger.

        Raises:
          UserError: the file is none of ours.
        """
        if not self.path.is_file():
            return None
        try:
            return int(json.loads(self.path.read_text(encoding="utf-8"))["updates"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path} cannot be read, so nobody knows what was spent; bring it back, or begin in a new "
                f"--workdir"
            ) from error

    def write(self, updates: int) -> None:
        """Counts so many updates in all; on disk when it returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{LEDGER_NAME}.unfinished")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"updates": updates}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path)
