"""`tf.train.Example`: what records of TFDS and TensorFlow hold, parsed without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2igan.data.stored import Stored

NOT_AN_EXAMPLE = "not a tf.train.Example"


@dataclass(frozen=True, slots=True)
class InExample:
    """A picture in an example: `record` is where the example lies, `key` the feature that holds the picture."""

    record: Stored
    key: str

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """The record's own, and which feature."""
        return (*self.record.stamp, self.key)

    def read(self) -> bytes:
        """Returns the encoded picture; OSError or ValueError where there is none."""
        return picture_in(parse(self.record.read()), self.key)


def parse(record: bytes | str) -> Mapping[str, Any]:
    """Returns key -> `tf.train.Feature` of a serialized example; ValueError where it is none.

    A string is the reason why there is no record (`RecordFile.read`): that of the ValueError.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_pb2

    if isinstance(record, str):
        raise ValueError(record)
    try:
        features = tf_example_pb2.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(NOT_AN_EXAMPLE) from error
    if not features:
        raise ValueError(NOT_AN_EXAMPLE)
    return features


def values(features: Mapping[str, Any], key: str) -> list[bytes] | list[int] | list[float]:
    """Returns the values of a feature; those of a list of lists in one; none where there is no such feature."""
    # Indexing would make a feature that is not there.
    key = key if key in features else f"{key}/ragged_flat_values"
    kind = features[key].WhichOneof("kind") if key in features else None
    return list(getattr(features[key], kind).value) if kind else []


def picture_in(features: Mapping[str, Any], key: str) -> bytes:
    """Returns the encoded picture in a feature; ValueError where there is none, or more than one."""
    found = values(features, key)
    if not found or not isinstance(found[0], bytes) or not found[0]:
        raise ValueError(f"no picture in {key!r}")
    if len(found) > 1:
        raise ValueError(f"{len(found)} pictures in {key!r}: one is accepted")
    return found[0]
