"""A training that is asked to stop, wherever it is, stops there; and goes on to the same end."""

import json
import signal

import jax
import numpy as np
import pytest
from squares import squares

import t2igan
from t2igan.errors import UserError
from t2igan.evaluation.extractors import learned
from t2igan.inference.checkpoint import Checkpoints
from t2igan.inference.sample import snapshot_path
from t2igan.training import loop, monitor, stopping, train
from t2igan.training.distributed import processes
from t2igan.training.logs import Logs


@pytest.fixture
def quick(config):
    with config.unlocked():
        config.devices = 1
        config.phases = ("adversarial",)
        config.data.image_size_px = 8
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.train.steps = 4
        config.evaluate.update(every_images=16, num_images=8, at_end=True, classifier_steps=3, probe_steps=3)
        config.sample.update(num_captions=1, num_seeds=1)
        config.guard.num_images = 0
        config.checkpoint.every_images = 16
    return config


def go(config, workdir):
    train_data, val, test = [squares(*of) for of in (("train", 24, 0), ("val", 12, 1), ("test", 12, 2))]
    return t2igan.train(config, workdir, dataset=train_data, val_dataset=val, test_dataset=test)


def asks(original, number=1, before=True):
    """What is asked to stop, by SIGTERM, at its call of that number, before it does what it does or after."""
    calls = []

    def asking(*arguments, **settings):
        calls.append(1)
        if len(calls) == number and before:
            signal.raise_signal(signal.SIGTERM)
        found = original(*arguments, **settings)
        if len(calls) == number and not before:
            signal.raise_signal(signal.SIGTERM)
        return found

    return asking


def stopped(patched, owner, name, config, workdir, **when):
    """The two lines that a training says which is asked to stop when that function is called."""
    patched.setattr(owner, name, asks(getattr(owner, name), **when))
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.Interrupted) as caught:
        go(config, workdir)
    assert signal.getsignal(signal.SIGTERM) == handler
    first, second = str(caught.value).splitlines()
    assert first.startswith("stopped") and first.endswith("; the same command goes on")
    return first, second


# Where the request comes: what is called there, at which call, before or after it; and what there is then.
PLACES = {
    "data are opened": (train, "open_run", {}, "no step was saved yet"),
    "a step is compiled": (loop, "compile_phase", {}, "no step was saved yet"),
    "an extractor learns": (learned, "say_how_far", {}, "saved: adversarial to step 2; {} draws"),
    "it was evaluated": (monitor, "evaluate", {"number": 2, "before": False}, "adversarial to step 4; {} draws"),
    "the last sheet is drawn": (monitor, "draw_sheet", {}, "adversarial to step 4; {} draws"),
    "it is measured at the end": (train, "evaluate", {}, "adversarial to step 4; {} draws"),
}


def test_asked_to_stop_wherever_it_is_a_training_stops_there_and_goes_on(quick, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    go(quick, whole)
    for place, (owner, name, when, saved) in PLACES.items():
        with monkeypatch.context() as patched:
            _, found = stopped(patched, owner, name, quick, parts, **when)
        assert saved.format(parts / "snapshot.safetensors") in found, place
    go(quick, parts)

    apart = {"tensorboard", "metrics"}  # figures that were made up for have no mark of Orbax beside them
    files = [{str(p.relative_to(w)) for p in w.rglob("*.*") if not apart & {*p.parts}} for w in (whole, parts)]
    assert files[0] == files[1]
    for which in ("latest", "best"):
        one, other = t2igan.load(whole, which), t2igan.load(parts, which)
        jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
        assert one.digest == other.digest and one.info == other.info
    rows = [[(row["step"], row.get("attributes/mean")) for row in Logs(w).read()] for w in (whole, parts)]
    assert rows[0] == rows[1]
    figures = [json.loads((w / "evaluation_test.json").read_text())["figures"] for w in (whole, parts)]
    assert figures[0] == figures[1]


def test_asked_as_a_phase_ends_the_next_one_does_not_begin(quick, tmp_path, monkeypatch):
    """While its last step is saved, when the loop has looked already; and there is nothing to draw with yet."""
    quick.phases = ("text", "adversarial")
    quick.pretrain_text.steps = 2
    with monkeypatch.context() as patched:
        patched.setattr(train, "run_phase", once(train.run_phase))
        first, second = stopped(patched, Checkpoints, "save", quick, tmp_path, before=False)
    assert first == "stopped; the same command goes on"
    assert second == "saved: text to step 2; there is no snapshot to draw with yet, since no generator has learned"
    with pytest.raises(UserError, match=r"has no snapshot.safetensors yet \(saved: text to step 2\); the training"):
        snapshot_path(tmp_path)


def once(original):
    """What may be called once."""
    calls = []

    def called(*arguments):
        calls.append(1)
        assert len(calls) == 1
        return original(*arguments)

    return called


def ask():
    signal.raise_signal(signal.SIGTERM)


def test_what_is_deferred_is_finished_first():
    with pytest.raises(stopping.Interrupted), stopping.Interruption():
        ask()
        pytest.fail("it goes on")
    reached = []
    with pytest.raises(stopping.Interrupted), stopping.Interruption() as interruption, interruption.deferred():
        ask()
        reached.append("deferred")
        assert interruption.stops()
        with interruption.at_once():
            reached.append("at once")
    assert reached == ["deferred"]
    with pytest.raises(stopping.Interrupted), stopping.Interruption() as interruption:
        with interruption.deferred():
            ask()
        with interruption.deferred():
            pytest.fail("something new begins")
    with pytest.raises(KeyboardInterrupt) as caught, stopping.Interruption() as interruption, interruption.deferred():
        ask()
        ask()
        pytest.fail("it goes on")
    assert not isinstance(caught.value, stopping.Interrupted)  # not all is saved
    # What is raised in a garbage collection is lost.
    interruption = stopping.Interruption()
    with pytest.raises(stopping.Interrupted), interruption, interruption.deferred(), interruption.at_once():
        interruption.asked = True
        reached.append("the end")
    assert reached == ["deferred", "the end"]


def test_of_several_processes_none_stops_alone(monkeypatch):
    """The others wait for what the leader does at once."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    with stopping.Interruption() as interruption, interruption.deferred():
        with interruption.at_once():
            ask()
        with interruption.at_once():
            assert interruption.asked
