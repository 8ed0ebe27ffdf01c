"""Configurations: the keys of `configs/base.py`, checked once and early, and turned into durations."""

from __future__ import annotations

from t2igan.config.check import PHASES, SECTIONS, check, check_data, check_devices
from t2igan.config.values import changed_keys, crossed, flatten, from_dict, get, to_json, total_steps

__all__ = [
    "PHASES",
    "SECTIONS",
    "changed_keys",
    "check",
    "check_data",
    "check_devices",
    "crossed",
    "flatten",
    "from_dict",
    "get",
    "to_json",
    "total_steps",
]
