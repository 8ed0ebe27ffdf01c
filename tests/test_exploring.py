"""What the noise does to pictures, by an identity and by hand; and how near edits come to the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from t2igan.errors import UserError
from t2igan.evaluation.metrics.edits import edit_scores, psnr_db
from t2igan.inference.editing.exploring import along, directions, jacobian_energy, words_changed
from t2igan.inference.editing.inverting import encode_text
from t2igan.inference.sample import from_snapshot

CAPTIONS = ["a person with a red hat", "a person with a blue top"]


@pytest.fixture(scope="module")
def model():
    return from_snapshot(random_snapshot(CAPTIONS))


def test_the_energy_is_how_much_small_steps_move_pictures(model):
    z = jax.random.normal(jax.random.key(0), (1, model.networks.z_dim))
    text = encode_text(model, CAPTIONS[:1])
    energy = np.asarray(jacobian_energy(model.networks, model.params, z, text))
    np.testing.assert_allclose(energy, energy.T, rtol=1e-4)
    draw = jax.jit(lambda z: model.networks.generator.apply(model.params["generator"], z, text))
    step = 1e-3 * jax.random.normal(jax.random.key(1), z.shape)
    moved = ((draw(z + step) - draw(z - step)) ** 2).sum() / 4
    np.testing.assert_allclose((step @ energy @ step.T).item(), float(moved), rtol=0.02)


def test_directions_come_in_order_and_pictures_move_along_them(model):
    found = directions(model, CAPTIONS, num=3)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(3), atol=1e-5)
    assert (np.diff(found.shares) <= 0).all() and 0 < found.shares.sum() <= 1.001
    assert 1 <= found.effective_rank <= 4 and 1 <= found.dims_95 <= 4
    rows = along(model, found, CAPTIONS[0], seed=5, strength=0.5, columns=3)
    assert rows.shape == (3, 3, 16, 16, 3)
    drawn = model.sample(CAPTIONS[0], seed=5)[0].astype(int)
    assert np.abs(rows[:, 1] - drawn).max() <= 1
    moved = np.abs(rows[:, 0].astype(int) - rows[:, 2]).mean((1, 2, 3))
    assert moved[0] > moved[2]
    for call, says in [
        (lambda: directions(model, CAPTIONS, num=5), "directions=5 must lie between 1 and 4"),
        (lambda: along(model, found, CAPTIONS[0], strength=4.0), "strength=4.0 must lie between 0 and 3"),
    ]:
        with pytest.raises(UserError, match=says):
            call()


def test_directions_are_called_by_the_words_that_change():
    assert words_changed("a red hat, dark skin", "a green hat, dark skin") == "red -> green"
    assert words_changed("a person with hair", "a person with long hair") == "+long"
    assert words_changed("a hat and a top", "a top") == "-a hat and"
    assert words_changed("a hat", "a hat") == ""


def test_edits_are_scored_by_what_the_truth_changes_and_leaves():
    before = np.zeros((2, 2, 2, 1), np.uint8)
    truth, edited = before.copy(), before.copy()
    truth[0, 0, 0] = 100  # of the first picture one pixel changes, of the second none
    edited[0, 0, 0], edited[0, 1, 1], edited[1, 0, 0] = 90, 10, 255
    scores = edit_scores(before, edited, truth)
    np.testing.assert_allclose(scores.whole_db[0], 10 * np.log10(255**2 / 50))
    np.testing.assert_allclose(scores.inside_db[0], 10 * np.log10(255**2 / 100))
    assert np.isnan(scores.inside_db[1])
    np.testing.assert_allclose(scores.outside_exact, [2 / 3, 3 / 4])
    np.testing.assert_allclose(psnr_db(before, before), 10 * np.log10(255**2 / 0.05))
    assert jnp.isfinite(psnr_db(before, edited)).all()
