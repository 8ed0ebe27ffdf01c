"""Drawings that lie too near to training pictures are named, for the owner of the data."""

import json

import numpy as np
import pytest
from commands import run_verb
from squares import save, squares
from tiny import random_snapshot

from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.evaluation.near import nearness
from t2igan.inference.snapshot import save_snapshot


def noise(seed, num, px=16):
    return np.random.default_rng(seed).integers(0, 256, (num, px, px, 3), np.uint8)


def dataset(images):
    return Dataset.from_arrays(images, [f"number {i}" for i in range(len(images))])


def test_copies_and_near_copies_are_found_and_strangers_are_not():
    train, held_out = dataset(noise(0, 50)), dataset(noise(1, 40))
    near = np.clip(train.images[7].astype(int) + 3, 0, 255).astype(np.uint8)
    drawn = np.stack([*noise(2, 5), near, train.images[30]])
    found = nearness(drawn, train, [held_out], 0.05)
    assert found.flagged[:2] == [6, 5] and found.rows[[6, 5]].tolist() == [30, 7]
    assert found.distances[6] == 0 and found.distances[5] == pytest.approx(3 / 255, rel=0.05)
    assert len(found.flagged) <= 3 and found.held_out == 40


def test_the_threshold_is_that_of_the_held_out_pictures():
    """By hand: half of the held-out pictures are nearer than the median."""
    train, held_out = dataset(noise(0, 20)), dataset(noise(1, 41))
    found = nearness(held_out.images, train, [held_out], 0.5)
    assert len(found.flagged) == 20 and found.threshold == pytest.approx(np.median(found.distances))


def test_a_copy_is_flagged_also_where_held_out_pictures_are_copies():
    train = dataset(noise(0, 20))
    assert nearness(train.images[:1], train, [train], 0.1).flagged == [0]


def test_too_few_held_out_pictures_are_named():
    with pytest.raises(UserError, match=r"of 5 it is none; give 0\.2 or more"):
        nearness(noise(0, 1), dataset(noise(0, 9)), [dataset(noise(1, 5))], 0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a random model, and its data: a folder of squares."""
    root = tmp_path_factory.mktemp("near")
    save(squares("all", 60, 0, 16, noise=40), root / "data")
    snapshot = random_snapshot(["a red square", "small large"], {"data.source": str(root / "data")})
    (root / "run").mkdir()
    save_snapshot(root / "run" / "snapshot.safetensors", snapshot)
    (root / "run" / "config.json").write_text(json.dumps({"config": snapshot.config}, default=list))
    return root


def test_the_command_names_them_and_wants_the_data(run, tmp_path, capsys):
    words = ["--prompt=a red square", "--num=2", f"--out={tmp_path / 'x.png'}"]
    run_verb("sample", f"--workdir={run / 'run'}", *words, "--flag_near=0.9")
    said = capsys.readouterr().out
    assert "of 2 nearer than" in said and "held-out picture" in said
    for more, message in (
        ([f"--workdir={run / 'run'}", "--flag_near=2"], "must lie between 0 and 1"),
        ([f"--workdir={run / 'run' / 'snapshot.safetensors'}", "--flag_near=0.1"], "give the run's folder"),
    ):
        with pytest.raises(UserError, match=message):
            run_verb("sample", *more, *words)
    (run / "data").rename(run / "gone")
    try:
        with pytest.raises(UserError, match="data"):
            run_verb("sample", f"--workdir={run / 'run'}", *words, "--flag_near=0.1")
    finally:
        (run / "gone").rename(run / "data")
