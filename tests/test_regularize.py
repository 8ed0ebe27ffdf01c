"""Bounded weights against NumPy's singular values, attacks on critics whose worst case is known, captions dropped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from t2igan.method import losses
from t2igan.method.techniques import regularize
from t2igan.nets import Text


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def texts(batch=4):
    return Text(normal(3, batch, 5), normal(4, batch, 6, 3), jnp.ones((batch, 6), bool))


PARAMS = {
    "conv": {"kernel": 0.3 * normal(0, 3, 3, 8, 6), "bias": 5 * normal(1, 6)},
    "dense": {"kernel": normal(2, 40, 12), "bias": normal(3, 12)},
    "small": {"kernel": 1e-3 * normal(4, 5, 5)},
    "zero": {"kernel": jnp.zeros((3, 3, 4, 4))},
}


def norms_after(params):
    return {
        name: np.linalg.svd(np.asarray(of_one["kernel"]).reshape(-1, of_one["kernel"].shape[-1]), compute_uv=False)[0]
        for name, of_one in params.items()
    }


@pytest.mark.parametrize("name", ["spectral", "weight"])
def test_only_kernels_that_are_too_long_change(name):
    after = jax.jit(regularize.NORMALISATIONS[name])(PARAMS)
    for layer in ("small", "zero"):
        np.testing.assert_array_equal(after[layer]["kernel"], PARAMS[layer]["kernel"])
    for layer in ("conv", "dense"):
        np.testing.assert_array_equal(after[layer]["bias"], PARAMS[layer]["bias"])
        ratio = np.asarray(after[layer]["kernel"] / PARAMS[layer]["kernel"])
        assert (ratio < 1).all()


def test_spectral_norms_are_one():
    after = norms_after(jax.jit(regularize.spectral_norm)(PARAMS))
    assert after["conv"] == pytest.approx(1, rel=0.02) and after["dense"] == pytest.approx(1, rel=0.02)
    assert after["small"] < 0.01 and after["zero"] == 0


@pytest.mark.parametrize("shape", [(864, 96), (96, 96), (1536, 256), (256, 1), (3, 50)])
def test_power_iteration_comes_close_to_the_norm_from_below(shape):
    weights = normal(0, *shape)
    norm = np.linalg.svd(np.asarray(weights), compute_uv=False)[0]
    assert 0.97 * norm < float(jax.jit(regularize.spectral)(weights)) <= norm * (1 + 1e-5)


def test_lengths_are_those_of_the_columns():
    after = jax.jit(regularize.weight_norm)(PARAMS)
    columns = np.linalg.norm(np.asarray(PARAMS["dense"]["kernel"]), axis=0)
    np.testing.assert_allclose(
        np.linalg.norm(np.asarray(after["dense"]["kernel"]), axis=0), np.minimum(columns, 1), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["weight", "spectral"])
def test_normalised_weights_can_be_differentiated(name):
    """Where the power iteration has converged its vectors are stationary, and may count as constants."""
    weights = {"kernel": jnp.diag(jnp.array([4.0, 0.5, 0.1])) + 0.05 * normal(0, 3, 3)}
    f = lambda p: (regularize.NORMALISATIONS[name](jax.tree.map(jnp.asarray, p))["kernel"] * normal(1, 3, 3)).sum()
    check_grads(f, (weights,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)
    at_zero = jax.grad(f)({"kernel": jnp.zeros((3, 3))})
    assert np.isfinite(at_zero["kernel"]).all()


@pytest.mark.parametrize("steps", [1, 5])
def test_an_attack_on_a_linear_critic_is_its_sign(steps):
    weights = normal(5, 12)
    critic = lambda x, text: x.reshape(len(x), -1) @ weights  # noqa: ARG005
    real, fake = normal(6, 4, 2, 2, 3), normal(7, 4, 2, 2, 3)
    loss = losses.ADVERSARIAL["non_saturating"].discriminator
    attack = jax.jit(functools.partial(regularize.attack, critic, loss, size=0.1, steps=steps))
    worse_real, worse_fake = attack(real, fake, texts())
    signs = np.sign(weights).reshape(2, 2, 3)
    np.testing.assert_allclose(worse_real, real - 0.1 * signs, atol=1e-6)
    np.testing.assert_allclose(worse_fake, fake + 0.1 * signs, atol=1e-6)


def test_a_projected_attack_finds_worse_than_one_step_and_stays_near():
    hidden, out = normal(8, 12, 30), normal(9, 30)
    critic = lambda x, text: jnp.sin(3 * x.reshape(len(x), -1) @ hidden) @ out  # noqa: ARG005
    real, fake, loss = normal(6, 16, 2, 2, 3), normal(7, 16, 2, 2, 3), losses.ADVERSARIAL["wasserstein"].discriminator
    value = lambda pair: float(loss(critic(pair[0], None), critic(pair[1], None)).mean())
    attack = functools.partial(regularize.attack, critic, loss, real, fake, texts(16), 0.1)
    once, often = attack(1), attack(20)
    assert value((real, fake)) < value(often) and value(once) < value(often)
    for before, after in zip((real, fake), often, strict=True):
        assert float(abs(after - before).max()) <= 0.1 + 1e-6


def test_no_gradient_flows_through_the_search():
    loss = losses.ADVERSARIAL["wasserstein"].discriminator

    def total(scale):
        critic = lambda x, text: scale * x.reshape(len(x), -1).sum(-1)  # noqa: ARG005
        real, fake = regularize.attack(critic, loss, jnp.ones((2, 1, 1, 1)), jnp.zeros((2, 1, 1, 1)), texts(2), 0.5, 1)
        return (real + fake).sum()

    assert float(jax.grad(total)(2.0)) == 0


def test_blurred_captions_keep_all_but_the_sentence():
    text = texts(2000)
    same = regularize.blur_captions(jax.random.key(0), text, 0.0)
    assert same is text
    blurred = regularize.blur_captions(jax.random.key(0), text, 0.3)
    assert float((blurred.sentence - text.sentence).std()) == pytest.approx(0.3, rel=0.05)
    assert blurred.words is text.words and blurred.mask is text.mask


def test_dropped_captions_are_no_captions():
    text = texts(2000)
    assert regularize.drop_captions(jax.random.key(0), text, 0.0) is text
    dropped = regularize.drop_captions(jax.random.key(0), text, 0.25)
    kept = np.asarray(regularize.has_caption(dropped)) == 1
    assert 1 - kept.mean() == pytest.approx(0.25, abs=0.03)
    nothing = regularize.no_caption(text)
    for got, before, none in zip(*(jax.tree.leaves(t) for t in (dropped, text, nothing)), strict=True):
        np.testing.assert_array_equal(np.asarray(got)[kept], np.asarray(before)[kept])
        np.testing.assert_array_equal(np.asarray(got)[~kept], np.asarray(none)[~kept])
    assert nothing.mask.sum(1).min() == 1  # attention needs a word to look at
    assert not regularize.has_caption(nothing).any() and regularize.has_caption(text).all()
