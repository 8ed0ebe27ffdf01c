"""The reader of old PyTorch files: reads tensors, and refuses whatever a pickle could run."""

import collections
import contextlib
import os
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from t2igan.inference.pretrained.torch_file import MAGIC_NUMBER, PROTOCOL, read_torch_file

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "norm.num_batches_tracked": np.array([7], np.int64),
    "scalar": np.array(1.5, np.float32),
}


@pytest.fixture
def torch(monkeypatch):
    """Names as PyTorch has them, for pickles to refer to; there need be no PyTorch."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_):
        raise AssertionError("was run")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2, torch._utils = rebuild, utils
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


class Storage:
    def __init__(self, kind, key, length, view=None):
        self.pid = ("storage", kind, key, "cpu", length, view)


class Tensor:
    """What PyTorch writes of a tensor."""

    def __init__(self, torch, *arguments):
        self.reduced = (torch._utils._rebuild_tensor_v2, arguments)

    def __reduce__(self):
        return self.reduced


class Runs:
    """What a pickle can make a careless reader do."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.pid if isinstance(value, Storage) else None


def tensor(torch, key, array, **changes):
    kind = {"float32": torch.FloatStorage, "int64": torch.LongStorage}[array.dtype.name]
    strides = tuple(s // array.itemsize for s in array.strides)
    facts = {"offset": 0, "shape": array.shape, "strides": strides} | changes
    rest = (False, collections.OrderedDict())
    return Tensor(torch, Storage(kind, key, array.size), facts["offset"], facts["shape"], facts["strides"], *rest)


def file_of(path, content, keys=None, arrays=ARRAYS, counts=None):
    """Writes a file as `torch.save` did before 1.6, with `content` in the place of the dictionary."""
    with path.open("wb") as file:
        for value in (MAGIC_NUMBER, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True}):
            pickle.dump(value, file, protocol=2)
        Pickler(file, protocol=2).dump(content)
        pickle.dump(list(arrays) if keys is None else keys, file, protocol=2)
        for i, array in enumerate(arrays.values()):
            file.write(struct.pack("<q", array.size if counts is None else counts[i]) + array.tobytes())
    return path


def dictionary(torch, **changes):
    found = collections.OrderedDict((name, tensor(torch, name, array)) for name, array in ARRAYS.items())
    found._metadata = collections.OrderedDict(version=1)  # as state dictionaries have it
    found.update(changes)
    return found


def test_tensors_are_read_as_they_were(torch, tmp_path):
    found = read_torch_file(file_of(tmp_path / "a.pth", dictionary(torch)))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    weight = ARRAYS["conv.weight"]
    part = tensor(torch, "conv.weight", weight, offset=2, shape=(3, 2), strides=(4, 1))
    transposed = tensor(torch, "conv.weight", weight, shape=(4, 6), strides=(1, 4))
    content = dictionary(torch, part=part, transposed=transposed)
    found = read_torch_file(file_of(tmp_path / "b.pth", content))
    np.testing.assert_array_equal(found["part"], weight.reshape(-1)[2:14].reshape(3, 4)[:, :2])
    np.testing.assert_array_equal(found["transposed"], weight.reshape(6, 4).T)


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), "posix.system|nt.system"),
        (eval, ("open({!r}, 'w')",), "__builtin__.eval"),
        (getattr, ("a", "upper"), "__builtin__.getattr"),
        (collections.Counter, (), "collections.Counter"),
        (np.frombuffer, (b"a", "S1"), "numpy.*frombuffer"),
    ],
)
def test_whatever_else_is_named_is_refused_and_not_run(torch, tmp_path, function, arguments, named):
    mark = tmp_path / "was_run"
    arguments = tuple(a.format(str(mark)) if isinstance(a, str) else a for a in arguments)
    evil = Runs(function, *arguments)
    for content in (evil, dictionary(torch, more=evil), [evil]):
        with pytest.raises(ValueError, match=f"wants to run ({named}), which weights have no need of"):
            read_torch_file(file_of(tmp_path / "evil.pth", content))
    with pytest.raises(ValueError, match="wants to run"):
        read_torch_file(file_of(tmp_path / "keys.pth", dictionary(torch), keys=[evil]))
    with (tmp_path / "first.pth").open("wb") as file:
        pickle.dump(evil, file, protocol=2)
    with pytest.raises(ValueError, match="wants to run"):
        read_torch_file(tmp_path / "first.pth")
    assert not mark.exists()


def test_a_pickle_cannot_change_the_reader(torch, tmp_path):
    """BUILD sets attributes of whatever it is given, and what it is given lives as long as the program."""
    for name in (b"torch._utils\n_rebuild_tensor_v2", b"torch\nFloatStorage"):
        body = b"\x80\x02c" + name + b"\n}X\x08\x00\x00\x00__call__K\x01sb."
        with (tmp_path / "build.pth").open("wb") as file:
            for value in (MAGIC_NUMBER, PROTOCOL, {}):
                pickle.dump(value, file, protocol=2)
            file.write(body)
        with pytest.raises(ValueError):
            read_torch_file(tmp_path / "build.pth")
    test_tensors_are_read_as_they_were(torch, tmp_path)


def test_other_kinds_of_values_are_refused(torch, tmp_path):
    half = Tensor(torch, Storage(torch.HalfStorage, "k", 1), 0, (1,), (1,), False, collections.OrderedDict())
    cases = {
        "wants to run torch.HalfStorage": dictionary(torch, half=half),
        "something besides tensors": dictionary(torch, text="hello"),
        "holds no dictionary of tensors": [1, 2],
        "beyond its storage": dictionary(torch, far=tensor(torch, "scalar", ARRAYS["scalar"], offset=5)),
        "more values than its storage": dictionary(
            torch, huge=tensor(torch, "scalar", ARRAYS["scalar"], shape=(10**9, 10**9), strides=(0, 0))
        ),
        "of a negative size": dictionary(
            torch, odd=tensor(torch, "scalar", ARRAYS["scalar"], shape=(1,), strides=(-1,))
        ),
        "not described as tensors are": dictionary(torch, odd=tensor(torch, "scalar", ARRAYS["scalar"], shape=("a",))),
    }
    for match, content in cases.items():
        with pytest.raises(ValueError, match=match):
            read_torch_file(file_of(tmp_path / "odd.pth", content))
    viewed = Tensor(torch, Storage(torch.FloatStorage, "k", 1, ("view", 0, 1)), 0, (1,), (1,), False, None)
    with pytest.raises(ValueError, match="a way that is not known"):
        read_torch_file(file_of(tmp_path / "odd.pth", dictionary(torch, viewed=viewed)))


def test_damaged_files_are_refused(torch, tmp_path):
    whole = file_of(tmp_path / "whole.pth", dictionary(torch)).read_bytes()
    for length in (0, 1, 20, 200, len(whole) - 100, len(whole) - 1):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(ValueError):
            read_torch_file(tmp_path / "cut.pth")
    (tmp_path / "zip.pth").write_bytes(b"PK\x03\x04" + b"\0" * 50)
    with pytest.raises(ValueError, match="zip file"):
        read_torch_file(tmp_path / "zip.pth")
    (tmp_path / "other.pth").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(ValueError, match="not an old-style PyTorch file"):
        read_torch_file(tmp_path / "other.pth")
    with pytest.raises(ValueError, match="list of storages"):
        read_torch_file(file_of(tmp_path / "keys.pth", dictionary(torch), keys=["conv.weight"]))
    with pytest.raises(ValueError, match="has 3 values where 24 are described"):
        read_torch_file(file_of(tmp_path / "count.pth", dictionary(torch), counts=[3, 1, 1]))
    random = np.random.default_rng(0)
    for _ in range(200):  # any byte may be wrong: an error or other values, never anything else
        damaged = bytearray(whole)
        damaged[int(random.integers(len(whole)))] = int(random.integers(256))
        (tmp_path / "damaged.pth").write_bytes(damaged)
        with contextlib.suppress(ValueError):
            read_torch_file(tmp_path / "damaged.pth")
