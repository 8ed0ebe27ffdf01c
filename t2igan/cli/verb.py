"""What a verb is, and the flags that several verbs have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace as Given  # what was given: a value a flag

from absl import flags
from absl.flags import FlagValues

from t2igan import config as config_lib
from t2igan.errors import UserError


@dataclass(frozen=True)
class Verb:
    """One thing that the command line does.

    `summary` is a line for the list of verbs; `examples` are command lines without the program's name, run by the
    tests; `define` adds the verb's flags to an empty `absl.flags.FlagValues`, and `run` gets their values by name. A
    verb with `configured` has `--config` and its overrides besides: `config` is the `ConfigDict`, `config_name` the
    preset's or file's name, `config_file` where it lies, `overrides` the overrides as they were typed.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    define: Callable[[FlagValues], None]
    run: Callable[[Given], None]
    configured: bool = False
    words: str = ""  # the flag for paths that plain words are given to, as files are


class PathParser(flags.ArgumentParser):
    """A path, with `~` expanded: shells leave it as it is behind "--out="."""

    syntactic_help = "a path"

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def parse(self, argument: str | Path) -> Path:
        """Returns the path; UserError where the home folder is not known."""
        return config_lib.expanded(argument, f"--{self.name}")

    def flag_type(self) -> str:
        """What the help shows."""
        return "path"


def define_path(given: FlagValues, name: str, text: str) -> None:
    """Adds a flag for a path that may be left out: a `Path` or None."""
    flags.DEFINE(PathParser(name), name, None, text, flag_values=given, serializer=flags.ArgumentSerializer())


def define_paths(given: FlagValues, name: str, text: str) -> None:
    """Adds a flag for paths that may be given several times: a list of `Path`, or None."""
    flags.DEFINE_multi(PathParser(name), flags.ArgumentSerializer(), name, None, text, flag_values=given)


def define_workdir(given: FlagValues, text: str = "folder of the run, such as runs/base") -> None:
    """Adds `--workdir`, which is read by `workdirs` or `workdir`."""
    define_paths(given, "workdir", text)


def define_which(given: FlagValues) -> None:
    """Adds `--which`: the latest or the best model of a run's folder, as in `t2igan.load`."""
    flags.DEFINE_enum(
        "which",
        "latest",
        ["latest", "best"],
        "of a run's folder: the latest model, or the one that did best when it was evaluated on the way",
        flag_values=given,
    )


def define_plugin(given: FlagValues) -> None:
    """Adds `--plugin`: Python files that run first; all verbs that load a snapshot have it."""
    define_paths(given, "plugin", "Python file to run first: it registers networks or losses of your own; may repeat")


def load_plugins(paths: Iterable[Path]) -> None:
    """Runs the files of `--plugin`, each once; other files can import them by their names."""
    for path in paths:
        if not path.is_file():
            raise UserError(f"--plugin={path} is not a file; give a Python file that registers what is yours")
        there = getattr(sys.modules.get(path.stem), "__file__", None)
        if path.stem in sys.modules and (there is None or Path(there).absolute() != path.absolute()):
            raise UserError(f"--plugin={path} has the name of another module, {path.stem}; call the file otherwise")
        config_lib.load_module(path, path.stem)


def workdirs(given: Given, verb: str) -> list[Path]:
    """The folders that a verb cannot do without, one or more."""
    if not given.workdir:
        raise UserError(f"--workdir is missing; `{verb}` wants the folder of a run, such as --workdir=runs/base")
    return given.workdir


def workdir(given: Given, verb: str) -> Path:
    """The one folder of a verb; UserError for several."""
    found = workdirs(given, verb)
    if len(found) > 1:
        raise UserError(f"--workdir is given {len(found)} times; `{verb}` takes one, only `evaluate` several")
    return found[0]


def number_of_pictures(given: Given, default: int) -> int:
    """--num, or what the verb takes without it; UserError for none."""
    num = default if given.num is None else given.num
    if num < 1:
        raise UserError(f"--num={num} must be 1 or more")
    return num
