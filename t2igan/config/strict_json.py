"""JSON that strangers may have written, bounded before it is read and without surprises after."""

from __future__ import annotations

import json
from typing import Any

from t2igan.errors import UserError

MAX_CONTAINERS = 500_000  # lists and groups: each takes memory of its own once it is read


def read_group(text: bytes | str, what: str) -> dict[str, Any]:
    """Returns the group that a JSON text holds, a name in it once.

    Raises:
      UserError: it is no JSON, nested too deeply, too large, says something twice, or is no group.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if raw.count(b"{") + raw.count(b"[") > MAX_CONTAINERS:
        raise UserError(f"{what} has more than {MAX_CONTAINERS:,} lists and groups")
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise UserError(f"{what} is nested too deeply to be of t2igan") from error
    except ValueError as error:  # what is no JSON, no UTF-8, a number of too many digits, or named twice
        raise UserError(f"{what} cannot be read: {str(error).splitlines()[0][:160]}") from error
    if not isinstance(value, dict):
        raise UserError(f"{what} is no group of names and values, but {type(value).__name__}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    group = dict(pairs)
    if len(group) < len(pairs):
        raise ValueError("a name in it is there twice")
    return group
