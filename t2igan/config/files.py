"""Configurations by name: the presets, and files of one's own; both are Python files with a `get_config()`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from t2igan.config.paths import expanded
from t2igan.config.values import flatten
from t2igan.errors import UserError, nearest

# An installed package has them inside; in a clone they lie at the top, where they are easily found and read.
_INSTALLED = Path(__file__).parent / "presets"
PRESETS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "configs"


def presets() -> tuple[str, ...]:
    """Returns the names of the presets: "base" first, then the others in order."""
    names = sorted(path.stem for path in PRESETS.glob("*.py") if not path.stem.startswith("_"))
    return tuple(sorted(names, key=lambda name: name != "base"))


def get_config(name: str | Path = "base") -> ConfigDict:
    """Returns the configuration of a preset or of a file; its keys can be changed, but none can be added.

    Args:
      name: a preset ("base", "folder", ...) or a Python file with `get_config()`; "FILE.py:TEXT" calls
        `get_config(TEXT)`. What lies beside a file can be imported by it.

    Raises:
      UserError: there is no such preset or file, or it is no configuration.
    """
    path, argument = find(name)
    module = load_module(path, f"t2igan_config_{path.stem}")
    make = getattr(module, "get_config", None)
    if not callable(make):
        raise UserError(f"the configuration {path} cannot be read: it has no function get_config()")
    try:
        config = make(*argument)
    except Exception as error:
        raise _said_of(error, path) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config() returned {type(config).__name__}, not a ml_collections.ConfigDict")
    return config.lock()


def find(name: str | Path) -> tuple[Path, tuple[str, ...]]:
    """Returns the file of a preset's name or of a path, and the argument behind a colon, if any; UserError for none."""
    if not isinstance(name, str | Path):
        raise UserError(f"config={name!r} must be {CONFIGURATIONS}")
    text, colon, argument = str(name).partition(":")
    if colon and len(text) == 1 and not expanded(text, "--config").is_file():  # C:\folder\file.py
        drive = text
        text, colon, argument = argument.partition(":")
        text = f"{drive}:{text}"
    path = PRESETS / f"{text}.py" if text in presets() else expanded(text, "--config")
    if not path.is_file():
        stem = Path(text).stem
        near = nearest(stem, presets()) if stem not in presets() else f"; did you mean {stem!r}?"
        raise UserError(f"--config={text} is neither a file nor a preset{near} Presets are {', '.join(presets())}")
    return path, (argument,) if colon else ()


CONFIGURATIONS = "a ConfigDict as of t2igan.get_config(), the name of a preset, or a Python file with get_config()"


def as_config(config: Any) -> ConfigDict:
    """Returns the configuration that a caller means; see `CONFIGURATIONS`. UserError for anything else."""
    if isinstance(config, str | Path):
        return get_config(config)
    if not isinstance(config, ConfigDict):
        raise UserError(f"config must be {CONFIGURATIONS}, not {type(config).__name__}")
    missing = sorted(flatten(get_config("base")).keys() - flatten(config).keys())
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(
            f"the configuration lacks {', '.join(missing[:3])}{more}; begin with t2igan.get_config('base'), which has "
            f"every key, and change what you like"
        )
    return config


def load_module(path: Path, name: str) -> ModuleType:
    """Runs a user's Python file and returns it as a module; what lies beside it can be imported.

    A file that was run before under this name, and has not changed, is not run again: what it registers is registered.

    Raises:
      UserError: it cannot be read or ends with an error; names the line.
    """
    state = (str(path.absolute()), path.stat().st_mtime_ns) if path.is_file() else None
    if state is not None and getattr(sys.modules.get(name), "_t2igan_file", None) == state:
        return sys.modules[name]
    folder = str(path.absolute().parent)
    if path.parent != PRESETS and folder not in sys.path:
        sys.path.append(folder)  # last: a file beside it must not hide a module of Python's or another library's
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be read: it is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    module._t2igan_file = state  # type: ignore[attr-defined]
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _said_of(error, path) from error
    return module


def _said_of(error: Exception, path: Path) -> UserError:
    """The error of a user's file in a line, with the line of the user's where it arose."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, SyntaxError):
        where, what = f"{error.filename or path}, line {error.lineno}", f"SyntaxError: {error.msg}"
    else:
        folder = path.absolute().parent
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
        where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(path)
        first = (str(error).splitlines() or [""])[0]
        what = f"{type(error).__name__}: {first}"
    if isinstance(error, ModuleNotFoundError) and error.name == "configs":
        what += '. Write `import t2igan` and `t2igan.get_config("base")` instead'
    return UserError(f"{where} cannot be used: {what}")
