"""One device equals several: the same batches lead to the same parameters."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan import nets, parallel, pretrain, step
from t2igan.errors import UserError

VOCAB = 40


def batches_of(images, count=3):
    random = np.random.default_rng(0)
    return [
        {
            "images": random.integers(0, 256, (images, 16, 16, 3)).astype(np.uint8),
            "tokens": random.integers(1, VOCAB, (images, 6)).astype(np.int32),
        }
        for _ in range(count)
    ]


def run(devices, init, one_step, batches):
    """The last state and the metrics of every step."""
    mesh = parallel.make_mesh(devices)
    state = parallel.init_on(mesh, functools.partial(init, batches[0]))
    compiled = parallel.compile_step(one_step, mesh)
    history = []
    for batch in batches:
        state, metrics = compiled(state, parallel.to_devices(batch, mesh))
        history.append(jax.device_get(metrics))
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    assert len(state.step.devices()) == devices and compiled._cache_size() == 1
    return jax.device_get(state), history


def assert_one_device_equals_four(init, one_step, batches):
    (one, history), (four, history_of_four) = (run(n, init, one_step, batches) for n in (1, 4))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5), one.params, four.params)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-4), history, history_of_four)
    return one


@pytest.mark.parametrize("discriminator_steps", [1, 2])
def test_adversarial_steps_on_one_device_equal_four(config, discriminator_steps):
    config.train.discriminator_steps = discriminator_steps
    config.train.warmup_steps = 2
    config.loss.update(penalty="r1_r2", adversarial="relativistic", mismatch_weight=0.5)
    method = step.Method.create(config, nets.build(config, VOCAB), 10)
    batches = batches_of(8 * discriminator_steps)
    init, one_step = functools.partial(step.init_state, method), functools.partial(step.train_step, method)
    assert assert_one_device_equals_four(init, one_step, batches).step == 3


def test_text_steps_on_one_device_equal_four(config):
    method = pretrain.TextMethod.create(config, nets.build(config, VOCAB), 10)
    init = functools.partial(pretrain.init_text_state, method)
    assert assert_one_device_equals_four(init, functools.partial(pretrain.text_step, method), batches_of(8)).step == 3


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


def test_default_devices_divide_every_batch(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert parallel.default_cpu_devices(()) == 6
    assert parallel.default_cpu_devices((32,)) == 4
    assert parallel.default_cpu_devices((32, 12)) == 4
    assert parallel.default_cpu_devices((30, 18)) == 6
    assert parallel.default_cpu_devices((7,)) == 1
