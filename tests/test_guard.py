"""The guard: its figures by hand, its verdicts, and going back to the last checkpoint at a lower rate."""

import dataclasses
import json
from types import SimpleNamespace

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan import nets
from t2igan.training import guard, loop, train
from t2igan.training.logs import Logs


class Brightness(nn.Module):
    """A critic that likes bright pictures."""

    @nn.compact
    def __call__(self, images, text):  # noqa: ARG002
        return images.mean((1, 2, 3)) * self.param("scale", nn.initializers.ones, ())


class Grey(nn.Module):
    """A generator whose pictures are as bright as their captions say, plus a little of the noise."""

    noise: float = 0.0

    @nn.compact
    def __call__(self, z, text):
        value = text.sentence[:, 0] + self.noise * z[:, 0] + self.param("shift", nn.initializers.zeros, ())
        return jnp.broadcast_to(value[:, None, None, None], (len(z), 2, 2, 1))


class First(nn.Module):
    """A text encoder that reads the first token as a number of tenths."""

    @nn.compact
    def __call__(self, tokens):
        shift = self.param("shift", nn.initializers.zeros, ())
        sentence = tokens[:, :1].astype(jnp.float32) / 10 + shift
        return nets.Text(sentence, sentence[:, None], tokens > 0)


def looked(train_level, held_out_levels, tokens, noise=0.0):
    networks = nets.Networks(Grey(noise), Brightness(), First(), None, None, z_dim=3)
    params = {
        "generator": {"params": {"shift": jnp.float32(0)}},
        "discriminator": {"params": {"scale": jnp.float32(1)}},
        "text": {"params": {"shift": jnp.float32(0)}},
    }
    tokens = np.asarray(tokens, np.int32)[:, None]
    pictures = lambda levels: np.broadcast_to(np.uint8(levels)[:, None, None, None], (len(tokens), 2, 2, 1))
    train_split = {"images": pictures([train_level] * len(tokens)), "tokens": tokens}
    held_out = {"images": pictures(held_out_levels), "tokens": tokens}
    return guard.Guard(networks, "none", train_split, held_out).measure(params)


def test_figures_by_hand():
    # Training pictures are white (D = 1), held-out ones black and white (D = 0 on average), drawings 0.1 and 0.3.
    figures = looked(255, [0, 255], [1, 3])
    assert figures["guard/overfit"] == pytest.approx((1 - 0) / (1 - 0.2), rel=1e-4)
    assert figures["guard/sign_train"] == 1 and figures["guard/sign_held_out"] == 0
    assert figures["guard/spread"] == pytest.approx(0.1**2 / 1, rel=1e-3)
    assert figures["guard/diversity"] == 0
    assert looked(255, [0, 255], [1, 3], noise=0.1)["guard/diversity"] > 0


def test_what_generalises_is_not_overfit():
    assert looked(255, [255, 255], [1, 3])["guard/overfit"] == 0
    # Nothing to say where generated pictures look more real than the training's.
    assert looked(0, [0, 255], [1, 3])["guard/overfit"] == 0


SETTINGS = SimpleNamespace(max_overfit=0.9, min_spread=0.2, rollbacks=2)


def test_verdicts_name_the_figure_and_the_way_out():
    fine = {"guard/overfit": 0.3, "guard/spread": 0.9}
    assert guard.verdict(SETTINGS, fine) is None
    assert "guard/overfit is 0.95, above 0.9" in guard.verdict(SETTINGS, fine | {"guard/overfit": 0.95})
    assert "mode collapse" in guard.verdict(SETTINGS, fine | {"guard/spread": 0.05})
    never = SimpleNamespace(max_overfit=0.0, min_spread=0.0)
    assert guard.verdict(never, {"guard/overfit": 5.0, "guard/spread": 0.0}) is None


def test_rollbacks_are_counted_and_come_to_an_end(tmp_path, config):
    assert guard.lowered(config, tmp_path, "adversarial") is config
    collapse = guard.Collapse("logits/real is nan\nLower the rates", 7)
    assert guard.roll_back(SETTINGS, tmp_path, "adversarial", collapse, 4) == 1
    assert guard.roll_back(SETTINGS, tmp_path, "adversarial", collapse, 4) == 2
    with pytest.raises(guard.Collapse, match="logits/real is nan"):
        guard.roll_back(SETTINGS, tmp_path, "adversarial", collapse, 4)
    with pytest.raises(guard.Collapse):
        guard.roll_back(SETTINGS, tmp_path, "text", collapse, 0)  # whose rate is not the guard's to lower
    noted = json.loads((tmp_path / guard.ROLLBACKS_NAME).read_text())
    assert noted["adversarial"][0] == {"from_step": 7, "to_step": 4, "reason": "logits/real is nan"}
    lower = guard.lowered(config, tmp_path, "adversarial")
    assert lower.train.generator_learning_rate == pytest.approx(config.train.generator_learning_rate / 4)
    assert lower.train.discriminator_learning_rate == pytest.approx(config.train.discriminator_learning_rate / 4)


@pytest.fixture
def quick(config):
    with config.unlocked():
        config.devices = 1
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.phases = ("adversarial",)
        config.train.warmup_steps = 0
        config.checkpoint.every_images = 16
    return config


def failing_at(step, times):
    """`mean_of_finite` that finds the value of a step not finite, so many times."""
    left, real = [times], loop.mean_of_finite

    def find(window, done, phase, saved):
        if done >= step and left[0]:
            left[0] -= 1
            window[-1] = window[-1] | {"logits/real": jnp.float32(np.nan)}
        return real(window, done, phase, saved)

    return find


def test_a_run_goes_back_and_on(quick, tmp_path, monkeypatch, capsys):
    quick.guard.rollbacks = 2
    monkeypatch.setattr(loop, "mean_of_finite", failing_at(5, times=2))
    train.train(quick, tmp_path)
    said = capsys.readouterr().out
    assert "logits/real is nan at step 6" in said and "rollback 2 of 2: back to step 4, at lower rates" in said
    rows = Logs(tmp_path).read()
    assert [row["step"] for row in rows] == [2, 4, 6] and rows[-1]["rollbacks"] == 2
    at_end = quick.train.learning_rate_end * quick.train.generator_learning_rate / 4
    assert at_end < rows[-1]["learning_rate/generator"] < rows[-2]["learning_rate/generator"] / 2
    train.train(quick, tmp_path)  # a finished run stays finished


def test_a_run_that_may_not_go_back_stops(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "mean_of_finite", failing_at(5, times=9))
    with pytest.raises(
        guard.Collapse, match=r"(?s)logits/real is nan at step 6 .*last good checkpoint is step 4.*rollbacks=3"
    ):
        train.train(quick, tmp_path)


def test_a_collapse_is_said_in_the_log(quick, tmp_path, capsys):
    quick.evaluate.every_images = 16
    quick.guard.update(num_images=8, min_spread=1e6)
    train.train(quick, tmp_path)
    assert "guard/spread is " in capsys.readouterr().out
    rows = [row for row in Logs(tmp_path).read() if "guard/overfit" in row]
    assert rows and {"guard/spread", "guard/diversity", "attributes/mean"} <= rows[0].keys()


def test_a_phase_that_cannot_go_back_goes_on(quick, tmp_path, capsys):
    """And so does one that has gone back as often as it may: what is only said otherwise must not end a run."""
    quick.phases = ("text", "adversarial", "text_matching")
    quick.evaluate.update(every_images=16, at_end=True)
    quick.guard.update(num_images=8, min_spread=1e6, rollbacks=1)
    train.train(quick, tmp_path)
    said = capsys.readouterr().out
    assert said.count("rollback 1 of 1") == 1 and said.count("guard/spread is ") >= 3
    assert set(json.loads((tmp_path / guard.ROLLBACKS_NAME).read_text())) == {"adversarial"}


@pytest.mark.parametrize(("num_images", "says"), [(7, False), (8, True)])
def test_too_few_pictures_are_not_judged(quick, tmp_path, capsys, num_images, says):
    quick.evaluate.every_images = 16
    quick.guard.update(num_images=num_images, min_spread=1e6)
    train.train(quick, tmp_path)
    assert ("guard/spread is " in capsys.readouterr().out) == says


def test_networks_that_grow_are_looked_at_when_they_are_grown(config, tmp_path):
    with config.unlocked():
        config.devices = 1
        config.phases = ("adversarial",)
        config.generator.attention_from_px = 0
    config.train.update(grow_share=0.5, steps=8)  # stages begin at 0, 2 and 4; the last has faded in at 5
    config.evaluate.every_images = 8
    config.guard.num_images = 8
    train.train(config, tmp_path)
    assert [row["step"] for row in Logs(tmp_path).read() if "guard/overfit" in row] == [5, 6, 7, 8]


def test_the_best_average_is_kept(quick, tmp_path, capsys, monkeypatch):
    from t2igan.training import averages

    quick.train.update(ema_tracks=(0.5, 2.0))
    scores = iter((0.2, 0.7, 0.5))  # of 1, 0.5 and 2
    monkeypatch.setattr(averages, "cheap_figures", lambda *_: {"attributes/mean": next(scores)})
    monkeypatch.setattr(averages, "flat_figures", lambda figures: figures)
    monkeypatch.setattr(averages, "summary_line", lambda figures: str(figures))
    kept = []
    real = train.best_average
    monkeypatch.setattr(train, "best_average", lambda *arguments: kept.append(real(*arguments)) or kept[-1])
    train.train(quick, tmp_path)
    assert "the average of half-life x 0.5 is kept" in capsys.readouterr().out
    state = kept[-1]
    assert dataclasses.is_dataclass(state)
    for ours, chosen in zip(
        *(sorted(t["generator"]["params"].items()) for t in (state.ema, state.tracks["0.5"])), strict=True
    ):
        np.testing.assert_array_equal(ours[1]["kernel"], chosen[1]["kernel"])
