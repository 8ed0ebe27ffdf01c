"""What a report draws: ways between captions, and where which word is read."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from t2igan.evaluation.report import drawings
from t2igan.inference.sample import Model, from_snapshot
from t2igan.inference.snapshot import Snapshot
from t2igan.nets.layers import Text, WordAttention

CAPTIONS = ["a person with a red cap", "a person with a blue top and glasses", "green hair"]


@pytest.fixture(scope="module")
def snapshot():
    return random_snapshot(CAPTIONS)


@pytest.fixture(scope="module")
def generator(snapshot) -> Model:
    return from_snapshot(snapshot)


def close(a, b):
    np.testing.assert_allclose(a.astype(int), b.astype(int), atol=1)  # a level may be rounded the other way


def test_ways_end_at_the_pictures_themselves(generator):
    way = drawings.between_seeds(generator, CAPTIONS[0], (3, 8), 5)
    close(way[[0, -1]], generator.sample([CAPTIONS[0]] * 2, [3, 8]))
    assert way.dtype == np.uint8
    assert len(way) == 5
    # Captions of different lengths, both ways.
    for ends in ((CAPTIONS[0], CAPTIONS[1]), (CAPTIONS[1], CAPTIONS[2])):
        way = drawings.between_captions(generator, ends, 3, 4)
        close(way[[0, -1]], generator.sample(list(ends), 3))
        assert (way[1] != way[0]).any()
        assert (way[1] != way[2]).any()


def test_slerp_keeps_length_and_angle():
    a, b = jax.random.normal(jax.random.key(0), (2, 64))
    b = b * jnp.linalg.norm(a) / jnp.linalg.norm(b)
    way = np.asarray(drawings.slerp(a, b, jnp.linspace(0, 1, 5)))
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), np.linalg.norm(a), rtol=1e-5)
    unit = way / np.linalg.norm(way, axis=1, keepdims=True)
    angles = np.arccos((unit[1:] * unit[:-1]).sum(1))
    np.testing.assert_allclose(angles, angles[0], rtol=1e-4)
    np.testing.assert_allclose(drawings.slerp(a, a, jnp.linspace(0, 1, 3)), np.stack([a] * 3), rtol=1e-5)
    assert np.isfinite(drawings.slerp(a, -a, jnp.linspace(0, 1, 3))).all()


def test_word_attention_notes_the_weights_that_it_used():
    """With one head: output = x + out(sum over words of weight * value), and the weights sum to 1."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 3, 4, 8)), jnp.float32)
    words = jnp.asarray(random.normal(size=(2, 5, 6)), jnp.float32)
    mask = jnp.asarray([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    text = Text(jnp.zeros((2, 1)), words, mask)
    layer = WordAttention(heads=1)
    params = layer.init(jax.random.key(0), x, text)
    assert "intermediates" not in params
    params = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), jnp.float32), params)
    plain = layer.apply(params, x, text)
    noted, state = layer.apply(params, x, text, mutable="intermediates")
    np.testing.assert_array_equal(plain, noted)
    (weights,) = state["intermediates"]["weights"]
    assert weights.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert not weights[0, ..., 3:].any()
    p = params["params"]
    value = words @ p["value"]["kernel"] + p["value"]["bias"]
    attended = jnp.einsum("bhwt,btc->bhwc", weights, value)
    np.testing.assert_allclose(noted, x + attended @ p["out"]["kernel"] + p["out"]["bias"], rtol=1e-3, atol=1e-4)


def test_weights_that_nobody_asked_for_are_not_computed():
    x, text = jnp.zeros((1, 2, 2, 8)), Text(jnp.zeros((1, 1)), jnp.zeros((1, 5, 6)), jnp.ones((1, 5), bool))
    layer = WordAttention(heads=2)
    params = layer.init(jax.random.key(0), x, text)

    def exponentials(**noting):
        return str(jax.make_jaxpr(lambda x: layer.apply(params, x, text, **noting))(x)).count("= exp ")

    assert exponentials(mutable="intermediates") == exponentials() + 1


def test_attention_is_of_the_words_and_shared_out(generator):
    attention = drawings.attend(generator, "red cap, blue top", seed=3)
    close(attention.image, generator.sample("red cap, blue top", 3)[0])
    assert attention.words == ("red", "cap", ",", "blue", "top")
    assert attention.weights.shape == (5, 16, 16)
    assert attention.weights.min() >= 0
    total = attention.weights.sum(0)
    assert 0 < total.min() <= total.max() < 1  # begin and end get the rest


def test_a_generator_without_word_attention_has_none(snapshot):
    config = json.loads(json.dumps(snapshot.config))
    config["generator"]["attention_from_px"] = 0
    params = {"text": snapshot.params["text"], "generator": {"params": dict(snapshot.params["generator"]["params"])}}
    for name in [name for name in params["generator"]["params"] if name.startswith("WordAttention")]:
        del params["generator"]["params"][name]
    other = from_snapshot(Snapshot(params, config, snapshot.tokenizer, {}, {}))
    assert drawings.attend(other, CAPTIONS[0], 0) is None


def test_words_of_a_caption_cover_its_tokens(generator):
    tokenizer = generator.tokenizer
    caption = " Über-cap: <end>"
    words = tokenizer.words(caption)
    assert [word.text for word in words] == ["Über", "-", "cap", ":", "<", "end", ">"]
    positions = [position for word in words for position in word.positions]
    (ids,) = tokenizer.encode([caption])
    assert positions == list(range(1, (ids > 0).sum() - 1))  # all but begin and end
