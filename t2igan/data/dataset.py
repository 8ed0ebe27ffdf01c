"""A split of captioned pictures in memory, and what every source has to deliver to become one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from t2igan.errors import UserError

NONE = "none"  # the value of an attribute that a picture lacks
UNKNOWN = -1  # the label of a value that the vocabulary lacks
# Data with one of these has a test split of its own: none is cut out of its training split.
TEST_SPLITS = ("test", "testing", "validation", "valid", "val", "dev", "eval")
# Folders of these names are splits.
SPLITS = ("train", "training", *TEST_SPLITS, "unseen", "holdout", "heldout")
CAPTION_FIELDS = ("text", "caption", "captions", "texts", "sentence", "sentences", "description", "prompt")


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be used: its file (or "metadata.csv:12", a line) and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A picture that is not decoded yet: where it is, or its encoded bytes, with captions and attributes."""

    file: str  # relative and stable: it is shown to the user, and its hash decides about held-out pictures
    image: Path | bytes
    captions: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """Captioned pictures from somewhere."""

    name: str

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that the data itself names; () where it names none."""
        ...

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split (None: all of data without splits), and what cannot be used."""
        ...


@dataclass(frozen=True)
class Dataset:
    """One split of captioned pictures, decoded.

    `images` is uint8 [N, H, W, C] with C 3 or 1; `captions` has N tuples of one or more captions;
    `attributes` has N dicts (name -> value), or is None where the data has none at all.
    """

    name: str
    split: str
    images: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    attributes: tuple[dict[str, str], ...] | None = None
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            found = f"{self.images.dtype} {self.images.shape}"
            raise ValueError(f"images must be uint8 [N, H, W, C], not {found}")
        if len(self.captions) != len(self.images):
            raise ValueError(f"{len(self.images)} images but captions for {len(self.captions)}")
        if self.attributes is not None and len(self.attributes) != len(self.images):
            raise ValueError(f"{len(self.images)} images but attributes for {len(self.attributes)}")

    def __len__(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change with any pixel, caption, attribute, or with the order."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(repr(self.captions).encode())
        if self.attributes is not None:
            digest.update(repr([sorted(a.items()) for a in self.attributes]).encode())
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


def read(
    source: Source, split: str, records: Iterable[Record], skipped: Iterable[Skipped], data_config: Any
) -> Dataset:
    """Decodes the records of a split into a Dataset; what cannot be decoded joins `skipped`."""
    from t2igan.data.decode import decode_many

    records, skipped = list(records), list(skipped)
    images, failures = decode_many(
        [record.image for record in records],
        size_px=data_config.image_size_px,
        channels=data_config.channels,
        background=tuple(data_config.background),
    )
    skipped += [Skipped(records[i].file, reason) for i, reason in failures.items()]
    records = [record for i, record in enumerate(records) if i not in failures]
    return Dataset(
        name=source.name,
        split=split,
        images=images,
        captions=tuple(record.captions for record in records),
        attributes=tuple(r.attributes for r in records) if any(r.attributes for r in records) else None,
        skipped=tuple(skipped),
    )


def held_out(files: Sequence[str], fraction: float) -> set[str]:
    """Returns the files of the test split, chosen by sha256 of the name: a name is always on the same side.

    Except in tiny data: of two or more files at least one is held out, and at least one is not.
    """
    if fraction <= 0 or len(files) < 2:
        return set()
    ranks = {file: _rank(file) for file in files}
    chosen = {file for file, rank in ranks.items() if rank < fraction}
    if not chosen:
        return {min(ranks, key=ranks.__getitem__)}
    if len(chosen) == len(ranks):
        chosen.remove(max(ranks, key=ranks.__getitem__))
    return chosen


def _rank(file: str) -> float:
    return int.from_bytes(hashlib.sha256(file.encode("utf-8", "replace")).digest()[:8], "big") / 2**64


def as_captions(value: Any) -> tuple[str, ...]:
    """Returns the captions in a string or a list of them: white space collapsed, no blanks, no doubles."""
    values = value if isinstance(value, (list, tuple, np.ndarray)) else [value]
    texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
    # Lone surrogates have no UTF-8 form, and everything later wants one.
    cleaned = [" ".join(t.encode("utf-8", "replace").decode().split()) for t in texts if isinstance(t, str)]
    return tuple(dict.fromkeys(text for text in cleaned if text))


def as_attributes(value: Any) -> dict[str, str]:
    """Returns name -> value of a dict or its JSON; what is empty, null or nested is left out."""
    import json

    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    if not isinstance(value, Mapping):
        return {}
    scalars = {str(k): str(v) for k, v in value.items() if isinstance(v, (str, int, float)) and str(v)}
    return {name: value.encode("utf-8", "replace").decode() for name, value in scalars.items()}


def readable_label(name: str) -> str:
    """Returns a class name as one would write it in a caption: "T-shirt/top" -> "t-shirt or top"."""
    return " or ".join(" ".join(part.replace("_", " ").split()) for part in name.lower().split("/"))


def label_captions(label: str, templates: Sequence[str]) -> tuple[str, ...]:
    """Returns one caption a template, for a picture that has a label only.

    UserError where there is no template, or {label} is not in it.
    """
    if not templates:
        raise UserError('config.data.caption_templates is empty: give at least one, as "a picture of {label}".')
    for template in templates:
        if "{label}" not in template:
            raise UserError(
                f"config.data.caption_templates has {template!r}, which says nothing about the picture.\n"
                'Write {label} where the label goes, as in "a picture of {label}".'
            )
    return as_captions([template.replace("{label}", readable_label(label)) for template in templates])


def captions_of_row(
    row: Mapping[str, Any], data_config: Any, label_names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the captions and attributes of a row: its caption field, else its label in the templates.

    `label_names` turns an integer label into words.
    """
    attributes = as_attributes(row.get("attributes"))
    fields = (data_config.caption_field,) if data_config.caption_field else CAPTION_FIELDS
    for name in fields:
        if captions := as_captions(row.get(name)):
            return captions, attributes
    label = row.get(data_config.label_field)
    if data_config.caption_field or label is None or str(label).strip() == "":
        return (), attributes
    if label_names is not None and isinstance(label, int) and 0 <= label < len(label_names):
        label = label_names[label]
    label = str(label)
    return (
        label_captions(label, data_config.caption_templates),
        {data_config.label_field: readable_label(label)} | attributes,
    )
