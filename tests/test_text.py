"""The tokenizer: ids, truncation, refusals, and one file whatever the number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2igan.data.tokenizer import BEGIN, END, PAD, Tokenizer
from t2igan.errors import UserError

CAPTIONS = [f"a {size} {colour} {thing}" for size in ("small", "large") for colour in ("red", "blue")
            for thing in ("cat", "dog", "house by the sea")]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CAPTIONS, vocab_size=320, max_tokens=12, lowercase=True)


def test_ids_are_framed_and_padded(tokenizer):
    ids = tokenizer.encode(["a red cat", ""])
    assert ids.shape == (2, 12) and ids.dtype == np.int32
    length = (ids[0] != PAD).sum()
    assert ids[0, 0] == BEGIN and ids[0, length - 1] == END and (ids[0, length:] == PAD).all()
    assert ids[1].tolist() == [BEGIN, END] + [PAD] * 10
    assert ids.max() < tokenizer.vocab_size <= 320
    assert tokenizer.encode([]).shape == (0, 12)


def test_truncation_keeps_the_end(tokenizer):
    captions = ["a red cat", "zyxwvutsrqponml" * 3]
    ids = tokenizer.encode(captions)
    assert ids[1, 0] == BEGIN and ids[1, -1] == END and (ids[1] != PAD).all()
    assert (tokenizer.lengths(captions) > tokenizer.max_tokens).tolist() == [False, True]


def test_case_white_space_and_unicode_forms_do_not_matter(tokenizer):
    ids = tokenizer.encode(["a red cat", "  A\tRED \n cat ", "ａ red cat"])
    np.testing.assert_array_equal(ids[0], ids[1])
    np.testing.assert_array_equal(ids[0], ids[2])
    cased = Tokenizer.train(CAPTIONS, 320, 12, lowercase=False)
    assert (cased.encode(["a Red cat"]) != cased.encode(["a red cat"])).any()


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=12))
def test_any_text_comes_back(text):
    tokenizer = WIDE
    once = tokenizer.decode(tokenizer.encode([text])[0])
    assert tokenizer.decode(tokenizer.encode([once])[0]) == once
    ids = tokenizer.encode([text])[0]
    assert (ids == BEGIN).sum() == 1 and (ids == END).sum() == 1  # no text spells a special token


WIDE = Tokenizer.train(CAPTIONS, 320, 200, lowercase=True)


def test_text_that_spells_a_special_token_or_has_no_utf8_form():
    assert WIDE.decode(WIDE.encode(["a <end> 😀 東京"])[0]) == "a <end> 😀 東京"
    ids = WIDE.encode(["<end><pad><begin> \ud83d"])[0]
    assert (ids == END).sum() == 1


def test_prompts_are_refused_when_blank_or_too_long(tokenizer):
    np.testing.assert_array_equal(tokenizer.encode_prompts(["a red cat"]), tokenizer.encode(["a red cat"]))
    for blank in ("", " \n\t"):
        with pytest.raises(UserError, match="prompt 2 of 2 is empty"):
            tokenizer.encode_prompts(["a red cat", blank])
    with pytest.raises(UserError, match=r"this model takes 10") as error:
        tokenizer.encode_prompts(["a red cat and a red cat and a red cat on zebras"])
    assert str(error.value).endswith("zebras'.")


def test_prompt_that_just_fits(tokenizer):
    prompt = "a red cat"
    while tokenizer.lengths([prompt + " a"])[0] <= tokenizer.max_tokens:
        prompt += " a"
    assert tokenizer.encode_prompts([prompt])[0, -1] == END
    with pytest.raises(UserError):
        tokenizer.encode_prompts([prompt + " a"])


def test_json_round_trip_and_nonsense(tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again == tokenizer and again.max_tokens == 12 and again.vocab_size == tokenizer.vocab_size
    assert again != Tokenizer.train(CAPTIONS, 270, 12, True)
    for nonsense in ("", "{}", "[1]"):
        with pytest.raises(ValueError):
            Tokenizer.from_json(nonsense)


def test_settings_that_cannot_work():
    with pytest.raises(UserError, match="vocab_size=100"):
        Tokenizer.train(CAPTIONS, 100, 12, True)
    with pytest.raises(UserError, match="max_tokens=2"):
        Tokenizer.train(CAPTIONS, 300, 2, True)


def test_training_does_not_depend_on_threads_or_hash_seed():
    code = (
        "import hashlib; from t2igan.data.tokenizer import Tokenizer;"
        "c = [f'a {i % 7} pixel {w} person number {i}' for i in range(400) for w in ('blond', 'blue')];"
        "print(hashlib.sha256(Tokenizer.train(c, 400, 20, True).to_json().encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1
