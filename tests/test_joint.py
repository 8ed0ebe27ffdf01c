"""The joint step is one vector field: each player's gradient at the same point, the text encoder's of the sum."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import random_batch

from t2igan import nets, step
from t2igan.method import losses
from t2igan.method.phases.joint import JointMethod, joint_step
from t2igan.nets.init import init_network

VOCAB = 40


@pytest.fixture
def phase(config):
    config.update_from_flattened_dict({
        "generator.kind": "mlp", "generator.channels": (8,), "discriminator.kind": "mlp",
        "discriminator.channels": (8,),
        "image_encoder.channels": (4,), "image_encoder.patch_px": 4, "train.clip_norm": 0.0, "train.beta1": 0.5,
        "train.beta2": 0.9, "train.beta2_end": 0.99, "joint.warmup_steps": 0, "joint.batch_images": 8,
        "joint.text_learning_rate": 1e-3, "loss.penalty_weight": 3.0, "loss.penalty_weight_end": 0.5,
    })  # fmt: skip
    networks = nets.build(config, VOCAB)
    method = JointMethod.create(config, networks, 100)
    batch = random_batch(VOCAB)
    names = ("text", "image", "matching", "generator", "discriminator")
    given = {name: init_network(networks, name, jax.random.key(i), batch) for i, name in enumerate(names)}
    state = jax.jit(functools.partial(step.init_state, method.game, batch))(given)
    return method, state, batch


def moment(state, name):
    """Adam's first moment after one step: half the gradient."""
    return jax.tree.map(lambda m: 2 * m, optax.tree.get(state.opt_state[name], "mu"))


def test_the_settings_are_the_sections_and_what_the_adversarial_phase_ended_with(phase, config):
    game = phase[0].game
    assert game.tune_text and game.batch_images == 8 and game.discriminator_steps == 1
    assert float(game.penalty_weight(0)) == float(game.penalty_weight(100)) == 0.5
    assert float(game.beta2(0)) == pytest.approx(0.99)
    assert float(game.generator_rate(0)) == pytest.approx(config.joint.generator_learning_rate)
    assert not config.train.tune_text  # the configuration itself is as it was


def test_what_did_not_move_stays_where_it_was(phase, config):
    """By a constant schedule the adversarial phase ends where it began."""
    config.train.schedule = "constant"
    config.augment.update(instance_noise=0.2, instance_noise_end=0.0)
    game = JointMethod.create(config, phase[0].game.networks, 100).game
    assert float(game.penalty_weight(0)) == float(game.penalty_weight(100)) == 3.0
    assert float(game.beta2(100)) == pytest.approx(0.9)
    assert float(game.instance_noise(0)) == float(game.instance_noise(100)) == pytest.approx(0.2)


def test_without_matching_there_is_no_anchor(phase):
    """As after `init_from` a run with other tokens, whose image tower is taken and whose matching is not."""
    method, state, batch = phase
    frozen = {name: params for name, params in state.frozen.items() if name != "matching"}
    _, metrics = jax.eval_shape(functools.partial(joint_step, method), state.replace(frozen=frozen), batch)
    assert "loss/anchor" not in metrics and "loss/generator" in metrics


def test_the_vector_field_by_hand(phase):
    method, state, batch = phase
    after, metrics = jax.jit(functools.partial(joint_step, method))(state, batch)
    game, everyone, networks = method.game, state.frozen | state.params, method.game.networks
    real, tokens = batch["images"].astype(jnp.float32) / 127.5 - 1, batch["tokens"]

    def discriminator_loss(params):
        key = step.stream(game.seed, "joint discriminator", 0)
        return step.discriminator_loss(game, everyone | params, 0, real, tokens, key)[0]

    def generator_loss(params):
        key = step.stream(game.seed, "joint generator", 0)
        return step.generator_loss(game, everyone | params, 0, real, tokens, key)[0]

    def anchor(params):
        features = networks.image_encoder.apply(everyone["image"], real)
        sentence = networks.text_encoder.apply(params["text"], tokens).sentence
        return losses.contrastive(*networks.matching.apply(everyone["matching"], features, sentence)).mean()

    @jax.jit
    def by_hand(params):
        of_d, of_g, of_anchor = (jax.grad(loss)(params) for loss in (discriminator_loss, generator_loss, anchor))
        weights = 1.0, method.discriminator_weight, method.anchor_weight
        text = jax.tree.map(
            lambda g, d, a: weights[0] * g + weights[1] * d + weights[2] * a,
            of_g["text"], of_d["text"], of_anchor["text"],
        )  # fmt: skip
        return {"generator": of_g["generator"], "discriminator": of_d["discriminator"], "text": text}

    for name, expected in by_hand(state.params).items():
        compare = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-6)
        jax.tree.map(compare, moment(after, name), expected)
    assert {"loss/generator", "loss/discriminator", "loss/anchor", "learning_rate/text"} <= metrics.keys()
    assert all(value.shape == () and np.isfinite(value) for value in metrics.values())
    assert after.step == 1 and set(after.ema) == {"generator", "text"}


def test_the_text_encoder_does_not_learn_to_give_the_generator_away(phase):
    """L_D reaches it through the caption that is read, not through the generated pictures."""
    method, state, batch = phase
    everyone, game = state.frozen | state.params, method.game
    real = batch["images"].astype(jnp.float32) / 127.5 - 1

    def loss(text, sees_caption):
        def without(images, text):  # a discriminator that reads no caption
            return game.networks.discriminator.apply(
                everyone["discriminator"], images, jax.tree.map(jnp.zeros_like, text)
            )

        networks = game.networks if sees_caption else game.networks._replace(discriminator=_Blind(without))
        blind = dataclasses.replace(game, networks=networks)
        return step.discriminator_loss(blind, everyone | {"text": text}, 0, real, batch["tokens"], jax.random.key(0))[0]

    norm = lambda sees: float(optax.tree.norm(jax.grad(lambda t: loss(t, sees))(state.params["text"])))
    assert norm(True) > 0 and norm(False) == 0


class _Blind:
    def __init__(self, judge):
        self.judge = judge

    def apply(self, params, images, text, **_):  # noqa: ARG002
        return self.judge(images, text)


def test_a_lazy_penalty_is_decided_outside_and_microbatches_are_the_whole_batch(phase):
    method, state, batch = phase
    lazy = dataclasses.replace(method, game=dataclasses.replace(method.game, penalty_every=3))
    assert step.decided(lazy.game, 3) == (("penalty_due", True),)
    told = functools.partial(joint_step, lazy, **dict(step.decided(lazy.game, 3)))
    branches = lambda function: str(jax.make_jaxpr(function)(state, batch)).count("cond[")
    assert (
        branches(told)
        == branches(functools.partial(joint_step, method))
        < branches(functools.partial(joint_step, lazy))
    )
    # Without the anchor, which contrasts within a part, and drawing grey only: each part has its own noise.
    quiet = dataclasses.replace(method, anchor_weight=0.0)
    zeros = state.replace(params=state.params | {"generator": jax.tree.map(jnp.zeros_like, state.params["generator"])})
    after = {}
    for parts in (1, 2):
        split = dataclasses.replace(quiet, game=dataclasses.replace(quiet.game, microbatches=parts))
        after[parts], _ = jax.jit(functools.partial(joint_step, split))(zeros, batch)
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(compare, moment(after[1], "discriminator"), moment(after[2], "discriminator"))


def test_without_an_image_tower_there_is_no_anchor(phase):
    method, state, batch = phase
    state = state.replace(frozen={})
    _, metrics = jax.jit(functools.partial(joint_step, method))(state, batch)
    assert "loss/anchor" not in metrics
