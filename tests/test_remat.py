"""Recomputed blocks: the same parameters, the same gradients, less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan import nets
from t2igan.method import losses
from t2igan.nets.layers import Text
from t2igan.training.distributed import parallel

TEXT = Text(jnp.ones((2, 8)), jnp.ones((2, 5, 8)), jnp.arange(5)[None] < jnp.asarray([[5], [3]]))


@pytest.fixture
def small(config):
    config.data.image_size_px = 8
    config.generator.update(channels=(8,), base_px=8, attention_from_px=4)
    config.discriminator.update(channels=(8,))
    return config


def pair(config, **changes):
    """Networks that keep everything, and networks that recompute."""
    built = []
    for remat in (False, True):
        with config.unlocked():
            config.update(changes)
            config.remat = remat
        built.append(nets.build(config, 40))
    return built


def random_params(network, *inputs):
    """Weights at random, so that nothing is zero; initialisers take long to compile."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda x: (0.2 * random.normal(size=x.shape)).astype(np.float32), shapes)


@pytest.mark.parametrize("growing", [False, True])
def test_parameters_have_the_same_names_and_values(small, growing):
    with small.unlocked():
        small.generator.update(channels=(8, 8), base_px=4)
        small.discriminator.update(channels=(8, 8))
        small.train.grow_share = 0.5 if growing else 0.0
        small.discriminator.multi_scale = not growing
    images, z = jnp.ones((2, 8, 8, 3)), jnp.ones((2, 4))
    for name, inputs in (("generator", (z, TEXT)), ("discriminator", (images, TEXT))):
        plain, remat = (getattr(networks, name) for networks in pair(small))
        assert not plain.remat and remat.remat
        keep, again = (jax.eval_shape(network.init, jax.random.key(0), *inputs) for network in (plain, remat))
        assert keep == again
        # So are what each place of a picture looks at, and the trunk's features.
        see = [functools.partial(network.apply, mutable="intermediates") for network in (plain, remat)]
        sown = [jax.eval_shape(apply, keep, *inputs)[1] for apply in see]
        assert sown[0] == sown[1] and jax.tree.leaves(sown[0])
        # The primitive is there, so it is no comparison of a thing with itself.
        params = random_params(plain, *inputs)
        programs = [str(jax.make_jaxpr(network.apply)(params, *inputs)) for network in (plain, remat)]
        assert ["remat" in program or "checkpoint" in program for program in programs] == [False, True]


def loss_of(networks, params, images, z):
    """What both players have: the generator's loss, the discriminator's, and a penalty on gradients."""
    fake = networks.generator.apply(params["generator"], z, TEXT)
    critic = lambda x, text: networks.discriminator.apply(params["discriminator"], x, text)
    judged = losses.r1_r2(critic, images, fake, TEXT, jax.random.key(0))
    return (judged.real - judged.fake + judged.penalty).mean()


def test_gradients_are_the_same_through_the_penalty(small):
    keep, again = pair(small)
    images, z = jnp.asarray(np.random.default_rng(1).normal(size=(2, 8, 8, 3)), jnp.float32), jnp.ones((2, 4))
    params = {
        "generator": random_params(keep.generator, z, TEXT),
        "discriminator": random_params(keep.discriminator, images, TEXT),
    }
    values, of_remat = (
        jax.jit(jax.value_and_grad(lambda p, n=networks: loss_of(n, p, images, z)))(params)
        for networks in (keep, again)
    )
    scale = max(jax.tree.leaves(jax.tree.map(lambda x: float(abs(x).max()), values)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * scale), values, of_remat)


def test_it_takes_less_memory_and_computes_the_same(small):
    """A discriminator at 64 px with R1: the double backward pass keeps the most."""
    mesh, temporaries, results = parallel.make_mesh(1), [], []
    with small.unlocked():
        small.discriminator.blocks = 4
    images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 64, 64, 3)), jnp.float32)
    for networks in pair(small, remat=False):
        state = random_params(networks.discriminator, images, TEXT)

        def step(params, batch, network=networks.discriminator):
            def penalty(params):
                critic = lambda x, text: network.apply(params, x, text)
                return losses.r1(critic, batch, batch, TEXT, jax.random.key(0)).penalty.mean()

            return jax.grad(penalty)(params), {}

        compiled = (
            parallel.compile_step(step, mesh, state, remat=networks.discriminator.remat).lower(state, images).compile()
        )
        temporaries.append(compiled.memory_analysis().temp_size_in_bytes)
        results.append(jax.device_get(compiled(*jax.device_put((state, images), parallel.replicated(mesh)))[0]))
    assert temporaries[1] < 0.85 * temporaries[0], temporaries
    scale = max(abs(x).max() for x in jax.tree.leaves(results[0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * scale), *results)
