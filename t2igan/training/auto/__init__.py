"""A configuration for a folder of pictures and a number of minutes: `train --config=auto`, `t2igan.auto_config`.

It looks at the data and at the machine (`facts.py`, `machine.py`), chooses by pure functions of what it found
(`choose.py`, `shapes.py`, `lengths.py`), says what and why, and writes a configuration file (`written.py`) that is read
the next time instead of choosing anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from t2igan import config as config_lib
from t2igan.config.checks import check
from t2igan.data import check_all_usable, open_datasets, split_names
from t2igan.data.peek import peek
from t2igan.errors import UserError
from t2igan.inference.files import shown, write_text
from t2igan.training.auto import machine as machine_lib
from t2igan.training.auto import written
from t2igan.training.auto.choose import (
    FILE_NAME,
    Decision,
    check_minutes,
    choose,
    choose_shape,
    configured,
    risks,
)
from t2igan.training.auto.facts import DataFacts, MachineFacts, data_facts
from t2igan.training.auto.lengths import lengths
from t2igan.training.distributed import parallel, processes
from t2igan.training.logs import say, speak

__all__ = ["FILE_NAME", "MINUTES", "auto_config", "chosen"]

MINUTES = 30.0
Change = Callable[[ConfigDict], ConfigDict]


def auto_config(
    source: str | Path, workdir: str | Path, minutes: Any = MINUTES, changes: Mapping[str, Any] | None = None
) -> ConfigDict:
    """Returns a configuration for a folder of pictures, as `train --config=auto` chooses it; prints what and why.

    `t2igan.train(t2igan.auto_config("pets", "runs/pets"), "runs/pets")` trains by it, and goes on where it was stopped.

    Args:
      source: what `config.data.source` may be: a folder, an archive, a table...
      workdir: the run's folder; what was chosen is kept there in `auto_config.py`, and read the next time.
      minutes: that the whole training may take on this machine, from 1 to 20,160.
      changes: dotted keys that are given rather than chosen, such as {"data.image_size_px": 64}.

    Raises:
      UserError: there is no such data, it is too little, or a value is not accepted.
    """
    changes = {"data.source": str(source)} | dict(changes or {})

    def change(config: ConfigDict) -> ConfigDict:
        config = config.copy_and_resolve_references().unlock()
        known = config_lib.flatten(config)
        if wrong := sorted(changes.keys() - known.keys()):
            raise UserError(f"changes[{wrong[0]!r}] is no key of a configuration; configs/base.py has them all")
        try:
            config.update_from_flattened_dict(changes)
        except (TypeError, ValueError) as error:
            raise UserError(f"changes={changes!r}: {str(error).splitlines()[0]}") from error
        return config.lock()

    return chosen(config_lib.expanded(workdir, "workdir"), minutes, change, frozenset(changes))


def chosen(
    workdir: Path, minutes: Any, change: Change, given_keys: frozenset[str] = frozenset(), keep: bool = True
) -> ConfigDict:
    """Returns what was chosen before in a run's folder, or chooses, says why, and keeps it there.

    Several processes, which `processes.start` has brought together, read what one alone has chosen.

    Args:
      workdir: the run's folder.
      minutes: for the whole training.
      change: gives a configuration the values that the user gave; its keys are `given_keys`.
      given_keys: see `change`.
      keep: whether the file is written.

    Raises:
      UserError: there is no such data, it is too little, or a value is not accepted.
    """
    minutes = check_minutes(minutes)
    wished = change(config_lib.get_config("auto"))
    if not wished.data.source:
        raise UserError(
            "--config=auto looks at pictures of your own, and config.data.source names none; give "
            "--config.data.source=PATH, a folder of pictures with captions or anything else of docs/data.md"
        )
    speak(processes.leads())
    path = workdir / FILE_NAME
    if processes.from_leader(path.is_file):
        say(f"{shown(path)}: chosen before, and kept; edit it, or delete it to have it chosen anew")
        return change(written.read(path, minutes, wished.data.source))
    if processes.count() > 1:
        raise UserError(
            f"--config=auto measures what one process can do, and there are {processes.count()}; begin with one, which "
            f"writes {path}, stop it, and go on with several"
        )
    parallel.start(processes.local_cpu_devices(wished.devices))
    config, text = _choose(wished, minutes, change, given_keys)
    if keep:
        write_text(path, text)
        say(f"kept in {shown(path)}, to be read and edited")
    return config.lock()


def _choose(wished: ConfigDict, minutes: float, change: Change, given_keys: frozenset[str]) -> tuple[ConfigDict, str]:
    """Looks, measures, chooses and says; returns the configuration and the text of its file."""
    start = time.perf_counter()
    say(f"auto: looking at {wished.data.source} and at this machine, for a training of {minutes:g} minutes")
    seen = peek(wished.data)
    if seen is None:  # opening says why
        open_datasets(wished.data, split_names(wished.data))
        raise UserError(f"{wished.data.source}: not one of its pictures can be opened")
    machine = machine_lib.measure(wished.devices)
    fixed_px = wished.data.image_size_px if "data.image_size_px" in given_keys else 0
    shape, why = choose_shape(seen, machine, minutes, fixed_px)
    size = Decision("size", why, {"data.image_size_px": shape.size_px})
    opening = change(configured(shape, [size]))
    opened = open_datasets(opening.data, split_names(opening.data))
    check_all_usable(opened, opening.data)
    data = data_facts(seen, opened, opening.tokenizer)
    decisions = [size, *choose(shape, data, machine)]
    config = change(configured(shape, decisions))
    check(config)
    rates = machine_lib.timed(config)
    more, images = lengths(config, data, machine, rates, minutes, time.perf_counter() - start)
    decisions += more
    config = change(configured(shape, decisions))
    check(config)
    facts = [Decision("data", data_line(data)), Decision("machine", machine_line(machine))]
    at_risk = risks(data, images, machine)
    for decision in [*facts, *decisions]:
        say(f"  {decision.about:<13}{decision.why}")
    for risk in at_risk:
        say(f"  {'at risk':<13}{risk}")
    given = sorted(key for key in given_keys if key != "data.source")
    if given:
        say(f"  {'given':<13}{', '.join(f'{key}={config_lib.get(config, key)!r}' for key in given)}")
    return config, written.as_python(config, [*facts, *decisions], at_risk, minutes)


def data_line(data: DataFacts) -> str:
    """Returns the facts of the data in a line."""
    return (
        f"{data.pictures:,} pictures to train on ({data.distinct:,} different), {data.held_out[0]:,} to validate on, "
        f"{data.held_out[1]:,} to test on; {data.width_px} x {data.height_px} px (median), {data.style}; "
        f"{data.captions:,} different captions of {data.caption_words} words (median)"
    )


def machine_line(machine: MachineFacts) -> str:
    """Returns the facts of the machine in a line."""
    memory = f", {machine.memory_bytes / 1e9:.0f} GB" if machine.memory_bytes else ""
    speed = f"{machine.float32_flop_s / 1e9:,.0f} GFLOP/s of convolutions"
    if machine.bfloat16_flop_s:
        speed += f", {machine.bfloat16_flop_s / 1e9:,.0f} in bfloat16"
    return f"{machine.devices} x {machine.kind} ({machine.cores} cores{memory}): {speed}"
