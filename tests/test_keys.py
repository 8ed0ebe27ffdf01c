"""No random key is used twice: JAX's checker reads the steps of all phases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import KeyReuseError

from t2igan import nets, step
from t2igan.method.game import Method
from t2igan.method.phases.discriminator import DiscriminatorMethod, discriminator_step, init_discriminator_state
from t2igan.method.phases.generator import GeneratorMethod, generator_step, init_generator_state
from t2igan.method.phases.joint import JointMethod, joint_step
from t2igan.method.phases.text import TextMethod, init_text_state, text_step
from t2igan.method.phases.text_matching import (
    TextMatchingMethod,
    init_text_matching_state,
    text_matching_step,
)

NAMES = ("text", "image", "matching", "generator", "discriminator", "inverter")
# What is drawn at random does not depend on the networks, and these are traced in no time.
SMALL = {
    "generator.kind": "mlp",
    "generator.channels": (8,),
    "discriminator.kind": "mlp",
    "discriminator.channels": (8,),
    "image_encoder.channels": (8,),
    "inverter.channels": (8,),
}
# But for augmentation, noise and dropout of what the discriminator is shown, which are alike in all its calls of a step
# on purpose (`step.make_critic`): there the same key is used for real and for generated pictures.
ALL_AT_RANDOM = {
    "augment.sentence_noise": 0.1,
    "augment.caption_dropout": 0.1,
    "loss.penalty": "wgan_gp",
    "loss.reconstruction_weight": 0.1,
    "loss.attack_steps": 1,
    "loss.mismatch_weight": 0.5,
    "loss.drifting_weight": 0.1,
    "loss.diversity_weight": 0.1,
}
BATCH = {"images": jax.ShapeDtypeStruct((8, 16, 16, 3), np.uint8), "tokens": jax.ShapeDtypeStruct((8, 32), np.int32)}


def read(function, *arguments):
    """Traces a function under the checker; nothing is compiled."""
    with jax.debug_key_reuse(True):
        jax.eval_shape(jax.jit(function), *arguments)


def given_of(networks):
    from t2igan.nets.init import init_network

    return {name: jax.eval_shape(lambda n=name: init_network(networks, n, jax.random.key(0), BATCH)) for name in NAMES}


def check(init, one_step, given):
    read(one_step, jax.eval_shape(init, given), BATCH)


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize("changes", [{}, ALL_AT_RANDOM], ids=["default", "all"])
@pytest.mark.parametrize("phase", ["adversarial", "joint"])
def test_the_games_use_each_key_once(config, phase, changes, microbatches):
    config.update_from_flattened_dict(SMALL | changes | {"train.microbatches": microbatches})
    networks = nets.build(config, 300)
    if phase == "joint":
        method = JointMethod.create(config, networks, 10)
        game, one_step = method.game, functools.partial(joint_step, method)
    else:
        game = Method.create(config, networks, 10)
        one_step = functools.partial(step.train_step, game)
    check(functools.partial(step.init_state, game, BATCH), one_step, given_of(networks))


@pytest.mark.parametrize("phase", ["text", "generator", "discriminator", "text_matching"])
def test_the_other_phases_use_each_key_once(config, phase):
    config.update_from_flattened_dict(SMALL | ALL_AT_RANDOM)
    networks = nets.build(config, 300)
    create, init, one_step = {
        "text": (TextMethod.create, init_text_state, text_step),
        "generator": (GeneratorMethod.create, init_generator_state, generator_step),
        "discriminator": (DiscriminatorMethod.create, init_discriminator_state, discriminator_step),
        "text_matching": (TextMatchingMethod.create, init_text_matching_state, text_matching_step),
    }[phase]
    method = create(config, networks, 10, *[()] * (phase == "discriminator"))  # no labels
    check(functools.partial(init, method, BATCH), functools.partial(one_step, method), given_of(networks))


def test_the_checker_sees_a_key_that_is_used_twice():
    def twice(key):
        return jax.random.normal(key, (3,)) + jnp.sum(jax.random.uniform(jax.random.split(key)[0], (3,)))

    with pytest.raises(KeyReuseError):
        read(twice, jax.random.key(0))
