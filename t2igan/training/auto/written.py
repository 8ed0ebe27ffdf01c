"""What was chosen, as a configuration file in the run's folder: to be read, edited, and trained by again."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from t2igan import config as config_lib
from t2igan.config import get_config
from t2igan.errors import UserError
from t2igan.training.auto.choose import FILE_NAME, Decision

WIDTH = 116


def as_python(config: ConfigDict, decisions: Sequence[Decision], risks: Sequence[str], minutes: float) -> str:
    """Returns a Python file whose `get_config()` returns the configuration: what differs from base.py, and why.

    What no decision accounts for, networks and what was given on the command line, comes last.
    """
    changed = changes(config)
    said = [f"{decision.about}: {decision.why}" for decision in decisions] + [f"at risk: {risk}" for risk in risks]
    lines = [
        f'"""Chosen for {minutes:g} minutes by --config=auto; docs/auto.md says by which rules.',
        "",
        "Edit what you like, before the training has begun; or train by it in another folder:",
        "",
        f"    t2igan train --config={FILE_NAME} --workdir=NEW",
        '"""',
        "",
        "import t2igan",
        "",
        f"MINUTES = {minutes!r}",
        "",
        "",
        "def get_config():",
        '    """Returns the default configuration with what was chosen."""',
        '    config = t2igan.get_config("base").unlock()',
    ]
    left = dict(changed)
    for line, decision in zip(said, [*decisions, *[None] * len(risks)], strict=True):
        lines += ["", *textwrap.wrap(_one_line(line), WIDTH, initial_indent="    # ", subsequent_indent="    # ")]
        if decision is not None:
            lines += [_assignment(key, left.pop(key)) for key in decision.values if key in left]
    if left:
        lines += ["", "    # networks, and what was given besides"]
        lines += [_assignment(key, value) for key, value in left.items()]
    return "\n".join([*lines, "", "    return config.lock()", ""])


def changes(config: ConfigDict) -> dict[str, Any]:
    """Returns {dotted key: value} of all in which a configuration differs from base.py."""
    base = config_lib.flatten(get_config("base"))
    flat = config_lib.flatten(config)
    original = {key: config_lib.get(config, key) for key in flat}
    return {key: original[key] for key in flat if flat[key] != base.get(key) or type(flat[key]) is not type(base[key])}


def read(path: Path, minutes: float, source: str) -> ConfigDict:
    """Returns the configuration that was chosen before.

    Raises:
      UserError: the file cannot be used, or was chosen for other minutes or other pictures.
    """
    config = config_lib.get_config(path)
    module = config_lib.load_module(path, f"t2igan_config_{path.stem}")
    before = getattr(module, "MINUTES", minutes)
    if before != minutes:
        raise UserError(
            f"{path} was chosen for --minutes={before:g}, not for {minutes:g}; give {before:g} again to go on, choose "
            f"another --workdir, or delete that file where nothing has been trained yet"
        )
    if source and source != config.data.source and not (path.parent / "config.json").is_file():
        raise UserError(
            f"{path} was chosen for config.data.source={config.data.source}, not for {source}; choose another "
            f"--workdir, or delete that file to have it chosen anew"
        )
    return config


def _assignment(key: str, value: Any) -> str:
    return f"    config.{key} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping | ConfigDict):
        raise TypeError(f"{value!r} is no plain value")
    return repr(tuple(value)) if isinstance(value, list | tuple) else repr(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
