"""Reads old-style PyTorch weight files (before PyTorch 1.6) without PyTorch, and without running what is in them.

A pickle is a program. This reader knows four names, those that a dictionary of tensors is made of, and refuses the file
at the first other one; none of the four is called as PyTorch would call it. The layout of such a file is a sequence of
pickles (magic number, protocol, facts about the machine, the dictionary, the keys of the storages) followed by each
storage's length (int64) and raw values, little-endian.
"""

from __future__ import annotations

import collections
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_VALUES = 2**31  # of one storage: a larger count is damage, not weights


class _Storage(NamedTuple):
    """The values that tensors look at, named in the pickle and found behind it."""

    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    """Stands for `torch._utils._rebuild_tensor_v2`; takes down what it is called with.

    Without slots of its own, so that the pickle's BUILD cannot change it.
    """

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        numbers = [offset, *shape, *strides]
        if not isinstance(storage, _Storage) or len(shape) != len(strides) or not all(type(n) is int for n in numbers):
            raise ValueError("it holds a tensor that is not described as tensors are")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows `_KNOWN` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise ValueError(f"it wants to run {module}.{name}, which weights have no need of")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", type, key, device, number of values, what it is a view of)
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage" or not isinstance(pid[1], np.dtype):
            raise ValueError("it refers to something that is not a storage of values")
        _, dtype, key, _, length, view = pid
        if not isinstance(key, str) or type(length) is not int or not 0 <= length <= MAX_VALUES or view is not None:
            raise ValueError("it describes a storage in a way that is not known")
        return _Storage(key, dtype, length)


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of an old-style PyTorch weight file, float32 or int64, by name.

    Nothing in the file is run: only the four names that a dictionary of tensors needs are understood.

    Raises:
      ValueError: the file is damaged, of another kind (a zip file, as PyTorch writes since 1.6, is), or names anything
        else; says what.
      OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            found = _described(file)
            keys = _Reader(file).load()
            storages = {tensor.storage.key: tensor.storage for tensor in found.values()}
            if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
                raise ValueError("its list of storages does not fit its tensors")
            values = {key: _values(file, storages[key]) for key in keys}
        except ValueError:
            raise
        except Exception as error:  # of damaged pickles: nearly anything
            raise ValueError(f"it is not a whole old-style PyTorch file ({type(error).__name__})") from error
    return {name: _view(values[tensor.storage.key], tensor) for name, tensor in found.items()}


def _described(file: BinaryIO) -> Mapping[str, _Tensor]:
    start = file.read(2)
    file.seek(0)
    if start == b"PK":
        raise ValueError("it is a zip file, as PyTorch writes since 1.6; this reader wants the older kind")
    if _Reader(file).load() != MAGIC_NUMBER or _Reader(file).load() != PROTOCOL:
        raise ValueError("it is not an old-style PyTorch file")
    _Reader(file).load()  # facts about the machine that wrote it: the order of bytes is little-endian all the same
    found = _Reader(file).load()
    if not isinstance(found, dict) or not found:
        raise ValueError("it holds no dictionary of tensors")
    if not all(isinstance(k, str) and isinstance(v, _Tensor) for k, v in found.items()):
        raise ValueError("it holds something besides tensors")
    return found


def _values(file: BinaryIO, storage: _Storage) -> np.ndarray:
    (count,) = np.frombuffer(file.read(8), "<i8")
    if count != storage.length:
        raise ValueError(f"storage {storage.key} has {count} values where {storage.length} are described")
    size = storage.length * storage.dtype.itemsize
    raw = file.read(size)
    if len(raw) != size:
        raise ValueError("it is cut short")
    return np.frombuffer(raw, storage.dtype)


def _view(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    shape, strides = tensor.shape, tensor.strides
    if min([tensor.offset, *shape, *strides], default=0) < 0:
        raise ValueError("it holds a tensor of a negative size")
    if math.prod(shape) > len(values):  # strides of zero could ask for any amount of memory
        raise ValueError("it holds a tensor of more values than its storage has")
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= len(values):
        raise ValueError("it holds a tensor that reaches beyond its storage")
    in_bytes = [stride * values.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(values[tensor.offset :], shape, in_bytes, writeable=False)
    return np.ascontiguousarray(view)
