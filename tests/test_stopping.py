"""A training that is asked to stop, wherever it is, stops there; and goes on to the same end."""

import json
import signal

import jax
import numpy as np
import pytest
from squares import squares
from tiny import in_space

import t2igan
from t2igan.errors import UserError
from t2igan.evaluation.extractors import learned
from t2igan.inference.checkpoint import Checkpoints
from t2igan.inference.sample import snapshot_path
from t2igan.training import averages, loop, monitor, space, stopping, train
from t2igan.training.logs import Logs


@pytest.fixture
def watched(config):
    """Two phases, with codes, averages to choose from and evaluations, on small networks."""
    in_space(config, "patches", 0)
    with config.unlocked():
        config.devices = 1
        config.phases = ("text", "adversarial")
        config.data.image_size_px = 16
        config.space.channels = 12
        config.train.update(steps=4, ema_tracks=(4.0,))
        config.pretrain_text.steps = 2
        config.evaluate.update(every_images=16, num_images=8, at_end=True, classifier_steps=3, probe_steps=3)
        config.sample.update(num_captions=1, num_seeds=1)
        config.checkpoint.every_images = 16
    return config


def go(config, workdir):
    data = [
        squares(split, num, seed, px=16) for seed, (split, num) in enumerate((("train", 24), ("val", 12), ("test", 12)))
    ]
    return t2igan.train(config, workdir, dataset=data[0], val_dataset=data[1], test_dataset=data[2])


def asks(original, number=1, before=True):
    """What is asked to stop, by SIGTERM, when it is called so many times; before it does what it does, or after."""
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


# Where the request comes: the object and the function that is called there, at which call, before or after it; and what
# is saved by then.
PLACES = {
    "data are opened": (train, "open_run", 1, True, "no step was saved yet"),
    "a phase is compiled": (loop, "compile_phase", 1, True, "no step was saved yet"),
    "a phase was saved": (Checkpoints, "save", 1, False, "saved: text to step 2; there is no snapshot"),
    "the next one is built": (train, "build_phase", 2, False, "saved: text to step 2; there is no snapshot"),
    "codes are computed": (space, "_digest", 1, False, "saved: text to step 2; there is no snapshot"),
    "an extractor learns": (learned, "say_how_far", 2, True, "adversarial to step 2; {} draws"),
    "it is evaluated": (monitor, "evaluate", 1, False, "adversarial to step 2; {} draws"),
    "the last sheet is drawn": (monitor, "draw_sheet", 1, True, "adversarial to step 4; {} draws"),
    "averages are compared": (averages, "cheap_figures", 2, True, "adversarial to step 4; {} draws"),
    "the best of them is measured": (train, "evaluated", 1, False, "adversarial to step 4; {} draws"),
    "it is measured at the end": (train, "evaluate", 1, True, "adversarial to step 4; {} draws"),
}


def test_asked_to_stop_wherever_it_is_a_training_stops_there_and_goes_on(watched, tmp_path, monkeypatch):
    go(watched, tmp_path / "whole")
    parts = tmp_path / "parts"
    for place, (owner, name, number, before, saved) in PLACES.items():
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, asks(getattr(owner, name), number, before))
            with pytest.raises(stopping.Interrupted) as caught:
                go(watched, parts)
        first, second = str(caught.value).splitlines()
        assert first.startswith("stopped") and first.endswith("; the same command goes on"), place
        assert saved.format(parts / "snapshot.safetensors") in second, place
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, place
        if "no snapshot" in saved:
            with pytest.raises(UserError, match=r"has no snapshot.safetensors yet \(saved: text to step 2\)"):
                snapshot_path(parts)
    go(watched, parts)

    names = [
        sorted(str(p.relative_to(w)) for p in w.rglob("*.*") if "tensorboard" not in p.parts)
        for w in (parts, tmp_path / "whole")
    ]
    assert names[0] == names[1]
    for which in ("latest", "best"):
        one, other = (t2igan.load(tmp_path / workdir, which) for workdir in ("whole", "parts"))
        jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
        assert one.digest == other.digest and one.info == other.info
    rows = [
        [(r["phase"], r["step"], r.get("attributes/mean")) for r in Logs(tmp_path / w).read()]
        for w in ("whole", "parts")
    ]
    assert rows[0] == rows[1]
    figures = [json.loads((tmp_path / w / "evaluation_test.json").read_text())["figures"] for w in ("whole", "parts")]
    assert figures[0] == figures[1]
