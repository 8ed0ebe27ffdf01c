"""The text phase learns a small batch by heart, and its loss is what it says it is."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_batch

from t2igan import nets
from t2igan.method import losses
from t2igan.method.phases.text import TextMethod, init_text_state, is_read, text_step

VOCAB = 40


@pytest.fixture
def phase(config):
    """A method, its first state, a batch of eight, and the compiled step."""
    config.update_from_flattened_dict({"pretrain_text.learning_rate": 1e-2, "pretrain_text.schedule": "constant"})
    method = TextMethod.create(config, nets.build(config, VOCAB), total_steps=100)
    batch = random_batch(VOCAB)
    state = jax.jit(functools.partial(init_text_state, method))(batch)
    return method, state, batch, jax.jit(functools.partial(text_step, method))


def test_thirty_steps_learn_eight_pairs(phase):
    _, state, batch, text_step = phase
    history = []
    for _ in range(30):
        state, metrics = text_step(state, batch)
        assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
        history.append(float(metrics["loss/contrastive"]))
    assert history[0] > np.log(8)  # no better than a guess among eight
    assert max(history[-3:]) < 0.5
    assert state.step == 30 and text_step._cache_size() == 1


def test_the_loss_and_one_step_by_hand(phase):
    method, state, batch, text_step = phase
    networks = method.networks

    @jax.jit
    def by_hand(params):
        images = batch["images"].astype(jnp.float32) / 127.5 - 1
        features = networks.image_encoder.apply(params["image"], images)
        text = networks.text_encoder.apply(params["text"], batch["tokens"])
        matched = networks.matching.apply(params["matching"], features, text.sentence)
        return losses.contrastive(matched.images, matched.sentences, matched.inverse_temperature).mean()

    after, metrics = text_step(state, batch)
    assert metrics["loss/contrastive"] == pytest.approx(float(by_hand(state.params)), rel=1e-5)
    assert metrics["inverse_temperature"] == pytest.approx(10.0, rel=1e-5)
    # The rate rises from 0 in the first step: that one leaves everything as it is.
    assert method.rate(0) == metrics["learning_rate/text"] == 0
    assert jax.tree.all(jax.tree.map(lambda x, y: (x == y).all(), state.params, after.params))
    assert jax.tree.structure(state) == jax.tree.structure(after)
    moved, _ = text_step(after, batch)
    assert float(by_hand(moved.params)) < float(by_hand(state.params))
    for name in ("text", "image", "matching"):
        still = jax.tree.map(lambda x, y: bool((x == y).all()), state.params[name], moved.params[name])
        assert not all(jax.tree.leaves(still)), name


def test_a_text_encoder_that_is_read_stays_as_it_is(phase):
    method, state, batch, _ = phase
    step = jax.jit(functools.partial(text_step, dataclasses.replace(method, keeps_text=True)))
    moved = state
    for _ in range(3):
        moved, metrics = step(moved, batch)
    still = lambda name: jax.tree.all(jax.tree.map(lambda x, y: (x == y).all(), state.params[name], moved.params[name]))
    assert still("text") and not still("image") and not still("matching")
    assert metrics["gradient_norm/text"] == 0


@pytest.mark.parametrize(
    ("phases", "given", "expected"),
    [
        (("text", "caption"), ("text", "generator"), True),
        (("text", "inversion", "caption"), ("text", "generator", "space"), True),
        (("text", "adversarial", "caption"), ("text", "generator"), False),  # the generator learns to read it
        (("text", "text_matching"), ("text", "generator"), False),  # it is to learn
        (("text",), ("text", "generator"), False),  # another run may begin with it
        (("text", "caption"), ("generator",), False),  # a fresh one
        (("text", "caption"), (), False),
    ],
)
def test_a_text_encoder_is_read_by_a_generator_that_learns_no_more(config, phases, given, expected):
    config.phases = phases
    assert is_read(config, dict.fromkeys(given)) == expected


def test_the_temperature_has_a_floor(phase):
    method, state, _, _ = phase
    params = jax.tree.map(lambda x: x, state.params["matching"])
    params["params"]["log_inverse_temperature"] = jnp.float32(20.0)
    matched = method.networks.matching.apply(params, jnp.ones((2, 8)), jnp.ones((2, 8)))
    assert matched.inverse_temperature == 100


@pytest.mark.parametrize(("total_steps", "warmup"), [(100, 10), (8, 4)])
def test_warmup_takes_half_of_a_short_phase_at_most(config, total_steps, warmup):
    config.pretrain_text.update(warmup_steps=10, learning_rate=1e-3, learning_rate_end=0.1)
    method = TextMethod.create(config, nets.build(config, VOCAB), total_steps)
    np.testing.assert_allclose(float(method.rate(warmup)), 1e-3, rtol=1e-5)
    np.testing.assert_allclose(float(method.rate(total_steps)), 1e-4, rtol=1e-5)
