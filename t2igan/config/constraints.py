"""Constraints on values of a configuration; each raises one `UserError` that names the key and its value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from t2igan.config.values import get
from t2igan.errors import UserError, nearest


def require_among(config: Any, key: str, choices: Iterable[Any]) -> None:
    """The value is one of `choices`."""
    value, choices = get(config, key), tuple(choices)
    if value not in choices:
        raise UserError(f"config.{key}={value!r} is none of {listed(choices)}{nearest(str(value), choices)}")


def require_positive(config: Any, *keys: str) -> None:
    """The values are greater than 0; `nan` is not."""
    for key in keys:
        if not get(config, key) > 0:
            raise UserError(f"config.{key}={get(config, key)} must be greater than 0")


def require_not_negative(config: Any, *keys: str) -> None:
    """The values are 0 or greater; `nan` is not."""
    for key in keys:
        if not get(config, key) >= 0:
            raise UserError(f"config.{key}={get(config, key)} must be 0 or greater")


def require_below_one(config: Any, *keys: str) -> None:
    """The values are at least 0 and less than 1."""
    for key in keys:
        if not 0 <= get(config, key) < 1:
            raise UserError(f"config.{key}={get(config, key)} must be at least 0 and less than 1")


def require_share(config: Any, *keys: str) -> None:
    """The values are shares: from 0 to 1, both included."""
    for key in keys:
        if not 0 <= get(config, key) <= 1:
            raise UserError(f"config.{key}={get(config, key)} must be a share from 0 to 1")


def require_captions(config: Any, *keys: str) -> None:
    """The values are captions: texts, none of them empty."""
    for key in keys:
        wrong = [one for one in get(config, key) if not (isinstance(one, str) and one.strip())]
        if wrong:
            raise UserError(f"config.{key} has {wrong[0]!r} among its captions; give texts, such as ('a red hat',)")


def require_exponential_ends(config: Any, start_key: str, end_key: str) -> None:
    """Under `config.train.schedule="exponential"`, a value that moves is above 0 at both ends."""
    start, end = get(config, start_key), get(config, end_key)
    if config.train.schedule == "exponential" and start != end and not min(start, end) > 0:
        raise UserError(
            f"config.{start_key}={start} and config.{end_key}={end} must both be above 0 for the exponential schedule"
        )


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def listed(names: Iterable[Any]) -> str:
    """Returns names as a message shows them: "'a', 'b'"."""
    return ", ".join(repr(name) for name in names)
