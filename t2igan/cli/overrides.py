"""Keys of a configuration as the command line changes them: `--config.group.key=value`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl.flags import FlagValues
from ml_collections import ConfigDict, config_flags

from t2igan import config as config_lib
from t2igan.errors import UserError, nearest
from t2igan.inference.files import shown

KINDS = {int: "a whole number", float: "a number", bool: "True or False", tuple: "values in brackets"}


def with_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Returns the configuration with keys changed as by `--config.group.key=value`.

    Raises:
      UserError: it has no such key, the key is a group of others, or the value is of another type.
    """
    for name in sorted(overridden(overrides)):
        _require_key(config, name)
    try:
        values = FlagValues()
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=["", *overrides])
        values(["", *overrides])
        return values.config
    except flags.Error as error:
        raise UserError(_wrong_type(config, error)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{first_line(error)}; {_all_keys()} has every key with its type") from error


def overridden(overrides: Sequence[str]) -> frozenset[str]:
    """Returns the dotted keys that overrides change: "data.source" of "--config.data.source=PATH"."""
    names = (word.partition("=")[0].lstrip("-") for word in overrides if word.startswith("-"))
    return frozenset(name.removeprefix("no").removeprefix("config.") for name in names)


def first_line(error: Exception) -> str:
    """Returns the first line of what went wrong."""
    return str(error).strip().splitlines()[0]


def _require_key(config: ConfigDict, name: str) -> Any:
    """Returns the value of a dotted key; UserError where there is none, or where it is a group of keys."""
    value, path = config, "config"
    for part in name.split("."):
        if not isinstance(value, ConfigDict):
            raise UserError(f"there is no config.{name}: {path}={value!r} is no group of keys")
        key, index, _ = part.partition("[")
        if key not in value:
            near = nearest(key, value).replace("'", f"{path}.", 1).replace("'", "")
            raise UserError(f"there is no config.{name}{near} {_all_keys()} has every key with its default")
        value, path = value[key], f"{path}.{key}"
        if index:
            raise UserError(f"config.{name}: values are given together, as in --{path}={_written(value)}")
    if isinstance(value, ConfigDict):
        raise UserError(f"{path} is a group of keys; give one of them a value, as in --{path}.{next(iter(value))}=...")
    return value


def _wrong_type(config: ConfigDict, error: flags.Error) -> str:
    """Returns what to say of a value that a key does not take."""
    found = re.match(r"flag --config\.([\w.]+)=(.*?): ", first_line(error))
    if not found:
        return first_line(error)
    name, given = found.groups()
    default = _require_key(config, name)
    return f"config.{name}={given} must be {KINDS.get(type(default), 'of its type')}, such as {_written(default)}"


def _written(value: Any) -> str:
    """Returns a value as it is written behind a flag."""
    return f'"{value}"' if isinstance(value, tuple) else str(value)


def _all_keys() -> str:
    return shown(config_lib.PRESETS / "base.py")
