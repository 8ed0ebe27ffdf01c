"""What `sample` and its relatives are called with: prompts, seeds and numbers, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from t2igan.errors import UserError


def as_prompts(prompts: Any) -> list[str]:
    """Returns one or several prompts as a list; UserError where there is none, or one that is no text."""
    listed = [prompts] if isinstance(prompts, str) or not isinstance(prompts, Iterable) else list(prompts)
    if not listed:
        raise UserError("there is no prompt; give at least one")
    for prompt in listed:
        if not isinstance(prompt, str):
            raise UserError(f"a prompt is {prompt!r}; each must be a text")
    return listed


def as_seeds(seed: Any, num: int) -> list[int]:
    """Returns a seed for each of `num` pictures; UserError where they are not as many, or no whole numbers in range."""
    one = isinstance(seed, str) or not isinstance(seed, Iterable)
    seeds = [seed] * num if one else list(seed)
    if len(seeds) != num:
        raise UserError(f"{num} prompts but {len(seeds)} seeds; give one seed for all or one each")
    for value in seeds:
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 0 <= value < 2**32:
            raise UserError(f"seed={value!r} must be a whole number from 0 to 4294967295; any other is another picture")
    return [int(value) for value in seeds]


def check_number(name: str, value: Any, most: int, usual: str) -> None:
    """Raises `UserError` where a setting of `sample` is no number from 0 to `most`."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        raise UserError(f"{name}={value!r} must lie between 0 and {most}; {usual}")
