"""One device equals several: the same batches lead to the same parameters."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t2igan import nets, parallel, pretrain, step
from t2igan.errors import UserError

VOCAB = 40


@pytest.fixture
def config(config):
    """Two sizes of maps compile faster than three."""
    config.data.image_size_px = 8
    config.generator.channels = config.discriminator.channels = (8, 8)
    return config


def batches_of(images, count=3):
    random = np.random.default_rng(0)
    return [
        {
            "images": random.integers(0, 256, (images, 8, 8, 3)).astype(np.uint8),
            "tokens": random.integers(1, VOCAB, (images, 6)).astype(np.int32),
        }
        for _ in range(count)
    ]


def run(devices, state, one_step, batches):
    """The last state and the metrics of every step."""
    mesh = parallel.make_mesh(devices)
    state = jax.device_put(state, parallel.replicated(mesh))
    train_step = parallel.compile_step(one_step, mesh)
    history = []
    for batch in batches:
        state, metrics = train_step(state, parallel.to_devices(batch, mesh))
        history.append(jax.device_get(metrics))
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    assert len(state.step.devices()) == devices and train_step._cache_size() == 1
    return jax.device_get(state), history


def assert_one_device_equals_four(state, one_step, batches):
    state = jax.device_get(state)
    (one, history), (four, history_of_four) = (run(n, state, one_step, batches) for n in (1, 4))
    assert one.step == len(batches)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5), one, four)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-4), history, history_of_four)
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), state.params, one.params)
    assert max(jax.tree.leaves(moved)) > 1e-3


class Descent(step.Method):
    """The adversarial method with plain gradient descent.

    Adam makes whole steps of rounding errors where a gradient is zero by nature, as that of the last bias is for
    relativistic losses; those parameters do not matter, but they would not compare.
    """

    def optimizer(self, rate, step):  # noqa: ARG002
        return optax.sgd(rate)


def compiled(init):
    """Runs `init` with another generator of random bits, for which XLA compiles initialisers much faster."""
    with jax.default_prng_impl("rbg"):
        return jax.jit(init)()


def test_adversarial_steps_on_one_device_equal_four(config):
    config.train.update(discriminator_steps=2, generator_learning_rate=0.05, discriminator_learning_rate=0.05)
    config.train.warmup_steps = 0
    config.loss.update(penalty="r1_r2", adversarial="relativistic", mismatch_weight=0.5)
    method = Descent.create(config, nets.build(config, VOCAB), 10)
    batches = batches_of(8 * 2)
    state = compiled(functools.partial(step.init_state, method, batches[0]))
    assert_one_device_equals_four(state, functools.partial(step.train_step, method), batches)


def test_text_steps_on_one_device_equal_four(config):
    method = pretrain.TextMethod.create(config, nets.build(config, VOCAB), 10)
    method = dataclasses.replace(method, optimizer=optax.sgd(0.05))
    batches = batches_of(8)
    state = compiled(functools.partial(pretrain.init_text_state, method, batches[0]))
    assert_one_device_equals_four(state, functools.partial(pretrain.text_step, method), batches)


def test_random_numbers_do_not_depend_on_the_devices():
    def draw():
        return jax.random.normal(step.stream(0, "generator", 3), (8, 4))

    one, four = (parallel.init_on(parallel.make_mesh(n), draw) for n in (1, 4))
    np.testing.assert_array_equal(one, four)


def test_a_batch_is_split_and_whole():
    mesh, (batch,) = parallel.make_mesh(4), batches_of(8, count=1)
    placed = parallel.to_devices(batch, mesh)
    shards = sorted(placed["tokens"].addressable_shards, key=lambda shard: shard.index[0].start or 0)
    assert [shard.data.shape for shard in shards] == [(2, 6)] * 4
    assert len({shard.device for shard in shards}) == 4
    for i, shard in enumerate(shards):
        np.testing.assert_array_equal(shard.data, batch["tokens"][2 * i : 2 * i + 2])
    assert placed["images"].shape == batch["images"].shape and placed["images"].dtype == np.uint8


def test_a_compiled_step_sees_the_whole_batch_and_uses_up_the_state():
    mesh = parallel.make_mesh(4)

    def mean(state, batch):
        return state + batch["x"].mean(), {"size": len(batch["x"])}

    state = parallel.init_on(mesh, lambda: jnp.zeros(()))
    after, metrics = parallel.compile_step(mean, mesh)(state, parallel.to_devices({"x": np.arange(8.0)}, mesh))
    assert after == 3.5 and metrics["size"] == 8
    assert state.is_deleted() and not after.is_deleted()


def test_abstract_values_are_those_of_the_real(config):
    method, mesh = step.Method.create(config, nets.build(config, VOCAB), 10), parallel.make_mesh(2)
    init = functools.partial(step.init_state, method, batches_of(8, count=1)[0])
    abstract = parallel.abstract_on(mesh, init)
    assert abstract.step.shape == () and abstract.step.dtype == jnp.int32
    assert {leaf.sharding for leaf in jax.tree.leaves(abstract)} == {parallel.replicated(mesh)}


def test_a_mesh_over_more_devices_than_there_are():
    assert parallel.make_mesh().size == len(jax.devices()) and parallel.make_mesh(3).size == 3
    with pytest.raises(UserError, match=r"config\.devices=100, but there are \d+ \(cpu\)"):
        parallel.make_mesh(100)


def test_starting_late_takes_what_there_is():
    devices, cache = jax.devices(), jax.config.jax_compilation_cache_dir
    parallel.start()
    assert jax.devices() == devices and jax.config.jax_compilation_cache_dir == cache
