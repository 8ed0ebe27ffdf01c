"""The text encoder that learns along in the phase "generator", at a share of its learning rate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import on_one_device_and_two, random_batch, shrink

from configs import base
from t2igan import nets
from t2igan.config.checks import check
from t2igan.errors import UserError
from t2igan.method.optim.optimizers import slowed_adam
from t2igan.method.phases import PHASES
from t2igan.method.phases.generator import GeneratorMethod, generator_step, init_generator_state

VOCAB = 300
ALL = ("text", "generator", "adversarial")


def tuned(**settings):
    """The tiny configuration, in which every step of the phase is of full length."""
    config = shrink(base.get_config())
    with config.unlocked(), config.ignore_type():
        config.pretrain_generator.update(task="regress", text_rate=0.1, warmup_steps=0)
        config.update_from_flattened_dict(settings)
    check(config)
    return config


def moved(config, batch):
    """The state before a step, that after it, and what it changed of the text encoder."""
    method = GeneratorMethod.create(config, nets.build(config, VOCAB), 10)
    state = jax.jit(functools.partial(init_generator_state, method))(batch)
    after, _ = jax.jit(functools.partial(generator_step, method))(state, batch)
    texts = [(one.frozen | one.params)["text"] for one in (state, after)]
    return state, after, jax.tree.map(lambda old, new: np.asarray(new - old), *texts)


@pytest.mark.parametrize("task", ["regress", "complete"])
def test_the_text_encoder_learns_at_its_share_of_the_rate(task):
    batch = random_batch(VOCAB)
    state, _, full = moved(tuned(**{"pretrain_generator.task": task, "pretrain_generator.text_rate": 1.0}), batch)
    _, _, tenth = moved(tuned(**{"pretrain_generator.task": task}), batch)
    _, after, none = moved(tuned(**{"pretrain_generator.task": task, "pretrain_generator.text_rate": 0.0}), batch)
    assert "text" in state.params and "text" not in state.frozen and "text" in after.frozen
    jax.tree.map(lambda a, b: np.testing.assert_allclose(0.1 * a, b, rtol=0.01, atol=2e-6), full, tenth)
    assert max(np.abs(x).max() for x in jax.tree.leaves(tenth)) > 1e-5
    assert all((x == 0).all() for x in jax.tree.leaves(none))


def test_a_step_on_two_devices_equals_that_on_one():
    batch = random_batch(VOCAB)
    method = GeneratorMethod.create(tuned(), nets.build(tuned(), VOCAB), 10)
    state = jax.jit(functools.partial(init_generator_state, method))(batch)
    afters = on_one_device_and_two(functools.partial(generator_step, method), state, batch)
    results = [after.opt_state for after in afters]  # the moments: of updates Adam keeps little but the sign
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6), *results)


def test_what_the_phase_trains_is_said():
    kind = PHASES["generator"]
    assert kind.trains(tuned()) == ("generator", "text")
    assert kind.trains(tuned(**{"pretrain_generator.text_rate": 0.0})) == ("generator",)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pretrain_generator.text_rate": 1.5}, r"config\.pretrain_generator\.text_rate=1\.5"),
        (
            {"loss.cycle_weight": 0.5, "phases": ALL},
            r"config\.loss\.cycle_weight=0\.5 does not .*text_rate=0\.1",
        ),
        ({"phases": (*ALL, "joint")}, r"config\.joint\.anchor_weight=1\.0 does not go with"),
        ({"phases": (*ALL, "text_matching")}, r"config\.text_matching\.cycle_weight=1\.0 does not go with"),
    ],
)
def test_what_is_refused(settings, expected):
    with pytest.raises(UserError, match=expected):
        tuned(**settings)


def test_slowed_adam_scales_the_updates_of_a_branch_and_of_one_within_it():
    params = {"a": jnp.ones(3), "b": {"w": jnp.ones(2), "c": jnp.ones(2)}}
    grads = jax.tree.map(lambda x: 0.3 * x, params)
    slow, plain = slowed_adam(0.01, b2=0.99, shares={"b": 0.5, "c": 0.2}), optax.adam(0.01, b2=0.99)
    updates, _ = slow.update(grads, slow.init(params), params)
    whole, _ = plain.update(grads, plain.init(params), params)
    np.testing.assert_array_equal(updates["a"], whole["a"])
    np.testing.assert_allclose(updates["b"]["w"], 0.5 * whole["b"]["w"], rtol=1e-6)
    np.testing.assert_allclose(updates["b"]["c"], 0.1 * whole["b"]["c"], rtol=1e-6)
