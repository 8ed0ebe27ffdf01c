"""The generator in two parts, styles and draw: the same parameters and the same bytes as in one."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from t2igan.inference.sample import from_snapshot
from t2igan.nets.generator import Generator
from t2igan.nets.layers import (
    Modulate,
    Text,
    WordAttention,
    conv3x3,
    dense,
    depth_to_space,
    leaky_relu,
    recomputed,
    upsample,
)


class FormerGenerator(nn.Module):
    """The generator as it was when the snapshots of before were trained: in one compact call."""

    image_channels: int
    channels: tuple[int, ...]
    base_px: int = 4
    patch_px: int = 1
    blocks: int = 1
    style_dim: int = 256
    attention_from_px: int = 8
    attention_heads: int = 4
    dtype: Any = jnp.float32
    growing: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, z, text, guidance=None, grown=None):
        layers = [dense(self.style_dim, dtype=self.dtype, name=f"style_{layer}") for layer in range(2)]

        def style_of(sentence):
            style = jnp.concatenate([z, sentence], axis=-1).astype(self.dtype)
            for layer in layers:
                style = leaky_relu(layer(style))
            return style

        style = style_of(text.sentence)
        if guidance is not None:
            without = style_of(jnp.zeros_like(text.sentence))
            style = without + jnp.asarray(guidance, self.dtype) * (style - without)
        x = dense(self.base_px**2 * self.channels[0], dtype=self.dtype, name="base")(style)
        x = x.reshape(-1, self.base_px, self.base_px, self.channels[0])
        last, fade = (len(self.channels) - 1, 1.0) if grown is None else grown
        images = None
        for level, channels in enumerate(self.channels[: last + 1]):
            if level:
                x = upsample(dense(channels, use_bias=False, dtype=self.dtype, name=f"transition_{level}")(x))
            for _ in range(self.blocks):
                x = recomputed(FormerGenerator._block, self.remat)(self, x, style)
            if x.shape[1] * self.patch_px >= self.attention_from_px > 0:
                x = recomputed(FormerGenerator._read, self.remat)(self, x, text)
            if self.growing:
                added = self._pixels(x, style, f"pixels_{level}", scale=0.0 if level else 0.5)
                images = upsample(images) + (fade if level == last else 1.0) * added if level else added
        if not self.growing:
            return self._pixels(x, style, "pixels", scale=0.5)
        for _ in range(last + 1, len(self.channels)):
            images = upsample(images)
        return images

    def _block(self, x, style):
        h = leaky_relu(Modulate(self.dtype)(x, style))
        h = conv3x3(x.shape[-1], dtype=self.dtype)(h)
        h = leaky_relu(Modulate(self.dtype)(h, style))
        return x + conv3x3(x.shape[-1], scale=0.0, dtype=self.dtype)(h)

    def _read(self, x, text):
        return WordAttention(self.attention_heads, self.dtype)(x, text)

    def _pixels(self, x, style, name, scale):
        x = leaky_relu(Modulate(self.dtype)(x, style))
        x = dense(self.patch_px**2 * self.image_channels, scale=scale, dtype=self.dtype, name=name)(x)
        return depth_to_space(x, self.patch_px).astype(jnp.float32)


SETTINGS = {"image_channels": 3, "channels": (8, 8, 4), "base_px": 2, "style_dim": 6, "attention_heads": 2}
Z = jax.random.normal(jax.random.key(0), (3, 5))
TEXT = Text(
    jax.random.normal(jax.random.key(1), (3, 7)),
    jax.random.normal(jax.random.key(2), (3, 4, 6)),
    jnp.arange(4)[None, :] < jnp.array([[2], [4], [3]]),
)


def scattered(params):
    """Parameters in which nothing is zero, so that every part counts."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + 0.3 * random.normal(size=x.shape).astype(np.float32), params)


@pytest.mark.parametrize("changed", [{"patch_px": 2, "dtype": jnp.bfloat16}, {"growing": True, "remat": True}], ids=str)
def test_parameters_pictures_and_gradients_are_those_of_before(changed):
    settings = SETTINGS | {"channels": (4, 2), "attention_from_px": 4} | changed
    now, before = (kind(**settings) for kind in (Generator, FormerGenerator))
    params, theirs = (jax.jit(net.init)(jax.random.key(3), Z, TEXT) for net in (now, before))
    jax.tree.map(np.testing.assert_array_equal, params, theirs)
    grown = (0, 0.5) if settings.get("growing") else None

    def computed(params, net):
        loss = lambda p: (net.apply(p, Z, TEXT, 1.5) ** 2).mean()
        return jax.value_and_grad(loss)(params), net.apply(params, Z, TEXT, grown=grown)

    params = scattered(params)
    found, expected = (jax.jit(lambda p, net=net: computed(p, net))(params) for net in (now, before))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@jax.jit
def in_two(params):
    net = Generator(**SETTINGS)
    styles = net.apply(params, Z, TEXT.sentence, 1.5, method="styles")
    draw = lambda styles, words: net.apply(params, styles, words, method="draw")
    slope = jax.grad(lambda s: (draw(s, TEXT) ** 2).sum())(styles)
    other = TEXT.replace(words=2 * TEXT.words)
    return (
        styles,
        slope,
        net.apply(params, Z, TEXT, 1.5),
        draw(styles, TEXT),
        draw(styles, [TEXT]),
        draw(styles, [other]),
    )


def test_styles_and_draw_are_the_call_in_two():
    net = Generator(**SETTINGS)
    assert (net.num_styles, net.num_readings) == (8, 1)  # words are read from 8 px on, of maps of 2, 4 and 8
    styles, slope, whole, *drawn, otherwise = in_two(scattered(net.init(jax.random.key(3), Z, TEXT)))
    assert styles.shape == (3, 8, 6)
    assert (np.abs(slope).max((0, 2)) > 1e-6).all()  # every use counts
    for images in drawn:
        np.testing.assert_array_equal(images, whole)
    assert np.abs(otherwise - whole).max() > 1e-4


def test_a_snapshot_draws_the_same_bytes():
    captions = ["a person with a red cap", "a person with a blue top", "green hair"]
    model = from_snapshot(random_snapshot(captions))
    former = FormerGenerator(**{f.name: getattr(model.networks.generator, f.name) for f in _fields(FormerGenerator)})
    images = model.sample(captions, seed=[1, 2, 3])
    assert images.std() > 1
    model.networks = model.networks._replace(generator=former)
    np.testing.assert_array_equal(model.sample(captions, seed=[1, 2, 3]), images)


def _fields(kind):
    return [field for field in dataclasses.fields(kind) if field.name not in ("parent", "name")]
