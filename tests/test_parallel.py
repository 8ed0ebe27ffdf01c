"""One device equals several, with parameters on each or shared: the same batches lead to the same parameters."""

import dataclasses
import functools
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import t2igan
from t2igan import nets, step
from t2igan.errors import UserError
from t2igan.inference.checkpoint import Checkpoints, read_checkpoint
from t2igan.method.phases.text import TextMethod, init_text_state, text_step
from t2igan.training.distributed import parallel

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


@pytest.fixture(autouse=True)
def small_arrays_are_sharded_too(monkeypatch):
    monkeypatch.setattr(parallel, "SHARDED_FROM_VALUES", 64)


def run(mesh, state, step_of, method, batches):
    """The last state and the metrics of every step."""
    method = dataclasses.replace(method, networks=parallel.gathered(method.networks, mesh))
    state = jax.device_put(state, parallel.shardings(mesh, state))
    train_step = parallel.compile_step(functools.partial(step_of, method), mesh, state)
    history = []
    for batch in batches:
        state, metrics = train_step(state, parallel.to_devices(batch, mesh))
        history.append(jax.device_get(metrics))
    assert len(state.step.devices()) == mesh.size and train_step._cache_size() == 1
    for leaf in jax.tree.leaves(state):
        shards, parts = leaf.addressable_shards, mesh.shape.get("shard", 1)
        sharded = leaf.size >= 64 and any(length % parts == 0 for length in leaf.shape)
        assert {shard.data.size for shard in shards} == {leaf.size // parts if sharded else leaf.size}
    return jax.device_get(state), history


def assert_all_meshes_equal(meshes, state, step_of, method, batches):
    """The first (devices, shard_devices) is the one that the others are compared with."""
    state = jax.device_get(state)
    (one, history), *others = (run(parallel.make_mesh(*m), state, step_of, method, batches) for m in meshes)
    assert one.step == len(batches)
    for other, history_of_other in others:
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5), one, other)
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-4), history, history_of_other)
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


def test_adversarial_steps_on_one_device_equal_eight_and_two_by_four(config):
    config.train.update(discriminator_steps=2, generator_learning_rate=0.05, discriminator_learning_rate=0.05)
    config.train.warmup_steps = 0
    config.loss.update(penalty="r1_r2", adversarial="relativistic", mismatch_weight=0.5)
    method = Descent.create(config, nets.build(config, VOCAB), 10)
    batches = batches_of(8 * 2)
    state = compiled(functools.partial(step.init_state, method, batches[0]))
    assert_all_meshes_equal([(1, 1), (8, 1), (8, 4)], state, step.train_step, method, batches)


def test_text_steps_on_one_device_equal_two_by_two(config):
    method = TextMethod.create(config, nets.build(config, VOCAB), 10)
    method = dataclasses.replace(method, optimizer=optax.sgd(0.05))
    batches = batches_of(8)
    state = compiled(functools.partial(init_text_state, method, batches[0]))
    assert_all_meshes_equal([(1, 1), (4, 2)], state, text_step, method, batches)


def test_random_numbers_do_not_depend_on_the_devices():
    def draw():
        return jax.random.normal(step.stream(0, "generator", 3), (8, 4))

    meshes = [(1, 1), (4, 1), (4, 4)]
    one, *others = (parallel.init_on(parallel.make_mesh(*mesh), draw) for mesh in meshes)
    for other in others:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shard_devices", [1, 2])
def test_a_batch_is_split_and_whole(shard_devices):
    mesh, (batch,) = parallel.make_mesh(4, shard_devices), batches_of(8, count=1)
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


@pytest.mark.parametrize(
    ("preset", "of_a_picture", "large"),
    [
        ("base", 16 * 16 * 32, False),
        ("toon64", 16 * 16 * 48, True),  # of codes
        ("avatars64", 64 * 64 * 64, True),
        ("folder", 16 * 16 * 48, True),  # patches of 2 x 2 pixels are folded
    ],
)
def test_large_maps_are_convolved_by_another_library(preset, of_a_picture, large):
    config = t2igan.get_config(preset)
    assert nets.largest_map_values(config) == of_a_picture
    values = config.train.batch_images * of_a_picture
    assert (values >= parallel.LARGE_MAPS_VALUES) == large
    assert bool(parallel.compiler_options("cpu", values)) == large
    assert parallel.compiler_options("gpu", values) is None


def test_the_largest_map_of_an_autoencoder():
    section = t2igan.get_config("toon64").space  # 16 x 16 places of 64 and 96 channels, then 32 x 32 of 48
    assert nets.autoencoder.largest_map_values(section, 64) == 32 * 32 * 48
    section.encoder_channels = (64, 64)
    assert nets.autoencoder.largest_map_values(section, 64) == 32 * 32 * 64


def test_a_mesh_over_more_devices_than_there_are():
    assert parallel.make_mesh().size == len(jax.devices()) and parallel.make_mesh(3).size == 3
    with pytest.raises(UserError, match=r"config\.devices=100, but there are \d+ \(cpu\)"):
        parallel.make_mesh(100)

    assert parallel.make_mesh(8, 4).shape == {"data": 2, "shard": 4}
    with pytest.raises(UserError, match=r"config\.shard_devices=3 does not divide the 8 devices"):
        parallel.make_mesh(8, 3)


def test_the_largest_dimension_that_divides_is_split(monkeypatch):
    monkeypatch.undo()  # the real size from which arrays are sharded
    mesh = parallel.make_mesh(8, 4)
    spec = lambda *shape: tuple(parallel.shardings(mesh, jax.ShapeDtypeStruct(shape, jnp.float32)).spec)
    assert spec(3, 3, 512, 256) == (None, None, "shard")
    assert spec(3, 3, 256, 256) == (None, None, None, "shard")
    assert spec(514, 256) == (None, "shard") and spec(256, 257) == ("shard",)
    assert spec(65_535) == spec(255, 257) == spec(4, 4) == spec() == ()
    one_axis = parallel.make_mesh(8)
    assert parallel.shardings(one_axis, jnp.zeros((512, 512))) == parallel.replicated(one_axis)


def test_without_shards_the_compiled_program_is_the_same(config):
    """To the letter, whatever is passed besides."""
    method, mesh = step.Method.create(config, nets.build(config, VOCAB), 10), parallel.make_mesh(2)
    (batch,) = batches_of(8, count=1)
    state = jax.eval_shape(functools.partial(step.init_state, method, batch))
    one_step = functools.partial(step.train_step, method)
    assert parallel.gathered(method.networks, mesh) is method.networks
    everywhere = parallel.replicated(mesh)
    plain = jax.jit(
        one_step,
        in_shardings=(everywhere, parallel.split(mesh)),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )
    with_state = parallel.compile_step(one_step, mesh, state)
    assert with_state.lower(state, batch).as_text() == plain.lower(state, batch).as_text()


def test_a_checkpoint_goes_from_mesh_to_mesh(tmp_path):
    def init():
        return {"kernel": jnp.arange(4096.0).reshape(64, 64), "bias": jnp.arange(3.0), "step": jnp.int32(7)}

    state = parallel.init_on(parallel.make_mesh(8), init)
    for number, mesh in enumerate([(1, 1), (8, 2), (4, 4), (2, 1)]):
        folder = tmp_path / str(number)
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(1, state)
        with Checkpoints(folder) as checkpoints:
            like = parallel.abstract_on(parallel.make_mesh(*mesh), init)
            state = checkpoints.restore(1, like)
        for name, array in state.items():
            np.testing.assert_array_equal(array, init()[name])
            assert array.sharding == like[name].sharding
        assert state["kernel"].addressable_shards[0].data.size == 4096 // mesh[1]
        np.testing.assert_array_equal(read_checkpoint(folder)[1]["kernel"], init()["kernel"])


def test_starting_late_takes_what_there_is():
    devices, cache = jax.devices(), jax.config.jax_compilation_cache_dir
    parallel.start()
    assert jax.devices() == devices and jax.config.jax_compilation_cache_dir == cache


COUNTS_PAGE_FAULTS = """
import resource
from t2igan.training.distributed import parallel

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(2**26)  # 64 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = faults(), faults()
parallel.start()
faults()  # the first one that is kept
print(min(fresh), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_kept():
    """Where the system hands out pages at first touch, each call of a compiled step would touch its own anew."""
    output = subprocess.run([sys.executable, "-c", COUNTS_PAGE_FAULTS], capture_output=True, text=True, check=True)
    fresh, kept = map(int, output.stdout.split())
    assert kept < fresh / 10
