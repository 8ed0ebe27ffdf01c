"""Configurations as runs and snapshots keep them: read back, completed by today's defaults, and compared by value.

A key that is added to the base preset has a default, and a run or a snapshot from before has the value that the default
stands for. So whatever is missing is filled from the base preset before a stored configuration is used or compared.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from t2igan.config.files import get_config
from t2igan.config.values import flatten

# Keys and groups that change how a run is monitored or where it lies, not what it computes: they may differ when a run
# goes on.
FREE_TO_CHANGE = (
    *("log", "guard", "evaluate", "sample", "checkpoint", "model_card", "devices", "shard_devices", "remat"),
    *(
        "data.source",  # where the pictures lie; that they are the same is told by their fingerprint
        "data.tfds_dir",
        "data.tfds_files_dir",
        "data.cache_dir",
        "data.cache_gb",
        "data.workers",
        "data.min_usable",
        "data.follow_links",
        "text_encoder.pretrained_in_snapshot",
    ),
)
# Durations may grow or shrink only together with their schedules, so they count as what is computed.


@functools.cache
def _base() -> dict[str, Any]:
    return get_config("base").to_dict()


def defaults() -> dict[str, Any]:
    """Returns {dotted key: value} of the base preset, tuples as lists."""
    return flatten(_base())


def from_dict(values: Mapping) -> ConfigDict:
    """Returns the configuration that nested dictionaries hold, completed and locked; lists become tuples."""

    def restore(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: restore(v) for k, v in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(_completed(restore(values), _base())).lock()


def changed_keys(old: Mapping, new: Mapping) -> list[str]:
    """Returns the dotted keys that differ between two configurations and decide what is computed.

    A key that one of them lacks counts with its default in the base preset; a key that is not there either was added
    or removed altogether, and does not count.
    """
    old, new, known = flatten(old), flatten(new), defaults()
    differs = lambda key: old.get(key, known.get(key, new.get(key))) != new.get(key, known.get(key, old.get(key)))
    keys = [key for key in sorted(old.keys() | new.keys()) if differs(key)]
    return [key for key in keys if not any(key == free or key.startswith(free + ".") for free in FREE_TO_CHANGE)]


def _completed(values: dict[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with what `base` has besides, group by group."""
    filled = {
        key: _completed(values[key], default) if isinstance(default, Mapping) and key in values else default
        for key, default in base.items()
        if key not in values or isinstance(default, Mapping)
    }
    return values | filled
