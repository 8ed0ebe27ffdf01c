"""The text encoder learns from what is drawn: its loss by hand, its anchor, and what stands still."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_batch

from t2igan import nets, step
from t2igan.method import losses
from t2igan.method.phases.text_matching import BEFORE, TextMatchingMethod, init_text_matching_state, text_matching_step
from t2igan.method.techniques.regularize import spectral_norm
from t2igan.nets.init import init_network

VOCAB = 40


@pytest.fixture
def phase(config):
    config.generator.update(kind="mlp", channels=(8,))
    config.discriminator.update(kind="mlp", channels=(8,))
    config.loss.adversarial = "non_saturating"  # whose generator's loss is written out below
    config.image_encoder.update(channels=(4,), patch_px=4)
    config.text_matching.update(learning_rate=1e-2, schedule="constant", warmup_steps=1)
    networks = nets.build(config, VOCAB)
    method = TextMatchingMethod.create(config, networks, 100)
    batch = random_batch(VOCAB)
    names = ("text", "image", "matching", "generator", "discriminator")
    given = {name: init_network(networks, name, jax.random.key(i), batch) for i, name in enumerate(names)}
    state = jax.jit(functools.partial(init_text_matching_state, method, batch))(given)
    return method, state, batch, given


def test_only_the_text_encoder_moves(phase):
    method, state, batch, given = phase
    train_step = jax.jit(functools.partial(text_matching_step, method))
    first, after = None, state
    for _ in range(30):
        after, metrics = train_step(after, batch)
        first = first or metrics
    assert set(state.params) == {"text"}
    jax.tree.map(np.testing.assert_array_equal, state.frozen, after.frozen)
    jax.tree.map(np.testing.assert_array_equal, state.frozen[BEFORE], given["text"])
    total = lambda m: m["loss/cycle"] + m["loss/anchor"] + 0.1 * m["loss/generator"]
    assert total(metrics) < total(first)
    assert metrics["loss/anchor"] < first["loss/anchor"]
    assert train_step._cache_size() == 1 and after.step == 30


def test_the_terms_by_hand(phase):
    """With another text encoder than at the beginning, so that it counts which of the two is asked."""
    method, state, batch, given = phase
    moved = jax.tree.map(lambda x: x + 0.1, given["text"])
    _, metrics = text_matching_step(method, state.replace(params={"text": moved}), batch)
    networks, real = method.networks, batch["images"].astype(jnp.float32) / 127.5 - 1
    z = jax.random.normal(step.stream(method.seed, "text matching", 0), (8, networks.z_dim))
    before, now = (networks.text_encoder.apply(p, batch["tokens"]) for p in (given["text"], moved))
    fake = networks.generator.apply(given["generator"], z, now)

    def matched(images, sentence):
        features = networks.image_encoder.apply(given["image"], images)
        m = networks.matching.apply(given["matching"], features, sentence)
        return losses.contrastive(m.images, m.sentences, m.inverse_temperature).mean()

    np.testing.assert_allclose(metrics["loss/cycle"], matched(fake, before.sentence), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss/anchor"], matched(real, now.sentence), rtol=1e-4)
    judged = networks.discriminator.apply(given["discriminator"], fake, before)
    np.testing.assert_allclose(metrics["loss/generator"], jax.nn.softplus(-judged).mean(), rtol=1e-4)


def test_the_discriminator_is_the_one_that_played(phase, config):
    """With its normalisation: the same as without it, of parameters that are normalised already."""
    method, state, batch, given = phase
    config.discriminator.normalisation = "spectral"
    normalised = TextMatchingMethod.create(config, method.networks, 100)
    stretched = jax.tree.map(lambda x: 5 * x, given["discriminator"])

    def loss(method, params):
        frozen = state.frozen | {"discriminator": params}
        return float(text_matching_step(method, state.replace(frozen=frozen), batch)[1]["loss/generator"])

    assert loss(normalised, stretched) == pytest.approx(loss(method, spectral_norm(stretched)), rel=1e-4)
    assert loss(normalised, stretched) != pytest.approx(loss(method, stretched), rel=0.01)


def test_the_weights_count(phase):
    """Adam's first moment is the gradient's, up to a factor: it is linear in each weight."""
    method, state, batch, _ = phase

    def gradient(**weights):
        none = {"cycle_weight": 0.0, "adversarial_weight": 0.0, "anchor_weight": 0.0}
        after, _ = text_matching_step(dataclasses.replace(method, **none | weights), state, batch)
        return after.opt_state[0].mu["text"]

    parts = gradient(cycle_weight=1.0), gradient(adversarial_weight=2.0), gradient(anchor_weight=3.0)
    whole = gradient(cycle_weight=1.0, adversarial_weight=2.0, anchor_weight=3.0)
    total = jax.tree.map(lambda *x: sum(x), *parts)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6), whole, total)
    assert all(any((x != 0).any() for x in jax.tree.leaves(part)) for part in parts)
