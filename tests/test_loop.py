"""The loop of a phase beside what it computes: how far it runs ahead of the device, and what it says meanwhile."""

import jax
import pytest

from t2igan.training import loop, train


@pytest.fixture
def quick(config):
    with config.unlocked():
        config.phases = ("adversarial",)
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.train.steps = 12
        config.log.every_images = 10**6
        config.checkpoint.every_images = 0
        config.sample.update(num_captions=1, num_seeds=1)
        config.devices = 1
    return config


def test_few_steps_wait_for_the_device_and_the_bar_follows(quick, tmp_path, monkeypatch, capsys):
    """Between two logs too: what was given to the device is waited for, oldest first, and counted."""
    events = []

    class Bar(loop.Progress):
        def reach(self, images):
            events.append(("bar", images // 8))
            super().reach(images)

    wait, move = jax.block_until_ready, loop.parallel.to_devices
    monkeypatch.setattr(loop, "Progress", Bar)
    monkeypatch.setattr(loop.jax, "block_until_ready", lambda x: (events.append(("waits", None)), wait(x))[1])
    monkeypatch.setattr(loop.parallel, "to_devices", lambda *a: (events.append(("step", None)), move(*a))[1])
    train.train(quick, tmp_path)
    assert capsys.readouterr().out.count("phase adversarial: compiling") == 1
    given = waited = 0
    for kind, number in events:
        given += kind == "step"
        waited += kind == "waits"
        assert given - waited <= loop.STEPS_AHEAD + 1
        assert kind != "bar" or number <= given
    assert [number for kind, number in events if kind == "bar"] == [*range(1, 9), 12]


@pytest.mark.parametrize("after", [1, 2, 7])
def test_the_bar_counts_from_where_a_run_goes_on(after, capsys):
    bar = loop.Progress("a", total_images=80, done_images=8 * after)
    for step in range(after, 11):
        bar.reach(8 * step)
    bar.close()
    assert "80.0/80.0" in capsys.readouterr().err
