"""Configurations as values: dotted keys, JSON, durations in steps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def total_steps(section: Any, dataset_images: int) -> int:
    """Returns the length of a phase in steps: the first of `steps`, `images`, `epochs` in its section that is not 0."""
    if section.steps:
        return section.steps
    images = section.images or round(section.epochs * dataset_images)
    return max(math.ceil(images / section.batch_images), 1)


def crossed(before_images: int, after_images: int, every_images: int) -> bool:
    """Whether counting from `before_images` to `after_images` passes a multiple of `every_images`, or ends on one.

    With 0 it never does. Whatever happens every so many pictures asks this, so that what is due at the same pictures is
    due at the same step.
    """
    return bool(every_images) and after_images // every_images != before_images // every_images


def get(config: Any, key: str) -> Any:
    """Returns the value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


def flatten(config: Mapping | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns {dotted key: value}, tuples as lists, as JSON would give them back."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, name + ".")
        else:
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat


def to_json(config: ConfigDict) -> str:
    """Returns the configuration as JSON; `t2igan.config.from_dict(json.loads(...))` reads it back."""
    return json.dumps(config.to_dict(), indent=2, default=list)
