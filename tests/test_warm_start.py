"""Beginning with another run's networks: what fits is taken, what does not is said."""

import shutil

import jax
import numpy as np
import pytest
from tiny import random_snapshot, shrink

import t2igan
from configs.base import get_config
from t2igan.errors import UserError
from t2igan.inference.snapshot import save_snapshot
from t2igan.training import train, warm_start


@pytest.fixture(scope="module")
def quick():
    config = shrink(get_config())
    with config.unlocked():
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.image_encoder.update(channels=(4,), patch_px=4)
        config.inverter.update(channels=(4,), patch_px=4)
        config.sample.update(num_captions=1, num_seeds=1)
        config.devices = 1
    return config


@pytest.fixture(scope="module")
def first(quick, tmp_path_factory):
    """The folder of a run that has ended."""
    workdir = tmp_path_factory.mktemp("runs") / "first"
    train.train(quick, workdir)
    return workdir


def tune(config, first, workdir, phases=("adversarial",), **changes):
    """Trains on from `first`; returns what was said of what was taken."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.init_from = str(first)
        config.phases = phases
        config.update_from_flattened_dict(changes)
    train.train(config, workdir)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((np.asarray(x) == np.asarray(y)).all()), a, b)))


def test_a_run_goes_on_in_another(quick, first, tmp_path, capsys):
    capsys.readouterr()
    tune(quick, first, tmp_path / "second")
    said = capsys.readouterr().out
    assert f"begins with {first}, phase adversarial, step 6:" in said
    for line in ("text: all ", "image: all ", "generator: all ", "discriminator: all ", "inverter: not there"):
        assert line in said, said
    assert "with its tokenizer" in said
    assert (tmp_path / "second" / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    old, new = t2igan.load(first).params, t2igan.load(tmp_path / "second").params
    assert same(old["text"], new["text"])  # frozen
    assert not same(old["generator"], new["generator"])


def test_the_source_is_needed_once(quick, first, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(first, source)
    tune(quick, source, tmp_path / "second")
    digest = t2igan.load(tmp_path / "second").digest
    shutil.rmtree(source)
    shutil.rmtree(tmp_path / "second" / "checkpoints")
    tune(quick, source, tmp_path / "second")  # from the start, with what was taken then
    assert t2igan.load(tmp_path / "second").digest == digest


def test_a_snapshot_has_generator_and_text(quick, first, tmp_path, capsys):
    capsys.readouterr()
    tune(quick, first / "snapshot.safetensors", tmp_path / "second")
    said = capsys.readouterr().out
    assert "generator: all " in said and "discriminator: not there" in said and "text: all " in said


def test_a_folder_without_checkpoints_is_its_snapshot(tmp_path):
    snapshot = random_snapshot(["a red square", "a blue disc"])
    save_snapshot(tmp_path / "snapshot.safetensors", snapshot)
    source = warm_start.read(tmp_path)
    assert source.label == f"snapshot {tmp_path / 'snapshot.safetensors'}"
    assert same(source.params, snapshot.params)
    with pytest.raises(UserError, match="snapshot_best"):
        warm_start.read(tmp_path, "best")


def test_what_does_not_fit_is_named_and_begins_fresh(quick, first, tmp_path, capsys):
    capsys.readouterr()
    tune(quick, first, tmp_path / "second", **{"generator.channels": (8, 12)})
    said = capsys.readouterr().out
    assert "generator: 3 of 6 arrays; not " in said, said
    assert "params/Dense_1/bias, which is new" in said and "params/pixels/kernel (8, 768) for (12, 768)" in said


def test_another_text_encoder_brings_another_tokenizer(quick, first, tmp_path, capsys):
    capsys.readouterr()
    tune(quick, first, tmp_path / "second", phases=("text", "adversarial"), **{"text_encoder.width": 16})
    said = capsys.readouterr().out
    assert "text: not taken, because the text encoder or its tokenizer is another" in said
    assert "matching: not taken" in said and "image: all " in said


def test_text_matching_can_follow_another_run(quick, first, tmp_path):
    tune(quick, first, tmp_path / "second", phases=("text_matching",))
    old, new = t2igan.load(first).params, t2igan.load(tmp_path / "second").params
    assert same(old["generator"], new["generator"]) and not same(old["text"], new["text"])


def test_text_matching_needs_more_than_a_snapshot(quick, first, tmp_path):
    with pytest.raises(UserError, match="there is no discriminator, image, matching; add the phases"):
        tune(quick, first / "snapshot.safetensors", tmp_path / "second", phases=("text_matching",))


def test_the_text_phase_goes_on_from_what_was_learned(quick, first, tmp_path):
    source = warm_start.read(first)
    tune(quick, first, tmp_path / "second", phases=("text",), **{"pretrain_text.learning_rate": 1e-9})
    after = warm_start.read(tmp_path / "second").params
    close = jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), source.params["text"], after["text"])
    assert all(jax.tree.leaves(close))


def test_a_path_that_is_neither_is_refused(quick, tmp_path):
    with pytest.raises(UserError, match="neither the folder of a run with a checkpoint nor a snapshot"):
        tune(quick, tmp_path / "nowhere", tmp_path / "second")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match=r"not a whole \.safetensors file"):
        tune(quick, tmp_path / "x.safetensors", tmp_path / "second")
