"""NumPy's .npz: arrays of pictures with captions or labels, each picture read alone.

    images    uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], C 1, 3 or 4; also x, pixels, data...
    captions  text [N] or, with several a picture, [N, K]; also texts, prompts...
    labels    integers or text [N], with label_names text [K] for integers; also y, targets...

Splits are parts of the names: images_train or train_images. Files of numpy.savez are read where they lie; those of
savez_compressed are unpacked once, into the cache.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.data import encoding
from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.captions import SPLITS, captions_of_row, chosen_captions
from t2igan.data.sources.fields import CAPTION_FIELDS
from t2igan.data.sources.found import Found, FoundSource
from t2igan.data.sources.names import shown_name
from t2igan.data.sources.npz import Array, ArrayRow, Npz, open_npz
from t2igan.data.stored import reason_of
from t2igan.errors import UserError

IMAGE_NAMES = ("images", "image", "x", "pixels", "pictures", "imgs", "img", "data")
CAPTION_NAMES = (*CAPTION_FIELDS, "prompts", "descriptions")
LABEL_NAMES = ("labels", "label", "y", "targets", "target")
CLASS_NAMES = ("label_names", "class_names", "classes", "names")
SAMPLED_ROWS = 1000  # of bytes, to see how they are encoded
MAX_ROWS = 1 << 25  # records of so many pictures are what a large memory holds
Texts = Iterator[tuple[tuple[str, ...], dict[str, str]]]


class Arrays(FoundSource):
    """Pictures in the arrays of an .npz file, whose names say the splits where there are several."""

    def __init__(self, data_config: Any, path: Path):
        """`path` is an .npz file; nothing is read yet."""
        super().__init__(data_config)
        self._path = path

    def _find(self) -> Found:
        try:
            with open_npz(self._path) as npz:
                return _Reader(npz, self._config).found()
        except (OSError, ValueError) as error:
            raise UserError(f"{self.name} cannot be read as NumPy's .npz: {reason_of(error)}.") from error


class _Reader:
    """The work of `Arrays`, while the file is open."""

    def __init__(self, npz: Npz, data_config: Any):
        self._npz = npz
        self._config = data_config
        splits = {*SPLITS, data_config.train_split, data_config.val_split, data_config.test_split} - {""}
        self._named = {_base_and_split(array.name.lower(), splits): array for array in npz.arrays}
        self._used: list[str] = []
        self._encodings = encoding.Texts(data_config)

    def found(self) -> Found:
        """Returns the pictures of all splits; ValueError where there is no array of pictures that can be used."""
        records: list[tuple[str | None, Record]] = []
        skipped: list[tuple[str | None, Skipped]] = [(None, one) for one in self._npz.skipped]
        problems = []
        for split, images in self._images().items():
            try:
                found = list(self._pictures(images, split))
            except (OSError, ValueError) as error:
                problems.append(Skipped(shown_name(images.name), reason_of(error)))
                skipped.append((split, problems[-1]))
                continue
            for one in found:
                (records if isinstance(one, Record) else skipped).append((split, one))
        if problems and not self._used:
            raise ValueError(f"{problems[0].file}: {problems[0].reason}")
        summary = f"NumPy: {'; '.join(self._used)}"
        return Found(tuple(records), tuple(skipped), summary, tuple(self._encodings.notes()))

    def _images(self) -> dict[str | None, Array]:
        """Returns the array of pictures of each split, by its name; without names the only one of such a shape."""
        for base in IMAGE_NAMES:
            if named := {split: array for (own, split), array in self._named.items() if own == base}:
                return named
        shaped = [(split, array) for (_, split), array in self._named.items() if len(array.shape) in (3, 4)]
        if len(shaped) == 1:
            return dict(shaped)
        raise ValueError(f"it has no array of pictures but {self._listed()}.\nName it 'images', uint8 [N, H, W, C]")

    def _pictures(self, images: Array, split: str | None) -> Iterator[Record | Skipped]:
        """Yields the pictures of one array, or why one cannot be used."""
        shape, channels_first = _picture_shape(images)
        origin, texts = self._texts(images, split)
        scale, note = self._scale(images)
        path, start = self._npz.data_of(images, self._config)
        status = self._npz.path.stat()  # unpacked or not, what counts is when the file itself was changed
        first = ArrayRow(
            path=str(path),
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            start=start,
            dtype=images.dtype.str,
            shape=shape,
            scale=scale,
            channels_first=channels_first,
        )
        for number, (captions, attributes) in enumerate(texts):
            name = f"{shown_name(images.name)}[{number}]"
            if captions:
                place = replace(first, start=start + number * images.row_bytes)
                yield Record(name, place, chosen_captions(captions, self._config), attributes)
            else:
                yield Skipped(name, f"no caption in {origin}")
        self._used.append(f"{images}{note} with {origin}")

    def _scale(self, images: Array) -> tuple[float, str]:
        """Returns what takes an array's numbers to 0..255, and a note of it; ValueError where that is not known."""
        if images.dtype == np.uint8:
            return 1.0, ""
        if images.dtype.kind == "b":
            return 255.0, ""
        low, high = math.inf, -math.inf
        for chunk in self._npz.chunks(images):
            finite = chunk[np.isfinite(chunk)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        if images.dtype.kind == "f" and low >= 0 and high <= 1:
            return 255.0, " (from 0 to 1: taken times 255)"
        if low >= 0 and high <= 255:
            return 1.0, f" (from {low:g} to {high:g})"
        raise ValueError(f"its numbers go from {low:g} to {high:g}; accepted are 0 to 255, and floats from 0 to 1")

    def _texts(self, images: Array, split: str | None) -> tuple[str, Texts]:
        """Returns the name of the array of captions or labels, and what it says of each picture."""
        asked = self._config.caption_field
        captions = self._of_split(split, (asked.lower(),) if asked else CAPTION_NAMES)
        labels = None if asked else self._of_split(split, (self._config.label_field.lower(), *LABEL_NAMES))
        if captions is None and labels is None and not asked:
            beside = [array for (_, own), array in self._named.items() if own == split]
            others = [a for a in beside if a.dtype.kind in "SU" and a.shape[0] == images.shape[0]]
            captions = others[0] if len(others) == 1 else None
        said = captions or labels
        if said is None:
            wanted = repr(asked) if asked else "'captions' or 'labels'"
            raise ValueError(f"nothing says what is in it: there are {self._listed()}.\nName the text {wanted}")
        said.check_readable()
        if said.dtype.kind not in ("SU" if captions else "SUiu"):
            raise ValueError(f"{said} is not text{'' if captions else ' and no integers'}")
        if said.shape[0] != images.shape[0]:
            raise ValueError(f"{said} is not for {images.shape[0]} pictures")
        if labels and not captions and math.prod(said.shape[1:]) != 1:
            raise ValueError(f"{said} has several labels a picture: one is accepted")
        rows = self._rows(said)
        if captions:
            field = asked or CAPTION_FIELDS[0]
            return str(said), (captions_of_row({field: row}, self._config) for row in rows)
        names, field = self._class_names(), self._config.label_field
        return str(said), (captions_of_row({field: row[0]}, self._config, names) for row in rows)

    def _class_names(self) -> list[str] | None:
        for name in CLASS_NAMES:
            array = self._named.get((name, None))
            if array is not None and array.dtype.kind in "SU" and len(array.shape) == 1:
                return [value for row in self._rows(array) for value in row]
        return None

    def _rows(self, array: Array) -> Iterator[list[Any]]:
        """Yields the values of each row as a list of numbers or text; bytes are decoded."""
        rows = self._npz.rows(array)
        if array.dtype.kind != "S":
            yield from rows
            return
        ahead = list(itertools.islice(rows, SAMPLED_ROWS))
        coding = self._encodings.encoding_of([value for row in ahead for value in row], array.name)
        for row in itertools.chain(ahead, rows):
            yield [value.decode(coding, "replace") for value in row]

    def _of_split(self, split: str | None, bases: Sequence[str]) -> Array | None:
        return next((self._named[base, split] for base in bases if (base, split) in self._named), None)

    def _listed(self) -> str:
        broken = [f"{one.file} ({one.reason})" for one in self._npz.skipped]
        return ", ".join([*map(str, self._npz.arrays), *broken]) or "no array at all"


def _base_and_split(name: str, splits: set[str]) -> tuple[str, str | None]:
    """Returns "x" and "train" for "x_train" and "train_x"; None where no split is in the name."""
    for split in sorted(splits, key=len, reverse=True):
        if name.endswith(f"_{split.lower()}"):
            return name[: -len(split) - 1], split
        if name.startswith(f"{split.lower()}_"):
            return name[len(split) + 1 :], split
    return name, None


def _picture_shape(images: Array) -> tuple[tuple[int, ...], bool]:
    """Returns the shape of one picture, and whether its channels are first; ValueError where it is none."""
    images.check_readable()
    shape = images.shape[1:]
    channels_first = len(shape) == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4)
    is_picture = len(shape) == 2 or channels_first or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if images.dtype.kind not in "buif" or not is_picture or 0 in shape:
        raise ValueError(f"{images} holds no pictures: accepted is uint8 [N, H, W, C] with 1, 3 or 4 channels")
    if images.shape[0] > MAX_ROWS:
        raise ValueError(f"{images} is too long: {MAX_ROWS} pictures are accepted")
    return shape, channels_first
