"""The space in which the game is played, as the configuration says it; and settings that are a number or "auto"."""

from __future__ import annotations

from typing import Any

from t2igan.config.values import get
from t2igan.errors import UserError

AUTO = "auto"
AUTO_KEYS = ("loss.penalty_weight", "loss.penalty_weight_end", "loss.paired_weight")


def game_size_px(config: Any) -> int:
    """Returns the height and width of the maps of pixels or codes that the game is played on."""
    size = config.data.image_size_px
    return size if config.space.kind == "pixels" else size // config.space.factor


def size_key(config: Any) -> str:
    """Returns how messages name that size."""
    of_codes = "" if config.space.kind == "pixels" else " / config.space.factor"
    return f"config.data.image_size_px{of_codes}"


def is_auto(config: Any, key: str) -> bool:
    """Whether a key that may be a number or "auto" is the latter."""
    return key in AUTO_KEYS and get(config, key) == AUTO


def check_auto(config: Any) -> None:
    """Raises `UserError` where a key that may be "auto" is neither that nor a number, or means nothing as "auto"."""
    for key in AUTO_KEYS:
        value = get(config, key)
        if value != AUTO and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"config.{key}={value!r} must be a number, or 'auto'")
    weights = config.loss.penalty_weight, config.loss.penalty_weight_end
    if AUTO in weights and weights != (AUTO, AUTO):
        raise UserError(
            f"config.loss.penalty_weight={weights[0]!r} and config.loss.penalty_weight_end={weights[1]!r} must both be "
            f"'auto', or both numbers"
        )
    if AUTO in weights and config.loss.penalty not in ("r1", "r2", "r1_r2", "finite_difference"):
        raise UserError(
            f"config.loss.penalty_weight='auto' is for R1 and R2, but config.loss.penalty={config.loss.penalty!r}; "
            f"give a number"
        )
