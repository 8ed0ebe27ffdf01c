"""Optimizers against their formulas, and gradients in parts against the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t2igan.method.optim import optimizers

PARAMS = {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "bias": jnp.asarray([3.0, -3.0])}
GRADS = {"kernel": jnp.asarray([[0.1, -0.2], [3.0, 4.0]]), "bias": jnp.asarray([0.5, -50.0])}


def steps(optimizer, grads):
    """Parameters after each of several gradients."""
    params, state, after = PARAMS, optimizer.init(PARAMS), []
    for grad in grads:
        updates, state = optimizer.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        after.append(params)
    return after


def close(a, b, rtol=1e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=1e-7), a, b)


def test_nothing_extra_is_plain_adam():
    plain = optimizers.adam(0.1, beta1=0.5, beta2=0.9)
    close(steps(plain, [GRADS] * 2), steps(optax.adam(0.1, b1=0.5, b2=0.9), [GRADS] * 2))
    assert jax.tree.structure(plain.init(PARAMS)) == jax.tree.structure(optax.adam(0.1).init(PARAMS))


def test_weight_decay_takes_a_share_of_kernels_alone():
    plain = steps(optimizers.adam(0.1, beta1=0.0, beta2=0.9), [GRADS])[0]
    decayed = steps(optimizers.adam(0.1, beta1=0.0, beta2=0.9, weight_decay=0.2), [GRADS])[0]
    np.testing.assert_allclose(decayed["kernel"], plain["kernel"] - 0.1 * 0.2 * PARAMS["kernel"], rtol=1e-5)
    np.testing.assert_array_equal(decayed["bias"], plain["bias"])


def test_the_rate_may_be_traced():
    def first(rate):
        optimizer = optimizers.adam(
            rate, beta1=0.0, beta2=0.9, weight_decay=0.2, kind="optimistic_adam", adaptive_clip=0.1
        )
        return optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)[0]

    close(jax.jit(first)(0.3), jax.tree.map(lambda x: 3 * x, jax.jit(first)(0.1)), rtol=1e-4)


def test_clipping_by_norm_and_by_unit():
    moment = lambda optimizer: optax.tree.get(optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)[1], "mu")
    by_norm = moment(optimizers.adam(0.1, beta1=0.5, beta2=0.9, clip_norm=1.0))
    assert float(optax.tree.norm(by_norm)) == pytest.approx(0.5, rel=1e-5)
    by_unit = moment(optimizers.adam(0.1, beta1=0.5, beta2=0.9, adaptive_clip=0.1))
    # A unit's weights are a column: its gradient has a tenth of their length at most. A bias counts as one vector.
    lengths = np.linalg.norm(PARAMS["kernel"], axis=0)
    np.testing.assert_allclose(np.linalg.norm(by_unit["kernel"], axis=0) / 0.5, 0.1 * lengths, rtol=1e-4)
    assert np.linalg.norm(by_unit["bias"]) / 0.5 <= 0.1 * np.linalg.norm(PARAMS["bias"]) * (1 + 1e-5)


def test_optimistic_steps_by_hand():
    """u_t = 2 a_t - a_(t-1) of Adam's directions a (Daskalakis et al. 2018), the first alone."""
    other = jax.tree.map(lambda x: -2 * x, GRADS)
    adam = optax.scale_by_adam(b1=0.5, b2=0.9)
    state = adam.init(PARAMS)
    first, state = adam.update(GRADS, state)
    second, _ = adam.update(other, state)
    after = steps(optimizers.adam(0.1, beta1=0.5, beta2=0.9, kind="optimistic_adam"), [GRADS, other])
    moved = jax.tree.map(lambda a, b: (a - b) / -0.1, after[1], after[0])
    expected = jax.tree.map(lambda a, b: 2 * a - b, second, first)
    close(moved, expected, rtol=1e-3)


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_optimism_damps_the_circling_of_two_players(kind):
    """min_x max_y xy: plain steps circle for ever, steps that look ahead come in."""
    optimizer = optimizers.adam(0.02, beta1=0.0, beta2=0.999, kind=kind)

    def step(carry, _):
        players, state = carry
        updates, state = optimizer.update(jnp.stack([players[1], -players[0]]), state)
        return (optax.apply_updates(players, updates), state), None

    start = jnp.array([1.0, 1.0])
    (players, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=10_000)
    assert (float(jnp.hypot(*players)) < 0.1) == (kind == "optimistic_adam")


def loss(params, batch, key):
    del key
    predicted = batch["x"] @ params["kernel"] + params["bias"]
    error = ((jnp.tanh(predicted) - batch["y"]) ** 2).sum(-1)
    return error.mean(), {"error": error}


def batch_of(num=24):
    random = np.random.default_rng(0)
    return {name: jnp.asarray(random.normal(size=(num, 2)), jnp.float32) for name in ("x", "y")}


@pytest.mark.parametrize("parts", [1, 2, 8, 24])
def test_in_parts_is_the_whole(parts):
    batch, key = batch_of(), jax.random.key(0)
    whole = jax.grad(lambda p: loss(p, batch, key)[0])(PARAMS)
    grads, metrics = jax.jit(lambda: optimizers.gradients(loss, PARAMS, batch, key, parts))()
    close(grads, whole)
    assert float(metrics["error"]) == pytest.approx(float(loss(PARAMS, batch, key)[0]), rel=1e-5)


def test_each_part_has_its_own_randomness():
    def noisy(params, batch, key):
        return params["bias"].sum() * 0.0, {"drawn": jax.random.normal(key, (len(batch["x"]),))}

    _, one = optimizers.gradients(noisy, PARAMS, batch_of(), jax.random.key(0), 1)
    _, four = optimizers.gradients(noisy, PARAMS, batch_of(), jax.random.key(0), 4)
    parts = [jax.random.normal(k, (6,)).mean() for k in jax.random.split(jax.random.key(0), 4)]
    assert float(four["drawn"]) == pytest.approx(float(np.mean(parts)), rel=1e-5) != float(one["drawn"])
