"""Computing in bfloat16: what stays float32, and how far gradients are from those of float32."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan import nets, step
from t2igan.method import losses
from t2igan.nets.layers import Text

BATCH = {"images": jax.ShapeDtypeStruct((8, 16, 16, 3), np.uint8), "tokens": jax.ShapeDtypeStruct((8, 32), np.int32)}


def test_states_and_metrics_are_float32(config):
    """Parameters, averages, optimizer states, losses, penalties; with microbatches, that add gradients up."""
    with config.unlocked():
        config.compute_dtype = "bfloat16"
        config.loss.penalty = "r1_r2"
        config.generator.update(channels=(8,), base_px=16)
        config.discriminator.channels = (8,)
        config.train.update(microbatches=2, tune_text=True, ema_tracks=(2.0,))
        config.discriminator.normalisation = "spectral"
    method = step.Method.create(config, nets.build(config, 300), 10)
    before = jax.eval_shape(functools.partial(step.init_state, method, BATCH))
    one_step = functools.partial(step.train_step, method)
    program, (after, metrics) = jax.make_jaxpr(one_step, return_shape=True)(before, BATCH)
    dtypes = lambda tree: {x.dtype.name for x in jax.tree.leaves(tree)}
    for state in (before, after):
        assert dtypes((state.params, state.ema, state.tracks)) == {"float32"}
        assert dtypes(state.opt_state) == {"float32", "int32"}  # Adam counts
    assert dtypes(metrics) == {"float32"}
    assert "bf16[" in str(program)  # and yet


@pytest.mark.parametrize("stage", [1, 2])
def test_maps_that_fade_in_stay_bfloat16(config, stage):
    """How far a size has faded in is a float32 array, which would make float32 of every map after it."""
    with config.unlocked():
        config.compute_dtype = "bfloat16"
        config.train.grow_share = 0.5
    networks = nets.build(config, 300)
    text = Text(jnp.zeros((2, 8)), jnp.zeros((2, 5, 8)), jnp.ones((2, 5), bool))
    shapes = {
        "generator": jax.ShapeDtypeStruct((2, config.generator.z_dim), np.float32),
        "discriminator": jax.ShapeDtypeStruct((2, 16, 16, 3), np.float32),
    }
    for name, first in shapes.items():
        network = getattr(networks, name)

        def grown(key, fade, first, text, network=network):
            params = network.init(key, first, text)
            return network.apply(params, first, text, grown=(stage, fade))

        fade = jax.ShapeDtypeStruct((), np.float32)
        program = str(jax.make_jaxpr(grown)(jax.random.key(0), fade, first, text))
        convolved = re.findall(r"(\w+)\[[^\]]*\] = conv_general_dilated", program)
        assert convolved and set(convolved) == {"bf16"}, name


def test_a_penalty_is_summed_in_float32():
    """Of 4,097 ones, which bfloat16 cannot count."""
    critic = lambda x, _: x.astype(jnp.bfloat16).sum((1, 2, 3)).astype(jnp.float32)
    images = jnp.ones((1, 17, 241, 1))
    assert losses.r1(critic, images, images, None, jax.random.key(0)).penalty == 4097 / 2


def test_gradients_are_near_those_of_float32(config):
    """Of the discriminator through R1, and of the generator, with all weights at random; relative to their length."""
    config.generator.update(channels=(16,), base_px=16)
    config.discriminator.update(channels=(16,), features=32)
    random = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
    text = Text(normal(8, 8), normal(8, 5, 8), jnp.ones((8, 5), bool))
    images, z = jnp.tanh(normal(8, 16, 16, 3)), normal(8, config.generator.z_dim)
    params, found = None, {}
    for dtype in ("float32", "bfloat16"):
        config.compute_dtype = dtype
        generator, discriminator = nets.build(config, 40)[:2]
        if params is None:
            init = lambda key, g=generator, d=discriminator: {
                "generator": g.init(key, z, text), "discriminator": d.init(key, images, text)
            }  # fmt: skip
            shapes = jax.eval_shape(init, jax.random.key(0))
            of_fan_in = lambda x: normal(*x.shape) / (np.prod(x.shape[:-1]) if x.ndim > 1 else 100) ** 0.5
            params = jax.tree.map(of_fan_in, shapes)

        def of_players(params, g=generator, d=discriminator):
            critic = lambda weights: lambda x, text: d.apply(weights, x, text)
            penalty = lambda weights: losses.r1(critic(weights), images, images, text, None).penalty.mean()
            logits = lambda weights: critic(params["discriminator"])(g.apply(weights, z, text), text)
            of_penalty = jax.value_and_grad(penalty)(params["discriminator"])
            of_logits = jax.value_and_grad(lambda weights: jax.nn.softplus(-logits(weights)).mean())(
                params["generator"]
            )
            return {"penalty": of_penalty, "generator": of_logits}

        found[dtype] = jax.jit(of_players)(params)
    flat = lambda tree: np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])
    # The generator's goes through two networks, and with random weights much of it cancels out.
    for name, bound in (("penalty", 0.15), ("generator", 0.4)):
        (value, gradient), (value_16, gradient_16) = jax.device_get((found["float32"][name], found["bfloat16"][name]))
        assert float(value_16) == pytest.approx(float(value), rel=0.03), name
        error = np.linalg.norm(flat(gradient_16) - flat(gradient)) / np.linalg.norm(flat(gradient))
        print(f"{name}: value {value:.4g} {value_16:.4g}, relative error of the gradient {error:.4f}")
        assert 1e-4 < error < bound, name  # not the same computation, and not another one
