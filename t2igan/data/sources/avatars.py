"""The embedded pictures: 8,000 avatars of 16x16 pixels, CC0, with captions made from what was drawn.

`unseen` holds six pairs of hair colour and top colour that were never drawn together in `train`. Where a hat hides the
hair its caption does not name the pair; `unseen_pairs` are those whose caption does. How the set was made, and how to
make another: docs/pixel_avatars.md.
"""

from __future__ import annotations

import importlib.resources

from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.captions import as_attributes, as_captions
from t2igan.data.stored import InMemory

SPLITS = ("train", "test", "unseen")  # as stored
UNSEEN_PAIRS = "unseen_pairs"
PAIR = ("hairColor", "clothingColor")  # attributes hold what the caption states, and nothing else


class Avatars:
    """The embedded data set."""

    name = "pixel_avatars"

    def describe(self) -> str:
        """Returns what the pictures are."""
        return "8,000 pixel people drawn part by part, captions made from the parts (CC0)"

    def splits(self) -> tuple[str, ...]:
        """Returns train, test, unseen, and the part of it whose captions name the pair that was never seen."""
        return (*SPLITS, UNSEEN_PAIRS)

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split as PNG, with caption and attributes."""
        import pyarrow.parquet

        asset = importlib.resources.files("t2igan.data") / "assets" / "pixel_avatars.parquet"
        with asset.open("rb") as file:
            stored = "unseen" if split == UNSEEN_PAIRS else split
            table = pyarrow.parquet.read_table(file, filters=[("split", "==", stored)])
        records = [
            Record(
                file=row["image"]["path"],
                image=InMemory(row["image"]["bytes"]),
                captions=as_captions(row["text"]),
                attributes=as_attributes(row["attributes"]),
            )
            for row in table.to_pylist()
        ]
        if split == UNSEEN_PAIRS:
            records = [record for record in records if all(name in record.attributes for name in PAIR)]
        return records, []
