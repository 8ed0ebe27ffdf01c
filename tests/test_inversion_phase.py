"""Phase "inversion": an inverter that is told the caption finds noise and style offsets; the generator stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import shrink

from configs.base import get_config
from t2igan import nets
from t2igan.data.tokenizer import Tokenizer
from t2igan.method.phases.inversion import (
    InversionMethod,
    draw_codes,
    init_inversion_state,
    inversion_step,
    surprise,
)
from t2igan.method.techniques.masks import visible_distance
from t2igan.nets.inverter import Inverted, invert

CAPTIONS = ["a person with a red hat", "a person with a blue top"]


@pytest.fixture(scope="module")
def taught():
    """Steps on two pictures that the generator drew, by an inverter that is told."""
    config = shrink(get_config())
    with config.unlocked():
        config.inverter.kind = "told"
        config.inversion.update(learning_rate=1e-2)
        config.tokenizer.max_tokens = 16
    tokenizer = Tokenizer.train(CAPTIONS, 300, 16)
    networks = nets.build(config, tokenizer.vocab_size)
    method = InversionMethod.create(config, networks, 40)
    tokens = jnp.asarray(tokenizer.encode(CAPTIONS * 2))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    batch = {"images": jnp.asarray(images), "tokens": tokens}
    first = jax.jit(lambda batch: init_inversion_state(method, batch))(batch)
    step, state, rows = jax.jit(lambda state, batch: inversion_step(method, state, batch)), first, []
    for _ in range(40):
        state, metrics = step(state, batch)
        rows.append({name: float(value) for name, value in metrics.items()})
    return networks, batch, first, state, rows


def test_the_inverter_learns_and_all_else_stays(taught):
    _, _, first, state, rows = taught
    mean = lambda name, some: np.mean([row[name] for row in some])
    assert mean("loss/inversion", rows[-10:]) < mean("loss/inversion", rows[:10])
    assert rows[0]["loss/offsets"] == 0 < rows[-1]["loss/offsets"]
    assert set(state.params) == {"inverter"}
    jax.tree.map(np.testing.assert_array_equal, state.frozen, first.frozen)


def test_it_reads_the_caption_and_not_what_is_hidden(taught):
    networks, batch, _, state, _ = taught
    text = networks.text_encoder.apply(state.frozen["text"], batch["tokens"])
    images = nets.to_unit(batch["images"])
    visible = jnp.ones_like(images[..., :1]).at[:, :8].set(0)
    find = jax.jit(lambda x, s: invert(networks.inverter, state.params["inverter"], x, visible, s))
    found = find(images, text.sentence)
    assert found.offsets.shape == (4, 8, 8)
    other = find(images.at[:, :8].set(0.5), text.sentence)
    jax.tree.map(np.testing.assert_array_equal, found, other)
    assert np.abs(find(images, text.sentence[::-1]).mean - found.mean).max() > 1e-3
    drawn = draw_codes(networks, state.frozen["generator"], found.mean, found.offsets, text)
    without = draw_codes(networks, state.frozen["generator"], found.mean, None, text)
    assert np.abs(drawn - without).max() > 1e-4


def test_the_terms_by_hand():
    error = jnp.array([0.5, 3.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(visible_distance(error, jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1)), [0.75], rtol=1e-5)
    inverted = Inverted(jnp.array([[1.0, 0.0]]), jnp.log(jnp.array([[2.0, 1.0]])), jnp.zeros((1, 1)))
    np.testing.assert_allclose(surprise(inverted, jnp.array([[5.0, 0.0]])), [(2.0 + np.log(2)) / 2], rtol=1e-6)
