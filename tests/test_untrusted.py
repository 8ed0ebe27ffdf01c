"""Snapshots of strangers: whatever is in the file, `t2igan.load` ends in a model or in a `UserError`, soon and small.

Many more mutations than CI takes:
`T2IGAN_FUZZ_EXAMPLES=20000 python -m pytest tests/test_untrusted.py -k mutation`
"""

import copy
import json
import os
import resource
import struct
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import random_snapshot

import t2igan
from t2igan.config.untrusted import check_untrusted
from t2igan.data.tokenizer import Tokenizer
from t2igan.data.tokenizer_file import check_parts
from t2igan.errors import UserError
from t2igan.inference.pretrained.strangers import check_description
from t2igan.inference.snapshot import _digest, load_networks, load_snapshot, save_snapshot

MAX_GROWTH_KB = 500_000
HANGS_S = 20.0  # ends a test of what would never end; the two seconds are measured by `benchmarks.fuzz`, undisturbed
EXAMPLES = int(os.environ.get("T2IGAN_FUZZ_EXAMPLES", "60"))


class File:
    """A whole snapshot in parts that a test may spoil."""

    def __init__(self, raw):
        (length,) = struct.unpack("<Q", raw[:8])
        self.header, self.body = json.loads(raw[8 : 8 + length]), raw[8 + length :]

    def names(self):
        return [name for name in self.header if name != "__metadata__"]

    def raw(self):
        text = json.dumps(self.header).encode()
        return struct.pack("<Q", len(text)) + text + self.body

    def part(self, name, change):
        """Lets `change` spoil a part of the metadata that is JSON."""
        values = json.loads(self.header["__metadata__"][name])
        changed = change(values)
        self.header["__metadata__"][name] = json.dumps(values if changed is None else changed)

    def arrays(self):
        at = lambda entry: np.frombuffer(self.body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        return {name: at(self.header[name]) for name in self.names()}

    def put(self, arrays):
        """Other weights, with a header and a hash that fit them."""
        self.body, begin = b"", 0
        self.header = {"__metadata__": self.header["__metadata__"] | {"digest": _digest(arrays)}}
        kinds = {"float32": "F32", "int32": "I32", "float16": "F16"}
        for name, array in arrays.items():
            entry = {"dtype": kinds[str(array.dtype)], "shape": list(array.shape)}
            self.header[name] = entry | {"data_offsets": [begin, begin + array.nbytes]}
            self.body, begin = self.body + array.tobytes(), begin + array.nbytes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "snapshot.safetensors"
    save_snapshot(path, random_snapshot(["a red cap", "green hair", "a blue top"]))
    t2igan.load(path)  # what it takes once is not what a file can do
    return path.read_bytes()


def ends_well(path, kind=UserError):
    """Loads a file: a `UserError` of a line or two, within time and memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(kind) as caught:
        t2igan.load(path)
    assert time.process_time() - start < HANGS_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWTH_KB
    message = str(caught.value)
    assert len(message) < 700 and message.count("\n") <= 1
    return message


def metadata(**changes):
    def change(file):
        for name, value in changes.items():
            if value is None:
                del file.header["__metadata__"][name]
            else:
                file.header["__metadata__"][name] = value

    return change


def config(section, **values):
    return lambda file: file.part("config", lambda c: (c[section] if section else c).update(values))


def tokenizer(change):
    return lambda file: file.part("tokenizer", change)


def weights(change):
    """Weights changed, header and hash made to fit."""

    def spoil(file):
        arrays = {name: array.copy() for name, array in file.arrays().items()}
        file.put(change(arrays) or arrays)

    return spoil


def first_filled(value, dtype=np.float32):
    def change(arrays):
        name = next(iter(arrays))
        arrays[name] = np.full_like(arrays[name], value).astype(dtype)

    return weights(change)


def empty_tensors(num):
    def spoil(file):
        end = len(file.body)
        file.header |= {f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [end, end]} for i in range(num)}

    return spoil


def entry(**values):
    return lambda file: file.header[file.names()[1]].update(values)


def overlap(file):
    first, second = file.names()[:2]
    file.header[first]["data_offsets"] = file.header[second]["data_offsets"]


def named(name):
    def spoil(file):
        end = len(file.body)
        file.header[name] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}

    return spoil


def gap(file):
    file.body += b"\0" * 8


DEEP = "[" * 200_000 + "]" * 200_000
SPOILED = {
    # The table that was tried first.
    "overlapping offsets": overlap,
    "shape overflow": entry(shape=[10**6, 10**6, 10**6]),
    "format 2": metadata(format="t2igan snapshot 2"),
    "NaN weights": first_filled(np.nan),
    "infinite weights": first_filled(np.inf),
    "weights of 1e30": first_filled(1e30),
    "weights of -1e30": first_filled(-1e30),
    "weights changed, digest kept": lambda file: setattr(file, "body", bytes(4096) + file.body[4096:]),
    "int32 weights": first_filled(1, np.int32),
    "int32 in the header alone": entry(dtype="I32"),
    "100,000 empty tensors": empty_tensors(100_000),
    "10,000 empty tensors": empty_tensors(10_000),
    "config missing": metadata(config=None),
    "tokenizer missing": metadata(tokenizer=None),
    "digest missing": metadata(digest=None),
    "config not JSON": metadata(config="{"),
    "metrics not JSON": metadata(metrics="nope"),
    "config of brackets": metadata(config=DEEP),
    "info of brackets": metadata(info=DEEP),
    "groups within groups": metadata(config='{"a":' * 5_000 + "1" + "}" * 5_000),
    "config a list": metadata(config="[]"),
    "section missing": lambda file: file.part("config", lambda c: c.pop("generator") and None),
    "dtype foo": config("", compute_dtype="foo"),
    "channels 65536": config("generator", channels=[65536] * 3),
    "base_px 1e5": config("generator", base_px=10**5),
    "z_dim 1e10": config("generator", z_dim=10**10),
    "layers 1e7": config("text_encoder", layers=10**7),
    "captioner of 1e9 layers": lambda file: file.part("config", lambda c: c["captioner"].update(layers=10**9)),
    "image tower of 65,536 blocks": config("image_encoder", blocks=65_536),
    "wrong channels": config("generator", channels=[16, 8, 8]),
    "one channel": config("data", channels=1),
    "tensor missing": weights(lambda arrays: dict(list(arrays.items())[1:])),
    "tensor renamed": lambda file: file.header.update({f"{file.names()[1]}_": file.header.pop(file.names()[1])}),
    "heads 0": config("generator", attention_heads=0),
    "text heads 0": config("text_encoder", heads=0),
    "z_dim a text": config("generator", z_dim="64"),
    "100,000 channels": config("generator", channels=[96] * 100_000),
    "tokenizer garbage": metadata(tokenizer="hello"),
    "tokenizer of brackets": metadata(tokenizer='{"a":' * 100_000),
    "tokenizer of 2e9 tokens": tokenizer(lambda t: t["truncation"].update(max_length=2 * 10**9)),
    "name both leaf and group": named("generator"),
    "no text network": weights(lambda arrays: {k: v for k, v in arrays.items() if not k.startswith("text/")}),
    "paths in names": named("../../../tmp/x"),
    "NaN size": config("data", image_size_px=float("nan")),
    # Twenty more, and their neighbours.
    "absolute path in a name": named("/etc/x"),
    "a name of 100,000 characters": named("x" * 100_000),
    "a name with a NUL": named("generator/\0"),
    "a network that nothing uses": named("discriminator/params/x"),
    "a name 100 groups deep": named("generator/" + "a/" * 100 + "b"),
    "20 dimensions": entry(shape=[1] * 20),
    "negative size": entry(shape=[-1, -4]),
    "a size of 1.0": entry(shape=[1.0]),
    "a size of true": entry(shape=[True]),
    "a shape of text": entry(shape="12"),
    "no shape": lambda file: file.header[file.names()[1]].pop("shape") and None,
    "three offsets": entry(data_offsets=[0, 4, 8]),
    "offsets backwards": entry(data_offsets=[8, 4]),
    "offsets behind the end": entry(data_offsets=[2**50, 2**50 + 4]),
    "a tensor that is a number": lambda file: file.header.update({file.names()[1]: 7}),
    "a dtype of no name": entry(dtype=None),
    "bytes that belong to no tensor": gap,
    "metadata a list": lambda file: file.header.update(__metadata__=[1]),
    "metadata a number": lambda file: file.header["__metadata__"].update(config=7),
    "no metadata": lambda file: file.header.pop("__metadata__") and None,
    "a number of 10,000 digits": metadata(config='{"seed": ' + "9" * 10_000 + "}"),
    "a key twice": metadata(config='{"seed": 1, "seed": 2}'),
    "digest of another length": metadata(digest="0" * 64),
    "500,001 lists in metrics": metadata(metrics='{"a": [' + ",".join(["[]"] * 500_001) + "]}"),
    "10,000 config keys": config("data", **{f"k{i}": 1 for i in range(10_000)}),
    "config of texts": config("data", source="x" * 1_000_000),
    "a key that is no name": config("data", **{"a b": 1}),
    "infinite rate": config("train", generator_learning_rate=float("inf")),
    "a group for a number": config("", seed={"a": 1}),
    "a number for a group": config("", data=7),
    "true for a number": config("generator", z_dim=True),
    "a list of lists": config("generator", channels=[[96]]),
    "0 px": config("data", image_size_px=0),
    "1e6 px": config("data", image_size_px=10**6),
    "another size": config("data", image_size_px=32),
    "negative width": config("text_encoder", width=-64),
    "blocks 1e4": config("generator", blocks=10_000),
    "no channels": config("generator", channels=[]),
    "kind that is not there": config("generator", kind="evil"),
    "kind os.system": config("text_encoder", kind="os.system"),
    "space that is not there": config("space", kind="evil"),
    "space of codes, none there": config("space", kind="patches"),
    "another max_tokens": config("tokenizer", max_tokens=7),
    "a patch of 3 px": config("generator", patch_px=3),
    "token ids with a hole": tokenizer(lambda t: t["model"]["vocab"].update({"zzz": 10**6})),
    "token ids negative": tokenizer(lambda t: t["model"]["vocab"].update({"!": -1})),
    "token ids of text": tokenizer(lambda t: t["model"]["vocab"].update({"!": "3"})),
    "a token of 1e6 characters": tokenizer(
        lambda t: t["model"]["vocab"].update({"x" * 10**6: len(t["model"]["vocab"])})
    ),
    "a token more than the network has": tokenizer(
        lambda t: t["model"]["vocab"].update({"zzz": len(t["model"]["vocab"])})
    ),
    "merges of what is no token": tokenizer(lambda t: t["model"]["merges"].append(["zz", "yy"])),
    "merges of three": tokenizer(lambda t: t["model"]["merges"].append(["a", "b", "c"])),
    "merges a text": tokenizer(lambda t: t["model"].update(merges="ab")),
    "no normalizer": tokenizer(lambda t: t.update(normalizer=None)),
    "special tokens elsewhere": tokenizer(lambda t: t["model"]["vocab"].update({"<pad>": 1, "<begin>": 0})),
    "pretrained without fields": metadata(pretrained='{"name": "/etc"}'),
    "pretrained a list": metadata(pretrained="[]"),
    "transposed weights": weights(lambda arrays: {k: np.ascontiguousarray(v.T) for k, v in arrays.items()}),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_snapshot_is_refused(whole, tmp_path, kind):
    file = File(whole)
    SPOILED[kind](file)
    path = tmp_path / "x.safetensors"
    path.write_bytes(file.raw())
    ends_well(path)


RAW = {
    "empty": lambda _: b"",
    "7 bytes": lambda raw: raw[:7],
    "cut in the middle": lambda raw: raw[: len(raw) // 2],
    "a header of 2**63 bytes": lambda raw: struct.pack("<Q", 2**63) + raw[8:],
    "a header of 2**64 - 1 bytes": lambda raw: b"\xff" * 8 + raw[8:],
    "a header of 0 bytes": lambda raw: bytes(8) + raw[8:],
    "95 MB of spaces": lambda raw: struct.pack("<Q", 95_000_000) + raw[8:].ljust(95_000_000),
    "15 MB of brackets": lambda _: struct.pack("<Q", 15_000_000) + b"[" * 15_000_000,
    "15 MB of empty lists": lambda _: struct.pack("<Q", 15_000_000) + b"[" + b"[]," * 4_999_999 + b"1]",
    "UTF-16": lambda _: struct.pack("<Q", 2000) + ("{}".ljust(999)).encode("utf-16"),
    "no UTF-8": lambda raw: raw[:20] + b"\xff\xfe" + raw[22:],
    "a pickle": lambda _: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a picture": lambda raw: b"\x89PNG\r\n\x1a\n" + raw[8:],
    "null": lambda _: struct.pack("<Q", 4) + b"null",
}


@pytest.mark.parametrize("kind", RAW)
def test_bytes_that_are_no_snapshot_are_refused(whole, tmp_path, kind):
    (tmp_path / "x.safetensors").write_bytes(RAW[kind](whole))
    ends_well(tmp_path / "x.safetensors")


@pytest.mark.parametrize("size_bytes", [64 * 2**30, 2 * 2**30])
def test_a_tensor_that_is_a_hole_in_the_file_is_never_read(whole, tmp_path, size_bytes):
    """Few bytes on the disk stand for many in memory: shapes are compared before weights are read."""
    file, path = File(whole), tmp_path / "x.safetensors"
    end = len(file.body)
    offsets = [end, end + size_bytes]
    file.header["generator/params/zzz"] = {"dtype": "F32", "shape": [size_bytes // 4], "data_offsets": offsets}
    path.write_bytes(file.raw())
    os.truncate(path, path.stat().st_size + size_bytes)
    ends_well(path)


def test_a_tokenizer_brings_nothing_but_its_words(whole, tmp_path):
    """Regular expressions that never end and replacements that grow a caption are not carried over."""
    plain, file, path = (
        Tokenizer.from_json(json.loads(json.dumps(text_of(whole)))),
        File(whole),
        tmp_path / "x.safetensors",
    )
    bombs = [
        {"type": "Replace", "pattern": {"Regex": "(a|a)*$"}, "content": "b"},
        *[{"type": "Replace", "pattern": {"Regex": ""}, "content": "x" * 1000}] * 6,
    ]
    file.part("tokenizer", lambda t: t["normalizer"]["normalizers"].extend(bombs))
    file.part("tokenizer", lambda t: t["padding"].update(strategy={"Fixed": 2 * 10**9}))
    path.write_bytes(file.raw())
    model = t2igan.load(path)
    assert model.tokenizer == plain
    np.testing.assert_array_equal(model.tokenizer.encode(["a" * 40]), plain.encode(["a" * 40]))


def text_of(raw):
    return File(raw).header["__metadata__"]["tokenizer"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_tokenizer_is_rebuilt_as_it_was(lowercase):
    learned = Tokenizer.train(["a Red cap", "a red cap", "green hair"], 300, 12, lowercase)
    again = Tokenizer.from_json(learned.to_json())
    assert again.to_json() == learned.to_json()
    older = json.loads(learned.to_json())  # as versions of the library before 0.20 wrote merges
    older["model"]["merges"] = [" ".join(pair) for pair in older["model"]["merges"]]
    assert Tokenizer.from_json(json.dumps(older)) == learned


def test_what_a_whole_snapshot_says_is_believed_after_the_check(whole, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(File(whole).raw())  # its header written anew, by another program
    model = t2igan.load(tmp_path / "x.safetensors")
    assert model.sample("a red cap").shape == (1, 16, 16, 3)
    old = File(whole)  # from before these keys were there
    old.part("config", without_newer_keys)
    (tmp_path / "old.safetensors").write_bytes(old.raw())
    assert t2igan.load(tmp_path / "old.safetensors").digest == model.digest


def test_a_model_that_draws_transparency_loads_and_explains(tmp_path):
    from t2igan.evaluation.explain import explain
    from t2igan.evaluation.report.explanation import explanation_sheet
    from t2igan.inference.pictures import save_png
    from t2igan.inference.verify import verify

    save_snapshot(tmp_path / "x.safetensors", random_snapshot(["a red cap"], changes={"data.channels": 4}))
    model = t2igan.load(tmp_path / "x.safetensors")
    drawn = model.sample("a cap", seed=1)
    assert drawn.shape == (1, 16, 16, 4)
    facts = {"model": model.digest, "prompt": "a cap", "seed": 1}
    save_png(tmp_path / "x.png", drawn[0], facts)
    assert "the same in every pixel" in verify(tmp_path / "x.png", model).lines[-1]
    assert explanation_sheet(explain(model, "a cap", [0]), None).shape[-1] == 3


def without_newer_keys(config):
    del config["text_encoder"]["pretrained"], config["guard"], config["train"]["ema_ramp"]


@pytest.mark.parametrize("values", [None, 7, {"data": {}}, {"a": {"b": {"c": {"d": {"e": 1}}}}}, {"generator": None}])
def test_configurations_of_other_shapes_are_refused(values):
    with pytest.raises(UserError, match="here"):
        check_untrusted(values, "here")


GOOD = {"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "b": 2}}, "normalizer": {"type": "BertNormalizer"}}


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a|a)*$"}, "content": "b"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "b"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 1000}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}] * 100}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}}},
        {"decoder": {"type": "Evil"}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2}}},
        {"model": {"type": "WordPiece", "vocab": {"a": 2**40, "b": 1, "c": 2}}},
        {"model": 7},
        {"added_tokens": [{}] * 20_000},
    ],
)
def test_a_pretrained_tokenizer_of_a_stranger_is_refused(change):
    check_parts(json.dumps(GOOD))
    with pytest.raises(ValueError):
        check_parts(json.dumps(GOOD | change))


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "evil"},
        {"pooling": 7},
        {"digest": "../x"},
        {"config": {"num_hidden_layers": 10**6}},
        {"config": {"num_hidden_layers": 2, "hidden_size": 10**12}},
        {"config": []},
        {"more": 1},
    ],
)
def test_a_description_of_a_language_model_is_bounded(change):
    good = {
        "name": "minilm",
        "config": {"num_hidden_layers": 2},
        "pooling": "mean",
        "digest": "0" * 16,
        "mode": "frozen",
    }
    good["tokenizer"] = json.dumps(GOOD)
    check_description(good)
    with pytest.raises(ValueError):
        check_description(good | change)


@pytest.mark.parametrize("read", [load_snapshot, load_networks])
def test_all_readers_judge_the_header(tmp_path, read):
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 2**63) + bytes(100))
    with pytest.raises(UserError, match="not a whole"):
        read(tmp_path / "x.safetensors")


numbers = st.sampled_from([0, -1, 1, 3, 2**31, 2**63, 1e30, float("nan")])
JSON_VALUES = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=8), st.lists(numbers, max_size=3))


def places(tree, at=()):
    """All places in a JSON value, as tuples of keys."""
    yield at
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*at, key))


def exchanged(tree, at, value):
    tree = copy.deepcopy(tree)
    node = tree
    for key in at[:-1]:
        node = node[key]
    node[at[-1]] = value
    return tree


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_mutation_ends_in_a_model_or_a_user_error(whole, tmp_path, data):
    """Bytes changed anywhere, or a value exchanged in the header, the configuration or the tokenizer."""
    kind = data.draw(st.sampled_from(["bytes", "header bytes", "header", "config", "tokenizer"]))
    if kind in ("bytes", "header bytes"):
        raw = bytearray(whole)
        end = len(raw) if kind == "bytes" else 8 + struct.unpack("<Q", whole[:8])[0]
        for _ in range(data.draw(st.integers(1, 8))):
            raw[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    else:
        file = File(whole)
        tree = file.header if kind == "header" else json.loads(file.header["__metadata__"][kind])
        at = data.draw(st.sampled_from([place for place in places(tree) if place]))
        tree = exchanged(tree, at, data.draw(JSON_VALUES))
        if kind == "header":
            file.header = tree
        else:
            file.header["__metadata__"][kind] = json.dumps(tree)
        raw = file.raw()
    path = tmp_path / "x.safetensors"
    path.write_bytes(bytes(raw))
    start = time.process_time()
    try:
        t2igan.load(path)
    except UserError as error:
        assert str(error).count("\n") <= 1
    assert time.process_time() - start < HANGS_S
