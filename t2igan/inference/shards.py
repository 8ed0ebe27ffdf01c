"""Pictures by the million: tar shards in WebDataset's layout, one a task of many, each written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.files import explain_write_errors, whole, write_json
from t2igan.inference.pictures import enlarge, png_bytes

ABOUT_NAME = "shards.json"  # what all shards of a folder have in common
_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")


class Shard(NamedTuple):
    """One of several parts of a work, `number` from 0 to `of` - 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Returns the shard that "3/100" names. Raises `UserError` for anything else."""
        found = _SHARD.fullmatch(text)
        number, of = map(int, found.groups()) if found else (1, 0)
        if number >= of:
            raise UserError(f"--shard={text} must be I/N with I from 0 to N - 1, as in --shard=3/100")
        return cls(number, of)

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"shard-{self.number:05d}-of-{self.of:05d}.tar"

    def rows(self, total: int) -> range:
        """Returns which of `total` rows are its own; all shards together have each row once."""
        return range(self.number * total // self.of, (self.number + 1) * total // self.of)


class Prompts(NamedTuple):
    """A text file with a prompt a line; lines without any are left out."""

    path: Path
    total: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Prompts:
        """Reads the file once, without keeping it. Raises `UserError` where it cannot be read or has no prompt."""
        total, digest = 0, hashlib.sha256()
        for line in _lines(path):
            total += 1
            digest.update(line.encode() + b"\n")
        if not total:
            raise UserError(f"--prompts={path} has no prompt; give a UTF-8 text file with a caption a line")
        return cls(path, total, digest.hexdigest())

    def rows(self, rows: range) -> list[str]:
        """Returns some of the prompts."""
        return list(itertools.islice(_lines(self.path), rows.start, rows.stop))


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (text for line in file if (text := line.rstrip("\r\n")).strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts={path} cannot be read ({error}); give a UTF-8 text file") from error


def agree(folder: Path, about: Mapping[str, Any]) -> None:
    """Notes what all shards of a folder have in common, or compares it with what the first of them noted.

    Raises:
      UserError: the folder has shards of another model, other prompts, seeds or settings.
    """
    path = folder / ABOUT_NAME
    if not path.exists():
        write_json(path, dict(about))
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); give another --out, or delete this one") from error
    for name, value in about.items():
        if not isinstance(known, dict) or known.get(name) != value:
            there = known.get(name) if isinstance(known, dict) else known
            raise UserError(
                f"{folder} has shards of another work: {name} is {there!r} there and {value!r} here; give another --out"
            )


def write_shard(
    path: Path, batches: Iterable[np.ndarray], rows: Iterable[tuple[str, Mapping[str, Any]]], scale: int
) -> int:
    """Writes KEY.png and KEY.json for each picture into a tar file, and returns how many there are.

    The file gets its name when it is whole; its bytes follow from the pictures alone.

    Args:
      path: of the tar file.
      batches: pictures, uint8 [N, H, W, C] each.
      rows: key and facts of each picture; the facts are its JSON, and in its PNG.
      scale: as in `enlarge`.

    Raises:
      UserError: the disk is full, or cannot be written.
    """
    num, rows = 0, iter(rows)
    with explain_write_errors(path.parent), whole(path, durable=True) as place, tarfile.open(place, "w") as tar:
        for images in batches:
            for image, (key, facts) in zip(enlarge(images, scale), rows, strict=False):
                _add(tar, f"{key}.png", png_bytes(image, facts))
                _add(tar, f"{key}.json", json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace"))
                num += 1
    return num


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody, at time 0
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
