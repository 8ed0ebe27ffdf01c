"""All phases one after another, on a tiny configuration: what they hand on, resume, and what they leave out."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

import t2igan
from t2igan.data.batches import Batches
from t2igan.errors import UserError
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.method.phases import PHASES
from t2igan.training import stopping, train
from t2igan.training.distributed import parallel
from t2igan.training.logs import Logs
from t2igan.training.warm_start import networks_of

ON_PIXELS = tuple(name for name in PHASES if name != "autoencoder")  # that one: tests/test_space.py


@pytest.fixture
def quick(config):
    """Fully connected networks, which compile in no time."""
    with config.unlocked():
        config.devices = 2
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.inverter.update(channels=(4,), patch_px=4)
        config.image_encoder.update(channels=(4,), patch_px=4)
        config.sample.update(num_captions=1, num_seeds=1)
    return config


@pytest.fixture
def all_phases(quick, monkeypatch):
    """All of them, by two devices that share a copy of everything: what looks at a phase sees it whole on one."""
    monkeypatch.setattr(parallel, "SHARDED_FROM_VALUES", 64)
    with quick.unlocked():
        quick.shard_devices = 2
        quick.phases = ON_PIXELS
        quick.generator.update(kind="residual", patch_px=4, attention_from_px=0)  # a completer wants it
        quick.loss.reconstruction_weight = 1.0
    return quick


class Impatient(stopping.Interruption):
    """Asks once to stop, after the third step, counted from the start of the process through all phases."""

    steps = 0

    def stops(self):
        Impatient.steps += 1
        return Impatient.steps == 3


def learned(workdir, phase):
    return networks_of(read_checkpoint(workdir / "checkpoints" / phase)[1])


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((np.asarray(x) == np.asarray(y)).all()), a, b)))


def test_all_phases_in_order_stopped_and_resumed(all_phases, tmp_path, monkeypatch):
    train.train(all_phases, tmp_path / "whole")
    rows = Logs(tmp_path / "whole").read()
    assert list(dict.fromkeys(row["phase"] for row in rows)) == list(ON_PIXELS)
    assert any("reconstruction/held_out" in row for row in rows)
    assert any("accuracy/held_out" in row for row in rows)
    assert any("inversion/held_out" in row for row in rows)
    assert any("completion/held_out" in row for row in rows)
    assert any("caption/held_out" in row for row in rows)
    sheets = {path.name for path in (tmp_path / "whole" / "samples").iterdir()}
    assert sheets == {
        "generator_000000032.png", "000000048.png", "text_matching_000000032.png", "joint_000000032.png",
    }  # fmt: skip
    assert set(t2igan.load(tmp_path / "whole").params) == {
        "generator", "text", "inverter", "captioner", "completer", "image", "matching",
    }  # fmt: skip

    # Each phase trains its own networks and hands the others on as they were.
    trained = {
        "text": {"text", "image", "matching"},
        "generator": {"generator", "inverter"},
        "discriminator": {"discriminator"},
        "adversarial": {"generator", "discriminator", "inverter"},
        "text_matching": {"text"},
        "joint": {"generator", "discriminator", "inverter", "text"},
        "inversion": {"inverter"},
        "completion": {"completer"},
        "caption": {"captioner"},
    }
    before = {}
    for phase in ON_PIXELS:
        after = learned(tmp_path / "whole", phase)
        assert trained[phase] <= after.keys()
        for name, params in after.items():
            if name in trained[phase]:
                assert name not in before or not same(params, before[name]), (phase, name)
            elif name in before:
                assert same(params, before[name]), (phase, name)
        assert before.keys() <= after.keys()
        before = after

    # As if it had been killed before the joint phase, and then stopped within it: what is skipped has left its networks
    # to the next.
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts" / "snapshot.safetensors").unlink()
    for phase in ON_PIXELS[ON_PIXELS.index("joint") :]:
        shutil.rmtree(tmp_path / "parts" / "checkpoints" / phase)
    monkeypatch.setattr(stopping, "Interruption", Impatient)
    monkeypatch.setattr(Impatient, "steps", 0)
    with pytest.raises(stopping.Interrupted):
        train.train(all_phases, tmp_path / "parts")
    train.train(all_phases, tmp_path / "parts")
    assert Impatient.steps == 4 * 4  # what was finished is not trained again
    for phase in ON_PIXELS:
        assert same(learned(tmp_path / "whole", phase), learned(tmp_path / "parts", phase)), phase
    assert t2igan.load(tmp_path / "whole").digest == t2igan.load(tmp_path / "parts").digest


def test_columns_are_those_of_the_pictures(config, tmp_path):
    """Each picture's column is its own number here, so that rows can be compared with what they belong to."""
    run = train.open_run(config, tmp_path, parallel.make_mesh(1))
    small = run.train_data.take(slice(50))
    small.images[:, 0, 0, 0] = np.arange(50)
    run = dataclasses.replace(run, train_data=small)
    numbers = np.stack([np.arange(50), 70_000 - np.arange(50)], 1).astype(np.int32)
    settings = {"seed": 3, "batch_images": 8, "process_index": 1, "process_count": 2}
    batches = Batches(small, run.tokenizer, **settings, columns={"numbers": numbers})
    plain = Batches(small, run.tokenizer, **settings)
    for number in (0, 9, 40):
        batch = batches[number]
        assert batch["numbers"].dtype == np.int32 and batch["numbers"].shape == (4, 2)
        np.testing.assert_array_equal(batch["numbers"][:, 0], batch["images"][:, 0, 0, 0])
        np.testing.assert_array_equal(batch["numbers"][:, 1], 70_000 - batch["numbers"][:, 0])
        np.testing.assert_array_equal(batch["images"], plain[number]["images"])
        np.testing.assert_array_equal(batch["tokens"], plain[number]["tokens"])


def test_each_phase_may_come_alone(quick, tmp_path, capsys):
    for phase in ("generator", "discriminator"):
        with quick.unlocked():
            quick.phases = (phase,)
        train.train(quick, tmp_path / phase)
    assert t2igan.load(tmp_path / "generator").sample("red hair").shape == (1, 16, 16, 3)
    assert "add the phase 'adversarial'" in capsys.readouterr().out
    assert not (tmp_path / "discriminator" / "snapshot.safetensors").exists()


def test_an_inverter_that_is_not_trained_along_is_let_go(quick, tmp_path):
    with quick.unlocked():
        quick.phases = ("generator", "adversarial")
    train.train(quick, tmp_path)
    assert "inverter" in learned(tmp_path, "generator")
    assert "inverter" not in learned(tmp_path, "adversarial")
    assert set(t2igan.load(tmp_path).params) == {"generator", "text"}


def test_text_matching_needs_what_it_needs(quick, tmp_path):
    with quick.unlocked():
        quick.phases = ("text_matching",)
    with pytest.raises(UserError, match="'text_matching', which needs what the phase 'text' leaves behind"):
        train.train(quick, tmp_path)


def test_labels_that_are_not_there_are_refused(quick, tmp_path, monkeypatch):
    with quick.unlocked():
        quick.phases = ("discriminator",)
        quick.pretrain_discriminator.task = "labels"
    open_run = train.open_run
    monkeypatch.setattr(train, "open_run", lambda *a: _without_attributes(open_run(*a)))
    with pytest.raises(UserError, match="task='labels', but pixel_avatars has no attributes"):
        train.train(quick, tmp_path)


def _without_attributes(run):
    run.extractors.vocabulary = {}
    return run
