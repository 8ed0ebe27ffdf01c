"""Keys of a configuration as the command line changes them: `--config.group.key=value`."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from absl.flags import FlagValues
from ml_collections import ConfigDict, config_flags

from t2igan import config as config_lib
from t2igan.errors import UserError
from t2igan.inference.files import shown


def with_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Returns the configuration with keys changed as by `--config.group.key=value`; UserError for a key it lacks."""
    all_keys = shown(config_lib.PRESETS / "base.py")
    try:
        values = FlagValues()
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=["", *overrides])
        values(["", *overrides])
        return values.config
    except flags.Error as error:
        raise UserError(first_line(error)) from error
    except (AttributeError, KeyError) as error:
        text = str(error.args[0] if error.args else error).splitlines()[0]
        raise UserError(
            f"the configuration has no such key: {text}; {all_keys} has every key with its default"
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{first_line(error)}; {all_keys} has every key with its type") from error


def overridden(overrides: Sequence[str]) -> frozenset[str]:
    """Returns the dotted keys that overrides change: "data.source" of "--config.data.source=PATH"."""
    names = (word.partition("=")[0].lstrip("-") for word in overrides)
    return frozenset(name.removeprefix("no").removeprefix("config.") for name in names)


def first_line(error: Exception) -> str:
    """Returns the first line of what went wrong."""
    return str(error).strip().splitlines()[0]
