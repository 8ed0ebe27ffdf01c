import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny import random_snapshot

import t2igan
from t2igan import nets
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference import drawing
from t2igan.inference.drawing import BATCH_SIZES
from t2igan.inference.pictures import read_facts, save_png, sheet
from t2igan.inference.sample import Model, from_snapshot
from t2igan.inference.snapshot import Snapshot, save_snapshot

PROMPTS = ["a person with a red cap", "a person with a blue top", "green hair"]


@pytest.fixture(scope="module")
def tiny_snapshot() -> Snapshot:
    from tiny import shrink

    from configs.base import get_config

    config = shrink(get_config())
    tokenizer = Tokenizer.train(PROMPTS, 300, 16)
    with config.unlocked():
        config.tokenizer.max_tokens = 16
    networks = nets.build(config, tokenizer.vocab_size)
    tokens = jnp.ones((1, 16), jnp.int32)
    text_params = jax.jit(networks.text_encoder.init)(jax.random.key(0), tokens)
    text = networks.text_encoder.apply(text_params, tokens)
    generator = jax.jit(networks.generator.init)(jax.random.key(1), jnp.zeros((1, networks.z_dim)), text)
    params = jax.tree.map(np.asarray, {"generator": generator, "text": text_params})
    return Snapshot(params, config.to_dict(), tokenizer.to_json(), {}, {"step": 0})


@pytest.fixture(scope="module")
def generator(tiny_snapshot) -> Model:
    return from_snapshot(tiny_snapshot)


def close(a, b):
    """Equal but for rounding to the next of 256 levels, which the compiled batch size may tip."""
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_pictures_are_bytes_of_the_size_configured(generator):
    images = generator.sample(PROMPTS, seed=3)
    assert images.shape == (3, 16, 16, 3)
    assert images.dtype == np.uint8
    assert images.std() > 1


def test_a_picture_depends_on_prompt_and_seed_alone(generator):
    alone = generator.sample(PROMPTS[0], seed=5)[0]
    among = generator.sample([PROMPTS[1], PROMPTS[0], PROMPTS[2]], seed=[1, 5, 2])[1]
    many = generator.sample([*PROMPTS * 20, PROMPTS[0]], seed=[*range(60), 5])[-1]
    close(alone, among)
    close(alone, many)
    close(among, generator.sample([PROMPTS[0], PROMPTS[2]], seed=[5, 9])[0])
    np.testing.assert_array_equal(among, generator.sample([*PROMPTS, PROMPTS[0]], seed=[0, 1, 2, 5])[3])  # as large


@pytest.mark.parametrize(("num", "drawn"), [(1, [1]), (3, [4]), (9, [16]), (33, [64]), (64, [64]), (70, [64, 8])])
def test_few_pictures_cost_few(generator, num, drawn, monkeypatch):
    """Pieces are padded to the next power of two, so at most half of what is drawn is thrown away."""
    sizes, draw = [], generator._draw
    monkeypatch.setattr(generator, "_draw", lambda *a: (sizes.append(len(a[2])), draw(*a))[1])
    assert len(generator.sample([PROMPTS[0]] * num, seed=list(range(num)))) == num
    assert sizes == drawn


def test_seeds_and_prompts_change_the_picture(generator):
    a = generator.sample(PROMPTS[0], seed=1)
    assert (a != generator.sample(PROMPTS[0], seed=2)).any()
    assert (a != generator.sample(PROMPTS[1], seed=1)).any()


def test_no_noise_means_one_picture(generator):
    images = generator.sample([PROMPTS[0]] * 2, seed=[1, 2], truncation=0.0)
    np.testing.assert_array_equal(images[0], images[1])


def test_more_pictures_than_a_batch_come_in_pieces(generator):
    num = BATCH_SIZES[-1] + 2
    pieces = list(generator.sample_batches(["red"] * num, seed=list(range(num))))
    assert [len(piece) for piece in pieces] == [BATCH_SIZES[-1], 2]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_pieces_come_in_order_however_many_are_drawn_at_once(threads, monkeypatch):
    monkeypatch.setattr(drawing, "drawing_threads", lambda: threads)
    under_way, most, first = [], [], threading.Event()

    def draw(piece):
        assert piece == 0 or first.is_set()  # it compiles what the others need
        under_way.append(piece)
        time.sleep(0.001 * (7 - piece))  # the later, the quicker
        most.append(len(under_way))
        under_way.remove(piece)
        first.set()
        return piece

    assert list(drawing.several_at_once(draw, list(range(7)))) == list(range(7))
    assert list(drawing.several_at_once(draw, [0])) == [0] and max(most) <= threads

    def fails(piece):
        if piece == 4:
            raise MemoryError("the fifth")
        return piece

    pieces = drawing.several_at_once(fails, list(range(7)))
    assert [next(pieces) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(MemoryError, match="the fifth"):
        next(pieces)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompts": []}, "no prompt"),
        ({"prompts": [" "]}, "empty"),
        ({"prompts": ["red cap " * 50]}, "Shorten it"),
        ({"prompts": ["red"], "seed": -1}, "seed=-1"),
        ({"prompts": ["red"], "seed": 2**32}, "4294967295"),
        ({"prompts": ["red"], "seed": [1, 2]}, "1 prompts but 2 seeds"),
        ({"prompts": ["red"], "truncation": -0.5}, "truncation=-0.5"),
    ],
)
def test_what_cannot_be_drawn_is_explained(generator, arguments, words):
    with pytest.raises(UserError, match=words):
        generator.sample(**arguments)


def test_a_long_caption_can_be_cut(generator):
    assert generator.sample(["red cap " * 50], cut_long=True).shape == (1, 16, 16, 3)


def test_a_run_or_a_file_can_be_loaded(tiny_snapshot, generator, tmp_path):
    save_snapshot(tmp_path / "snapshot.safetensors", tiny_snapshot)
    for path in (tmp_path, tmp_path / "snapshot.safetensors", str(tmp_path)):
        np.testing.assert_array_equal(t2igan.load(path).sample("red", seed=1), generator.sample("red", seed=1))


def test_what_cannot_be_loaded_is_explained(tmp_path):
    with pytest.raises(UserError, match="has no snapshot"):
        t2igan.load(tmp_path)
    with pytest.raises(UserError, match="there is no"):
        t2igan.load(tmp_path / "nowhere")


def test_a_png_carries_its_facts(tmp_path):
    facts = {"prompt": "grüne Haare 🎩", "seed": 3}
    save_png(tmp_path / "a" / "b.png", np.zeros((4, 4, 3), np.uint8), facts)
    assert read_facts(tmp_path / "a" / "b.png") == facts


def test_a_picture_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not write"):
        save_png(tmp_path / "file" / "a.png", np.zeros((4, 4, 3), np.uint8))


def test_a_sheet_shows_every_picture_and_caption():
    images = np.full((6, 16, 16, 1), 7, np.uint8)
    drawn = sheet(images, ["a caption", "another that is much longer than the row is wide, again and again"], columns=3)
    assert drawn.shape[1] == 3 * (128 + 6) + 6
    assert (drawn == 7).all(-1).sum() == 6 * 128 * 128
    assert (drawn < 100).sum() > 6 * 128 * 128 * 3  # and ink besides


def test_the_command_line_draws_a_sheet_or_a_folder(tiny_snapshot, generator, tmp_path, console):
    save_snapshot(tmp_path / "snapshot.safetensors", tiny_snapshot)
    (tmp_path / "prompts.txt").write_text("\ufeffred cap\n\ngreen hair\n", encoding="utf-8")

    draw = functools.partial(console, "sample", f"--workdir={tmp_path}", "--num=2", "--seed=7")

    done = draw(f"--prompts={tmp_path / 'prompts.txt'}", f"--out={tmp_path / 'many'}", "--scale=1")
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "many").iterdir())
    assert [read_facts(file)["prompt"] for file in files] == ["red cap", "red cap", "green hair", "green hair"]
    assert [read_facts(file)["seed"] for file in files] == [7, 8, 7, 8]
    close(np.asarray(Image.open(files[1])), generator.sample("red cap", seed=8)[0])

    done = draw("--prompt=red cap", f"--out={tmp_path / 'sheet.png'}")
    assert done.returncode == 0, done.stderr
    assert read_facts(tmp_path / "sheet.png")["seeds"] == [7, 8]
    assert len(read_facts(tmp_path / "sheet.png")["model"]) == 12


FORKS = """
    import multiprocessing, sys
    from pathlib import Path
    import t2igan
    from t2igan.training.train import train

    def attempt(what, answers):
        try:
            answers.put(str(attempts[what]()))
        except t2igan.UserError as error:
            answers.put(f"{type(error).__name__}: {error}")

    path = Path(sys.argv[1])
    attempts = {
        "the parent's model": lambda: model.sample("red hair").shape,
        "a model of its own": lambda: t2igan.load(path).sample("red hair").shape,
        "training": lambda: train(t2igan.get_config("base"), path.parent / "run"),
    }
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()

    def forked(what):
        process = fork.Process(target=attempt, args=(what, answers))
        process.start()
        print(what, "|", answers.get().replace("\\n", " "), flush=True)
        process.join()

    forked("a model of its own")  # before anything was used here
    model = t2igan.load(path)
    model.sample("red hair")
    for what in attempts:
        forked(what)
"""


def test_a_process_forked_from_one_that_used_a_model_says_so(tmp_path):
    save_snapshot(tmp_path / "x.safetensors", random_snapshot(["red hair", "a hat"]))
    (tmp_path / "forks.py").write_text(textwrap.dedent(FORKS))
    command = [sys.executable, "forks.py", str(tmp_path / "x.safetensors")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
    said = [line.split(" | ", 1) for line in done.stdout.splitlines()]
    assert [what for what, _ in said] == ["a model of its own", "the parent's model", "a model of its own", "training"]
    assert said[0][1] == "(1, 16, 16, 3)", done.stderr
    for _, answer in said[1:]:
        assert answer.startswith("UserError: process ") and "was forked from process" in answer and "spawn" in answer
