"""The data of a run: opened, reported, and the same as when the run was begun."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2igan.data import Dataset, check_all_usable, different, open_datasets, split_names
from t2igan.data.summary import as_json, left_out
from t2igan.errors import UserError
from t2igan.inference.files import write_json
from t2igan.training.distributed import agreement, processes
from t2igan.training.logs import say

REPORT_NAME = "data_report.json"


def open_data(config: Any, workdir: Path, given: Sequence[Dataset] | None = None) -> Sequence[Dataset]:
    """Returns the splits for training, validation and test; says what was left out of them and writes all of it down.

    `given` are these splits where they are at hand already. UserError where too little of one can be used, or the
    training pictures are not those that the run was begun with: then what was written down before stays.
    """
    opened = given or open_datasets(config.data, split_names(config.data))
    _check_same(config, workdir, opened[0])
    if processes.leads():
        write_json(workdir / REPORT_NAME, as_json(opened))
    for dataset in different(opened):
        if dataset.skipped:
            say(f"{left_out(dataset)}; all are listed in {workdir / REPORT_NAME}")
    check_all_usable(opened, config.data)
    agreement.check_data(opened[0], config.data.source)
    return opened


def _check_same(config: Any, workdir: Path, train_data: Dataset) -> None:
    path = workdir / "config.json"
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("data_fingerprint") != train_data.fingerprint():
            raise UserError(
                f"the training pictures or captions of {config.data.source} are not those that {workdir} was begun "
                f"with.\nBring the old ones back to go on there; or begin anew with what that run has learned: "
                f"--config.init_from={workdir} and another --workdir"
            )
