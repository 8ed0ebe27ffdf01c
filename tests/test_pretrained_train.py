"""Whole trainings, tiny, on what others have learned: text encoders frozen and tuned, a discriminator on features."""

import shutil

import jax
import numpy as np
import pytest
from pretrained import bert_folder, efficientnet_shapes, seeded
from squares import save, squares

import t2igan
from t2igan.errors import UserError
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.inference.pretrained import captions as captions_module
from t2igan.inference.pretrained import features as features_module
from t2igan.inference.pretrained.text_model import read_text_model
from t2igan.inference.snapshot import load_networks, load_snapshot
from t2igan.nets.efficientnet import EfficientNet, params_of_torch
from t2igan.training.train import train


@pytest.fixture
def tiny(config, tmp_path):
    with config.unlocked():
        config.devices = 1
        config.tokenizer.max_tokens = 14
        config.train.steps = 2
        config.pretrain_text.steps = 2
        config.data.source = str(save(squares("all", 60, 0, 16, noise=40), tmp_path / "data"))
        config.data.cache_dir = str(tmp_path / "cache")
        config.guard.num_images = 0
    return config


def test_a_run_on_a_frozen_model(tiny, tmp_path, monkeypatch):
    folder = bert_folder(tmp_path / "model")
    with tiny.unlocked():
        tiny.text_encoder.pretrained = str(folder)
    train(tiny, tmp_path / "run")
    _, state = read_checkpoint(tmp_path / "run" / "checkpoints" / "adversarial")
    assert set(state["frozen"]["text"]["params"]) == {"head"}  # the model itself is in no checkpoint

    monkeypatch.setattr(captions_module, "_embed", None)  # nor are captions read again
    train(tiny, tmp_path / "run")
    monkeypatch.undo()

    with tiny.unlocked():
        tiny.init_from, tiny.phases = str(tmp_path / "run"), ("text",)
    train(tiny, tmp_path / "second")
    taken = load_snapshot(tmp_path / "run" / "snapshot.safetensors")
    inherited = load_networks(tmp_path / "second" / "inherited.safetensors")
    jax.tree.map(np.testing.assert_array_equal, inherited["text"], taken.params["text"])

    # The snapshot needs nothing else: words that training never saw are the model's words.
    drawn = t2igan.load(tmp_path / "run").sample(["a smiling cat", "a red circle"], seed=3)
    moved = folder.rename(tmp_path / "gone")
    alone = t2igan.load(tmp_path / "run")
    np.testing.assert_array_equal(alone.sample(["a smiling cat", "a red circle"], seed=3), drawn)
    assert alone.tokenizer.model.pooling == "mean" and set(alone.params) == {"generator", "text"}
    with pytest.raises(UserError, match="is no folder"):
        train(tiny, tmp_path / "third")
    shutil.copytree(moved, folder)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b" ")
    with tiny.unlocked():
        tiny.init_from, tiny.phases = "", ("text", "adversarial")
    with pytest.raises(UserError, match="was begun with other weights of"):
        train(tiny, tmp_path / "run")


def test_a_run_on_a_tuned_model(tiny, tmp_path):
    folder = bert_folder(tmp_path / "model")
    with tiny.unlocked():
        tiny.text_encoder.update(pretrained=str(folder), pretrained_mode="tuned", pretrained_rate=0.01)
        tiny.pretrain_text.learning_rate = 1e-2
        tiny.data.cache_dir = ""
    train(tiny, tmp_path / "run")
    folder.rename(tmp_path / "gone")
    model = t2igan.load(tmp_path / "run")
    assert model.sample("a smiling kitten").shape == (1, 16, 16, 3)
    learned = model.params["text"]["params"]["language_model"]
    given = jax.tree.map(np.float32, read_text_model(str(tmp_path / "gone")).read()["params"])
    moved = max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (learned, given)), strict=True))
    assert 0 < moved < 1e-3  # two steps of Adam at a hundredth of the phase's rate


@pytest.mark.slow
def test_a_run_whose_discriminator_sees_features(tiny, tmp_path, monkeypatch):
    weights = seeded(efficientnet_shapes())
    (tmp_path / "w.pth").write_bytes(b"0")
    monkeypatch.setattr(features_module, "_tensors", lambda _: weights)
    with tiny.unlocked():
        tiny.phases = ("adversarial",)
        tiny.discriminator.update(kind="projected", features_from=str(tmp_path / "w.pth"), features_px=32)
        tiny.discriminator.normalisation = "spectral"
        tiny.loss.update(adversarial="hinge", penalty="none")
        tiny.train.weight_decay = 0.1
    train(tiny, tmp_path / "run")
    _, state = read_checkpoint(tmp_path / "run" / "checkpoints" / "adversarial")
    kept = state["params"]["discriminator"]["fixed"]["efficientnet"]
    expected = params_of_torch(weights, EfficientNet())["params"]
    jax.tree.map(np.testing.assert_array_equal, kept, expected)  # as they were given
    assert "discriminator" not in load_snapshot(tmp_path / "run" / "snapshot.safetensors").params
