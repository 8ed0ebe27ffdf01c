"""Snapshots changed at random, loaded one after another: each ends in a model or in a `UserError`, soon and small.

    python -m benchmarks.fuzz --seconds=300 --snapshot=runs/base/snapshot.safetensors --seed=0

Bytes are changed anywhere or in the header, or a value is exchanged in the header, the configuration, the tokenizer or
the pictures' recipe. Prints how many there were, how they ended, and the slowest; ends with code 1 where anything else
than a `UserError` was raised, or where one took longer than 2 s (of this process's CPU time).
"""

from __future__ import annotations

import argparse
import copy
import json
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

import t2igan
from t2igan.errors import UserError
from t2igan.inference.provenance import picture_bytes, read_claims
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


def attempt(raw: bytes, kind: str, chance: random.Random, folder: Path) -> str:
    """Reads one changed file; returns how that ended."""
    if kind == "picture":
        form = chance.choice(["PNG", "JPEG", "WEBP"])
        changed = bytearray(picture_bytes(np.zeros((8, 8, 3), np.uint8), form, {"prompt": "red", "seed": 1}))
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path, read = folder / f"x.{form.lower()}", read_claims
        path.write_bytes(bytes(changed))
    elif kind == "signature":
        path, read = folder / "y", signed
        path.write_bytes(b"file")
        parts = {"public_key": "A" * 43 + "=", "signature": "A" * 86 + "==", "sha256": "0" * 64}
        (folder / "y.sig").write_text(json.dumps(exchanged(parts, chance)))
    else:
        path, read = folder / "x.safetensors", t2igan.load
        path.write_bytes(mutated(raw, kind, chance))
    try:
        read(path)
    except UserError:
        return "UserError"
    return "read"


def main() -> int:
    """Mutates for so many seconds of CPU time."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--snapshot", type=Path, required=True)
    flags.add_argument("--seconds", type=float, default=60)
    flags.add_argument("--seed", type=int, default=0)
    given = flags.parse_args()
    raw = given.snapshot.read_bytes()
    t2igan.load(given.snapshot)
    ends: Counter[tuple[str, str]] = Counter()
    slowest, failures, before = (0.0, ""), 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        while time.process_time() - start < given.seconds:
            chance = random.Random(f"{given.seed} {number}")
            kind, number = chance.choice(KINDS), number + 1
            began = time.process_time()
            try:
                ends[kind, attempt(raw, kind, chance, Path(folder))] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                ends[kind, type(error).__name__] += 1
                failures += 1
                print(f"mutation {number - 1}: {traceback.format_exc(limit=-3)}", flush=True)
            took = time.process_time() - began
            slowest = max(slowest, (took, f"mutation {number - 1}, {kind}"))
            if number % 500 == 0:
                print(f"{number:,} mutations, {failures} failures, slowest {slowest[0]:.2f} s", flush=True)
    for (kind, end), count in sorted(ends.items()):
        print(f"{kind:<14} {end:<20} {count:>8,}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    print(f"{number:,} mutations, {failures} failures, slowest {slowest[0]:.2f} s ({slowest[1]}), {grown:.0f} MB more")
    return int(failures > 0 or slowest[0] > MAX_S)


if __name__ == "__main__":
    sys.exit(main())
