"""What `--help` says: of the program its verbs, of a verb its flags."""

from __future__ import annotations

import textwrap

from absl import flags

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.cli.parse import flags_of
from t2igan.cli.verb import Verb
from t2igan.cli.verbs import VERBS
from t2igan.inference.files import shown

WIDTH = 110
_KINDS = {"string": "TEXT", "multi string": "TEXT", "int": "N", "float": "X", "path": "PATH", "multi path": "PATH"}


def of_program(program: str) -> str:
    """Returns the list of verbs."""
    widest = max(map(len, VERBS))
    verbs = [f"  {verb.name:<{widest}}  {verb.summary}" for verb in VERBS.values()]
    return "\n".join(
        [
            f"t2igan {__version__}: text-to-image GANs from captions and pictures of your own",
            "",
            f"  {program} VERB --flag=value ...",
            "",
            *verbs,
            "",
            f"`{program} VERB --help` lists the flags of a verb; without a verb it is `train`.",
        ]
    )


def of_verb(verb: Verb, program: str) -> str:
    """Returns what a verb does, examples, and its flags."""
    own = flags_of(verb)
    in_order = [own[name] for name in own.flag_values_dict()]  # as they were defined
    rows = [(f"--{flag.name}{_kind(flag)}", _about(flag)) for flag in in_order]
    if verb.configured:
        rows = [*config_rows(), *rows]
    examples = [f"  {program} {example}" for example in verb.examples]
    return "\n".join([f"{program} {verb.name}: {verb.summary}", "", *examples, "", *_table(rows)])


def config_rows() -> list[tuple[str, str]]:
    """Returns the two flags of a configuration, in the form of the others."""
    presets = ", ".join(config_lib.presets())
    where = shown(config_lib.PRESETS / "base.py")
    return [
        ("--config=NAME", f"{presets}; or a Python file with get_config()"),
        ("--config.KEY=VALUE", f"changes a key, such as --config.train.images=64000; all keys: {where}"),
    ]


def _kind(flag: flags.Flag) -> str:
    if flag.boolean:
        return ""
    if flag.name == "metrics":
        return "=A,B"
    return f"={_KINDS.get(flag.flag_type(), 'TEXT')}"


def _about(flag: flags.Flag) -> str:
    """What a flag does, with its default where it has one that its help does not say."""
    about = flag.help.split(";\n")[0]  # absl says of each flag that may repeat that it may
    default = flag.default
    if isinstance(default, bool) or not isinstance(default, int | float | str) or default == "":
        return about
    return f"{about} ({default:g})" if isinstance(default, float) else f"{about} ({default})"


def _table(rows: list[tuple[str, str]]) -> list[str]:
    """Two columns, the second wrapped."""
    left = max(len(name) for name, _ in rows) + 4
    lines = []
    for name, about in rows:
        wrapped = textwrap.wrap(about, WIDTH - left, break_long_words=False, break_on_hyphens=False)
        lines += [f"  {name:<{left - 2}}{wrapped[0]}", *(" " * left + line for line in wrapped[1:])]
    return lines
