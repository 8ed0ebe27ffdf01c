"""The embedded pictures: 8,000 avatars of 16x16 pixels, CC0, with captions made from what was drawn.

`unseen` holds six pairs of hair colour and top colour that never occur together in `train`. How the set was
made, and how to make another: docs/pixel_avatars.md.
"""

from __future__ import annotations

import importlib.resources

from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.captions import as_attributes, as_captions
from t2igan.data.stored import InMemory

SPLITS = ("train", "test", "unseen")


class Avatars:
    """The embedded data set."""

    name = "pixel_avatars"

    def describe(self) -> str:
        """Returns what the pictures are."""
        return "8,000 pixel people drawn part by part, captions made from the parts (CC0)"

    def splits(self) -> tuple[str, ...]:
        """Returns train, test and unseen."""
        return SPLITS

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split as PNG, with caption and attributes."""
        import pyarrow.parquet

        asset = importlib.resources.files("t2igan.data") / "assets" / "pixel_avatars.parquet"
        with asset.open("rb") as file:
            table = pyarrow.parquet.read_table(file, filters=[("split", "==", split)])
        records = [
            Record(
                file=row["image"]["path"],
                image=InMemory(row["image"]["bytes"]),
                captions=as_captions(row["text"]),
                attributes=as_attributes(row["attributes"]),
            )
            for row in table.to_pylist()
        ]
        return records, []
