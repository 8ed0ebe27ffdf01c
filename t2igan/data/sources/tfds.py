"""TensorFlow Datasets, without TensorFlow: "tfds:NAME", "tfds:NAME:CONFIG", or a folder that TFDS has prepared.

What is prepared, as array_record or tfrecord, is read by index. What is not is prepared first (as array_record), where
its builder can do so without TensorFlow. Splits may be slices: "train[:10%]".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.captions import as_captions, chosen_captions, label_captions, readable_label
from t2igan.data.sources.examples import InExample, parse, picture_in, values
from t2igan.data.sources.record_files import KINDS, open_records
from t2igan.data.sources.tfds_builders import named_builder, prepared_builder, prepared_folder
from t2igan.data.sources.tfds_features import Chosen, choose_features
from t2igan.data.stored import InFile, is_inside, reason_of
from t2igan.errors import UserError, nearest


class Tfds:
    """One data set of TFDS."""

    slices = True  # of its splits, as TFDS writes them, are splits, too

    def __init__(self, data_config: Any, path: Path | None = None):
        """`path` is a prepared folder; without one `data_config.source` says which, or the name: "tfds:NAME[:CONFIG]".

        Nothing is read or prepared yet.
        """
        self.name = str(data_config.source)
        self._config = data_config
        self._tfds_name = self.name.removeprefix("tfds:")
        folder = expanded(self._tfds_name, "config.data.source") if self._tfds_name else Path()
        self._path = path or prepared_folder(folder)
        self._listed: dict[str, tuple[list[Record], list[Skipped]]] = {}
        if not self._tfds_name:
            raise UserError(
                f'config.data.source={self.name!r} names no data set.\nWrite "tfds:NAME" or "tfds:NAME:CONFIG".'
            )

    def describe(self) -> str:
        """Returns the data set's full name and which features are used."""
        return f"TFDS {self._builder.info.full_name}, {self._features}"

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that the data set has, prepared first if need be."""
        self._check_slices()
        return tuple(self._builder.info.splits)

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split or a slice of one, in the order in which TFDS holds them."""
        split = split or "all"
        if split not in self._listed:
            records: list[Record] = []
            skipped: list[Skipped] = []
            for found in self._examples(split):
                (records if isinstance(found, Record) else skipped).append(found)
            self._listed[split] = (records, skipped)
        return self._listed[split]

    @cached_property
    def _builder(self) -> Any:
        if self._path:
            return prepared_builder(self.name, self._path)
        return named_builder(self.name, self._tfds_name, self._config)

    @cached_property
    def _features(self) -> Chosen:
        return choose_features(self.name, self._builder.info.features, self._config)

    def _instructions(self, split: str) -> Sequence[Any]:
        """Returns which examples of which files a split has (`tfds.core.utils.shard_utils.FileInstruction`)."""
        own = self._builder.info.splits
        try:
            return own[split].file_instructions
        except Exception as error:  # TFDS raises what it likes
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise UserError(
                f"{self.name} has no split {split!r}{nearest(split, own)}\n"
                f'There are: {", ".join(own)}, and slices such as "{next(iter(own), "train")}[:10%]" ({reason}).'
            ) from error

    def _check_slices(self) -> None:
        """Refuses slices that do not exist, and such as share pictures: a test would be none."""
        keys = ("train_split", "val_split", "test_split")
        for one, other in itertools.combinations(keys, 2):
            self._check_apart(f"config.data.{one}", self._config[one], f"config.data.{other}", self._config[other])

    def _check_apart(self, key: str, split: str, other_key: str, other: str) -> None:
        own = self._builder.info.splits
        taken = {name: self._instructions(name) for name in (split, other) if "[" in name}
        if not taken or split == other:
            return
        taken |= {name: self._instructions(name) for name in {split, other} & set(own)}
        shared = sum(
            max(0, min(a.skip + a.take, b.skip + b.take) - max(a.skip, b.skip))
            for a in taken.get(split, ())
            for b in taken.get(other, ())
            if a.filename == b.filename
        )
        if shared:
            raise UserError(
                f"{key}={split!r} and {other_key}={other!r} share {shared} pictures.\n"
                'Take slices that do not overlap, as "train[10%:]" and "train[:10%]".'
            )

    def _examples(self, split: str) -> Iterator[Record | Skipped]:
        number = 0
        for part in self._instructions(split):
            file = Path(part.filename)
            stop = part.skip + part.take
            try:
                shard = open_records(self._inside(file))
                for index, example in enumerate(shard.read(part.skip, min(stop, len(shard))), start=part.skip):
                    yield self._example(f"{split}/{number + index - part.skip:07d}", shard.place(index), example)
                if len(shard) < stop:
                    lost = stop - max(len(shard), part.skip)
                    why = shard.damage or "it has fewer than dataset_info.json says"
                    yield Skipped(file.name, f"{lost} of {part.take} examples are missing: {why}")
            except (OSError, ValueError) as error:
                yield Skipped(file.name, reason_of(error))
            number += part.take

    def _inside(self, file: Path) -> InFile:
        # The names of files follow a template that the folder's own dataset_info.json gives.
        if not self._config.follow_links and not is_inside(file, self._builder.data_dir):
            raise ValueError("not inside the folder of the data set (config.data.follow_links=True reads it)")
        if not any(kind in file.name for kind in KINDS):
            raise ValueError(f"a format that cannot be read by index; {' and '.join(KINDS)} can")
        return InFile.of(file)

    def _example(self, name: str, place: Any, example: bytes | str) -> Record | Skipped:
        chosen, config = self._features, self._config
        try:
            features = parse(example)
            picture_in(features, chosen.image)
        except ValueError as error:
            return Skipped(name, str(error))
        image = InExample(place, chosen.image)
        if chosen.caption is not None:
            captions = chosen_captions(as_captions(values(features, chosen.caption)), config)
            return Record(name, image, captions) if captions else Skipped(name, f"no caption in {chosen.caption!r}")
        labels = chosen.labels(values(features, chosen.label))
        captions = tuple(c for label in labels for c in label_captions(label, config.caption_templates))
        if not captions:
            return Skipped(name, f"no caption: no label in {chosen.label!r}")
        attributes = {config.label_field: readable_label(labels[0])} if len(labels) == 1 else {}
        return Record(name, image, chosen_captions(captions, config), attributes)
