"""config.json of a run's folder: what the run was begun with, and whether it may go on with what is asked for now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.errors import UserError
from t2igan.evaluation.report.environment import environment
from t2igan.inference.files import write_json
from t2igan.training.run import Run


def check_same_configuration(config: ConfigDict, workdir: Path) -> None:
    """Raises `UserError` where a run was begun in the folder with a configuration that computes something else."""
    path = workdir / "config.json"
    if not path.is_file():
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}); mend its JSON, or choose another --workdir") from error
    new = json.loads(config_lib.to_json(config))
    changed = config_lib.changed_keys(old, new)
    if changed:
        old, new = config_lib.flatten(old), config_lib.flatten(new)
        listed = "; ".join(f"config.{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in changed[:4])
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"{workdir} was begun with another configuration: {listed}{more}.\n"
            f"Set it back to go on there; or begin anew with what that run has learned, for example to train longer: "
            f"--config.init_from={workdir} and another --workdir"
        )


def write_configuration(config: ConfigDict, workdir: Path, overrides: Sequence[str], run: Run) -> None:
    """Writes config.json; `UserError` where a run was begun in the folder with other pictures."""
    path = workdir / "config.json"
    fingerprint = run.train_data.fingerprint()
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("data_fingerprint") != fingerprint:
            raise UserError(
                f"the training pictures or captions of {config.data.source} are not those that {workdir} was begun "
                f"with.\nBring the old ones back to go on there; or begin anew with what that run has learned: "
                f"--config.init_from={workdir} and another --workdir"
            )
    if run.leads:
        record = {
            "t2igan": __version__,
            "overrides": list(overrides),
            "data_fingerprint": fingerprint,
            "environment": environment(),
            "config": json.loads(config_lib.to_json(config)),
        }
        write_json(path, record)
