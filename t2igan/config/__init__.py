"""Configurations: the keys of `configs/base.py`, checked once and early, and turned into durations."""

from __future__ import annotations

from t2igan.config.check import PHASES, SECTIONS, check, check_data, check_devices
from t2igan.config.files import CONFIGURATIONS, PRESETS, as_config, find, get_config, load_module, presets
from t2igan.config.paths import cache_folder, expanded
from t2igan.config.values import changed_keys, flatten, from_dict, get, to_json, total_steps

__all__ = [
    "CONFIGURATIONS",
    "PHASES",
    "PRESETS",
    "SECTIONS",
    "as_config",
    "cache_folder",
    "changed_keys",
    "check",
    "check_data",
    "check_devices",
    "expanded",
    "find",
    "flatten",
    "from_dict",
    "get",
    "get_config",
    "load_module",
    "presets",
    "to_json",
    "total_steps",
]
