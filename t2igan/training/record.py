"""What a run's folder says of how it was begun, and whether a training may go on there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.evaluation.report.environment import environment
from t2igan.inference.files import write_json
from t2igan.method.phases import PHASES
from t2igan.training.run import Run

RECORD_NAME = "config.json"
SHOWN = 4  # keys that are named of those that differ


def check_same_configuration(config: ConfigDict, workdir: Path) -> None:
    """Raises `UserError` where a folder's run was begun with a configuration that computes something else.

    Keys that one of the two lacks have their defaults of today. Where the data lies may change: whether it is the same
    is told by `check_same_data`, when it is open. So may the settings of phases that the run does not have.
    """
    path = workdir / RECORD_NAME
    if not path.is_file():
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}); mend its JSON, or choose another --workdir") from error
    new = json.loads(config_lib.to_json(config))
    unused = _unused_sections(config)
    changed = [key for key in config_lib.changed_keys(old, new) if key.partition(".")[0] not in unused]
    if changed:
        default = config_lib.defaults()
        old, new = default | config_lib.flatten(old), default | config_lib.flatten(new)
        listed = "; ".join(f"config.{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in changed[:SHOWN])
        more = f"; and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise UserError(
            f"{workdir} was begun with another configuration: {listed}{more}.\n"
            f"Set it back to go on there; or, as to train for longer, begin a new run with what this one has learned: "
            f"{_how(workdir)}"
        )


def _unused_sections(config: ConfigDict) -> set[str]:
    """The sections of phases that a run does not have; that of the game is read by others, too."""
    used = {PHASES[phase].section for phase in (*config.phases, "adversarial")}
    return {PHASES[phase].section for phase in PHASES.names()} - used


def check_same_data(config: ConfigDict, workdir: Path, train_data: Dataset) -> None:
    """Raises `UserError` where a folder's run was begun with other training pictures or captions."""
    path = workdir / RECORD_NAME
    if not path.is_file():
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    if old.get("data_fingerprint") != train_data.fingerprint():
        raise UserError(
            f"the training pictures or captions of {config.data.source} are not those that {workdir} was begun "
            f"with.\nBring the old ones back to go on there; or begin a new run with what this one has learned: "
            f"{_how(workdir)}"
        )


def write_configuration(config: ConfigDict, workdir: Path, overrides: Sequence[str], run: Run) -> None:
    """Writes the configuration of a run with the fingerprint of its data."""
    if run.leads:
        record = {
            "t2igan": __version__,
            "overrides": list(overrides),
            "data_fingerprint": run.train_data.fingerprint(),
            "environment": environment(),
            "config": json.loads(config_lib.to_json(config)),
        }
        write_json(workdir / RECORD_NAME, record)


def _how(workdir: Path) -> str:
    return f"--config.init_from={workdir} --workdir=NEW"
