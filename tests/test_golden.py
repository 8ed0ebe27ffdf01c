"""The default method computes what it did: two steps of configs/base.py with small networks, against kept values.

Whoever changes what is computed on purpose replaces the values, and says so in the changelog. They came out the same,
bit for bit, before and after the rooms of the package were built; other processors round a little differently.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import nets, step

STEPS = (
    {
        "gradient_norm/discriminator": 1.6139835119247437,
        "gradient_norm/generator": 0.8161782026290894,
        "learning_rate/discriminator": 0.0,
        "learning_rate/generator": 0.0,
        "logits/fake": -0.0530581921339035,
        "logits/real": -0.013408385217189789,
        "loss/discriminator": 0.6760439872741699,
        "loss/generator": 0.6116215586662292,
        "loss/penalty": 0.044064898043870926,
    },
    {
        "gradient_norm/discriminator": 1.769338607788086,
        "gradient_norm/generator": 0.8721237778663635,
        "learning_rate/discriminator": 0.00019999999494757503,
        "learning_rate/generator": 0.00019999999494757503,
        "logits/fake": 0.04053861275315285,
        "logits/real": -0.013408385217189789,
        "loss/discriminator": 0.7237964272499084,
        "loss/generator": 0.6760329008102417,
        "loss/penalty": 0.044064898043870926,
    },
)


def test_two_steps_of_the_default_method(config):
    method = step.Method.create(config, nets.build(config, 60), 10)
    random, images = np.random.default_rng(0), config.train.batch_images
    batch = {
        "images": jnp.asarray(random.integers(0, 256, (images, 16, 16, 3)), jnp.uint8),
        "tokens": jnp.asarray(random.integers(1, 60, (images, 12)), jnp.int32),
    }
    state = step.init_state(method, batch)
    train_step = jax.jit(functools.partial(step.train_step, method))
    for expected in STEPS:
        state, metrics = train_step(state, batch)
        assert metrics.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-6, atol=1e-7, err_msg=name)
