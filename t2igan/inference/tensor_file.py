"""Reading `.safetensors` files that strangers may have written: the header is judged before anything is read.

The format is 8 bytes of the header's length, the header as JSON, and the arrays one after another. It is read here and
not by the library, because that makes an object of every tensor that a header names, and asks for as much memory as the
header says, before anybody could look at it; on some headers it panics, which is no `Exception` of Python.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from t2igan import __version__
from t2igan.config.strict_json import read_group
from t2igan.errors import UserError

MAX_HEADER_BYTES = 16_000_000  # names, shapes and metadata; a pretrained tokenizer in it takes up to 6 MB
MAX_TENSORS = 5_000
MAX_TENSOR_BYTES = 16_000_000_000  # all together
MAX_DIMENSIONS = 8
MAX_NAME = 512  # characters of a tensor's name
MAX_WEIGHT = 1e6  # no weight of a trained network is larger; where many are, pictures are black
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
METADATA = "__metadata__"


@dataclasses.dataclass(frozen=True)
class Placed:
    """Where an array lies in the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start_bytes: int  # from the beginning of the file


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """An open file whose header has been judged; no array is read yet."""

    path: Path
    file: BinaryIO
    metadata: dict[str, str]
    tensors: dict[str, Placed]

    def read(self) -> dict[str, np.ndarray]:
        """Returns all arrays. Raises `UserError` where one has a number that is not finite, or absurdly large."""
        arrays = {name: self._read(placed) for name, placed in self.tensors.items()}
        for name, array in arrays.items():
            largest = float(max(array.max(), -array.min())) if array.size else 0.0  # NaN where any number is NaN
            if not largest <= MAX_WEIGHT:
                what = f"weights up to {largest:.0e}" if math.isfinite(largest) else "weights that are not finite"
                raise UserError(f"{self.path}: {name} has {what}; no trained network has, so the file is damaged")
        return arrays

    def _read(self, placed: Placed) -> np.ndarray:
        self.file.seek(placed.start_bytes)
        array = np.fromfile(self.file, placed.dtype, math.prod(placed.shape))
        if array.size != math.prod(placed.shape):
            raise not_whole(self.path, "it became shorter while it was read")
        return array.reshape(placed.shape)


def open_tensors(path: Path, file: BinaryIO, file_format: str) -> TensorFile:
    """Checks the header of an open `.safetensors` file.

    Args:
      path: the file's name, for messages.
      file: the same file, opened for reading bytes.
      file_format: what its metadata has to call it.

    Raises:
      UserError: it is cut short, contradicts itself, or has more of anything than a model of t2igan.
    """
    file.seek(0, 2)
    size_bytes = file.tell()
    file.seek(0)
    if size_bytes < 8:
        raise not_whole(path, f"it has {size_bytes} bytes")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > size_bytes - 8:
        raise not_whole(path, f"its header should have {length:,} bytes, and the file has {size_bytes:,}")
    if length > MAX_HEADER_BYTES:
        raise UserError(f"{path} has a header of {length:,} bytes; t2igan writes {MAX_HEADER_BYTES:,} at most")
    raw = file.read(length)
    if raw.count(b'"data_offsets"') > MAX_TENSORS:  # as below, before an object is made of each
        raise _too_many(path, raw.count(b'"data_offsets"'))
    header = read_group(raw, f"{path}: its header")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError(f"{path}: what its header says beside the tensors is not all text, so it is not of t2igan")
    if metadata.get("format") != file_format:
        kind, _, version = metadata.get("format", "").rpartition(" ")
        if kind == file_format.rpartition(" ")[0] and version.isdigit():  # what a later t2igan writes
            raise UserError(
                f"{path} was written by a newer t2igan ({metadata['format'][:60]!r}; this one, {__version__}, reads "
                f"{file_format!r}): pip install --upgrade t2igan"
            )
        raise UserError(f"{path} is a .safetensors file, but not a snapshot of t2igan ({file_format!r})")
    if len(header) > MAX_TENSORS:
        raise _too_many(path, len(header))
    return TensorFile(path, file, metadata, _placed(path, header, 8 + length, size_bytes))


def not_whole(path: Path, why: str) -> UserError:
    """Returns what to say of a file that is damaged or cut short."""
    return UserError(f"{path} is not a whole .safetensors file ({why}); copy it again, or train once more")


def _too_many(path: Path, num: int) -> UserError:
    return UserError(f"{path} has {num:,} tensors; t2igan writes {MAX_TENSORS:,} at most")


def _placed(path: Path, header: Mapping[str, Any], start_bytes: int, size_bytes: int) -> dict[str, Placed]:
    """Where each tensor lies; they have to fill the rest of the file, one behind the other."""
    spans, tensors = [], {}
    for name, entry in header.items():
        try:
            dtype, shape, (begin, end) = DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: the tensor {name[:80]!r} is not described as weights of t2igan are ({', '.join(DTYPES)})"
            ) from error
        if not all(type(number) is int and 0 <= number <= size_bytes for number in (*shape, begin, end)):
            raise UserError(f"{path}: the tensor {name[:80]!r} has sizes or a place that no file can have")
        if len(shape) > MAX_DIMENSIONS or len(name) > MAX_NAME or not _is_path(name):
            raise UserError(f"{path}: the tensor {name[:80]!r} has a name or a shape that no network's weights have")
        if math.prod(shape) * dtype.itemsize != end - begin:
            raise UserError(f"{path}: the tensor {name[:80]!r} of shape {list(shape)} has {end - begin:,} bytes")
        spans.append((begin, end))
        tensors[name] = Placed(dtype, shape, start_bytes + begin)
    ends = [0, *(end for _, end in sorted(spans))]
    if [begin for begin, _ in sorted(spans)] != ends[:-1] or ends[-1] != size_bytes - start_bytes:
        raise not_whole(path, f"its tensors do not fill the {size_bytes - start_bytes:,} bytes behind the header")
    if ends[-1] > MAX_TENSOR_BYTES:
        raise UserError(f"{path} has tensors of {ends[-1]:,} bytes; {MAX_TENSOR_BYTES:,} at most are accepted")
    return tensors


def _is_path(name: str) -> bool:
    """Whether a name is groups and a leaf, as `t2igan.inference.snapshot` writes them: "generator/params/base/bias"."""
    parts = name.split("/")
    return len(parts) <= 16 and all(part not in ("", ".", "..") and part.isprintable() for part in parts)
