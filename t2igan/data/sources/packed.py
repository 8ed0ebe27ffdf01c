"""Embedded pictures of 64 px, packed whole into one file: toon avatars and emoji.

A file holds, compressed by LZMA, an .npz of `images`, uint8 [N, 64, 64, 3], and `facts`, JSON: name, caption, split and
attributes of each. `docs/pack_pictures.py` writes it; docs/embedded_pictures.md says what the pictures are and whose.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import lzma
from typing import NamedTuple

import numpy as np

from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.captions import as_attributes, as_captions
from t2igan.data.stored import InMemory


class Set(NamedTuple):
    """An embedded set."""

    file: str
    what: str
    splits: tuple[str, ...]


SETS = {
    "toon_avatars": Set(
        "toon_avatars_64.xz",
        "5,000 cartoon people drawn part by part, captions made from the parts (Johan Melin, CC BY 4.0)",
        ("train", "heldout_random", "heldout_combo"),
    ),
    "noto_emoji": Set(
        "noto_emoji_64.xz",
        "3,708 emoji with their Unicode names as captions (Noto Emoji, Google, Apache-2.0)",
        ("train", "heldout_combo", "heldout_concept", "ambiguous"),
    ),
}


class Packed:
    """An embedded data set of 64 px."""

    def __init__(self, name: str):
        """`name` is one of `SETS`; nothing is read yet."""
        self.name = name
        self._set = SETS[name]
        self._read: tuple[np.ndarray, list] | None = None

    def describe(self) -> str:
        """Returns what the pictures are."""
        return self._set.what

    def splits(self) -> tuple[str, ...]:
        """Returns the names of the splits, that for training first."""
        return self._set.splits

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split, with caption and attributes."""
        if self._read is None:
            packed = (importlib.resources.files("t2igan.data") / "assets" / self._set.file).read_bytes()
            with np.load(io.BytesIO(lzma.decompress(packed))) as arrays:
                self._read = arrays["images"], json.loads(arrays["facts"].tobytes())
        images, facts = self._read
        records = [
            Record(file, InMemory(image), as_captions(caption), as_attributes(attributes))
            for image, (file, caption, of, attributes) in zip(images, facts, strict=True)
            if split in (None, of)
        ]
        return records, []
