"""What updates on private pictures cost: epsilon at a delta, by the library dp-accounting.

An update is a Gaussian mechanism on a Poisson sample; a release of means, before them, is one on all pictures. They are
composed. Neighbours are two data sets of which one lacks one picture (add or remove one; the pictures' captions are
public and stay, which is called zero-out and has the same figures).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from t2igan.errors import UserError

ACCOUNTANTS = ("pld", "rdp")
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
      means_noise: noise multiplier of the release of means that comes before them; 0 = there is none.
    """

    epsilon: float
    delta: float
    sampling_rate: float
    noise_multiplier: float
    accountant: str
    updates: int
    means_noise: float = 0.0

    def spent(self, updates: int) -> float:
        """Returns the epsilon of so many updates, after the release of means."""
        return epsilon_of(
            self.sampling_rate, self.noise_multiplier, updates, self.delta, self.accountant, self.means_noise
        )


def settle(privacy: Any, num_images: int, updates: int) -> Budget:
    """Returns the budget of `config.privacy` for a training of `updates` updates on `num_images` pictures.

    The release of means has the noise by which it alone spends `means_epsilon`. With a noise multiplier of 0 that of
    the updates is found so that they spend what is left of the budget; a given one may allow fewer, and then `updates`
    says how many. Without updates no such noise is looked for.

    Raises:
      UserError: a batch would have more pictures than there are, or delta is no small probability for so many, or the
        budget does not allow one update, or no noise would be enough.
    """
    if math.isinf(privacy.epsilon):  # nothing is counted: for a plan without data, and to compare with
        means_noise = float(bool(privacy.means_epsilon))
        return Budget(math.inf, privacy.delta, 1.0, privacy.noise_multiplier, privacy.accountant, updates, means_noise)
    if updates and privacy.batch_images > num_images:
        raise UserError(
            f"config.privacy.batch_images={privacy.batch_images} is more than the {num_images:,} training pictures; "
            f"set it to a small part of them"
        )
    if privacy.delta >= 1 / num_images:
        raise UserError(
            f"config.privacy.delta={privacy.delta:g} would allow to publish one of the {num_images:,} training "
            f"pictures; set it well below {1 / num_images:.1e}"
        )
    rate = min(privacy.batch_images / num_images, 1.0)
    budget = Budget(
        privacy.epsilon,
        privacy.delta,
        rate,
        privacy.noise_multiplier,
        privacy.accountant,
        updates,
        _means_noise(privacy),
    )
    if not updates:
        return budget
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
def epsilon_of(
    sampling_rate: float,
    noise_multiplier: float,
    updates: int,
    delta: float,
    accountant: str,
    means_noise: float = 0.0,
) -> float:
    """Returns the epsilon at `delta` of so many updates, each on a Poisson sample; inf without noise.

    Args:
      sampling_rate: probability with which a picture takes part in an update.
      noise_multiplier: of an update.
      updates: how many.
      delta: the probability that the bound does not hold.
      accountant: one of `ACCOUNTANTS`.
      means_noise: noise multiplier of one Gaussian release of all pictures besides; 0 = none.

    Raises:
      UserError: dp-accounting is not installed.
    """
    if not updates and not means_noise:
        return 0.0
    if updates and not noise_multiplier:
        return math.inf
    dp_accounting = _library()
    counted = _accountant(accountant)
    if means_noise:
        counted.compose(dp_accounting.GaussianDpEvent(means_noise))
    if updates:
        event: Any = dp_accounting.GaussianDpEvent(noise_multiplier)
        if sampling_rate < 1:
            event = dp_accounting.PoissonSampledDpEvent(sampling_rate, event)
        counted.compose(event, updates)
    return float(counted.get_epsilon(delta))


def _means_noise(privacy: Any) -> float:
    """Returns the noise multiplier of the release of means; 0 where there is none."""
    if not privacy.means_epsilon:
        return 0.0
    of = lambda noise: epsilon_of(1.0, 0.0, 0, privacy.delta, privacy.accountant, noise)
    found = _least_noise(of, privacy.means_epsilon)
    if found is None:
        raise UserError(
            f"config.privacy.means_epsilon={privacy.means_epsilon:g} wants a noise multiplier above {MOST_NOISE:g}; "
            f"raise it, or set it to 0 for no means"
        )
    return found


def _noise_for(budget: Budget) -> float:
    """Returns the least noise multiplier, to a thousandth, with which all updates stay within the budget."""
    of = lambda noise: dataclasses.replace(budget, noise_multiplier=noise).spent(budget.updates)
    found = _least_noise(of, budget.epsilon)
    if found is None:
        after = " after the means" if budget.means_noise else ""
        raise UserError(
            f"config.privacy.epsilon={budget.epsilon:g} wants a noise multiplier above {MOST_NOISE:g} for "
            f"{budget.updates:,} updates{after}; train for less, or raise it"
        )
    return found


def _least_noise(of: Callable[[float], float], epsilon: float) -> float | None:
    """Returns the least noise multiplier, to a thousandth, whose epsilon by `of` is at most that; None = too large."""
    low, high = 0.3, 1.0
    while of(high) > epsilon:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            return None
    if of(low) <= epsilon:  # with less noise than that, accounting is slow and the figure of no use
        return low
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if of(middle) <= epsilon else (middle, high)
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
