"""A training goes on where its folder says that it may: the same computation on the same data, wherever that lies."""

import shutil

import numpy as np
import pytest
from PIL import Image

from t2igan.errors import UserError
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.training import train


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


def test_data_may_move(begun, tmp_path):
    shutil.move(tmp_path / "here", tmp_path / "there")
    begun.data.source = str(tmp_path / "there")
    train.train(begun, tmp_path / "run")
    # But it must be the same: what is refused names the way to use what was learned.
    (tmp_path / "there" / "07.txt").write_text("another caption")
    with pytest.raises(
        UserError, match=r"pictures or captions .* are not those.*\n.*--config\.init_from=.*run --workdir"
    ):
        train.train(begun, tmp_path / "run")


def test_a_longer_training_is_a_new_run_that_begins_with_the_old_one(begun, tmp_path):
    begun.pretrain_text.steps = 4
    with pytest.raises(UserError, match=r"pretrain_text\.steps was 2, is 4.*\n.*--config\.init_from=.*run --workdir"):
        train.train(begun, tmp_path / "run")
    begun.init_from = str(tmp_path / "run")
    train.train(begun, tmp_path / "longer")
    assert read_checkpoint(tmp_path / "longer" / "checkpoints" / "text")[0] == 4
