"""Settings that are a number or "auto": what follows from the training data (`t2igan.method.automatic`)."""

from __future__ import annotations

from typing import Any

from t2igan.config.values import get
from t2igan.errors import UserError

AUTO = "auto"
PENALTY_WEIGHTS = ("loss.penalty_weight", "loss.penalty_weight_end")
PAIRED_WEIGHT = "loss.paired_weight"
WEIGHTS = (*PENALTY_WEIGHTS, PAIRED_WEIGHT)  # numbers, or "auto"


def is_auto(config: Any, key: str) -> bool:
    """Whether a weight that may be a number or "auto" is the latter."""
    return key in WEIGHTS and get(config, key) == AUTO


def check_auto(config: Any) -> None:
    """Raises `UserError` where a weight that may be "auto" is neither that nor a number, or only half of it is."""
    for key in WEIGHTS:
        value = get(config, key)
        if value != AUTO and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"config.{key}={value!r} must be a number, or 'auto'")
    weights = config.loss.penalty_weight, config.loss.penalty_weight_end
    if AUTO in weights and weights != (AUTO, AUTO):
        raise UserError(
            f"config.loss.penalty_weight={weights[0]!r} and config.loss.penalty_weight_end={weights[1]!r} must both be "
            f"'auto', or both numbers"
        )
