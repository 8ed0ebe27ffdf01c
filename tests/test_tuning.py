"""Pivotal tuning: one picture is drawn better, all others as before; what was moved is kept with the codes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from t2igan.errors import UserError
from t2igan.inference.editing import Codes, edit, invert, mix, tuning, vary
from t2igan.inference.editing.inversion import Effort, Target
from t2igan.inference.editing.inverting import encode_text
from t2igan.inference.editing.tuning import MOST_CAPTIONS, Pivot, captions_around, model_of
from t2igan.inference.sample import from_snapshot
from t2igan.nets import to_unit

HAT, HATLESS = "a person with a red hat and a blue top", "a person with a blue top"
STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Weights drawn at random want larger steps than learned ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "RATE", 1e-2)
        yield


@pytest.fixture(scope="module")
def model():
    return from_snapshot(random_snapshot([HAT, HATLESS]))


@pytest.fixture(scope="module")
def images(model):
    """What the model draws of captions, and a white square on it that it does not draw."""
    drawn = model.sample([HAT, HATLESS], seed=[1, 2])
    drawn[:, 3:7, 3:7] = 255
    return drawn


@pytest.fixture(scope="module")
def codes(model, images):
    """Codes with as many steps of tuning, and what was told of the progress."""
    told = []
    how = {"effort": Effort(1, 1, 1, STEPS), "asked": ["green hair"], "progress": lambda *done: told.append(done)}
    return invert(model, images, [HAT, HATLESS], **how), told


def test_tuning_takes_its_steps_and_draws_the_picture_better(model, images, codes):
    found, told = codes
    assert told[-1] == (3 + 2 * STEPS, 3 + 2 * STEPS)
    without = invert(model, images, [HAT, HATLESS], effort=Effort(1, 1, 1))
    assert (found.psnr_db > without.psnr_db + 0.1).all()
    for row, caption in enumerate((HAT, HATLESS)):
        drawn = vary(model, found[row : row + 1], 0.0)[0].astype(float)
        error = ((drawn - images[row]) ** 2).mean()
        assert 10 * np.log10(255**2 / error) == pytest.approx(found.psnr_db[row], abs=0.05), caption
    for path, array in found.tuning().items():
        assert array.dtype == np.float16 and "style" not in path  # what noise and captions mean does not move


def test_other_pictures_are_held_where_they_are(model, images):
    """Far less moves with the second term of the loss than without it."""
    target = Target(to_unit(jnp.asarray(images[:1])), jnp.ones((1, 16, 16, 1)), encode_text(model, [HAT]))
    networks, params = model.networks, model.params
    styles = networks.generator.apply(
        params["generator"], jnp.zeros((1, networks.z_dim)), target.text.sentence, method="styles"
    )
    around = encode_text(model, [HATLESS] * 4)
    moved = {}
    for locality in (0.0, 100.0):
        difference = tuning.tune(networks, params, Pivot(styles, target), around, STEPS, locality=locality)
        other = model_of(model, [(1.0, difference)])
        before, after = (of.sample([HATLESS] * 4, seed=[5, 6, 7, 8]).astype(int) for of in (model, other))
        moved[locality] = np.abs(after - before).mean()
    assert moved[100.0] < 0.7 * moved[0.0]


def test_what_was_moved_is_kept_in_the_file_and_used(model, images, codes, tmp_path):
    found, _ = codes
    found.save(tmp_path / "tuned.npz")
    again = Codes.load(tmp_path / "tuned.npz")
    assert len(again.tuned) == 2 and again[1:].tuned == again.tuned[1:]
    jax.tree.map(np.testing.assert_array_equal, again.tuned, found.tuned)
    plain = dataclasses.replace(found, tuned=())
    for draw in (
        lambda of: vary(model, of[:1], 0.0),
        lambda of: mix(model, of[:1], of[1:], num=3)[1:2],
        lambda of: (
            edit(model, images[0], "green hair", caption=HAT, codes=of[:1], hidden=np.ones((16, 16, 1), "f")).image
        ),
    ):
        np.testing.assert_array_equal(draw(again), draw(found))
        assert (draw(plain) != draw(found)).any()
    # At full strength nothing is left of the picture, nor of what the generator was moved for it.
    np.testing.assert_array_equal(vary(model, plain[:1], 1.0), vary(model, found[:1], 1.0))
    strange = dataclasses.replace(found[:1], tuned=({"params/nothing/kernel": np.ones(2, np.float16)},))
    with pytest.raises(UserError, match="tune params/nothing/kernel"):
        vary(model, strange, 0.5)


def test_captions_around_one_lack_a_word_each():
    assert captions_around("a red hat", ["green hair"]) == ["a red hat", "green hair", "red hat", "a hat", "a red"]
    assert captions_around("hat") == ["hat"]
    assert len(captions_around(" ".join(map(str, range(99))))) == MOST_CAPTIONS
