"""The default method computes what it did: three steps of configs/base.py on small networks, against kept values.

Whoever changes on purpose what is computed replaces the values, and says so in the changelog. They came out the same,
bit for bit, before and after the rooms of the package were built; other processors round a little differently.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from test_step import draw
from tiny import random_batch

from t2igan import nets, step

STEPS = [
    {
        "gradient_norm/discriminator": 37.588382720947266,
        "gradient_norm/generator": 450.1529846191406,
        "learning_rate/discriminator": 0.0,
        "learning_rate/generator": 0.0,
        "logits/fake": -5.82133674621582,
        "logits/real": 0.4987902045249939,
        "loss/discriminator": 1.6592837572097778,
        "loss/generator": 1.8867509365081787,
        "loss/penalty": 1.4056310653686523,
    },
    {
        "gradient_norm/discriminator": 108.48854064941406,
        "gradient_norm/generator": 315.66070556640625,
        "learning_rate/discriminator": 0.00019999999494757503,
        "learning_rate/generator": 0.00019999999494757503,
        "logits/fake": -1.7486729621887207,
        "logits/real": 0.4987902045249939,
        "loss/discriminator": 5.400758266448975,
        "loss/generator": 9.383626937866211,
        "loss/penalty": 1.4056310653686523,
    },
    {
        "gradient_norm/discriminator": 711.8873901367188,
        "gradient_norm/generator": 55.16361999511719,
        "learning_rate/discriminator": 0.00039999998989515007,
        "learning_rate/generator": 0.00039999998989515007,
        "logits/fake": 6.3589887619018555,
        "logits/real": 0.4729832708835602,
        "loss/discriminator": 6.633589744567871,
        "loss/generator": 2.7377278804779053,
        "loss/penalty": 1.4197218418121338,
    },
]


def test_three_steps_of_the_default_method(config):
    config.update_from_flattened_dict(
        {
            "data.image_size_px": 8,
            "generator.channels": (4, 4),
            "discriminator.channels": (4, 4),
            "train.batch_images": 4,
        }
    )
    method = step.Method.create(config, nets.build(config, 60), 10)
    batch = random_batch(60, num_images=4, px=8, num_tokens=12)
    # Drawn by NumPy: initialisers take XLA longer than all the rest.
    like = jax.eval_shape(functools.partial(step.init_state, method, batch))
    params = draw(like.params)
    state = step.State(
        step=jnp.int32(0),
        params=params,
        ema={"generator": params["generator"]},
        opt_state=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like.opt_state),
        frozen=draw(like.frozen),
    )
    train_step = jax.jit(functools.partial(step.train_step, method))
    for expected in STEPS:
        state, metrics = train_step(state, batch)
        assert metrics.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
