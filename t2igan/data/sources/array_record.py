"""ArrayRecord and TFRecord files of `tf.train.Example`s, given directly: what is not a prepared folder of TFDS.

The names of features are TFDS's own ("image", "text", "label") or those of TensorFlow's object detection
("image/encoded", "image/caption", "image/class/label").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.captions import captions_of_row, chosen_captions
from t2igan.data.sources.columns import IMAGE_FIELDS
from t2igan.data.sources.examples import InExample, parse, picture_in, values
from t2igan.data.sources.fields import caption_fields, plain
from t2igan.data.sources.found import Found
from t2igan.data.sources.record_files import open_records
from t2igan.data.sources.row_files import listed
from t2igan.data.sources.shards import ShardedSource, relative_name
from t2igan.data.stored import InFile, reason_of
from t2igan.errors import UserError, counted

PICTURE_NAMES = (*IMAGE_FIELDS, "encoded", "image_raw")
FOREIGN_RECORDS = 100  # where none of so many, the first, is an example, none is


class ArrayRecords(ShardedSource):
    """Captioned pictures in one or more ArrayRecord or TFRecord files.

    The names of the files say the splits: "train.array_record-00000-of-00002".
    """

    def _find(self) -> Found:
        splits, files, skipped = self._readable()
        records: list[tuple[str | None, Record]] = []
        for file, place in files.items():
            try:
                for found in self._examples(relative_name(file, self._root), place):
                    (records if isinstance(found, Record) else skipped).append((splits[file], found))
            except (OSError, ValueError) as error:
                skipped.append((splits[file], Skipped(relative_name(file, self._root), reason_of(error))))
        if not records:
            first = skipped[0][1] if skipped else Skipped(self.name, "no files")
            raise UserError(
                f"config.data.source={self.name!r}: no captioned picture in {counted(len(self._files), 'file')}. "
                f"{first.file}: {first.reason}.\nAccepted: records that are tf.train.Examples with 'image' and 'text'."
            )
        pictures, kind = counted(len(records), "captioned picture"), counted(len(files), "file")
        summary = f"tf.train.Examples: {pictures} in {kind}"
        return Found(tuple(records), tuple(skipped), summary)

    def _examples(self, name: str, place: InFile) -> Iterator[Record | Skipped]:
        shard = open_records(place)
        if not any(map(_is_example, shard.read(0, min(len(shard), FOREIGN_RECORDS)))):
            raise ValueError("its records are no tf.train.Examples; pickles, msgpack and others are not read")
        for index, record in enumerate(shard.read(0, len(shard))):
            where = f"{name}:{index + 1}"
            try:
                features = parse(record)
                key = _key(features, PICTURE_NAMES)
                picture_in(features, key)
            except ValueError as error:
                yield Skipped(where, str(error))
                continue
            captions, attributes = self._captions(features)
            if captions:
                yield Record(where, InExample(shard.place(index), key), captions, attributes)
            else:
                yield Skipped(where, f"no caption: its example has {listed(sorted(features))}")
        if shard.damage:
            yield Skipped(name, shard.damage)

    def _captions(self, features: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
        config = self._config
        names = caption_fields([plain(key.rpartition("/")[2]) for key in features], config.caption_field)
        row: dict[str, Any] = {name: values(features, _key(features, [name])) for name in names}
        label = values(features, _key(features, [config.label_field]))
        if len(label) == 1:
            row[config.label_field] = label[0].decode("utf-8", "replace") if isinstance(label[0], bytes) else label[0]
        captions, attributes = captions_of_row(row, config)
        return chosen_captions(captions, config), attributes


def _key(features: Mapping[str, Any], names: Sequence[str]) -> str:
    """Returns the key of one of these names, the first that there is: "text", or "captions/text" for "text"."""
    for name in names:
        if fits := [key for key in features if plain(f"/{key}").endswith(f"/{plain(name)}")]:
            return min(fits, key=len)
    return names[0]


def _is_example(record: bytes | str) -> bool:
    try:
        return bool(parse(record))
    except ValueError:
        return False
