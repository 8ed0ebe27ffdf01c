"""Losses that keep drawings different: goldens by hand, identities, numerical gradients, their place in the game."""

import functools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from t2igan import nets
from t2igan.config.checks import check
from t2igan.errors import UserError
from t2igan.method import losses
from t2igan.method.game import Method
from t2igan.method.losses.variety import VarietyWeights, variety_loss
from t2igan.nets import Text
from t2igan.nets.init import init_network
from t2igan.step import generator_loss

# One compilation is quicker than one an operation.
drift = jax.jit(losses.drift, static_argnames=("temperature", "itself"))
drifting_loss = jax.jit(losses.drifting_loss, static_argnames=("captions", "temperatures"))
mode_seeking = jax.jit(losses.mode_seeking)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


# Drifting.


def by_hand(x, attracting, repelling, temperature, itself=False):
    """Algorithm 2 of the paper, number by number."""
    points = [*attracting, *repelling]
    near = [[math.exp(-math.dist(a, b) / temperature) for b in points] for a in x]
    if itself:
        for i in range(len(x)):
            near[i][len(attracting) + i] = 0.0
    of_row = [sum(row) for row in near]
    of_column = [sum(row[j] for row in near) for j in range(len(points))]
    drifts = []
    for i, row in enumerate(near):
        share = [row[j] / math.sqrt(of_row[i] * of_column[j]) for j in range(len(points)) if of_column[j]]
        to, away = share[: len(attracting)], share[len(attracting) :]
        drifts.append(
            [
                sum(a * b * (p[d] - q[d]) for a, p in zip(to, attracting, strict=True)
                    for b, q in zip(away, repelling, strict=True))
                for d in range(len(x[0]))
            ]
        )  # fmt: skip
    return drifts


def test_golden_drifts():
    # One point between one that attracts and one that repels, equally near: A = sqrt(1/2) each, V = 1/2 (1 - (-1)).
    assert drift(jnp.zeros((1, 1)), jnp.ones((1, 1)), -jnp.ones((1, 1)), 0.7).item() == pytest.approx(1, abs=1e-6)
    # A point that nothing repels does not drift: there is nothing to balance.
    assert drift(jnp.zeros((1, 1)), jnp.ones((1, 1)), jnp.zeros((1, 1)), 0.7, itself=True).item() == 0
    x, y, other = ([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]], [[1.0, 1.0], [3.0, 0.0]], [[0.2, 0.0], [-1.0, 2.0]])
    asarray = lambda points: jnp.asarray(points, jnp.float32)
    for temperature in (0.3, 2.0):
        got = drift(asarray(x), asarray(y), asarray(other), temperature)
        np.testing.assert_allclose(got, by_hand(x, y, other, temperature), atol=1e-5)
        got = drift(asarray(x), asarray(y), asarray(x), temperature, itself=True)
        np.testing.assert_allclose(got, by_hand(x, y, x, temperature, itself=True), atol=1e-5)


def test_drifts_are_antisymmetric_and_move_with_the_points():
    x, y, other = normal(0, 4, 3), normal(1, 5, 3), normal(2, 5, 3)
    one = drift(x, y, other, 0.8)
    np.testing.assert_allclose(drift(x, other, y, 0.8), -one, atol=1e-6)
    np.testing.assert_allclose(drift(x, y, y, 0.8), 0, atol=1e-6)
    np.testing.assert_allclose(drift(x + 3, y + 3, other + 3, 0.8), one, atol=1e-5)
    weighed = jax.jit(lambda *points: (drift(*map(jnp.asarray, points), 0.8) * normal(3, 4, 3)).sum())
    check_grads(weighed, (x, y, other), order=1, modes=("rev",), eps=1e-2, rtol=2e-2, atol=2e-2)


def test_the_gradient_of_the_drifting_loss_is_the_drift():
    """-2 V / (D scale), with the targets fixed; and nothing for the real pictures."""
    drawn, real = normal(0, 6, 8), 0.3 * normal(1, 5, 8) + 1
    loss = lambda drawn, real: drifting_loss(drawn, real).sum()
    of_drawn, of_real = jax.jit(jax.grad(loss, (0, 1)))(drawn, real)
    assert not of_real.any()
    distances = np.linalg.norm(np.asarray(drawn)[:, None] - np.concatenate([real, drawn])[None], axis=-1)
    scale, width = distances.sum() / (6 * 10) / math.sqrt(8), math.sqrt(8)
    fields = [drift(drawn / scale, real / scale, drawn / scale, t * width, itself=True) for t in (0.2, 0.5, 2.0)]
    total = sum(fields)
    np.testing.assert_allclose(of_drawn, -2 * total / (8 * scale), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(drifting_loss(drawn, real), (total**2).mean(1), rtol=1e-3)
    # Units are nothing: features twice as large have the same loss.
    np.testing.assert_allclose(drifting_loss(2 * drawn, 2 * real), drifting_loss(drawn, real), rtol=1e-3)


def test_collapsed_drawings_spread_until_they_are_as_the_real_ones():
    """Plain descent on the drawings themselves: from nearly one point to both clusters of the real ones."""
    real = jnp.concatenate([normal(1, 32, 2) * 0.2 - 1, normal(2, 32, 2) * 0.2 + 1])
    drawn = 0.01 * normal(0, 64, 2)
    step = jax.jit(lambda x: x - 0.3 * jax.grad(lambda x: drifting_loss(x, real).sum())(x))
    for _ in range(60):
        drawn = step(drawn)
    left = np.asarray(drawn)[:, 0] < 0
    assert 26 <= left.sum() <= 38
    for side, middle in ((left, -1), (~left, 1)):
        of_side = np.asarray(drawn)[side]
        np.testing.assert_allclose(of_side.mean(0), middle, atol=0.15)
        assert (of_side.std(0) > 0.1).all() and (of_side.std(0) < 0.4).all()
    assert drifting_loss(drawn, real).mean() < 5e-4


def test_drawings_of_a_caption_with_one_picture_come_apart():
    """Where two drawings of each caption are nearly its one picture, what repels them is not what attracts them."""
    real, captions = normal(0, 8, 16), normal(1, 8, 6)
    drawn = jnp.concatenate([real + 0.05 * normal(2, 8, 16), real + 0.05 * normal(3, 8, 16)])
    twice = jnp.tile(captions, (2, 1))
    step = jax.jit(lambda x: x - jax.grad(lambda x: drifting_loss(x, real, twice, captions, 1.0).sum())(x))
    apart = lambda x: float(jnp.linalg.norm(x[:8] - x[8:], axis=1).mean())
    before = apart(drawn)
    for _ in range(30):
        drawn = step(drawn)
    assert apart(drawn) > 1.5 * before
    np.testing.assert_allclose((drawn[:8] + drawn[8:]) / 2, real, atol=0.5)


def test_captions_say_which_pictures_attract():
    """Two captions, two pictures, drawings exchanged: only with captions does each go to its own caption's picture."""
    real = jnp.asarray([[0.0, 0.0], [1.0, 0.0]])
    captions = jnp.asarray([[0.0], [1.0]])
    drawn = jnp.concatenate([real[::-1] + 0.01, real[::-1] - 0.01])
    twice = jnp.tile(captions, (2, 1))
    move = lambda weight: -jax.jit(jax.grad(lambda x: drifting_loss(x, real, twice, captions, weight).sum()))(drawn)
    with_captions = move(2.0)
    assert (with_captions[::2, 0] < 0).all() and (with_captions[1::2, 0] > 0).all()
    without = jax.jit(jax.grad(lambda x: drifting_loss(x, real).sum()))
    np.testing.assert_allclose(move(0.0), -without(drawn), rtol=1e-5)


def test_degenerate_features_stay_finite():
    same = jnp.ones((4, 3))
    value, slope = jax.jit(jax.value_and_grad(lambda x: drifting_loss(x, same).sum()))(same)
    assert np.isfinite(value) and np.isfinite(slope).all()


# Mode seeking.


def test_golden_ratios():
    images = jnp.zeros((2, 1, 2, 1))
    others = jnp.asarray([0.5, -1.5, 0.0, 0.0]).reshape(2, 1, 2, 1)
    z, other_z = jnp.zeros((2, 4)), jnp.asarray([[2.0, -2.0, 2.0, -2.0], [1.0, 1.0, 1.0, 1.0]])
    # Pictures 1 apart and noise 2: 1 / (1/2 + 0.01); and drawings that are the same, whatever their noise: 1 / 0.01.
    np.testing.assert_allclose(mode_seeking(images, others, z, other_z), [1 / 0.51, 100], rtol=1e-5)
    assert np.isfinite(mode_seeking(images, others, z, z)).all()
    arguments = (normal(0, 3, 2, 2, 1), normal(1, 3, 2, 2, 1), normal(2, 3, 4), normal(3, 3, 4))
    of = jax.jit(lambda *x: mode_seeking(*map(jnp.asarray, x)).sum())
    check_grads(of, arguments, order=1, modes=("rev",), eps=1e-3, rtol=3e-2, atol=3e-2)


# In the game.

SMALL = {
    "generator.kind": "mlp", "generator.channels": (8,), "discriminator.kind": "mlp", "discriminator.channels": (8,),
    "image_encoder.channels": (8,),
}  # fmt: skip


def test_the_generator_has_the_terms_beside_its_loss(config):
    config.update_from_flattened_dict(SMALL)
    networks = nets.build(config, 300)
    plain = Method.create(config, networks, 10)
    assert not plain.variety
    config.loss.update(drifting_weight=0.5, diversity_weight=0.25)
    check(config)
    method = Method.create(config, networks, 10)
    random = np.random.default_rng(0)
    batch = {"images": normal(0, 8, 16, 16, 3), "tokens": jnp.asarray(random.integers(1, 300, (8, 6)), jnp.int32)}
    names = ("text", "image", "generator", "discriminator")
    init = lambda key: {name: init_network(networks, name, key, batch) for name in names}
    params = jax.jit(init)(jax.random.key(0))
    loss = lambda method: jax.jit(functools.partial(generator_loss, method))(
        params, 0, batch["images"], batch["tokens"], jax.random.key(3), normal(1, 8, networks.z_dim)
    )
    (total, metrics), (expected, plain_metrics) = loss(method), loss(plain)
    assert set(metrics) - set(plain_metrics) == {"loss/drifting", "loss/diversity"}
    expected += 0.5 * metrics["loss/drifting"].mean() + 0.25 * metrics["loss/diversity"].mean()
    assert total == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("features", ["tower", "space"])
def test_the_terms_are_of_two_drawings_of_each_caption(features):
    real, fake, z, sentence = normal(0, 4, 2, 2, 3), normal(1, 4, 2, 2, 3), normal(2, 4, 5), normal(3, 4, 6)
    text = Text(sentence, jnp.zeros((4, 1, 2)), jnp.ones((4, 1), bool))
    see = lambda x: x.reshape(len(x), -1) ** (3 if features == "tower" else 1)
    tower = types.SimpleNamespace(apply=lambda params, x: params * see(x))
    redraw = lambda z: fake + z[:, 0, None, None, None]
    weights = VarietyWeights(drifting=2.0, features=features, captions=1.5, diversity=3.0)
    networks, key = types.SimpleNamespace(image_encoder=tower), jax.random.key(0)
    arguments = real, fake, text, z, redraw, key, weights
    loss, terms = jax.jit(lambda: variety_loss(networks, {"image": 1.0}, *arguments))()
    other_z = jax.random.normal(key, z.shape)
    drawn = jnp.concatenate([see(fake), see(redraw(other_z))])
    drifting = drifting_loss(drawn, see(real), jnp.concatenate([sentence, sentence]), sentence, 1.5)
    np.testing.assert_allclose(terms["loss/drifting"], (drifting[:4] + drifting[4:]) / 2, rtol=1e-4)
    np.testing.assert_allclose(terms["loss/diversity"], mode_seeking(fake, redraw(other_z), z, other_z), rtol=1e-4)
    np.testing.assert_allclose(loss, 2 * terms["loss/drifting"] + 3 * terms["loss/diversity"], rtol=1e-5)


REFUSED = {
    "less than none": ({"loss.drifting_weight": -1.0}, ["config.loss.drifting_weight=-1.0"]),
    "less diversity than none": ({"loss.diversity_weight": -1.0}, ["config.loss.diversity_weight=-1.0"]),
    "unknown features": ({"loss.drifting_features": "towr"}, ["config.loss.drifting_features='towr'", "'tower'"]),
    "no tower": (
        {"loss.drifting_weight": 0.1, "phases": ("adversarial",)},
        ["config.loss.drifting_weight=0.1", "the phase 'text'"],
    ),
    "alone": (
        {"loss.drifting_weight": 0.1, "loss.drifting_features": "space", "train.batch_images": 1},
        ["config.loss.drifting_weight=0.1", "config.train.batch_images=1"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_before_anything_compiles(config, name):
    changes, words = REFUSED[name]
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    with pytest.raises(UserError) as error:
        check(config)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_features_of_the_space_need_no_tower(config):
    with config.unlocked():
        config.loss.update(drifting_weight=0.1, drifting_features="space")
        config.phases = ("adversarial",)
    check(config)
