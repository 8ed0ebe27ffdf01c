"""Configurations: presets and files, values and durations, registries of what can be chosen, and the checks of all."""

from __future__ import annotations

from t2igan.config.files import CONFIGURATIONS, PRESETS, as_config, find, get_config, load_module, presets
from t2igan.config.paths import cache_folder, expanded
from t2igan.config.private import looks_at_private
from t2igan.config.registry import Registry
from t2igan.config.stored import changed_keys, defaults, from_dict
from t2igan.config.values import crossed, flatten, get, to_json, total_steps

__all__ = [
    "CONFIGURATIONS",
    "PRESETS",
    "Registry",
    "as_config",
    "cache_folder",
    "changed_keys",
    "crossed",
    "defaults",
    "expanded",
    "find",
    "flatten",
    "from_dict",
    "get",
    "get_config",
    "load_module",
    "looks_at_private",
    "presets",
    "to_json",
    "total_steps",
]
