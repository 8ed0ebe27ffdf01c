"""Keys of clients: random texts of which the server keeps only hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from t2igan.errors import UserError

PREFIX = "t2i-"
_LINE = re.compile(r"([\w.@-]{1,64}) sha256:([0-9a-f]{64})")


class Key(NamedTuple):
    """A key as the server knows it."""

    name: str  # whose it is; in logs and for fair shares
    digest: str  # SHA-256 of the key, hexadecimal. The key has 256 random bits, so that no slower hash is wanted


def new_key(path: Path, name: str) -> str:
    """Makes a key, appends its hash to a file that only its owner can read, and returns the key: it is kept nowhere.

    Raises:
      UserError: the name is taken or no word, or the file cannot be written.
    """
    if not re.fullmatch(r"[\w.@-]{1,64}", name):
        raise UserError(f"--new_key={name!r} must be a word of letters, digits and . _ @ -, at most 64")
    if path.exists() and name in {key.name for key in read_keys(path, may_be_empty=True)}:
        raise UserError(f"{path} has a key of {name!r} already; delete its line first, or take another name")
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
            file.write(f"{name} sha256:{digest_of(key)}\n")
    except OSError as error:
        raise UserError(f"--keys={path} cannot be written: {error.strerror}") from error
    return key


def read_keys(path: Path, may_be_empty: bool = False) -> tuple[Key, ...]:
    """Reads a file of keys, a line each; empty lines and those that begin with # are left out.

    Raises:
      UserError: it cannot be read, a line is none, or there is no key in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--keys={path} cannot be read ({error}); make it with `t2igan serve --new_key=NAME --keys={path}`"
        ) from error
    keys = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if not found:
            raise UserError(f"{path}, line {number}: not 'NAME sha256:...'; `t2igan serve --new_key=NAME` writes it")
        keys.append(Key(found[1], found[2]))
    if not keys and not may_be_empty:
        raise UserError(f"--keys={path} has no key; make one with `t2igan serve --new_key=NAME --keys={path}`")
    return tuple(keys)


def digest_of(key: str) -> str:
    """Returns what the server keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def owner_of(key: str, keys: Sequence[Key]) -> str | None:
    """Returns the name that belongs to a key, None where there is none; takes as long for any key."""
    digest, name = digest_of(key), None
    for known in keys:
        if hmac.compare_digest(digest, known.digest):
            name = known.name
    return name
