"""Editing with what the phases `inversion` and `caption` leave: one pass instead of a search; what a report shows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from configs.base import get_config
from t2igan import nets
from t2igan.config.stored import from_dict
from t2igan.data import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.report import edits
from t2igan.inference.drawing import to_bytes
from t2igan.inference.editing import complete, completed, describe, diversity_levels, inversion, invert
from t2igan.inference.editing.inversion import Effort, Target
from t2igan.inference.editing.inverting import encode_text, numbered_noise
from t2igan.inference.sample import from_snapshot
from t2igan.nets.init import init_network

HAT, HATLESS = "a person with a red hat and a blue top", "a person with a blue top"


@pytest.fixture(scope="module")
def model():
    """All networks that editing knows, drawn at random; the inverter is far from sure, so that versions differ."""
    snapshot = random_snapshot([HAT, HATLESS], {"inverter.kind": "told"})
    networks = nets.build(from_dict(snapshot.config), Tokenizer.from_json(snapshot.tokenizer).vocab_size)
    batch = {"images": np.zeros((2, 16, 16, 3), np.float32), "tokens": np.ones((2, 16), np.int32)}
    more = {
        name: jax.device_get(init_network(networks, name, jax.random.key(0), batch))
        for name in ("inverter", "image", "captioner")
    }
    return from_snapshot(dataclasses.replace(snapshot, params=snapshot.params | more))


@pytest.fixture(scope="module")
def images(model):
    return model.sample([HAT, HATLESS], seed=[1, 2])


def lower_half():
    hidden = np.zeros((16, 16, 1), np.float32)
    hidden[8:] = 1
    return hidden


def test_fast_begins_with_the_inverter_and_tries_no_noises(model, images):
    told = []
    codes = invert(model, images, [HAT, HATLESS], "fast", progress=lambda *done: told.append(done))
    assert told[-1] == (inversion.FROM_INVERTER.total,) * 2 and not inversion.FROM_INVERTER.tries
    other = invert(model, images, [HAT, HATLESS], "fast", seed=9)  # nothing is left to chance
    np.testing.assert_array_equal(codes.noise, other.noise)
    alone = invert(model, images, [HAT, HATLESS], effort=Effort(0, 0, 0))  # where it begins; Adam's steps are short
    assert 0 < np.abs(codes.noise - alone.noise).max() < 2 * inversion.FROM_INVERTER.total * inversion.OFFSET_RATE


def test_versions_are_drawn_by_seed_and_keep_what_is_visible(model, images):
    hidden = lower_half()
    two = completed(model, images[0], hidden, HAT, num=2, seed=5, quality="fast")
    one = complete(model, images[0], hidden, HAT, num=1, seed=6, quality="fast")
    np.testing.assert_array_equal(two.images[1], one[0])  # the same seed, whatever else is drawn
    assert two.visible_db.shape == (2,)
    assert (two.images[:, :8] == images[0][:8]).all()
    assert diversity_levels(two.images, hidden[..., 0] == 1) > 1
    assert diversity_levels(two.images, hidden[..., 0] == 0) == 0


def test_a_fast_completion_is_the_best_of_its_noises_drawn_once(model, images, monkeypatch):
    from t2igan.inference.editing import completing

    hidden, told = lower_half(), []
    monkeypatch.setattr(completing, "look", None)  # nothing is searched for, and the choice not drawn again
    monkeypatch.setattr(completing, "AT_ONCE", 4)
    made = completed(model, images[0], hidden, HAT, num=2, seed=5, quality="fast", progress=lambda *d: told.append(d))
    tries = inversion.COMPLETIONS["fast"].tries
    assert told == [(done, 2 * tries) for done in range(4, 2 * tries + 1, 4)]
    alike = lambda x: jnp.broadcast_to(x, (tries, *x.shape))
    target = Target(nets.to_unit(alike(images[0])), alike(1 - hidden), encode_text(model, [HAT] * tries))
    draw = jax.jit(inversion.draw, static_argnums=0)
    for seed, version in zip((5, 6), made.images, strict=True):
        drawn = draw(model.networks, model.params, numbered_noise(seed, range(tries), model), 0.0, target.text)
        best = to_bytes(drawn)[inversion.distance(drawn, target).argmin()]
        assert np.abs(version[8:].astype(int) - best[8:]).max() <= 1


def test_how_much_versions_differ_by_hand():
    images = np.zeros((2, 2, 2, 1), np.uint8)
    images[1, 0, 0] = 10  # a standard deviation of 5, in one of four pixels
    assert diversity_levels(images) == pytest.approx(2.5)
    assert diversity_levels(images, np.array([[True, False], [False, False]])) == pytest.approx(5)
    assert diversity_levels(images[:1]) == 0 == diversity_levels(images, np.zeros((2, 2), bool))


def test_a_report_shows_what_the_networks_of_a_run_can_do(model, images, monkeypatch):
    monkeypatch.setitem(inversion.QUALITIES, "good", Effort(0, 1, 1))
    shown = Dataset("tiny", "test", images, ((HAT,), (HATLESS,)), None)
    found = edits.draw(model, shown)
    assert set(found) == {"inversion", "completion", "edits", "descriptions"}
    assert [len(strip.pictures) for strip in found["inversion"]] == [3, 3]
    assert [len(strip.pictures) for strip in found["completion"]] == [2 + edits.VERSIONS] * 2
    assert "levels of 255" in found["completion"][0].note and "dB" in found["inversion"][0].note
    assert [strip.caption for strip in found["edits"]] == [f"{HAT} → {HATLESS}", f"{HATLESS} → {HAT}"]
    assert describe(model, images)[0].caption in found["descriptions"][0].caption
    bare = dataclasses.replace(shown, captions=(("word " * 40,), ("word " * 40,)))
    assert edits.draw(model, bare) == {}  # captions that the model does not take
    assert edits.draw(from_snapshot(random_snapshot([HAT, HATLESS])), shown) == {}


def test_the_default_ends_with_both_phases():
    assert get_config().phases[-2:] == ("inversion", "caption")
    assert get_config().inverter.kind == "told"
