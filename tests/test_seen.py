"""Prompts: what the training captions did not have is named, and an owner's rules are kept."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny import random_snapshot

import t2igan
from t2igan.data import open_dataset
from t2igan.data.seen import Bloom, Seen, never_told, words_of
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.private import last_part, without_private
from t2igan.inference.rules import PromptRules
from t2igan.inference.sample import PromptWarning
from t2igan.inference.serving.vocabulary import Vocabulary
from t2igan.inference.snapshot import Snapshot, load_snapshot, save_snapshot

CAPTIONS = [f"a {colour} cap and {other} hair" for colour in ("red", "green", "blue") for other in ("black", "red")]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(CAPTIONS, 300, 32)


@pytest.fixture(scope="module")
def seen(tokenizer):
    return Seen.of(CAPTIONS, CAPTIONS[:3], tokenizer)


@pytest.mark.parametrize(
    ("prompt", "words", "pairs"),
    [
        ("a red cap and black hair", (), ()),
        ("A  RED Cap and ｂｌａｃｋ hair", (), ()),  # capitals, spaces and compatibility forms are not other words
        ("a purple cap and black hair", ("purple",), ()),
        ("a purple cap and tartan hair, a purple cap", ("purple", "tartan"), ("hair ,", ", a")),
        ("cap red a", (), ("cap red", "red a")),
        ("a red hair", (), ()),
        ("東 hair", ("東",), ()),
    ],
)
def test_what_was_never_seen_is_named(seen, tokenizer, prompt, words, pairs):
    found = seen.unseen(prompt, tokenizer)
    assert found.words == words
    assert not pairs or set(pairs) <= set(found.pairs)
    assert bool(found) == bool(words or pairs)
    assert all(repr(word) in found.text for word in (*words, *pairs))


def test_a_word_of_a_single_caption_is_not_kept(tokenizer):
    seen = Seen.of([*CAPTIONS, "a cap of Anna Schmidt", "a cap of Anna"], [], tokenizer)
    assert seen.unseen("Anna Schmidt", tokenizer).words == ("schmidt",)


def test_captions_that_were_shortened_count_with_their_pairs_but_not_with_their_words(tokenizer):
    """What is left out of a caption brings words together; a word of one caption stays unknown."""
    whole, short = [*CAPTIONS, "a cap of Anna and black hair"], ["black hair and a cap", "a cap of Anna"]
    before, after = Seen.of(whole, [], tokenizer), Seen.of(whole, [], tokenizer, short * 3)
    assert "hair and" in before.unseen("black hair and a cap", tokenizer).pairs
    assert not after.unseen("black hair and a cap", tokenizer)
    assert after.unseen("a cap of Anna", tokenizer).words == before.unseen("a cap of Anna", tokenizer).words != ()


def test_pairs_are_kept_only_where_new_ones_are_rare(tokenizer):
    free = ["hair red a cap", "and and and"]
    seen = Seen.of(CAPTIONS, free, tokenizer)
    assert seen.pairs is None and seen.held_out == {"word": 0.0, "pair": 1.0}
    assert not seen.unseen("cap red a", tokenizer)


def test_a_filter_forgets_nothing_and_seldom_invents():
    known, others = [f"word{i}" for i in range(2000)], [f"other{i}" for i in range(5000)]
    bloom = Bloom.from_json(json.loads(json.dumps(Bloom.of(known).to_json())))
    assert all(word in bloom for word in known)
    assert 0.002 < np.mean([word in bloom for word in others]) < 0.02


def test_it_comes_back_from_json(seen, tokenizer):
    again = Seen.from_json(json.loads(json.dumps(seen.to_json())))
    for prompt in ("cap red a", "a purple cap", CAPTIONS[0]):
        assert again.unseen(prompt, tokenizer) == seen.unseen(prompt, tokenizer)
    assert Seen.from_json({}) is None


@pytest.mark.parametrize(
    "value",
    [
        {"words": 7, "pairs": None, "held_out": {}},
        {"words": {"bits": "§", "hashes": 7}, "pairs": None, "held_out": {}},
        {"words": {"bits": "", "hashes": 7}, "pairs": None, "held_out": {}},
        {"words": {"bits": "AAAA" * 4, "hashes": 10**9}, "pairs": None, "held_out": {}},
        {"words": {"bits": "AAAA" * 4, "hashes": 7}, "pairs": [1], "held_out": {}},
        {"more": 1},
    ],
)
def test_what_a_snapshot_says_of_captions_is_checked(value):
    with pytest.raises(ValueError, match="not "):
        Seen.from_json(value)


def test_python_warns_and_draws(seen, tmp_path):
    import dataclasses

    whole = random_snapshot(CAPTIONS)
    save_snapshot(tmp_path / "old.safetensors", whole)
    save_snapshot(tmp_path / "new.safetensors", dataclasses.replace(whole, seen=seen.to_json()))
    old, new = t2igan.load(tmp_path / "old.safetensors"), t2igan.load(tmp_path / "new.safetensors")
    assert old.unseen("a purple cap") == []
    assert [one.words for one in new.unseen(["a purple cap", "a red cap", "a purple cap"])] == [("purple",)]
    with pytest.warns(PromptWarning, match=r"fewer than 2 training captions had 'purple'.*little to this model"):
        drawn = new.sample("a purple cap")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new.sample("a red cap")
        new.sample("a purple cap", cut_long=True)  # as evaluations draw
        np.testing.assert_array_equal(old.sample("a purple cap"), drawn)


def test_the_model_that_comes_along_names_new_words_and_leaves_captions_of_the_test_split_alone():
    model = t2igan.load("models/pixel_avatars")
    captions = open_dataset(t2igan.get_config("base").data, "test").captions
    captions = list(dict.fromkeys(caption for of_one in captions for caption in of_one))[:150]
    assert len(model.unseen(captions)) <= 0.01 * len(captions)
    exchanged = [" ".join([*caption.split()[:-1], "locomotive"]) for caption in captions]
    assert len(model.unseen(exchanged)) >= 0.95 * len(set(exchanged))


@pytest.mark.parametrize(
    ("deny", "allow", "prompt", "words"),
    [
        (["sword"], None, "a Sword, drawn", "'sword'"),
        (["red cap"], None, "a big red cap", "'red cap'"),
        ([], ["a red cap", "hair"], "a red hat", "'hat'"),
    ],
)
def test_rules_refuse_by_name(deny, allow, prompt, words):
    with pytest.raises(UserError, match=words):
        PromptRules.of(deny, allow).check(["a red cap" if not deny else "hair", prompt])


def test_rules_let_the_rest_pass():
    PromptRules.of(["red cap", "cap red hair"], ["red", "cap", "swords", "a"]).check(
        ["a cap, red", "a red a cap swords"]
    )
    PromptRules.of(["sword"]).check(["swords and wordy swordfish"])
    assert words_of("Anna's ＲＥＤ-cap_2 東京") == ["anna's", "red-cap", "2", "東", "京"]


@pytest.mark.parametrize("content", [b"", b"# only a comment\n", b"\xff\xfe"])
def test_files_of_rules_without_words_are_explained(tmp_path, content):
    (tmp_path / "deny.txt").write_bytes(content)
    with pytest.raises(UserError, match="--deny="):
        PromptRules.read(tmp_path / "deny.txt", None)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("/home/anna/pictures/cats", "cats"),
        ("~anna/cats/", "cats"),
        (r"C:\Users\anna\cats.zip", "cats.zip"),
        ("/home/anna/pets:2,birds", "pets:2,birds"),
        ("tfds:caltech_birds2011/64", "tfds:caltech_birds2011/64"),
        ("tfds:/home/anna/mine", "mine"),
        ("pixel_avatars", "pixel_avatars"),
        ("", ""),
        (7, 7),
    ],
)
def test_of_a_path_only_the_last_part_is_kept(source, kept):
    assert last_part(source) == kept


def test_a_snapshot_tells_nothing_of_its_owner(tmp_path):
    config = {
        "data": {"source": "/home/anna/cats"},
        "sample": {"captions": ["Anna"]},
        "seed": 1,
        "init_from": "~/anna/x",
    }
    facts = {"data": "/home/anna/cats", "step": 3}
    save_snapshot(tmp_path / "x.safetensors", Snapshot({"w": np.ones(2, np.float32)}, config, "{}", facts, facts))
    assert b"nna" not in Path(tmp_path / "x.safetensors").read_bytes()
    loaded = load_snapshot(tmp_path / "x.safetensors")
    assert loaded.config == {"data": {"source": "cats"}, "sample": {"captions": []}, "seed": 1, "init_from": "x"}
    assert loaded.info == {"data": "cats", "step": 3}
    assert without_private({"seed": 1}) == {"seed": 1}


@pytest.mark.parametrize(
    ("captions", "num"),
    [
        ([], 0),
        (["A red cap", "a red cap", "red"], 0),
        (["a red hat", "a cap", "a hat"], 2),
        (["帽子"], 1),
        (["", "!"], 0),
    ],
)
def test_captions_with_a_word_that_no_training_caption_has_are_counted(captions, num):
    assert len(never_told(captions, [("A cap.", "RED things"), ("a",)])) == num


def test_words_to_go_on_with_are_those_that_stood_there():
    captions = ["a red cap and a t-shirt", "a red hat and a cap", "a blue hat or a blue cap and a t-shirt"]
    tokenizer = Tokenizer.train(captions, vocab_size=400, max_tokens=16)
    vocabulary = Vocabulary(tokenizer, 400, Seen.of(captions, [], tokenizer))
    assert "cap" in vocabulary.words and "t" not in vocabulary.words  # a part of a word is none
    assert vocabulary.following("a big red") == ["cap", "hat"]
    assert vocabulary.following("A Blue ") == ["cap", "hat"]
    assert vocabulary.following("") == []
    assert Vocabulary(tokenizer, 400).following("a red") == []  # it was not kept


def test_words_come_with_frequent_ones_first():
    animals = ["zebra"] * 7 + ["ape"] * 4 + ["yak"] * 2
    captions = [f"a {animal} in a hat, {number}" for number, animal in enumerate(animals)]
    tokenizer = Tokenizer.train(captions, vocab_size=400, max_tokens=16)
    vocabulary = Vocabulary(tokenizer, 400, Seen.of(captions, [], tokenizer))
    known = [word for word in vocabulary.words if len(word) > 2]
    assert known == ["hat", "zebra", "ape", "yak"]
