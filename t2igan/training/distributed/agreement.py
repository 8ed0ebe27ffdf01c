"""What several processes must have in common to train one network: configuration, data, and the run's folder."""

from __future__ import annotations

import importlib.metadata
import json
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.inference.files import write_text
from t2igan.training.distributed import processes

# What a machine may have of its own: where data is kept there, and how it is read.
OWN = ("data.cache_dir", "data.cache_gb", "data.workers", "data.tfds_dir", "data.tfds_files_dir")
SEEN_WITHIN_S = 60.0  # network file systems show a new file late, by their caches of folders


def check_configuration(config: Any) -> None:
    """Raises `UserError`, in all processes, where one has another version or configuration than the leader."""
    flat = config_lib.flatten(json.loads(config_lib.to_json(config)))
    versions = {"t2igan": __version__, "jax": importlib.metadata.version("jax")}
    ours = versions | {f"config.{key}": value for key, value in flat.items() if key not in OWN}
    first, *others = processes.exchange(ours)
    for number, theirs in enumerate(others, start=1):
        for key in sorted(first.keys() | theirs.keys(), key=lambda key: (key not in versions, key)):
            if first.get(key) != theirs.get(key):
                raise UserError(
                    f"process {number} has {key}={theirs.get(key)!r}, process 0 has {first.get(key)!r}; "
                    f"give all the same {'versions' if key in versions else 'command, but for --process'}"
                )


def check_data(train: Dataset, source: str) -> None:
    """Raises `UserError`, in all processes, where one has other training pictures than the leader."""
    if processes.count() == 1:
        return
    first, *others = processes.exchange([train.fingerprint(), len(train), socket.gethostname()])
    for number, theirs in enumerate(others, start=1):
        if theirs[0] != first[0]:
            raise UserError(
                f"process {number} on {theirs[2]} has other training pictures than process 0 on {first[2]} "
                f"({theirs[1]:,} and {first[1]:,}).\nconfig.data.source={source!r} must hold the same on all machines"
            )


def check_shared(workdir: Path) -> None:
    """Raises `UserError`, in all processes, where one does not see what the leader writes in the run's folder."""
    if processes.count() == 1:
        return
    path, word = workdir / f"shared_{secrets.token_hex(4)}.txt", secrets.token_hex(16)
    name, word = processes.from_leader(lambda: [path.name, write_text(path, word) or word])
    try:
        seen = processes.exchange([_reads(workdir / name, word), socket.gethostname()])
    finally:
        if processes.leads():
            path.unlink(missing_ok=True)
    for number, (sees, host) in enumerate(seen):
        if not sees:
            raise UserError(
                f"process {number} on {host} does not see what process 0 on {seen[0][1]} wrote to {workdir}.\n"
                f"--workdir must lie on a file system that all machines share, at the same path"
            )


def _reads(path: Path, word: str) -> bool:
    deadline = time.monotonic() + SEEN_WITHIN_S
    while True:
        try:
            if path.read_text(encoding="utf-8") == word:
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
