"""A training goes on where its folder says that it may: the same computation on the same data, wherever that lies."""

import shutil

import numpy as np
import pytest
from PIL import Image
from tiny import random_snapshot

from t2igan.errors import UserError
from t2igan.evaluation.runs import evaluate_run
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.inference.sample import SNAPSHOT_NAME, load
from t2igan.inference.snapshot import save_snapshot
from t2igan.training import train
from t2igan.training.record import check_same_configuration


@pytest.fixture
def begun(config, tmp_path):
    """A run of the text phase on pictures in the folder "here"."""
    here = tmp_path / "here"
    here.mkdir()
    random = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(here / f"{i:02}.png")
        (here / f"{i:02}.txt").write_text(f"a picture with the number {i}")
    with config.unlocked():
        config.phases = ("text",)
        config.data.source = str(here)
        config.image_encoder.update(channels=(4,), patch_px=4)
        config.pretrain_text.update(steps=2, batch_images=8)
        config.data.cache_dir = str(tmp_path / "cache")
    train.train(config, tmp_path / "run")
    return config


def test_data_may_move(begun, tmp_path, monkeypatch):
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    for source in (str(tmp_path / "there"), "there"):
        begun.data.source = source
        train.train(begun, tmp_path / "run")


def save(folder, name, colour="red"):
    Image.new("RGB", (16, 16), colour).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text(f"number {name}")


# Of several pictures some are trained on, whichever are held out.
CHANGES = {
    "captions edited": lambda folder: [(folder / f"{i:02}.txt").write_text(f"another {i}") for i in range(5)],
    "pictures added": lambda folder: [save(folder, 90 + i, (50 * i, 0, 0)) for i in range(5)],
    "pictures taken away": lambda folder: [(folder / f"{i:02}.png").unlink() for i in range(5)],
    "pictures edited": lambda folder: [save(folder, f"{i:02}", (0, 50 * i, 0)) for i in range(5)],
}
SETTINGS = {"pretrain_text.steps": 4, "pretrain_text.batch_images": 16, "pretrain_text.learning_rate": 0.5}


def test_what_is_refused_names_the_way_to_use_what_was_learned(begun, tmp_path):
    way = r".*\n.*--config\.init_from=.*run --workdir"
    for key, value in SETTINGS.items():
        changed = begun.copy_and_resolve_references()
        changed.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=rf"{key} was .*, is {value}{way}"):
            train.train(changed, tmp_path / "run")
    for name, change in CHANGES.items():
        begun.data.source = str(shutil.copytree(tmp_path / "here", tmp_path / name))
        change(tmp_path / name)
        with pytest.raises(UserError, match=rf"pictures or captions .* are not those{way}"):
            train.train(begun, tmp_path / "run")


def test_settings_of_phases_that_a_run_does_not_have_may_change(begun, tmp_path):
    begun.update_from_flattened_dict({"inversion.steps": 7, "captioning.learning_rate": 0.5, "joint.images": 9})
    check_same_configuration(begun, tmp_path / "run")
    begun.train.generator_learning_rate = 0.5  # which other phases read
    with pytest.raises(UserError, match=r"config\.train\.generator_learning_rate was .*, is 0\.5\."):
        check_same_configuration(begun, tmp_path / "run")


def test_a_longer_training_is_a_new_run_that_begins_with_the_old_one(begun, tmp_path):
    begun.pretrain_text.steps = 4
    begun.init_from = str(tmp_path / "run")
    train.train(begun, tmp_path / "longer")
    assert read_checkpoint(tmp_path / "longer" / "checkpoints" / "text")[0] == 4


def test_figures_find_the_pictures_that_the_snapshot_does_not_tell_of(begun, tmp_path, monkeypatch):
    source, run = tmp_path / "here", tmp_path / "run"
    snapshot = random_snapshot([f"a picture with the number {i}" for i in range(40)], {"data.source": str(source)})
    save_snapshot(run / SNAPSHOT_NAME, snapshot)
    monkeypatch.chdir(run)
    assert load(run).config["data"]["source"] == "here"
    found = evaluate_run(run, num_images=4, metrics=("diversity",))
    assert found["counts"]["num_images"] == 4 and found["data"] == begun.data.source
