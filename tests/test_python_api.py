"""What Python code may call: names, types, data in memory, a training that is stopped in a cell and goes on."""

import json
import signal
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from PIL import Image

import t2igan
from t2igan import config as config_lib
from t2igan.config.checks import check
from t2igan.data import memory
from t2igan.errors import UserError
from t2igan.inference.arguments import as_prompts, as_seeds, check_number
from t2igan.inference.checkpoint import Checkpoints
from t2igan.training.distributed import parallel


@pytest.fixture
def tiny(config):
    """The phase "adversarial" of a tiny configuration; its networks compile in a moment."""
    with config.unlocked():
        config.phases = ("adversarial",)
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.loss.penalty = "none"
    return config


def squares(num, size=16, seed=0):
    """Pictures of one colour each, with captions and attributes."""
    random = np.random.default_rng(seed)
    names = ("red", "green", "blue")
    kinds = random.integers(0, 3, num)
    images = np.zeros((num, size, size, 3), np.uint8)
    images[np.arange(num), :, :, kinds] = random.integers(128, 255, (num, 1, 1))
    return images, [f"a {names[kind]} square" for kind in kinds], [{"colour": names[kind]} for kind in kinds]


def test_paths_may_be_text_with_a_tilde_and_a_second_training_goes_on(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    with tiny.unlocked():
        tiny.data.cache_dir = "~/cache"
    t2igan.train(tiny, "~/run")
    assert (tmp_path / "run" / "snapshot.safetensors").is_file()
    said = capsys.readouterr().out
    assert "t2igan.load(" in said and "run.py" not in said
    before = t2igan.load("~/run").params
    t2igan.train(tiny, tmp_path / "run")  # JAX has started long ago, and nothing is left to do
    jax.tree.map(np.testing.assert_array_equal, before, t2igan.load(tmp_path / "run").params)
    with tiny.unlocked():
        tiny.init_from = "~/run"
    t2igan.train(tiny, "~/another")  # another one in the same process
    figures = t2igan.evaluate("~/run", num_images=8, metrics=("attributes",))["figures"]
    assert 0 <= figures["attributes/mean"]["value"] <= 1


def test_data_in_memory_is_trained_and_measured_on(tiny, tmp_path):
    images, captions, attributes = squares(120)
    pictures = t2igan.Dataset.from_arrays(images, captions, attributes, name="squares")
    t2igan.train(tiny, tmp_path, dataset=pictures)
    assert tiny.data.source == "pixel_avatars"  # the caller's own is left alone
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["config"]["data"]["source"] == "given:squares"
    found = json.loads((tmp_path / "data_report.json").read_text())["splits"]
    counts = [found[split]["pictures"] for split in ("train", "val", "test")]
    assert sum(counts) == 120 and min(counts) > 10
    t2igan.train(tiny, tmp_path, dataset=pictures)  # the same are held out: it goes on
    with pytest.raises(UserError, match="not those that"):
        t2igan.train(tiny, tmp_path, dataset=t2igan.Dataset.from_arrays(*squares(120, seed=1), name="squares"))
    with pytest.raises(UserError, match=r"was given to t2igan\.train by Python code"):
        t2igan.evaluate(tmp_path)
    others = t2igan.Dataset.from_arrays(*squares(16, seed=2))
    figures = t2igan.evaluate(tmp_path, dataset=others, train_dataset=pictures, metrics=("attributes",))
    assert figures["counts"]["num_images"] == 16


def test_arrays_become_squares_of_bytes():
    images, captions, _ = squares(6)
    made = t2igan.Dataset.from_arrays(images, captions)
    np.testing.assert_array_equal(made.images, images)
    assert made.captions[0] == (captions[0],) and len(np.unique(made.content, axis=0)) <= 6
    floats = t2igan.Dataset.from_arrays(images / 255, [[c, "another"] for c in captions])
    np.testing.assert_array_equal(floats.images, images)
    assert floats.captions[0] == (captions[0], "another")
    grey = t2igan.Dataset.from_arrays(images[..., 0], captions)
    assert grey.images.shape == (6, 16, 16, 1)
    mixed = [Image.new("RGB", (40, 20), (9, 9, 9)), np.full((8, 8), 9, np.uint8), images[0]]
    some = t2igan.Dataset.from_arrays(mixed, captions[:3], size_px=12)
    assert some.images.shape == (3, 12, 12, 3) and (some.images[:2] == 9).all()
    # The same pixels have the same hash, other pixels another.
    assert (memory.content_of(images[:1]) == made.content[:1]).all()
    assert (memory.content_of(images[:1] ^ 1) != made.content[:1]).any()


def arrays(images, captions, attributes=None, size_px=None):
    """As `Dataset.from_arrays`, whose types the tests' own checks would look at first."""
    pixels = memory.squares(images, size_px)
    return pixels, memory.texts(captions, len(pixels)), memory.named_values(attributes, len(pixels))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda i, c: arrays(i, c[:-1]), "there are 4 images, but captions is a list of 3"),
        (lambda i, _: arrays(i, "red"), "captions is a str of 3"),
        (lambda i, c: arrays(i, [*c[:-1], " "]), r"captions\[3\]=' ' must be a text"),
        (lambda i, c: arrays(i, [*c[:-1], None]), r"captions\[3\]=None must be a text"),
        (lambda i, c: arrays(i, c, [{}]), "4 images, but attributes is a list of 1"),
        (lambda *_: arrays([], []), "images is empty"),
        (lambda _, c: arrays(7, c), "images is 7; accepted is uint8"),
        (lambda i, c: arrays(i[0, 0], c), r"images is uint8 \(16, 3\); accepted"),
        (lambda i, c: arrays(i.astype(np.float32), c), r"images\[0\] is float32 \(16, 16, 3\) from 0 to [12]"),
        (lambda i, c: arrays(i.astype(np.int64), c), r"images\[0\] is int64"),
        (lambda i, c: arrays(i / np.nan, c), r"images\[0\] is float64"),
        (lambda i, c: arrays(i[:, :8], c), "no squares of one size .8 x 16.; give size_px"),
        (lambda i, c: arrays([i[0], i[1, :8, :8], i[2], i[3]], c), "no squares of one size .8 x 8, 16 x 16."),
        (lambda i, c: arrays(np.concatenate([i] * 2, -1), c), r"images\[0\]: not a picture: uint8 \(16, 16, 6\)"),
        (lambda i, c: arrays(i, c, size_px=0), "size_px=0 must be a whole number"),
    ],
)
def test_arrays_that_are_no_pictures_are_explained(call, words):
    images, captions, _ = squares(4)
    with pytest.raises(UserError, match=words):
        call(images, captions)


def test_data_of_another_size_and_data_to_hold_nothing_out_of_are_explained(tiny, tmp_path):
    images, captions, _ = squares(4, size=32)
    with pytest.raises(UserError, match="pictures of dataset are 32 x 32 px with 3 channels"):
        t2igan.train(tiny, tmp_path, dataset=t2igan.Dataset.from_arrays(images, captions))
    same = t2igan.Dataset.from_arrays(np.zeros((3, 16, 16, 3), np.uint8), captions[:3])
    with pytest.raises(UserError, match="nothing of 3 pictures can be held out"):
        t2igan.train(tiny, tmp_path, dataset=same)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_cell_has_saved_and_goes_on(tiny, tmp_path, monkeypatch):
    """A signal as a notebook's stop button sends it, in the third step; then the second one that stops at once."""
    tiny.checkpoint.every_images = 16
    to_devices, steps = parallel.to_devices, []

    def interrupted(*arguments):
        steps.append(1)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)
        return to_devices(*arguments)

    monkeypatch.setattr(parallel, "to_devices", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of phase adversarial"):
        t2igan.train(tiny, tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    with Checkpoints(tmp_path / "checkpoints" / "adversarial") as checkpoints:
        assert checkpoints.latest_step() == 3

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("t2igan.inference.sample.Model.sample", stop)
        t2igan.train(tiny, tmp_path)
    # Nothing is locked. After the abrupt end, in the look at step 6, it goes on from the checkpoint of step 4.
    t2igan.train(tiny, tmp_path)
    assert len(steps) == 3 + 3 + 2 and t2igan.load(tmp_path).info["step"] == 6


WRONG = """
import numpy as np, t2igan
from pathlib import Path
base = t2igan.get_config("base")
calls = {
    "config 3": lambda: t2igan.train(3, "run"),
    "config dict": lambda: t2igan.train({"train": 1}, "run"),
    "config None": lambda: t2igan.train(None, "run"),
    "config name": lambda: t2igan.train("bace", "run"),
    "config part": lambda: t2igan.train(base.train, "run"),
    "workdir None": lambda: t2igan.train(base, None),
    "workdir empty": lambda: t2igan.train(base, ""),
    "workdir bytes": lambda: t2igan.train(base, b"run"),
    "dataset": lambda: t2igan.train(base, "run", dataset=np.zeros((2, 16, 16, 3), np.uint8)),
    "test alone": lambda: t2igan.train(base, "run", test_dataset=3),
    "load": lambda: t2igan.load(3),
    "evaluate": lambda: t2igan.evaluate(None),
    "open": lambda: t2igan.open_dataset(7, "train"),
    "open name": lambda: t2igan.open_dataset("bse", "train"),
    "get": lambda: t2igan.get_config(Path("none.py")),
    "get number": lambda: t2igan.get_config(1),
}
for name, call in calls.items():
    try:
        call()
    except t2igan.UserError as error:
        lines = str(error).splitlines()
        print(name, "|", len(lines), "|", " ".join(lines))
assert not Path("run").exists()
"""
SAID = {
    "config 3": "config must be a ConfigDict as of t2igan.get_config(), the name of a preset, or a Python file",
    "config dict": "not dict",
    "config None": "not NoneType",
    "config name": "did you mean 'base'?",
    "config part": "the configuration lacks",
    "workdir None": "workdir=None must be a path",
    "workdir empty": "workdir='' is no path",
    "workdir bytes": "workdir=b'run' must be a path",
    "dataset": "dataset=uint8 (2, 16, 16, 3) must be a t2igan.Dataset",
    "test alone": "dataset=None must be a t2igan.Dataset",
    "load": "workdir=3 must be a path",
    "evaluate": "workdir=None must be a path",
    "open": "config=7 must be a ConfigDict",
    "open name": "did you mean 'base'?",
    "get": "none.py is neither a file nor a preset",
    "get number": "config=1 must be",
}


def test_a_wrong_type_is_one_clear_line(request, tmp_path):
    """In a process of its own: the tests' own checks of types would speak first."""
    environ = {"PYTHONPATH": str(request.config.rootpath), "PATH": "", "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(WRONG)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = {line.split(" | ")[0]: line.split(" | ")[1:] for line in done.stdout.splitlines()}
    assert told.keys() == SAID.keys()
    for name, words in SAID.items():
        assert words in told[name][1] and int(told[name][0]) <= 2, told[name]


@pytest.mark.parametrize("seed", [1.0, None, "3", [1, None], True, -1, 2**32, np.float32(1)])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(UserError, match=r"seed=.* must be a whole number from 0 to 4294967295"):
        as_seeds(seed, 2 if isinstance(seed, list) else 1)
    assert as_seeds(np.uint32(7), 2) == [7, 7] and as_seeds(np.arange(2), 2) == [0, 1]


@pytest.mark.parametrize("prompts", [[None], 3, [b"red"], ["red", 7]])
def test_a_prompt_is_a_text(prompts):
    with pytest.raises(UserError, match=r"a prompt is .*; each must be a text"):
        as_prompts(prompts)
    with pytest.raises(UserError, match="truncation=None must lie between 0 and 2"):
        check_number("truncation", None, 2, "1 is usual")


def test_whole_configurations_and_names_open_data_too(config):
    by_group, whole = t2igan.open_dataset(config.data, "unseen"), t2igan.open_dataset(config, "unseen")
    named = t2igan.open_dataset("base", "unseen")
    assert by_group.fingerprint() == whole.fingerprint() == named.fingerprint()


def test_every_preset_is_a_configuration_that_passes_its_checks():
    assert config_lib.presets()[0] == "base" and len(config_lib.presets()) >= 8
    for name in config_lib.presets():
        config = t2igan.get_config(name)
        assert config.is_locked
        check(config)


def test_the_public_names_are_listed():
    assert set(t2igan.__all__) <= set(dir(t2igan))
