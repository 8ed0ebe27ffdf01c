"""Golden values by hand, penalties against gradients known in closed form, and numerical gradients."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from t2igan.method import losses
from t2igan.method.losses import ADVERSARIAL, FINITE_DIFFERENCE_SIGMA, PENALTIES
from t2igan.nets import Text

SHAPE = (2, 3, 1)  # of a picture
SENTENCE = 5


def softplus(x):
    return math.log1p(math.exp(x))


# For (real, fake) = (1, -2) and (-1, 3).
GOLDEN = {
    "minimax": (
        [softplus(-1) + softplus(-2), softplus(1) + softplus(3)],
        [-softplus(-2), -softplus(3)],
    ),
    "non_saturating": (
        [softplus(-1) + softplus(-2), softplus(1) + softplus(3)],
        [softplus(2), softplus(-3)],
    ),
    "least_squares": ([0 + 4, 4 + 9], [9, 4]),
    "hinge": ([0 + 0, 2 + 4], [2, -3]),
    "wasserstein": ([-3, 4], [2, -3]),
    "relativistic": ([softplus(-3), softplus(4)], [softplus(3), softplus(-4)]),
}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def judge(name, critic, real, fake, text, key=0):
    """One of `PENALTIES`; jitted, because one compilation is quicker than one an operation."""
    return PENALTIES[name](critic, real, fake, text, jax.random.key(key))


def texts(seed, batch):
    return Text(normal(seed, batch, SENTENCE), jnp.zeros((batch, 4, 3)), jnp.ones((batch, 4), bool))


def pictures(batch):
    return normal(1, batch, *SHAPE), normal(2, batch, *SHAPE), texts(3, batch)


class Linear:
    """D = <w, x> + <v, s>: the same gradients w and v everywhere."""

    w, v = normal(4, 6), normal(5, SENTENCE)

    def __call__(self, images, text):
        return images.reshape(len(images), -1) @ self.w + text.sentence @ self.v

    def gradients(self, images, text):
        return np.tile(self.w, (len(images), 1)), np.tile(self.v, (len(text.sentence), 1))


class Quadratic:
    """D = <x, A x> / 2 + <x, B s>: gradients A x + B s by the picture and B^T x by the sentence."""

    a, b = normal(6, 6, 6) + normal(6, 6, 6).T, normal(7, 6, SENTENCE)

    def __call__(self, images, text):
        x = images.reshape(len(images), -1)
        return ((x @ self.a) * x).sum(-1) / 2 + ((x @ self.b) * text.sentence).sum(-1)

    def gradients(self, images, text):
        x, s = np.asarray(images).reshape(len(images), -1), np.asarray(text.sentence)
        return x @ np.asarray(self.a).T + s @ np.asarray(self.b).T, x @ np.asarray(self.b)


LINEAR, QUADRATIC = Linear(), Quadratic()
both_critics = pytest.mark.parametrize("critic", [LINEAR, QUADRATIC], ids=["linear", "quadratic"])


def neural(params, images, text):
    """A smooth critic with parameters."""
    x = jnp.concatenate([images.reshape(len(images), -1), text.sentence], axis=-1)
    return jnp.tanh(x @ params["hidden"]) @ params["out"]


def neural_params():
    return {"hidden": 0.3 * normal(8, 6 + SENTENCE, 7), "out": 0.5 * normal(9, 7)}


def square_norm(x):
    return (np.asarray(x) ** 2).sum(-1)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_losses_by_hand(name):
    real, fake = jnp.array([1.0, -1.0]), jnp.array([-2.0, 3.0])
    discriminator, generator = GOLDEN[name]
    np.testing.assert_allclose(ADVERSARIAL[name].discriminator(real, fake), discriminator, rtol=1e-6)
    np.testing.assert_allclose(ADVERSARIAL[name].generator(real, fake), generator, rtol=1e-6)


# With a label of 0.9 for real pictures; the fake's term stays.
SMOOTHED = {
    "minimax": [
        0.9 * softplus(-1) + 0.1 * softplus(1) + softplus(-2),
        0.9 * softplus(1) + 0.1 * softplus(-1) + softplus(3),
    ],
    "non_saturating": [
        0.9 * softplus(-1) + 0.1 * softplus(1) + softplus(-2),
        0.9 * softplus(1) + 0.1 * softplus(-1) + softplus(3),
    ],
    "least_squares": [0.1**2 + 4, 1.9**2 + 9],
    "hinge": [0 + 0, 1.9 + 4],
}


@pytest.mark.parametrize("name", SMOOTHED)
def test_one_sided_label_smoothing_by_hand(name):
    real, fake = jnp.array([1.0, -1.0]), jnp.array([-2.0, 3.0])
    pair = losses.smoothed(name, 0.1)
    np.testing.assert_allclose(pair.discriminator(real, fake), SMOOTHED[name], rtol=1e-5, atol=1e-6)
    assert pair.generator is ADVERSARIAL[name].generator
    assert losses.smoothed(name, 0.0) is ADVERSARIAL[name]
    check_grads(pair.discriminator, (real + 0.3, fake), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_a_smoothed_real_logit_has_a_best_value():
    """sigmoid(logit) = 0.9 is asked for, and more is punished."""
    loss = lambda real: losses.smoothed("non_saturating", 0.1).discriminator(real, jnp.float32(0.0))
    best = math.log(0.9 / 0.1)
    assert abs(float(jax.grad(loss)(jnp.float32(best)))) < 1e-5
    assert jax.grad(loss)(jnp.float32(best + 1)) > 0 > jax.grad(loss)(jnp.float32(best - 1))


def test_what_can_be_smoothed_has_a_loss_of_labels():
    """At a label of 1 that is the part of the discriminator's loss that depends on the real logit."""
    assert set(losses.smoothable()) == set(SMOOTHED)
    logits, elsewhere = jnp.linspace(-3, 3, 13), jnp.float32(0.3)
    for name in losses.smoothable():
        pair = ADVERSARIAL[name]
        whole = pair.discriminator(logits, elsewhere) - pair.discriminator(jnp.float32(0.7), elsewhere)
        np.testing.assert_allclose(whole, pair.of_real(logits, 1.0) - pair.of_real(jnp.float32(0.7), 1.0), atol=1e-5)


def test_angular_distance_by_hand():
    a, b = (
        jnp.array([[3.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]),
        jnp.array([[1.0, 0.0], [1.0, 0.0], [-5.0, 0.0], [1, 0]]),
    )
    np.testing.assert_allclose(losses.angular_distance(a, b), [0, 1 - 0.5**0.5, 2, 1], atol=1e-6)
    f = lambda a, b: losses.angular_distance(jnp.asarray(a), jnp.asarray(b))
    check_grads(f, (normal(0, 3, 4), normal(1, 3, 4)), order=2, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_each_player_pulls_its_own_way(name):
    real, fake = jnp.array([-0.3]), jnp.array([0.2])
    discriminator, generator = ADVERSARIAL[name].discriminator, ADVERSARIAL[name].generator
    by_real, by_fake = jax.jit(jax.grad(lambda *logits: discriminator(*logits).sum(), argnums=(0, 1)))(real, fake)
    assert by_real < 0 < by_fake
    assert jax.jit(jax.grad(lambda a: generator(real, a).sum()))(fake) < 0


@pytest.mark.parametrize("name", PENALTIES)
def test_judging_returns_the_critics_logits(name):
    critic, (real, fake, text) = QUADRATIC, pictures(4)
    judged = judge(name, critic, real, fake, text)
    np.testing.assert_allclose(judged.real, critic(real, text), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(judged.fake, critic(fake, text), rtol=1e-5, atol=1e-6)
    assert judged.penalty.shape == (4,) and judged.penalty.dtype == jnp.float32


@both_critics
def test_r1_and_r2_are_half_the_square_gradient(critic):
    real, fake, text = pictures(4)
    r1 = judge("r1", critic, real, fake, text).penalty
    r2 = judge("r2", critic, real, fake, text).penalty
    np.testing.assert_allclose(r1, square_norm(critic.gradients(real, text)[0]) / 2, rtol=1e-5)
    np.testing.assert_allclose(r2, square_norm(critic.gradients(fake, text)[0]) / 2, rtol=1e-5)
    np.testing.assert_allclose(judge("r1_r2", critic, real, fake, text).penalty, r1 + r2, rtol=1e-5)


def test_no_penalty_is_zero():
    assert not judge("none", QUADRATIC, *pictures(4)).penalty.any()


def test_wgan_gp_wants_slope_one_wherever_the_mix_lies():
    expected = (np.linalg.norm(LINEAR.w) - 1) ** 2
    penalty = judge("wgan_gp", LINEAR, *pictures(4)).penalty
    np.testing.assert_allclose(penalty, np.full(4, expected), rtol=1e-5)


def test_wgan_gp_lies_between_real_and_fake():
    critic, (real, _, text) = QUADRATIC, pictures(4)
    same = judge("wgan_gp", critic, real, real, text).penalty
    norm = np.sqrt(square_norm(critic.gradients(real, text)[0]))
    np.testing.assert_allclose(same, (norm - 1) ** 2, rtol=1e-4)

    # D = x^2 / 2 on one pixel has slope x: the slope of the mix tells where each was taken.
    pixel = lambda images, text: (images**2).sum((1, 2, 3)) / 2  # noqa: ARG005
    zeros, twos = jnp.zeros((256, 1, 1, 1)), jnp.full((256, 1, 1, 1), 2.0)
    penalty = judge("wgan_gp", pixel, 1 + zeros, 1 + twos, texts(3, 256)).penalty
    share = np.sqrt(penalty) / 2
    assert 0 <= share.min() < 0.05 and 0.95 < share.max() <= 1 and abs(share.mean() - 0.5) < 0.06


@both_critics
def test_ma_gp_counts_picture_and_sentence(critic):
    real, fake, text = pictures(4)
    by_image, by_sentence = critic.gradients(real, text)
    expected = (np.sqrt(square_norm(by_image)) + np.sqrt(square_norm(by_sentence))) ** 6
    np.testing.assert_allclose(judge("ma_gp", critic, real, fake, text).penalty, expected, rtol=1e-4)


def test_finite_differences_approach_r1_r2_in_expectation():
    critic, batch = QUADRATIC, 8192
    one_real, one_fake, one_text = pictures(1)
    real, fake, text = jax.tree.map(lambda x: x.repeat(batch, 0), (one_real, one_fake, one_text))
    measured = judge("finite_difference", critic, real, fake, text).penalty.mean()
    exact = judge("r1_r2", critic, one_real, one_fake, one_text).penalty[0]
    np.testing.assert_allclose(measured, exact, rtol=0.06)


@pytest.mark.parametrize("width", [0.003, 0.01])
def test_finite_differences_see_what_gradients_overlook(width):
    """On a crest R1 is 0 whatever lies beside it; differences over 0.01 are not R1 + R2 where D turns within that."""
    critic = lambda x, _: jnp.cos(x[:, 0, 0, 0] / width)
    crest = jnp.zeros((4096, 1, 1, 1))
    found = losses.finite_difference(critic, crest, crest, None, jax.random.key(0)).penalty.mean()
    assert losses.r1_r2(critic, crest, crest, None, jax.random.key(0)).penalty.max() == 0
    # E (1 - cos(a n))^2 = 3/2 - 2 exp(-a^2/2) + exp(-2 a^2)/2 for normal n, here with a = sigma / width
    a = FINITE_DIFFERENCE_SIGMA / width
    expected = (1.5 - 2 * np.exp(-(a**2) / 2) + np.exp(-2 * a**2) / 2) / FINITE_DIFFERENCE_SIGMA**2
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_penalties_are_per_sample():
    critic, (real, fake, text) = QUADRATIC, pictures(4)
    for name in ("r1", "r2", "r1_r2", "ma_gp"):
        together = judge(name, critic, real, fake, text).penalty
        alone = judge(name, critic, *jax.tree.map(lambda x: x[2:3], (real, fake, text))).penalty
        np.testing.assert_allclose(together[2:3], alone, rtol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_differentiate_by_the_critics_parameters(name):
    real, fake, text = pictures(3)

    @jax.jit
    def loss(params):
        judged = PENALTIES[name](lambda *a: neural(params, *a), real, fake, text, jax.random.key(0))
        return judged.penalty.mean()

    check_grads(loss, (neural_params(),), order=1, modes=["rev"], eps=1e-2, atol=1e-2, rtol=2e-2)


def test_adversarial_losses_differentiate_by_the_critics_parameters():
    real, fake, text = pictures(3)

    @jax.jit
    def losses_of_both(params):
        logits = neural(params, real, text), neural(params, fake, text)
        return [
            [player(*logits).mean() for player in (pair.discriminator, pair.generator)] for pair in ADVERSARIAL.values()
        ]

    check_grads(losses_of_both, (neural_params(),), order=1, modes=["rev"], eps=1e-2, atol=1e-2, rtol=2e-2)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_flat_critic_has_finite_gradients(name):
    # At gradient 0 a plain norm has the derivative 0 / 0.
    real, fake, text = pictures(3)
    params = jax.tree.map(jnp.zeros_like, neural_params())

    @jax.jit
    @jax.grad
    def gradients(params):
        judged = PENALTIES[name](lambda *a: neural(params, *a), real, fake, text, jax.random.key(0))
        return judged.penalty.sum()

    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients(params)))


def test_contrastive_by_hand():
    # Cosines: 1 and 1/sqrt(2) for the first picture, 0 and 1/sqrt(2) for the second; lengths do not count.
    images, sentences = jnp.array([[3.0, 0.0], [0.0, 0.5]]), jnp.array([[2.0, 0.0], [1.0, 1.0]])
    root = math.sqrt(2)  # = 2 / sqrt(2), the inverse temperature is 2
    first = (softplus(root - 2) + softplus(0 - 2)) / 2
    second = (softplus(0 - root) + softplus(root - root)) / 2
    np.testing.assert_allclose(losses.contrastive(images, sentences, 2.0), [first, second], rtol=1e-5)


def test_contrastive_is_symmetric_and_knows_its_bounds():
    images, sentences, contrastive = normal(1, 6, 5), normal(2, 6, 5), jax.jit(losses.contrastive)
    there, back = contrastive(images, sentences, 3.0), contrastive(sentences, images, 3.0)
    np.testing.assert_allclose(there, back, rtol=1e-5)
    np.testing.assert_allclose(contrastive(images, sentences, 0.0), np.full(6, math.log(6)), rtol=1e-6)
    assert contrastive(jnp.eye(6), jnp.eye(6), 30.0).max() < 1e-6


def test_contrastive_differentiates():
    arguments = (normal(1, 3, 4), normal(2, 3, 4), jnp.array(2.0))
    check_grads(jax.jit(losses.contrastive), arguments, order=1, modes=["rev"], eps=1e-2, atol=1e-2, rtol=2e-2)


def test_normalize_gives_length_one_and_survives_zero():
    np.testing.assert_allclose(square_norm(losses.normalize(normal(1, 3, 4))), np.ones(3), rtol=1e-5)
    assert not losses.normalize(jnp.zeros((2, 4))).any()
    assert np.isfinite(jax.grad(lambda x: losses.normalize(x).sum())(jnp.zeros((2, 4)))).all()
