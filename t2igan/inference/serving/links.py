"""Addresses of pictures: a signed recipe, drawn again when somebody asks; nothing is stored.

An address is `TOKEN.png`. The token is the compressed recipe and, behind a dot, 16 bytes of its HMAC-SHA-256, both in
the URL-safe alphabet of base64. It stays good after a restart as long as the secret and the model are the same.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from t2igan.errors import UserError
from t2igan.inference.serving.answers import ApiError

_MAC_BYTES = 16
_LONGEST_RECIPE = 200_000  # bytes, uncompressed: a short token cannot become gigabytes


class Recipe(NamedTuple):
    """All that a picture depends on."""

    model: str  # hash of its weights
    prompt: str
    seed: int
    truncation: float
    guidance: float
    px: int  # as handed out, enlarged
    form: str  # "png", "jpeg", "webp"
    quality: int
    negative: str = ""
    as_caption: bool = False


def sign(recipe: Recipe, secret: bytes, expires_s: int) -> str:
    """Returns the token of a recipe that is good until `expires_s`, in seconds since 1970."""
    text = json.dumps([expires_s, *recipe], ensure_ascii=False, separators=(",", ":"))
    packed = zlib.compress(text.encode("utf-8", "replace"), 9)
    return f"{_text(packed)}.{_text(_mac(packed, secret))}"


def read(token: str, secret: bytes) -> tuple[Recipe, int]:
    """Returns what `sign` was given: the recipe and when it expires.

    Raises:
      ApiError: 404, the token was not made with this secret, or its time is over.
    """
    try:
        body, _, mac = token.partition(".")
        packed = _bytes(body)
        if not hmac.compare_digest(_bytes(mac), _mac(packed, secret)):
            raise ValueError("wrong signature")
        expires_s, *rest = json.loads(zlib.decompressobj().decompress(packed, _LONGEST_RECIPE))
        recipe = Recipe(*rest)
    except (ValueError, TypeError, zlib.error, binascii.Error) as error:
        raise ApiError(404, "There is no picture at this address.", code="not_found") from error
    if expires_s < time.time():
        raise ApiError(404, "This address has expired; ask for the picture again.", code="expired")
    return recipe, expires_s


class Kept:
    """Files that no recipe makes again (edits of a picture that somebody sent), in memory; the oldest are let go."""

    def __init__(self, most_bytes: int = 64 * 2**20):
        """Makes an empty store of at most so many bytes."""
        self._most, self._bytes = most_bytes, 0
        self._files: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def keep(self, file: bytes, form: str, seconds: int) -> str:
        """Returns a name that nobody can guess, ending in ".FORM", under which `get` finds the file."""
        name = f"{secrets.token_urlsafe(24)}.{form}"
        self._files[name] = (time.time() + seconds, file)
        self._bytes += len(file)
        while self._bytes > self._most:
            self._bytes -= len(self._files.popitem(last=False)[1][1])
        return name

    def get(self, name: str) -> tuple[bytes, int] | None:
        """Returns a file and for how many seconds it is still kept, None where it is not here (any more)."""
        until, file = self._files.get(name, (0.0, b""))
        left_s = until - time.time()
        return (file, int(left_s)) if left_s > 0 else None


def kept_secret(path: Path) -> bytes:
    """Returns the secret that lies in a file, which is made, readable by its owner alone, where there is none.

    Raises:
      UserError: the file is shorter than 16 bytes, or cannot be read or written.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                contextlib.suppress(FileExistsError),
                os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
            ):
                file.write(secrets.token_hex(32) + "\n")
        secret = path.read_bytes().strip()
    except OSError as error:
        raise UserError(f"--link_secret={path} cannot be read or written: {error.strerror}") from error
    if len(secret) < 16:
        raise UserError(f"--link_secret={path} has {len(secret)} bytes; at least 16 that nobody can guess are wanted")
    return secret


def _mac(packed: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, packed, hashlib.sha256).digest()[:_MAC_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
