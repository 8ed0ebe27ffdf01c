"""`t2igan train`: trains, or goes on where the same command was stopped."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan import config as config_lib
from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `train`."""
    verb.define_workdir(given, "folder of the run; without it runs/ and the name of the configuration")
    flags.DEFINE_float(
        "minutes", None, "with --config=auto: what the whole training may take on this machine (30)", flag_values=given
    )
    flags.DEFINE_bool("dry_run", False, "compile every step, say what it takes of memory, and stop", flag_values=given)
    flags.DEFINE_integer(
        "dry_run_devices", 0, "so many simulated devices, or 0: those that would be used", flag_values=given
    )
    flags.DEFINE_float("dry_run_memory_gb", 0.0, "what a device has, or 0: as JAX says, if it knows", flag_values=given)
    flags.DEFINE_string("coordinator", None, "of several processes: HOST:PORT of the first one", flag_values=given)
    flags.DEFINE_integer("processes", None, "how many processes there are (docs/scaling.md)", flag_values=given)
    flags.DEFINE_integer("process", None, "which of them this is, from 0", flag_values=given)
    flags.DEFINE_float("start_timeout_s", 300.0, "how long to wait for the other processes", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Trains, or goes on where the same command was stopped."""
    from t2igan.training.distributed import launchers, processes

    workdir = verb.workdir(given, "train") if given.workdir else Path("runs", given.config_name)
    automatic = given.config_file == config_lib.PRESETS / "auto.py"  # not a file of the user's that has its name
    if given.minutes is not None and not automatic:
        raise UserError(
            f"--minutes={given.minutes:g} is for --config=auto; the lengths of --config={given.config_name} are its "
            f"own, such as config.train.images"
        )
    if given.dry_run:
        if automatic:
            given.config = chosen(given, workdir, keep=False)
        dry_run(given)
        return
    place = launchers.find(os.environ, given.coordinator, given.processes, given.process)
    processes.start(place, given.start_timeout_s)
    if automatic:
        given.config = chosen(given, workdir)
    from t2igan.training.loop import Interrupted
    from t2igan.training.train import train

    try:
        train(given.config, workdir, overrides=given.overrides)
    except Interrupted:  # all of them were, after the same step
        leads = processes.leads()
        processes.finish()
        if leads:
            raise
        sys.exit(130)
    processes.finish()


def chosen(given: Given, workdir: Path, keep: bool = True) -> Any:
    """Returns the configuration that --config=auto chooses, or chose before in that folder."""
    from t2igan.cli.overrides import overridden, with_overrides
    from t2igan.training import auto

    minutes = auto.MINUTES if given.minutes is None else given.minutes
    change = functools.partial(with_overrides, overrides=given.overrides)
    return auto.chosen(workdir, minutes, change, overridden(given.overrides), keep)


def dry_run(given: Given) -> None:
    """Prints what the training would take; UserError where that is more than a device has."""
    from t2igan.config.checks import check, check_devices
    from t2igan.inference.console import say
    from t2igan.method.phases import PHASES
    from t2igan.training import plan
    from t2igan.training.distributed import parallel

    config: Any = given.config
    check(config)
    if given.dry_run_devices < 0 or given.dry_run_memory_gb < 0:
        raise UserError("--dry_run_devices and --dry_run_memory_gb must be 0 or more")
    devices = given.dry_run_devices or config.devices
    if given.dry_run_devices:
        parallel.only_compile()
    parallel.start(devices or 1)
    mesh = parallel.make_mesh(devices, config.shard_devices)
    for phase in config.phases:
        key = f"{PHASES[phase].section}.batch_images"
        check_devices(config_lib.get(config, key), mesh.size, key)
    made = plan.make_plan(config, mesh)
    say("\n".join(plan.lines(made, config)))
    given_bytes = int(given.dry_run_memory_gb * 1e9)
    plan.check_memory(made, given_bytes or plan.memory_of(mesh.devices.flat[0]))


VERB = verb.Verb(
    name="train",
    summary="train a model, or go on where the same command was stopped",
    examples=(
        "train --config=base --workdir=runs/base",
        "train --config=auto --config.data.source=PATH --minutes=30 --workdir=runs/mine",
        "train --config=folder --config.data.source=PATH --config.train.images=64000 --workdir=runs/mine",
    ),
    define=define,
    run=run,
    configured=True,
)
