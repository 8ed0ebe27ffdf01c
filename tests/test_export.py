"""Models out of t2igan: what is exported draws what JAX draws, in a process without t2igan."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
import types

import numpy as np
import pytest
from exported import random_model
from PIL import Image
from tiny import random_snapshot

import t2igan
from t2igan.errors import UserError
from t2igan.inference.export import FORMATS, Format, check, hub, source
from t2igan.inference.provenance import GENERATED, read_claims
from t2igan.inference.snapshot import load_networks, load_snapshot, save_networks, save_snapshot
from t2igan.inference.verify import verify

CAPTIONS = ["a red square on blue", "a green square", "blue"]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """A file with a model whose weights are all random, small enough that pictures stay near [-1, 1]."""
    made = random_model(CAPTIONS)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    config = made.config | {"init_from": "/home/me/secret/run"}
    config["data"] = config["data"] | {"source": "~/private/pets"}
    save_snapshot(path, dataclasses.replace(made, config=config, model_card="# Tiny\n\nA card.\n"))
    return path


def test_stablehlo_draws_the_same_with_jax_alone(snapshot, tmp_path):
    """Both programs, any number of pictures, weights inside and beside."""
    done = t2igan.export(snapshot, "stablehlo", tmp_path / "inside")
    assert [line.split(":")[0] for line in done.checks] == ["model.stablehlo", "model_z.stablehlo"]
    assert set(done.size_bytes) == {
        *("model.stablehlo", "model_z.stablehlo", "model.json", "tokenizer.json", "sample.py"),
    }
    about = json.loads((tmp_path / "inside" / "model.json").read_text())
    assert about["jax"] and "six months" in about["promise"] and set(about["platforms"]) >= {"cpu", "cuda", "tpu"}
    assert about["programs"]["model"]["tokens"] == "int32 [batch, 16]"
    beside = t2igan.export(snapshot, "stablehlo", tmp_path / "beside", weights="beside")
    assert beside.size_bytes["model.stablehlo"] < done.size_bytes["model.stablehlo"]
    assert "weights.npz" in beside.size_bytes


def test_onnx_draws_the_same_without_jax_and_so_does_its_program(snapshot, tmp_path):
    """The whole way, then the command line of sample.py, whose PNG is that of `Model.sample`."""
    done = t2igan.export(snapshot, "onnx", tmp_path / "onnx")
    assert set(done.size_bytes) == {"model.onnx", "model_z.onnx", "sample.py"}
    assert [line.split(":")[0] for line in done.checks] == ["model.onnx", "model_z.onnx"]
    command = [sys.executable, "-I", "sample.py", "--prompt=a green square", "--num=2", "--seed=7", "--scale=3"]
    subprocess.run(command, cwd=tmp_path / "onnx", check=True, capture_output=True, timeout=120)
    sheet = np.asarray(Image.open(tmp_path / "onnx" / "sheet.png"))
    model, said = t2igan.load(snapshot), read_claims(tmp_path / "onnx" / "sheet.png")
    expected = np.concatenate(list(model.sample(["a green square"] * 2, [7, 8])), axis=1)
    assert sheet.shape == (48, 96, 3) and np.abs(sheet[::3, ::3].astype(int) - expected).max() <= 1
    recipe = {"t2igan": t2igan.__version__, "model": model.digest, "dtype": "float32", "cut_long": True}
    recipe |= {"truncation": 1.0, "guidance": 1.0, "prompts": ["a green square"], "seeds": [7, 8]}
    assert said.facts == recipe | {"scale": 3, "layout": "row"} and said.source_type == GENERATED
    assert "the same in every pixel" in verify(tmp_path / "onnx" / "sheet.png", model).lines[-1]
    empty = subprocess.run(
        [*command[:3], "--prompt= "], cwd=tmp_path / "onnx", capture_output=True, text=True, check=False
    )
    assert empty.returncode and "a caption is empty" in empty.stderr and "Traceback" not in empty.stderr


def test_a_hub_folder_is_opened_by_load_and_tells_no_paths(snapshot, tmp_path):
    snapshot.with_name("data_card.md").write_text("# Data of Tiny\n")
    done = t2igan.export(snapshot, "hub", tmp_path / "hub", "float16")
    assert (tmp_path / "hub" / "data_card.md").read_text() == "# Data of Tiny\n"
    model = t2igan.load(tmp_path / "hub")
    images = t2igan.load(snapshot).sample(CAPTIONS, 3)
    assert np.abs(model.sample(CAPTIONS, 3).astype(int) - images).mean() < 0.1
    front, body = (tmp_path / "hub" / "README.md").read_text().removeprefix("---\n").split("\n---\n")
    assert "library_name: t2igan" in front and "pipeline_tag: text-to-image" in front and "license" not in front
    assert body.startswith("# Tiny") and "t2igan.load" in body and "[data_card.md](data_card.md)" in body
    stored = load_snapshot(tmp_path / "hub" / "model.safetensors")
    assert stored.config["data"]["source"] == "pets" and stored.config["init_from"] == "run"
    space = (tmp_path / "hub" / "space" / "README.md").read_text()
    assert "sdk: static" in space and 'title: "Tiny"' in space
    assert "space/index.html" in done.size_bytes and "index.html: 64 pictures" in done.checks[-1]
    written = b"".join(file.read_bytes() for file in (tmp_path / "hub").rglob("*") if file.is_file())
    assert b"/home" not in written and b"private" not in written


def test_one_file_is_half_as_large_in_float16_and_can_be_exported_again(snapshot, tmp_path):
    small = tmp_path / "small.safetensors"
    t2igan.export(snapshot, "snapshot", small, "float16")
    assert {a.dtype for a in _arrays(load_snapshot(small).params)} == {np.dtype("float16")}
    again = t2igan.export(small, "snapshot", tmp_path / "again.safetensors", "float16")
    assert "0 of" in again.checks[-1]
    assert load_snapshot(tmp_path / "again.safetensors").digest == load_snapshot(small).digest


def test_what_only_editing_needs_may_be_left_out(tmp_path):
    whole, light = tmp_path / "whole.safetensors", tmp_path / "light.safetensors"
    made = random_snapshot(CAPTIONS, captioner=True)
    save_snapshot(whole, dataclasses.replace(made, model_card="# Tiny\n\n- Weights: `0` (text 3)\n"))
    t2igan.export(whole, "snapshot", light, without=["inverter", "captioner"])
    kept = load_snapshot(light)
    assert set(kept.params) == {"text", "generator"} and kept.digest in kept.model_card
    assert (t2igan.load(light).sample(CAPTIONS) == t2igan.load(whole).sample(CAPTIONS)).all()
    t2igan.export(whole, "snapshot", light, without=["inverter"])
    assert "captioner" in load_snapshot(light).params


def _arrays(tree):
    for value in tree.values():
        yield from _arrays(value) if isinstance(value, dict) else [value]


@pytest.mark.parametrize(
    ("stated", "name"),
    [("CC-BY-4.0", "cc-by-4.0"), ("CC0 1.0", "cc0-1.0"), ("", ""), ("Apache-2.0", "apache-2.0"), ("mine", "other")],
)
def test_licences_are_spelled_as_the_hub_does(stated, name):
    assert hub.license_name(stated) == name


def test_captions_to_compare_on_have_all_lengths_and_fit(snapshot):
    tokenizer = t2igan.load(snapshot).tokenizer
    captions = source.made_captions(tokenizer)
    lengths = tokenizer.lengths(captions)
    assert len(captions) == 64 and lengths.max() <= 16 and len(set(lengths)) > 5
    assert captions == source.made_captions(tokenizer)


def test_an_export_that_is_another_model_is_refused():
    a = np.zeros((2, 2, 2, 3), np.float32)
    target = check.TARGETS["float32"]
    assert "largest difference 1.0e-05" in check.compare_floats("x", a + np.float32(1e-5), a, target)
    for wrong in (a + np.float32(1e-4), a * np.float32("nan"), np.where(np.arange(3) == 0, np.float32(2e-5), a)):
        with pytest.raises(UserError, match="the export is not the model"):
            check.compare_floats("x", wrong, a, target)
    black = np.zeros((64, 16, 16, 3), np.uint8)
    few, many = black.copy(), black.copy()
    few[0, 0, 0, 0], many[0, 0] = 1, 1
    assert "1 of 49152 values differ" in check.compare_bytes("x", few, black, target)
    for wrong in (many, few * 2):
        with pytest.raises(UserError, match="the export is not the model"):
            check.compare_bytes("x", wrong, black, target)
    with pytest.raises(UserError, match="please report"):
        check.compare_bytes("x", few[:1], black, target)


def test_what_imports_t2igan_or_fails_is_refused(tmp_path):
    found = check.run_alone("save(a=np.arange(given['n']))", {"n": 3}, tmp_path, ())
    assert found["a"].tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="it imported decimal"):
        check.run_alone("import decimal; save(a=np.zeros(1))", {}, tmp_path, ("decimal",))
    with pytest.raises(UserError, match="cannot be opened without t2igan: ZeroDivisionError"):
        check.run_alone("1 / 0", {}, tmp_path, ())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "onxx"}, "no form of export 'onxx'.*There are"),
        ({"format": "hub", "dtype": "int8"}, "dtype='int8' is not what format 'hub' has: give 'float32' or 'float16'"),
        ({"format": "hub", "weights": "beside"}, "weights='beside' is not what format 'hub' has"),
        ({"format": "snapshot", "out": "x"}, "must be a file that ends in .safetensors"),
        ({"format": "stablehlo", "out": "x.onnx"}, "must be a folder"),
        ({"format": "hub", "captions": [""]}, "is empty"),
        ({"format": "hub", "without": ["text"]}, "without='text' is none of inverter, captioner, completer"),
    ],
)
def test_wrong_arguments_are_explained(snapshot, tmp_path, arguments, words):
    given = {"out": "there"} | arguments
    given["out"] = tmp_path / given["out"]
    with pytest.raises(UserError, match=words):
        t2igan.export(snapshot, **given)
    assert not list(tmp_path.iterdir())


def test_a_form_of_ones_own_is_written_by_its_module(snapshot, tmp_path, monkeypatch):
    mine = types.ModuleType("my_form")
    mine.write = lambda source, folder, *_: (folder / "names.txt").write_text("\n".join(source.drawing))
    mine.check = lambda *given: [f"names.txt in {given[2]}"]
    monkeypatch.setitem(sys.modules, "my_form", mine)
    FORMATS.register("names", Format("my_form", "names of networks"))
    try:
        done = t2igan.export(snapshot, "names", tmp_path / "out")
    finally:
        FORMATS.unregister("names")
    assert done.checks == ("names.txt in float32",) and set(done.size_bytes) == {"names.txt"}
    assert set((tmp_path / "out" / "names.txt").read_text().split()) == {"text", "generator"}


def test_a_run_without_a_generator_is_refused(snapshot, tmp_path):
    made = load_snapshot(snapshot)
    bare = tmp_path / "bare.safetensors"
    save_snapshot(bare, dataclasses.replace(made, params={"text": made.params["text"]}))
    with pytest.raises(UserError, match=r"has no generator.*train the phase"):
        t2igan.export(bare, "hub", tmp_path / "out")
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"has no snapshot\.safetensors yet"):
        t2igan.export(tmp_path / "run", "hub", tmp_path / "out")


def test_a_model_that_reads_captions_with_a_language_model_is_for_hub_and_snapshot_alone(snapshot):
    made = load_snapshot(snapshot)
    with pytest.raises(UserError, match="built on 'minilm', which --format=onnx does not take along"):
        given = dataclasses.replace(made, pretrained={"name": "minilm"})
        source.Source(given, t2igan.load(snapshot), CAPTIONS, [0], []).check_reads_itself("onnx")


@pytest.mark.parametrize("kind", ["snapshot", "networks"])
def test_a_file_of_a_newer_t2igan_is_said_to_be_one(snapshot, tmp_path, kind):
    path = tmp_path / "new.safetensors"
    made = load_snapshot(snapshot)
    if kind == "snapshot":
        save_snapshot(path, made)
    else:
        save_networks(path, made.params)
    path.write_bytes(path.read_bytes().replace(f"t2igan {kind} 1".encode(), f"t2igan {kind} 2".encode()))
    with pytest.raises(UserError, match=f"written by a newer t2igan .'t2igan {kind} 2'.*pip install --upgrade"):
        load_snapshot(path) if kind == "snapshot" else load_networks(path)


@pytest.mark.parametrize(
    ("format", "number", "words"), [("hub", 28, "No space left on device"), ("stablehlo", 30, "Read-only file system")]
)
def test_a_disk_that_cannot_be_written_is_explained(snapshot, tmp_path, format, number, words, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="could not write below"):
        t2igan.export(snapshot, format, blocked / "out")

    def full(*_args, **_kwargs):
        raise OSError(number, words)

    monkeypatch.setattr("t2igan.inference.export.source.from_snapshot", lambda _: t2igan.load(snapshot))
    monkeypatch.setattr(f"t2igan.inference.export.{format}.write", full)
    with pytest.raises(UserError, match=words):
        t2igan.export(snapshot, format, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_the_verb_says_sizes_and_differences(snapshot, tmp_path, console):
    words = ["export", f"--workdir={snapshot}", "--format=snapshot", f"--out={tmp_path / 'x.safetensors'}"]
    done = console(*words)
    assert done.returncode == 0
    assert all(said in done.stdout for said in ("MB", "compared with JAX:", "equal bit by bit"))
    for some, missing in ((words[:3], "--out"), (words[:2], "--format")):
        done = console(*some)
        assert done.returncode == 2 and f"{missing} is missing" in done.stderr


@pytest.mark.parametrize(
    ("format", "library", "words"),
    [
        ("stablehlo", "flatbuffers", "pip install flatbuffers"),
        ("onnx", "onnxruntime", "onnxruntime, which is not installed"),
    ],
)
def test_a_missing_library_is_named(snapshot, tmp_path, monkeypatch, format, library, words):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else found(name))
    with pytest.raises(UserError, match=words):
        t2igan.export(snapshot, format, tmp_path / "out")
