"""From the words of a command line to a verb and what was given to it; every mistake is a `UserError` of a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from t2igan import config as config_lib
from t2igan.cli.overrides import first_line, with_overrides
from t2igan.cli.verb import Given, Verb, load_plugins
from t2igan.cli.verbs import DEFAULT, VERBS
from t2igan.errors import UserError, command, nearest

HELP = ("--help", "-help", "-h", "--h", "--helpfull", "--helpshort")


def flags_of(verb: Verb) -> FlagValues:
    """Returns the flags of a verb, without values yet; `--config` is not among them."""
    own = FlagValues()
    verb.define(own)
    return own


def split(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Returns the verb among the words, None where there is none, and the other words.

    The verb comes first as a rule. Behind flags it is the first word that is not the value of one.
    """
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        takes_value = before.startswith("-") and "=" not in before and not _is_switch(before)
        if not word.startswith("-") and not (takes_value and word not in VERBS):
            return word, [*words[:i], *words[i + 1 :]]
    return None, list(words)


def parse(verb: Verb, words: Sequence[str]) -> Given:
    """Reads a verb's flags and its configuration; plugins run before it.

    Raises:
      UserError: a flag that the verb lacks, a value that it does not take, no such configuration or key.
    """
    own = flags_of(verb)
    name, words = _config_name(verb, words)
    overrides = [word for word in words if _is_override(word)]
    positional = _read(verb, own, [word for word in words if not _is_override(word)])
    given = Given(**{flag: own[flag].value for flag in own})
    if positional and verb.words:
        paths = [config_lib.expanded(word, f"--{verb.words}") for word in positional]
        setattr(given, verb.words, [*(getattr(given, verb.words) or ()), *paths])
    elif positional:
        raise UserError(f"{positional[0]!r} is one word too many; flags look like --workdir=runs/base")
    load_plugins(getattr(given, "plugin", None) or ())
    if verb.configured:
        given.config = with_overrides(config_lib.get_config(name), overrides)
        given.config_file, given.overrides = config_lib.find(name)[0], tuple(overrides)
        given.config_name = given.config_file.stem
    return given


def _config_name(verb: Verb, words: Sequence[str]) -> tuple[str, list[str]]:
    """Returns what `--config` names, and the words without it; UserError where a verb wants it and it is not there."""
    name, rest, left = None, [], list(words)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        if flag not in ("--config", "-config"):
            rest.append(word)
            continue
        if not equals and not left:
            raise UserError(f"--config names no configuration; give --config=NAME: {_presets()}")
        name = value if equals else left.pop(0)
    changes = next((word for word in rest if _is_override(word)), None)
    if not verb.configured:
        if name is not None or changes:
            raise UserError(
                f"`{verb.name}` takes no {'--config' if name is not None else changes}: a run has its own configuration"
            )
        return "", rest
    if name is None:
        about = f", and {changes} changes a key of it" if changes else ""
        raise UserError(f"--config is missing{about}; give --config=NAME: {_presets()}")
    return name, rest


def _read(verb: Verb, own: FlagValues, words: Sequence[str]) -> list[str]:
    """Reads flags into `own`; returns the words that are none."""
    try:
        return own(["", *words])[1:]
    except flags.UnrecognizedFlagError as error:
        others = [f"`{other.name}`" for other in VERBS.values() if error.flagname in flags_of(other)]
        if others:
            hint = f", it is one of {', '.join(others)}."
        else:
            hint = nearest(f"--{error.flagname}", [f"--{flag}" for flag in [*own, *["config"] * verb.configured]])
        raise UserError(
            f"`{verb.name}` has no flag --{error.flagname}{hint} `{command(verb.name)} --help` lists its flags"
        ) from error
    except flags.Error as error:
        raise UserError(first_line(error)) from error


def plugins_among(words: Sequence[str]) -> list[Path]:
    """Returns the files of `--plugin` among the words, which may register the verb itself."""
    found = []
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag.lstrip("-") == "plugin" and word.startswith("-"):
            found += [value] if equals else list(words[i + 1 : i + 2])
    return [config_lib.expanded(path, "--plugin") for path in found]


def named(word: str | None) -> Verb:
    """Returns the verb of that name; UserError where there is none."""
    if word is None:
        return DEFAULT
    return VERBS[word]


def _is_override(word: str) -> bool:
    return word.lstrip("-").startswith(("config.", "noconfig.")) and word.startswith("-")


def _is_switch(word: str) -> bool:
    name = word.lstrip("-")
    return any(name in own and own[name].boolean for own in map(flags_of, VERBS.values()))


def _presets() -> str:
    return f"one of {', '.join(config_lib.presets())}, or a Python file with get_config()"
