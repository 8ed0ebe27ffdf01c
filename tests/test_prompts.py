"""The language of prompts: what weights, AND and negatives mean, what is refused, and what plain captions keep."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_snapshot

from t2igan.errors import UserError
from t2igan.inference.prompts import parse, without_span
from t2igan.inference.sample import from_snapshot

BOTH = "a person with a red hat and a blue top"
HATLESS = "a person with a blue top"


@pytest.fixture(scope="module")
def model():
    return from_snapshot(random_snapshot([BOTH, HATLESS, "a person with green hair, light skin"]))


@pytest.mark.parametrize(
    "caption",
    [BOTH, "  odd   spaces ", "a (small) cat", "a smile :) at 10:30", "(note: this)", "RED AND BLUE", "a and b"],
)
def test_a_caption_without_the_language_is_itself_to_the_byte(caption):
    prompt = parse(caption)
    assert (prompt.captions, prompt.shares, prompt.read, prompt.notes) == ((caption,), (1.0,), (caption,), ())
    assert prompt.caption == caption


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        (r"a face \(at 10:30\)", "a face (at 10:30)"),
        (r"a \AND b", "a AND b"),
        ("a person with (a red hat:1) and a blue top", BOTH),
        ("a person with (a red hat:0) and a blue top", HATLESS),
        ("a person with a (red hat:-2) and a blue top", HATLESS),
        (f"{BOTH} AND {BOTH}", BOTH),
    ],
)
def test_escapes_and_weights_of_0_and_1_leave_a_plain_caption(prompt, caption):
    assert parse(prompt).caption == caption


@pytest.mark.parametrize(
    ("weight", "counts", "read"), [("1.3", 1.3, BOTH), (".5", 0.5, BOTH), ("0.25", 0.25, HATLESS), ("7", 1.5, BOTH)]
)
def test_a_weight_leans_from_the_caption_without_the_phrase(weight, counts, read):
    prompt = parse(f"a person with (a red hat:{weight}) and a blue top")
    assert dict(zip(prompt.captions, prompt.shares, strict=True)) == pytest.approx({BOTH: counts, HATLESS: 1 - counts})
    assert prompt.read == (read,)
    assert len(prompt.notes) == (weight == "7")
    assert sum(prompt.shares) == pytest.approx(1)


def test_and_adds_to_what_the_captions_share_or_to_the_first():
    cap = "a person with a green hat and a blue top"  # not both at once by words
    prompt = parse(f"{BOTH} AND {cap}")
    assert dict(zip(prompt.captions, prompt.shares, strict=True)) == {
        BOTH: 1,
        cap: 1,
        "a person with a hat and a blue top": -1,
    }
    assert prompt.read == (BOTH, cap)
    prompt = parse("a square AND red ink AND (a dot:0.5)")
    expected = {"a square and red ink": 1, "a square and a dot": 0.5, "a square": -0.5}
    assert dict(zip(prompt.captions, prompt.shares, strict=True)) == expected
    assert sum(prompt.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("prompt", "means"),
    [
        (f"{BOTH} AND a person with a beard and a blue top", "a person with a beard, a red hat and a blue top"),
        (
            "one, long hair and a top, skin AND one, long hair, a hat and a top, skin",
            "one, long hair, a hat and a top, skin",
        ),
        ("one, hair and a top AND one, hair, a hat, a beard and a top", "one, hair, a hat, a beard and a top"),
        ("one, hair AND one, hair, a beard AND one, hair, a hat", "one, hair, a hat, a beard"),
        ("one, hair and a top, skin AND a beard", "one, hair, a beard and a top, skin"),
    ],
)
def test_captions_of_the_same_phrases_but_for_some_become_one(prompt, means):
    assert parse(prompt).caption == means


def test_what_is_not_wanted_is_taken_out_or_leaned_away_from():
    said = parse(BOTH, negative="hat")
    assert said.caption == HATLESS
    assert said.notes
    prompt = parse(BOTH, negative="the RED  hat, a beard")
    assert dict(zip(prompt.captions, prompt.shares, strict=True)) == {HATLESS: 2, f"{HATLESS} and a beard": -1}
    assert prompt.read == (HATLESS,)
    assert parse("a person in red", negative="red").caption == "a person in"  # the first part says what it is


@pytest.mark.parametrize(
    ("text", "part", "left"),
    [
        ("hair, a beard, glasses and a top, skin", "a beard", "hair, glasses and a top, skin"),
        ("hair, a beard and a top", "a beard", "hair and a top"),
        ("hair and a beard, skin", "a beard", "hair, skin"),
        ("one with a beard, skin", "a beard", "one, skin"),
        ("one with a beard, hair and a top", "a beard", "one with hair and a top"),
        ("a beard and a top", "a beard", "a top"),
        ("one with a beard", "a beard", "one"),
        ("a red square", "red", "square"),
        (
            "a man with a bun and a full beard wearing a red dress",
            "a full beard",
            "a man with a bun wearing a red dress",
        ),
        ("a man with a full beard wearing a red dress", "a full beard", "a man wearing a red dress"),
        ("a man and a dog, red, wearing a hat", "a dog", "a man, red, wearing a hat"),
    ],
)
def test_nothing_hangs_loose_where_a_phrase_is_taken_out(text, part, left):
    start = text.index(part)
    assert without_span(text, start, start + len(part)) == left


@pytest.mark.parametrize(
    ("negative", "left"),
    [
        ("a beard", "a sad man with a bun wearing a red dress, dark skin"),
        ("dress", "a sad man with a bun and a full beard, dark skin"),
        ("wearing a red dress", "a sad man with a bun and a full beard, dark skin"),
        ("a bun", "a sad man with a full beard wearing a red dress, dark skin"),
    ],
)
def test_what_is_worn_is_a_phrase_of_its_own(negative, left):
    assert parse("a sad man with a bun and a full beard wearing a red dress, dark skin", negative).caption == left


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a (red hat:1.3", "the bracket in '(red hat:1.3' is not closed"),
        ("a (red hat:1.3 AND b", "is not closed"),
        ("a red hat:1.3) on", "'a red hat:1.3)' ends in a weight, and no bracket is open"),
        ("a (red hat:1,3)", "'1,3', which is no number; write it as in (red hat:1.3)"),
        ("a (red hat:1.3.1)", "'1.3.1', which is no number"),
        ("(a hat:0.5)", "nothing beside the phrase"),
        ("a hat AND ", "nothing on one side of AND"),
        ("AND a hat", "nothing on one side of AND"),
    ],
)
def test_what_is_wrong_is_said_with_its_text(prompt, says):
    with pytest.raises(UserError) as error:
        parse(prompt)
    assert says in str(error.value)


def test_a_negative_that_leaves_nothing_is_refused():
    with pytest.raises(UserError, match="leaves nothing of the prompt"):
        parse("a hat", negative="hat")


def test_prompts_draw_sums_of_styles_and_plain_captions_draw_what_they_did(model):
    half = "a person with (a red hat:0.5) and a blue top"
    twice = f"{BOTH} AND a person with a beard and a blue top"
    mixed = model.sample([BOTH, half, HATLESS, twice], seed=[3, 3, 3, 3])
    np.testing.assert_array_equal(mixed[[0, 2]], model.sample([BOTH, HATLESS], seed=3))
    tokens = model.tokenizer.encode([BOTH, HATLESS])
    text = model.networks.text_encoder.apply(model.params["text"], jnp.asarray(tokens))
    z = jnp.repeat(_noise(model, 3), 2, axis=0)
    generator, params = model.networks.generator, model.params["generator"]
    styles = generator.apply(params, z, text.sentence, method="styles").mean(0, keepdims=True)
    words = type(text)(text.sentence[:1], text.words[:1], text.mask[:1])
    expected = np.asarray(generator.apply(params, styles, words, method="draw"))[0]
    expected = np.round(np.clip(expected * 127.5 + 127.5, 0, 255))
    assert np.abs(mixed[1].astype(int) - expected).max() <= 1
    assert np.abs(mixed[3].astype(int) - mixed[0]).max() > 8


def _noise(model, seed):
    from t2igan.inference.drawing import noise

    return noise(jnp.array([seed], jnp.uint32), model.networks.z_dim)


def test_captions_of_data_are_read_as_they_stand_and_prompts_are_checked(model):
    brackets = "a person (a hat:0.5)"
    plain = model.sample([r"a person \(a hat:0.5\)"], seed=1)
    np.testing.assert_array_equal(model.sample([brackets], seed=1, cut_long=True), plain)
    with pytest.raises(UserError, match="is not closed"):
        model.sample("a person (a hat:0.5", seed=1)
    with pytest.raises(UserError, match="tokens, and this model takes"):
        model.sample("a person with (a hat:0.5) and " + "much more " * 30, seed=1)


def test_a_generator_without_styles_says_so(model):
    import copy

    other = copy.copy(model)
    other.networks = model.networks._replace(generator=object())
    with pytest.raises(UserError, match=r"needs a generator with styles.*config.generator.kind='residual'"):
        other.sample("a person with (a red hat:0.5)", seed=1)
