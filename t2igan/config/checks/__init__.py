"""Checks a configuration once, early, before anything compiles.

What is wrong with it is a `UserError` of one line that names the key, its value, what is accepted and what to do. What
can be chosen is whatever is registered, and what a choice brings with it is checked where that is defined: a kind of
network in `t2igan.nets`, a phase's section in its file of `t2igan.method.phases`, the data in `t2igan.data`.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan.config.checks import game, monitoring, networks, phases, privacy, space
from t2igan.config.constraints import require_among, require_not_negative, require_positive
from t2igan.config.pretrained import check_pretrained
from t2igan.data.settings import check_data
from t2igan.errors import UserError

DTYPES = ("float32", "bfloat16")


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a value that is not accepted or a combination that cannot work."""
    require_among(config, "compute_dtype", DTYPES)
    if not 0 <= config.seed < 2**32:
        raise UserError(f"config.seed={config.seed} must lie between 0 and 4294967295")
    require_positive(config, "shard_devices")
    require_not_negative(config, "devices")
    phases.check_names(config)
    networks.check_kinds(config)
    space.check(config)
    game.check(config)
    phases.check(config)
    networks.check(config)
    check_pretrained(config)
    monitoring.check(config)
    privacy.check(config)
    check_data(config.data)


def check_devices(batch_images: int, devices: int, key: str) -> None:
    """Raises `UserError` where a batch cannot be shared out evenly."""
    if batch_images % devices:
        smaller = max(batch_images // devices, 1) * devices
        raise UserError(
            f"config.{key}={batch_images} cannot be divided among {devices} devices; "
            f"set it to a multiple such as {smaller} or {smaller + devices}, or set config.devices"
        )
