"""Gradients of single pictures: ghost norms are those of `vmap(grad)`, clipped sums are bounded, padding is nothing."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.method.privacy.clipping import (
    PictureLoss,
    clipped_sum,
    clipped_sum_by_vmap,
    gradients_by_vmap,
    square_norms,
)
from t2igan.nets.discriminator import Discriminator, MLPDiscriminator
from t2igan.nets.layers import Text
from t2igan.nets.taps import layers_of, not_covered

NUM, KEY = 6, jax.random.key(0)


class Kinds(nn.Module):
    """A layer of each kind that has a tap: 5x3 convolution, dense on maps, norms, an embedding; one is used twice."""

    @nn.compact
    def __call__(self, images, text):
        x = nn.Conv(4, (5, 3))(images)
        x = nn.GroupNorm(2)(x)
        shared = nn.Dense(4)
        x = shared(jnp.tanh(shared(jnp.tanh(x))))
        f = nn.LayerNorm()(x.reshape(len(x), -1))
        label = nn.Embed(5, f.shape[-1])(text.mask.sum(-1))
        return nn.Dense(1, use_bias=False)(jnp.tanh(f + label))[:, 0] + (f * label).sum(-1)


class Strided(nn.Module):
    """A network of which one layer has no ghost norm."""

    @nn.compact
    def __call__(self, images, text):
        x = jnp.tanh(nn.Conv(4, (3, 3), strides=(2, 2))(images)).reshape(len(images), -1)
        return nn.Dense(1)(x)[:, 0] + nn.Dense(1)(text.sentence)[:, 0]


NETWORKS = {
    "residual": (Discriminator((6, 5), features=7), 4),
    "multi_scale": (Discriminator((4, 3), features=5, multi_scale=True), 4),
    "large maps": (Discriminator((4,), features=5), 16),  # norms by places, and by made gradients
    "mlp": (MLPDiscriminator((9, 5)), 4),
    "kinds": (Kinds(), 4),
    "strided": (Strided(), 4),
}


def loss_of(penalty_weight=0.0, clip_norm=1.0):
    return PictureLoss(lambda logits: jax.nn.softplus(-logits), penalty_weight, clip_norm)


def example(name, num=NUM):
    """A critic with every weight drawn at random, and pictures with captions for it."""
    network, px = NETWORKS[name]
    random = np.random.default_rng(1)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
    mask = jnp.asarray(random.random((num, 3)) < 0.6)
    images, text = normal(num, px, px, 3), Text(normal(num, 5), normal(num, 3, 2), mask)
    critic = lambda params, images, text, key: network.apply(params, images, text)  # noqa: ARG005
    shapes = jax.eval_shape(network.init, KEY, images, text)
    return critic, jax.tree.map(lambda s: 0.4 * normal(*s.shape), shapes), images, text


def by_hand(loss, example):
    critic, params, images, text = example
    return jax.jit(lambda: gradients_by_vmap(critic, loss, params, images, text, jax.random.split(KEY, len(images))))()


def norms_of(grads):
    return np.sqrt(sum((np.asarray(g).reshape(len(g), -1) ** 2).sum(-1) for g in jax.tree.leaves(grads)))


WITH_R1 = [(name, 0.7) for name in NETWORKS if name != "strided"]


@pytest.mark.parametrize(("name", "weight"), [*WITH_R1, ("kinds", 0.0)])
def test_ghost_norms_are_those_of_each_pictures_gradient(name, weight):
    loss, (critic, params, images, text) = loss_of(weight), example(name)
    assert not_covered(layers_of(lambda: critic(params, images, text, KEY)), params) == []
    norms = np.sqrt(jax.jit(lambda: square_norms(critic, loss, params, images, text, KEY))())
    expected = norms_of(by_hand(loss, example(name)))
    np.testing.assert_allclose(norms, expected, rtol=2e-4)
    assert expected.std() > 0.01 * expected.mean()  # pictures differ


@pytest.mark.parametrize(("name", "weight"), [("multi_scale", 0.7), ("kinds", 0.0)])
def test_the_sum_is_of_gradients_clipped_one_by_one(name, weight):
    made = example(name)
    critic, params, images, text = made
    grads = by_hand(loss_of(weight), made)
    norms = norms_of(grads)
    clip_norm = float(np.median(norms))  # some are clipped, some are not
    mask = np.array([1, 1, 0, 1, 1, 1], np.float32)
    share = mask * np.minimum(1, clip_norm / norms)
    expected = jax.tree.map(lambda g: np.tensordot(share, g, 1), grads)
    loss = loss_of(weight, clip_norm)
    for summed in (
        jax.jit(lambda: clipped_sum(critic, loss, params, images, text, mask, KEY))(),
        jax.jit(lambda: clipped_sum_by_vmap(critic, loss, params, images, text, mask, KEY, at_once=4))(),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * clip_norm), summed, expected)


@pytest.mark.parametrize("clip_norm", [0.5, 1e4])
def test_one_picture_moves_the_sum_by_the_norm_at_most(clip_norm):
    """The bound that the noise is made for, with a picture as odd as can be; and padding moves it by nothing."""
    critic, params, images, text = example("mlp")
    images = images.at[2].set(100.0)
    summed = jax.jit(lambda mask: clipped_sum(critic, loss_of(0.7, clip_norm), params, images, text, mask, KEY))
    everyone = np.ones(NUM, np.float32)
    without = everyone * (np.arange(NUM) != 2)
    moved = jax.tree.map(lambda a, b: (a - b)[None], summed(everyone), summed(without))
    assert 0 < norms_of(moved)[0] <= clip_norm * (1 + 1e-3)
    assert norms_of(jax.tree.map(lambda g: g[None], summed(0 * everyone)))[0] == 0


def test_a_layer_without_ghost_norm_is_named_and_vmap_takes_its_place():
    critic, params, images, text = example("strided")
    layers = layers_of(lambda: critic(params, images, text, KEY))
    assert not_covered(layers, params) == ["Conv_0/bias", "Conv_0/kernel"]
    grads = by_hand(loss_of(0.3), (critic, params, images, text))
    norms = norms_of(grads)
    clip_norm = float(norms.mean())
    expected = jax.tree.map(lambda g: np.tensordot(np.minimum(1, clip_norm / norms), g, 1), grads)
    mask = np.ones(NUM, np.float32)
    loss = loss_of(0.3, clip_norm)
    summed = jax.jit(lambda: clipped_sum_by_vmap(critic, loss, params, images, text, mask, KEY, at_once=4))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), summed, expected)


def test_a_layer_that_is_used_twice_is_two_uses():
    critic, params, images, text = example("kinds")
    layers = layers_of(lambda: critic(params, images, text, KEY))
    assert {"Dense_0 0", "Dense_0 1"} <= layers.keys()
    assert {layer.kind for layer in layers.values()} == {"dense", "conv", "copied"}
