"""What strangers send, changed at random and read: each ends in something read or in a refusal, soon and small.

    python -m benchmarks.fuzz --seconds=300 --snapshot=runs/base/snapshot.safetensors --seed=0

Of snapshots, bytes are changed anywhere or in the header, or a value is exchanged in the header, the configuration, the
tokenizer or the metrics; of pictures, masks and signatures bytes or values; of requests to the server the body, JSON or
a form with files, up to where drawing would begin. Prints how many there were, how they ended, and the slowest; ends
with code 1 where anything else than a `UserError` or a refusal of the server (below 500) was raised, or where one took
longer than 2 s (of this process's CPU time).
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import io
import json
import logging
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.requests import Request

import t2igan
from t2igan.errors import UserError
from t2igan.inference.editing.given import decoding_of, read_mask, read_picture
from t2igan.inference.provenance import picture_bytes, read_claims
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.edits import EditBody
from t2igan.inference.serving.guard import Exchange
from t2igan.inference.serving.models import Catalogue, open_model
from t2igan.inference.serving.parameters import checked, read_fields, read_form, typed
from t2igan.inference.serving.settings import Settings
from t2igan.inference.signatures import signed

MAX_S = 2.0
KINDS = (
    "bytes",
    "header bytes",
    "header",
    "config",
    "tokenizer",
    "metrics",
    "seen",
    "truncated",
    "picture",
    "signature",
    "mask",
    "body",
    "body bytes",
    "form",
)
BODY = {
    **{"prompt": "red", "model": None, "n": 2, "size": "128x128", "response_format": "b64_json", "stream": False},
    **{"output_format": "png", "output_compression": 90, "seed": 1, "truncation": 1.0, "guidance": 1.0},
    **{"negative_prompt": "hat, (red:1.2)", "cut_long": False, "user": "x", "quality": "auto"},
}
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nred AND (cap:1.3)\r\n'
    b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nIMAGE\r\n'
    b'--x\r\nContent-Disposition: form-data; name="mask"; filename="b.png"\r\n\r\nMASK\r\n--x--\r\n'
)
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 3, 2**31, 2**63, 10**30, 1e30, float("nan"), float("inf"), True, None),
    *("", "x", "64", "\0", "../x", "é" * 300, [], [0], [[[]]], [96] * 1000, {}, {"a": {"b": 1}}),
)


def places(tree: Any, at: tuple = ()) -> Iterator[tuple]:
    """Yields the keys that lead to each value of a JSON tree."""
    if at:
        yield at
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*at, key))


def exchanged(tree: Any, chance: random.Random) -> Any:
    """Returns a JSON tree with a value exchanged, left out or put in."""
    tree = copy.deepcopy(tree)
    at = chance.choice([*places(tree), ()])
    if not at:
        return chance.choice(VALUES)
    node = tree
    for key in at[:-1]:
        node = node[key]
    what = chance.random()
    if what < 0.2 and isinstance(node, dict):
        del node[at[-1]]
    elif what < 0.3 and isinstance(node, dict):
        node[chance.choice(["x", "__metadata__", "a/b", "kind"])] = chance.choice(VALUES)
    else:
        node[at[-1]] = chance.choice(VALUES)
    return tree


def mutated(raw: bytes, kind: str, chance: random.Random) -> bytes:
    """Returns a snapshot's bytes with something changed."""
    (length,) = struct.unpack("<Q", raw[:8])
    if kind == "truncated":
        return raw[: chance.randrange(len(raw))]
    if kind in ("bytes", "header bytes"):
        changed = bytearray(raw)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(raw) if kind == "bytes" else 8 + length)] = chance.randrange(256)
        return bytes(changed)
    header = json.loads(raw[8 : 8 + length])
    if kind == "header":
        header = exchanged(header, chance)
    elif kind in header["__metadata__"]:
        header["__metadata__"][kind] = json.dumps(exchanged(json.loads(header["__metadata__"][kind]), chance))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + raw[8 + length :]


def with_bytes_changed(raw: bytes, chance: random.Random, most: int = 8) -> bytes:
    """Returns bytes of which a few are others."""
    changed = bytearray(raw)
    for _ in range(chance.randint(1, most)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def picture_file(
    chance: random.Random, forms: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
) -> bytes:
    """Returns a small picture of any form, half of them grey with transparency."""
    file = io.BytesIO()
    pixels = np.random.default_rng(chance.randrange(2**32)).integers(0, 256, (16, 16, 3), np.uint8)
    form = chance.choice(forms)
    picture = Image.fromarray(pixels)
    if form in ("PNG", "TIFF") and chance.random() < 0.5:
        picture = picture.convert("LA")
    picture.save(file, format=form)
    return file.getvalue()


class Strangers:
    """Reads one changed file or request after another, as the commands and the server do."""

    def __init__(self, snapshot: Path, folder: Path):
        self.raw, self.folder = snapshot.read_bytes(), folder
        self.catalogue, self.settings = Catalogue([open_model(snapshot, "tiny")]), Settings()
        self.how = decoding_of(self.catalogue.default.model.config)
        self.loop = asyncio.new_event_loop()

    def attempt(self, kind: str, chance: random.Random) -> str:
        """Reads one; returns how that ended."""
        try:
            getattr(self, f"_{kind.replace(' ', '_')}", self._snapshot)(kind, chance)
        except UserError:
            return "UserError"
        except ApiError as refusal:
            if refusal.status >= 500:
                raise
            return "refused"
        return "read"

    def _snapshot(self, kind: str, chance: random.Random) -> None:
        path = self.folder / "x.safetensors"
        path.write_bytes(mutated(self.raw, kind, chance))
        t2igan.load(path)

    def _picture(self, _: str, chance: random.Random) -> None:
        form = chance.choice(["PNG", "JPEG", "WEBP"])
        path = self.folder / f"x.{form.lower()}"
        whole = picture_bytes(np.zeros((8, 8, 3), np.uint8), form, {"prompt": "red", "seed": 1})
        path.write_bytes(with_bytes_changed(whole, chance))
        read_claims(path)

    def _signature(self, _: str, chance: random.Random) -> None:
        path = self.folder / "y"
        path.write_bytes(b"file")
        parts = {"public_key": "A" * 43 + "=", "signature": "A" * 86 + "==", "sha256": "0" * 64}
        (self.folder / "y.sig").write_text(json.dumps(exchanged(parts, chance)))
        signed(path)

    def _mask(self, _: str, chance: random.Random) -> None:
        picture = read_picture(picture_file(chance, ("PNG",)), self.how)
        read_mask(with_bytes_changed(picture_file(chance), chance), picture, self.how)

    def _body(self, _: str, chance: random.Random) -> None:
        self._generation(json.dumps(exchanged(BODY, chance)).encode())

    def _body_bytes(self, _: str, chance: random.Random) -> None:
        self._generation(with_bytes_changed(json.dumps(BODY).encode(), chance, 3))

    def _generation(self, body: bytes) -> None:
        fields = self.loop.run_until_complete(read_fields(_request(body, "application/json", self.settings)))
        checked(fields, self.catalogue, self.settings)

    def _form(self, _: str, chance: random.Random) -> None:
        body = FORM.replace(b"IMAGE", picture_file(chance)).replace(b"MASK", picture_file(chance))
        request = _request(with_bytes_changed(body, chance), "multipart/form-data; boundary=x", self.settings)
        fields, files = self.loop.run_until_complete(read_form(request))
        typed(fields, EditBody)
        picture = read_picture(files.get("image", [b""])[0], self.how)
        read_mask(files.get("mask", [b""])[0], picture, self.how)


def _request(body: bytes, kind: str, settings: Settings) -> Request:
    """A request as the server's routes get it."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError(f"nothing is answered here, not {message}")

    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "headers": headers, "path": "/", "query_string": b""}
    scope["app"] = None  # within an app Starlette refuses broken forms by an HTTPException
    Exchange(scope, receive, send, settings)  # which the scope has from here on, as behind the server's guard
    return Request(scope, receive)


def main() -> int:
    """Mutates for so many seconds of CPU time."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--snapshot", type=Path, required=True)
    flags.add_argument("--seconds", type=float, default=60)
    flags.add_argument("--most", type=int, default=10**9, help="mutations, at most")
    flags.add_argument("--seed", type=int, default=0)
    given = flags.parse_args()
    logging.disable()  # the parser of forms logs each broken one
    ends: Counter[tuple[str, str]] = Counter()
    slowest, failures, before = (0.0, ""), 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        strangers = Strangers(given.snapshot, Path(folder))
        start = time.process_time()
        while time.process_time() - start < given.seconds and number < given.most:
            chance = random.Random(f"{given.seed} {number}")
            kind, number = chance.choice(KINDS), number + 1
            began = time.process_time()
            try:
                ends[kind, strangers.attempt(kind, chance)] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                ends[kind, type(error).__name__] += 1
                failures += 1
                print(f"mutation {number - 1}: {traceback.format_exc(limit=-3)}", flush=True)
            took = time.process_time() - began
            slowest = max(slowest, (took, f"mutation {number - 1}, {kind}"))
            if number % 1000 == 0:
                print(f"{number:,} mutations, {failures} failures, slowest {slowest[0]:.2f} s", flush=True)
    for (kind, end), count in sorted(ends.items()):
        print(f"{kind:<14} {end:<20} {count:>8,}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    print(f"{number:,} mutations, {failures} failures, slowest {slowest[0]:.2f} s ({slowest[1]}), {grown:.0f} MB more")
    return int(failures > 0 or slowest[0] > MAX_S)


if __name__ == "__main__":
    sys.exit(main())
