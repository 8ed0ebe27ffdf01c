"""Configurations as values: dotted keys, JSON, durations in steps, and what differs between two of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

# Keys that change how a run is watched or placed, not what it computes: free to differ when a run goes on.
FREE_TO_CHANGE = (
    *("log", "guard", "evaluate", "sample", "checkpoint", "model_card", "devices", "shard_devices", "remat"),
    *(
        "data.tfds_dir",
        "data.tfds_files_dir",
        "data.cache_dir",
        "data.cache_gb",
        "data.workers",
        "data.min_usable",
        "data.follow_links",
    ),
)
# Keys that older runs and snapshots lack, with the value that does what those runs did.
ADDED = {
    **{"data.resize": "crop", "data.resample": "auto", "data.captions": "all", "data.language": ""},
    **{"data.follow_links": True, "data.min_usable": 0.0, "data.cache_dir": "", "data.cache_gb": 10.0},
    **{"data.workers": 0, "evaluate.probe_steps": 300, "evaluate.inception_weights": "", "evaluate.clip_weights": ""},
    **{"model_card.license": "", "model_card.data_license": "", "model_card.notes": ""},
    **{"shard_devices": 1, "remat": False, "init_which": "latest", "checkpoint.keep_every_images": 0},
}
# Durations may grow or shrink only together with their schedules, so they count as what is computed.


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
    flat = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, name + ".")
        else:
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat


def to_json(config: ConfigDict) -> str:
    """Returns the configuration as JSON; `from_dict(json.loads(...))` reads it back."""
    return json.dumps(config.to_dict(), indent=2, default=list)


def from_dict(values: Mapping) -> ConfigDict:
    """Returns the configuration that nested dictionaries hold, locked; lists, as JSON has them, become tuples."""

    def restore(value):
        if isinstance(value, Mapping):
            return {k: restore(v) for k, v in value.items()}
        return tuple(value) if isinstance(value, list) else value

    config = ConfigDict(restore(values))
    for key, value in ADDED.items():
        *groups, name = key.split(".")
        section = config
        for group in groups:
            if group not in section:
                section[group] = ConfigDict()
            section = section[group]
        if name not in section:
            section[name] = value
    return config.lock()


def changed_keys(old: Mapping, new: Mapping) -> list[str]:
    """Returns the dotted keys that differ between two configurations and decide what is computed."""
    old, new = ADDED | flatten(old), ADDED | flatten(new)
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [key for key in keys if not any(key == free or key.startswith(free + ".") for free in FREE_TO_CHANGE)]
