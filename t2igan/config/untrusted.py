"""Configurations from files of strangers: what of a snapshot's configuration is accepted before anything is built.

The check of a run's configuration (`t2igan.config.checks`) is about settings that somebody chose. This one assumes that
every value may be meant to do harm: it bounds sizes, depth and types, so that building networks from what is left takes
neither long nor much memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from t2igan.config.auto import AUTO, WEIGHTS
from t2igan.config.stored import defaults
from t2igan.errors import UserError

MAX_GROUP_DEPTH = 4  # groups within groups
MAX_KEYS = 2_000  # the base preset has about 250
MAX_TEXT = 4_096  # characters of a text
MAX_ENTRIES = 64  # of a list
MAX_WHOLE = 2**53  # of any whole number; larger ones are none of JSON's everywhere
MAX_WIDTH = 65_536  # of whole numbers that say how large a network is
MAX_VOCABULARY = 2**20  # tokens of a tokenizer
MAX_BLOCKS = 128  # layers and blocks of all networks together
MAX_IMAGE_PX = 4_096

NETWORK_SECTIONS = (
    *("space", "text_encoder", "image_encoder", "generator", "discriminator"),
    *("inverter", "captioner", "completer"),
)


def check_untrusted(values: Any, where: str) -> None:
    """Raises `UserError` where a stored configuration is none that t2igan could have written, or far too large.

    Args:
      values: what the JSON text holds, of any type.
      where: the file, for the message.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: its configuration is no group of settings, but {type(values).__name__}")
    known, flat = defaults(), {}
    for key, value in _flat(values, known, where):
        flat[key] = value
        if len(flat) > MAX_KEYS:
            raise UserError(f"{where}: its configuration has more than {MAX_KEYS:,} keys")
        _check_value(key, value, where)
        if key in known:
            _check_type(key, value, known[key], where)
    for group in {key.split(".")[0] for key in known if "." in key}:
        if group in values and not isinstance(values[group], Mapping):
            raise UserError(f"{where}: config.{group}={_shown(values[group])} must be a group of settings")
    if missing := [section for section in ("data", "generator", "text_encoder") if section not in values]:
        raise UserError(f"{where}: its configuration has no section {missing[0]!r}")
    _check_sizes(known | flat, where)


def _flat(values: Mapping, known: Mapping, where: str, prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    if depth > MAX_GROUP_DEPTH:
        raise UserError(f"{where}: its configuration has groups more than {MAX_GROUP_DEPTH} deep")
    for key, value in values.items():
        if not key.isidentifier() or len(key) > 100:
            raise UserError(f"{where}: its configuration has a key {_shown(key)}, which is no name")
        if isinstance(value, Mapping) and prefix + key not in known:
            yield from _flat(value, known, where, f"{prefix}{key}.", depth + 1)
        else:
            yield prefix + key, list(value) if isinstance(value, tuple) else value  # tuples: not from a file yet


def _check_value(key: str, value: Any, where: str) -> None:
    """A number, a text, True or False, or a short list of these."""
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_ENTRIES and key != "sample.captions":
        raise UserError(f"{where}: config.{key} has {len(entries):,} entries; {MAX_ENTRIES} at most are accepted")
    for entry in entries:
        number = isinstance(entry, int | float) and not isinstance(entry, bool)
        if number and not (math.isfinite(entry) and abs(entry) <= MAX_WHOLE):
            raise UserError(f"{where}: config.{key}={_shown(value)} is no number that a setting can have")
        if isinstance(entry, str) and len(entry) > MAX_TEXT:
            raise UserError(f"{where}: config.{key} is a text of {len(entry):,} characters; {MAX_TEXT:,} at most")
        if not isinstance(entry, int | float | str) and entry is not None:
            raise UserError(f"{where}: config.{key}={_shown(value)} is neither a number nor a text nor a list of them")


def _check_type(key: str, value: Any, default: Any, where: str) -> None:
    """The type that the base preset's value of the same key has; a whole number will do where fractions may be."""
    same = type(value) is type(default) or (isinstance(default, float) and type(value) is int)
    several = key == "data.source" and isinstance(value, list)  # names of several sources
    if not (same or several or (key in WEIGHTS and value == AUTO)):
        raise UserError(f"{where}: config.{key}={_shown(value)} must be {_TYPES[type(default)]}")


_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}


def _check_sizes(flat: Mapping[str, Any], where: str) -> None:
    """Widths, depths and the picture's size are bounded, each and together, before a network is described."""
    for key, value in flat.items():
        section = key.split(".")[0]
        most = MAX_VOCABULARY if section == "tokenizer" else MAX_WIDTH
        if section in (*NETWORK_SECTIONS, "tokenizer"):
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, int) and not 0 <= entry <= most:
                    raise UserError(f"{where}: config.{key}={_shown(value)} must lie between 0 and {most:,}")
    if not 1 <= flat["data.image_size_px"] <= MAX_IMAGE_PX:
        raise UserError(
            f"{where}: config.data.image_size_px={flat['data.image_size_px']} must lie between 1 and {MAX_IMAGE_PX:,}"
        )
    if flat["data.channels"] not in (1, 3, 4):
        raise UserError(f"{where}: config.data.channels={flat['data.channels']} must be 1, 3 or 4")
    if (blocks := sum(_blocks(flat, section) for section in NETWORK_SECTIONS)) > MAX_BLOCKS:
        raise UserError(f"{where}: its networks have {blocks:,} layers and blocks; {MAX_BLOCKS} at most are accepted")


def _blocks(flat: Mapping[str, Any], section: str) -> int:
    """How many layers and blocks a section asks for, map size by map size."""
    sizes = [len(value) for key, value in flat.items() if key.startswith(f"{section}.") and isinstance(value, list)]
    return sum(sizes) * max(flat.get(f"{section}.blocks", 1), 1) + flat.get(f"{section}.layers", 0)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
