"""A split of captioned pictures in memory, and what every source has to deliver to become one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from t2igan.data.cache import Decoded, decoded, images_bytes, is_in_memory
from t2igan.data.decode import Decoding
from t2igan.data.memory import content_of, named_values, signatures_of, squares, texts
from t2igan.data.rows import Mapped, Streamed
from t2igan.data.splits import Held, Part, parts
from t2igan.data.spread import evenly_spread
from t2igan.data.stored import Stored

NONE = "none"  # the value of an attribute that a picture lacks
UNKNOWN = -1  # the label of a value that the vocabulary lacks
OWN_PICTURE_BELOW = 2.0  # pictures a caption, from which on a caption has no picture of its own
COPIED_BYTES = 1 << 30  # rows of the cache that are copied into memory, rather than looked up each time


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be used: its file (or "metadata.csv:12", a line) and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A picture that is not decoded yet: where it lies, with its captions and attributes."""

    file: str  # relative and stable: it is shown to the user
    image: Stored
    captions: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)
    repeats: int = 1  # how often it is drawn in the time in which others are drawn once


@runtime_checkable
class Source(Protocol):
    """Captioned pictures from somewhere."""

    name: str

    def describe(self) -> str:
        """Returns what was found, in a line: "folder: 952 pictures with .txt beside them"."""
        ...

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that the data itself names; () where it names none."""
        ...

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split (None: all of data without splits), and what cannot be used."""
        ...


@dataclass(frozen=True)
class Dataset:
    """One split of captioned pictures.

    `images` is uint8 [N, H, W, C] with C 3, 1 or 4 (with transparency, `t2igan.data.alpha`): an array, in memory or
    mapped from the cache, or for data larger than that something that is indexed like one (`t2igan.data.rows`). Or they
    are codes of pictures, float16 [N, h, w, c].
    `captions` has N tuples of one or more captions; `attributes` has N dicts (name -> value), or is None where the data
    has none at all. `content` is uint8 [N, 16], equal for pictures whose encoded bytes are the same; `signatures` is
    uint8 [N, 72], nearly equal for one picture in several formats (`t2igan.data.alike`); `sizes` is int32 [N, 2], width
    and height before decoding, in pixels. All three are None for data that was made in memory.
    `repeats` is int64 [N], how often training draws each picture in the time in which another is drawn once, or None
    where all are drawn alike. `unread` are files that might have captions and of which none was taken; `notes` say what
    was decided and might have been meant otherwise.
    """

    name: str
    split: str
    images: Any
    captions: tuple[tuple[str, ...], ...]
    attributes: tuple[dict[str, str], ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    content: np.ndarray | None = None
    sizes: np.ndarray | None = None
    description: str = ""
    repeats: np.ndarray | None = None
    unread: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    signatures: np.ndarray | None = None
    decoding: str = ""  # how `content` became `images`; together they say what the pixels are
    transparent: np.ndarray | None = None  # bool [N], whether a picture was so anywhere, before; None = not known

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float16):
            found = f"{self.images.dtype} {self.images.shape}"
            raise ValueError(f"images must be uint8 [N, H, W, C], or codes of float16, not {found}")
        for what, values in (("captions", self.captions), ("attributes", self.attributes), ("content", self.content)):
            if values is not None and len(values) != len(self.images):
                raise ValueError(f"{len(self.images)} images but {what} for {len(values)}")

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        captions: Sequence[str | Sequence[str]],
        attributes: Sequence[Mapping[str, str]] | None = None,
        *,
        size_px: int | None = None,
        channels: int | None = None,
        name: str = "arrays",
        split: str = "train",
    ) -> Dataset:
        """Returns pictures and captions in memory as a split, to train on (`t2igan.train(..., dataset=...)`).

        Args:
          images: uint8, or floats from 0 to 1: [N, H, W, C] with 1, 3 or 4 channels, [N, H, W], or a list of arrays or
            PIL pictures of any sizes.
          captions: a text for each, or several texts.
          attributes: name -> value for each, where the data has them.
          size_px: pictures become squares of this size; None = they are squares of one size already.
          channels: 1 = grey, 3 = RGB, on white where they are transparent, 4 = RGB with their transparency (colours
            not premultiplied); None = 1 where all of them are grey, and otherwise 3.
          name: of the data, for messages and the model card.
          split: what the split is called.

        Raises:
          UserError: they are no pictures, there are not as many captions, or a caption is empty.
        """
        pixels = squares(images, size_px, channels)
        return cls(
            name=str(name),
            split=str(split),
            images=pixels,
            captions=texts(captions, len(pixels)),
            attributes=named_values(attributes, len(pixels)),
            content=content_of(pixels),
            signatures=signatures_of(pixels),
            description=f"{len(pixels)} pictures from Python",
            decoding="arrays",
        )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Any) -> Dataset:
        """Returns the pictures of `rows`, a slice, indices or a mask, in that order, as a split in memory."""
        rows = np.arange(len(self))[rows]
        of = lambda values: None if values is None else tuple(values[row] for row in rows)
        of_rows = lambda values: None if values is None else values[rows]
        return dataclasses.replace(
            self,
            images=self.images[rows],
            captions=tuple(self.captions[row] for row in rows),
            attributes=of(self.attributes),
            content=of_rows(self.content),
            signatures=of_rows(self.signatures),
            sizes=of_rows(self.sizes),
            repeats=of_rows(self.repeats),
            transparent=of_rows(self.transparent),
        )

    def spread(self, num: int) -> np.ndarray:
        """Returns up to `num` rows with different first captions, evenly over the split and in its order.

        They are fewer where there are fewer different captions.
        """
        first: dict[str, int] = {}
        for row, captions in enumerate(self.captions):
            first.setdefault(captions[0], row)
        rows = np.fromiter(first.values(), np.int64, len(first))
        return rows[evenly_spread(len(rows), num)]

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change with any picture, caption, attribute, repeat, or with the order."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.decoding)).encode())
        digest.update(np.ascontiguousarray(self.images if self.content is None else self.content).data)
        digest.update(repr(self.captions).encode())
        if self.attributes is not None:
            digest.update(repr([sorted(a.items()) for a in self.attributes]).encode())
        if self.repeats is not None:
            digest.update(np.ascontiguousarray(self.repeats, np.int64).data)
        return digest.hexdigest()[:16]

    def attribute_names(self) -> tuple[str, ...]:
        """Returns the names of all attributes that any picture has, sorted; () without attributes."""
        return tuple(sorted({name for attributes in self.attributes or () for name in attributes}))

    def attribute_values(self) -> dict[str, list[str]]:
        """Returns name -> sorted values; "none" is among them where some picture lacks the attribute."""
        return {
            name: sorted({attributes.get(name, NONE) for attributes in self.attributes or ()})
            for name in self.attribute_names()
        }

    def attribute_labels(self, vocabulary: Mapping[str, Sequence[str]] | None = None) -> np.ndarray:
        """Returns int32 [N, len(vocabulary)], the index of each picture's value; columns sorted by name.

        The vocabulary is the `attribute_values()` of the training split (default: of this one). A value that
        it lacks gets -1, since a classifier that never saw the value cannot be asked about it.
        """
        vocabulary = self.attribute_values() if vocabulary is None else vocabulary
        labels = np.full((len(self), len(vocabulary)), UNKNOWN, np.int32)
        for column, name in enumerate(sorted(vocabulary)):
            index = {value: i for i, value in enumerate(vocabulary[name])}
            for row, attributes in enumerate(self.attributes or ()):
                labels[row, column] = index.get(attributes.get(name, NONE), UNKNOWN)
        return labels


@dataclass(frozen=True)
class Listed:
    """A split of a source as it is there: listed and decoded, nothing held out of it yet."""

    source: Source
    records: list[Record]
    skipped: tuple[Skipped, ...]
    found: Decoded
    streamed: bool

    @property
    def usable(self) -> np.ndarray:
        """The rows of the pictures that could be decoded."""
        return np.array([row for row in range(len(self.records)) if row not in self.found.failures], np.int64)


def list_split(source: Source, split: str, data_config: Any) -> Listed:
    """Lists a split of a source ("" where it has none); decodes its pictures, or looks at them where they are many."""
    records, skipped = source.records(split or None)
    how = Decoding.of(data_config)
    places = [record.image for record in records]
    streamed = images_bytes(len(places), how) > data_config.cache_gb * 1e9 and not is_in_memory(places)
    found = decoded(places, [record.file for record in records], how, data_config, keep_images=not streamed)
    undecoded = (Skipped(records[i].file, why) for i, why in found.failures.items())
    return Listed(source, records, (*skipped, *undecoded), found, streamed)


def read(
    source: Source, split: str, data_config: Any, part: Part = "all", name: str = "", held: Held | None = None
) -> Dataset:
    """Decodes a split of a source, or that part of it which a hash of the pictures assigns, into a Dataset.

    Args:
      source: where the pictures are.
      split: of the source; "" where it has none.
      data_config: the `data` group of a configuration.
      part: "val" and "test" are what is held out, "train" the rest.
      name: of the resulting split; by default `split`.
      held: how much is held out; needed for any part but "all".

    What cannot be decoded joins `skipped`, which "val" and "test" leave to "train".
    """
    listed = list_split(source, split, data_config)
    return part_of(listed, data_config, part, name or split, held or Held())


def part_of(listed: Listed, data_config: Any, part: Part, name: str, held: Held) -> Dataset:
    """Returns a part of what `list_split` found, as a Dataset; see `read`."""
    found, rows = listed.found, listed.usable
    if part != "all":
        rows = rows[parts(found.content[rows], found.signatures[rows], held) == part]
    how = Decoding.of(data_config)
    chosen = [listed.records[row] for row in rows]
    if listed.streamed:
        images: Any = Streamed([record.image for record in chosen], how, data_config.workers)
    else:
        assert found.images is not None
        images = _rows_of(found.images, rows)
    repeats = np.array([record.repeats for record in chosen], np.int64)
    said = {fact: tuple(getattr(listed.source, fact, tuple)()) for fact in ("unread", "notes")}  # not every source has
    return Dataset(
        name=listed.source.name,
        split=name,
        images=images,
        captions=tuple(record.captions for record in chosen),
        attributes=tuple(r.attributes for r in chosen) if any(r.attributes for r in chosen) else None,
        skipped=() if part in ("val", "test") else listed.skipped,
        content=found.content[rows],
        sizes=found.sizes[rows],
        description=listed.source.describe(),
        repeats=repeats if part in ("all", "train") and (repeats > 1).any() else None,
        signatures=found.signatures[rows],
        decoding=repr(how),
        transparent=None if found.transparent is None else found.transparent[rows],
        **said,
    )


def _rows_of(images: np.ndarray, rows: np.ndarray) -> Any:
    """Returns rows of an array: itself where it is all of them, a copy where that is small, otherwise a view."""
    if len(rows) == len(images):
        return images
    if len(rows) * images[:1].nbytes <= COPIED_BYTES:
        return images[rows]
    return Mapped(images, rows)


def as_compared(caption: str) -> str:
    """Returns a caption without what makes no difference: capitals, and how much white space there is."""
    return " ".join(caption.lower().split())


def pictures_a_caption(captions: Sequence[Sequence[str]]) -> float:
    """Returns how many pictures there are to a caption on average: pictures with captions by different captions.

    Each picture counts with its first caption; capitals and white space make no difference.
    """
    first = [as_compared(of_one[0]) for of_one in captions if of_one and of_one[0].strip()]
    return len(first) / max(len(set(first)), 1)
