"""The discriminator's trunk learns from labels and from transforms, and against a generator that has learned."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan import nets, step
from t2igan.method.phases.discriminator import (
    HEAD,
    DiscriminatorMethod,
    ask,
    discriminator_step,
    init_discriminator_state,
)
from t2igan.method.techniques.pretext import TRANSFORMS
from t2igan.nets.init import init_network

VOCAB = 40


@pytest.fixture
def small(config):
    config.generator.update(kind="mlp", channels=(8,))
    config.discriminator.update(kind="mlp", channels=(16,))
    config.pretrain_discriminator.update(learning_rate=1e-2, schedule="constant", warmup_steps=1)
    return config


def labelled_batch(num=32):
    """The first label is whether the left half is bright, the second is known of every other picture only."""
    random = np.random.default_rng(0)
    labels = np.stack([random.integers(0, 2, num), random.integers(0, 3, num)], 1).astype(np.int32)
    images = random.integers(0, 100, (num, 16, 16, 3))
    images[:, :, :8] += 150 * labels[:, 0, None, None, None]
    images[:, :4, 8:] += 70 * labels[:, 1, None, None, None]
    labels[::2, 1] = -1
    tokens = random.integers(1, VOCAB, (num, 6))
    return {
        "images": jnp.asarray(images, jnp.uint8),
        "tokens": jnp.asarray(tokens, jnp.int32),
        "labels": jnp.asarray(labels),
    }


def start(config, sizes=(2, 3), given=None, kind=None):
    with config.unlocked():
        config.discriminator.kind = kind or config.discriminator.kind
    method = DiscriminatorMethod.create(config, nets.build(config, VOCAB), 100, sizes)
    batch = labelled_batch()
    state = jax.jit(functools.partial(init_discriminator_state, method, batch))(given or {})
    return method, state, batch, jax.jit(functools.partial(discriminator_step, method))


def test_labels_are_learned_by_the_trunk_and_the_head(small):
    _, state, batch, train_step = start(small)
    before, history = state, []
    for _ in range(60):
        state, metrics = train_step(state, batch)
        history.append(float(metrics["loss/questions"]))
    assert history[0] == pytest.approx((np.log(2) * 1.5 + np.log(3) * 0.5) / 2, rel=1e-3)  # the head starts at zero
    assert history[-1] < 0.1 and float(metrics["accuracy"]) > 0.95
    assert set(state.params) == {"discriminator", HEAD}
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, state.params)
    assert all(any(jax.tree.leaves(moved[name])) for name in moved)
    assert train_step._cache_size() == 1


def test_transforms_are_asked_where_there_are_no_labels(small):
    method, state, batch, train_step = start(small, sizes=())
    assert method.sizes == tuple(TRANSFORMS.values()) and not method.labelled
    del batch["labels"]
    _, metrics = train_step(state, batch)
    assert float(metrics["loss/questions"]) == pytest.approx(np.log([4, 2, 5]).mean(), rel=1e-4)


def test_transforms_may_be_asked_for(small):
    small.pretrain_discriminator.task = "transforms"
    assert not DiscriminatorMethod.create(small, nets.build(small, VOCAB), 10, (2, 3)).labelled


@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_answers_cannot_be_read_from_the_caption(small, kind):
    method, state, batch, _ = start(small, kind=kind)
    params = state.frozen | state.params
    params[HEAD] = jax.tree.map(lambda x: jnp.ones_like(x) * jnp.arange(x.shape[-1]), params[HEAD])
    loss, _ = ask(method, params, batch, jax.random.key(0))
    other, _ = ask(method, params, batch | {"tokens": batch["tokens"][::-1]}, jax.random.key(0))
    np.testing.assert_array_equal(loss, other)
    assert np.ptp(np.asarray(loss)) > 0


def test_against_a_generator_that_has_learned_the_game_is_added(small):
    _, state, batch, train_step = start(small)
    _, metrics = train_step(state, batch)
    assert "loss/discriminator" not in metrics
    method = DiscriminatorMethod.create(small, nets.build(small, VOCAB), 100, (2, 3))
    generator = init_network(method.networks, "generator", jax.random.key(0), batch)
    method, state, batch, train_step = start(small, given={"generator": generator})
    after, metrics = train_step(state, batch)
    assert {"loss/discriminator", "loss/penalty", "logits/real", "logits/fake"} <= metrics.keys()
    jax.tree.map(np.testing.assert_array_equal, state.frozen, after.frozen)
    everyone = state.frozen | state.params
    key = jax.random.split(step.stream(method.seed, "discriminator phase", 0))[1]
    real = batch["images"].astype(jnp.float32) / 127.5 - 1
    expected, of_game = step.discriminator_loss(method.game, everyone, 0, real, batch["tokens"], key)
    np.testing.assert_allclose(metrics["loss/discriminator"], of_game["loss/discriminator"].mean(), rtol=1e-5)
    assert np.isfinite(expected)


def test_a_lazy_penalty_is_decided_outside(small):
    with small.unlocked():
        small.loss.penalty_every = 2
        small.train.grow_share = 0.5  # has nothing to do with this phase
    generator = init_network(nets.build(small, VOCAB), "generator", jax.random.key(0), labelled_batch())
    method, state, batch, _ = start(small, given={"generator": generator})
    penalties = []
    for number in (0, 1):
        decided = dict(step.decided(method.game, number))
        assert decided == {"penalty_due": number == 0}
        told = functools.partial(discriminator_step, method, **decided)
        now = state.replace(step=jnp.int32(number))
        assert "cond[" not in str(jax.make_jaxpr(told)(now, batch))
        penalties.append(float(jax.jit(told)(now, batch)[1]["loss/penalty"]))
    assert penalties[0] > 0 == penalties[1]
