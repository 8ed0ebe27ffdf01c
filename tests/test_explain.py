"""Explanations: what one word does, by hand and on a model whose every weight matters."""

import numpy as np
import pytest
from commands import run_verb
from PIL import Image
from tiny import random_snapshot

from t2igan.cli.explain import read_exchanges
from t2igan.data import Dataset
from t2igan.data.seen import words_of
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.explain import another_word, explain, nearest_training, rank_correlation, variants
from t2igan.evaluation.report.explanation import agreement, attention_maps, explanation_sheet
from t2igan.inference.provenance import GENERATED, read_claims
from t2igan.inference.sample import from_snapshot
from t2igan.inference.snapshot import save_snapshot

CAPTIONS = ["a red cap, black hair", "a red cap, blond hair", "a blue cap, black hair", "a blue cap, red hair", "a hat"]


@pytest.fixture(scope="module")
def snapshot():
    return random_snapshot(CAPTIONS)


@pytest.fixture(scope="module")
def model(snapshot):
    return from_snapshot(snapshot)


@pytest.mark.parametrize(
    ("prompt", "exchanges", "expected"),
    [
        ("a red cap", {}, [("a", "", "red cap"), ("red", "", "a cap"), ("cap", "", "a red")]),
        ("red", {"red": "blue"}, [("red", "blue", "blue")]),  # without it there would be no prompt
        (
            "Red, red",
            {"RED": "x"},
            [("Red", "", "red"), ("Red", "x", "x, red"), ("red", "", "Red"), ("red", "x", "Red, x")],
        ),
    ],
)
def test_each_word_is_left_out_or_exchanged(prompt, exchanges, expected):
    made = variants(prompt, Tokenizer.train(CAPTIONS, 300, 16), exchanges)
    assert [(one.word, one.instead, one.prompt) for one in made] == expected


@pytest.mark.parametrize(
    ("before", "word", "after", "expected"),
    [
        ("a ", "red", " cap", "blue"),
        ("a ", "blue", " cap", "red"),
        ("cap, ", "black", " hair", "blond"),
        ("", "x", " y", ""),
    ],
)
def test_the_other_word_is_the_commonest_between_the_same_neighbours(before, word, after, expected):
    assert another_word(before, word, after, map(words_of, [*CAPTIONS, "cap, blond hair"])) == expected


def test_a_word_that_is_not_there_is_named(model):
    with pytest.raises(UserError, match=r"no word 'sword' to exchange; its words are a, red, cap"):
        explain(model, "a red cap", [0], {"sword": "x"})
    with pytest.raises(UserError, match="must be a word and another"):
        read_exchanges(["red"])
    assert read_exchanges(["red = dark blue"]) == {"red": "dark blue"}


def test_a_change_is_the_difference_of_two_pictures(model):
    found = explain(model, "a red cap", [3, 4], {"red": "blue"})
    assert [change.variant.label for change in found.changes] == [
        "without 'a'",
        "without 'red'",
        "'red' -> 'blue'",
        "without 'cap'",
    ]
    change = found.changes[2]
    other = model.sample(["a blue cap"] * 2, [3, 4]).astype(float)
    own = model.sample(["a red cap"] * 2, [3, 4]).astype(float)
    np.testing.assert_allclose(change.moved, np.abs(other - own).mean((0, 3)), atol=1)
    assert change.share == pytest.approx((np.abs(other - own).mean(-1) >= 20).mean(), abs=0.02)
    assert change.moved.max() > 1 and change.attributes == {}


def test_the_nearest_training_picture_is_found():
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), np.uint8)
    train = Dataset.from_arrays(images, [f"number {i}" for i in range(50)])
    rows, distances = nearest_training(images[[7, 30]], train, 3)
    assert rows[:, 0].tolist() == [7, 30] and (distances[:, 0] == 0).all() and (np.diff(distances) > 0).all()


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 90])) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 3]), np.array([3, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])) == pytest.approx(0)
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3)))


def test_a_sheet_has_a_row_a_change_and_the_nearest(model):
    found = explain(model, "a red cap", [3])
    attention = attention_maps(model, "a red cap", [3])
    assert attention.shape[0] == 3 and all(-1 <= value <= 1 for value in agreement(found, attention))
    train = Dataset.from_arrays(np.zeros((2, 16, 16, 3), np.uint8), ["a", "b"])
    with_train = explanation_sheet(found, attention, train, 2)
    without = explanation_sheet(found, None, None, 2)
    assert with_train.shape[1] == without.shape[1] == 4 * (32 + 6) + 6
    assert with_train.shape[0] > without.shape[0] > 3 * 32


def test_the_command_writes_a_sheet(snapshot, tmp_path, capsys):
    save_snapshot(tmp_path / "x.safetensors", snapshot)
    words = [f"--workdir={tmp_path / 'x.safetensors'}", "--prompt=a red cap", f"--out={tmp_path / 'e.png'}", "--num=1"]
    run_verb("explain", *words)
    said = capsys.readouterr().out
    assert "without 'red'" in said and "rank correlation" in said and "Attention is what the generator reads" in said
    assert read_claims(tmp_path / "e.png").source_type == GENERATED
    with Image.open(tmp_path / "e.png") as picture:
        assert picture.size[0] == 4 * (128 + 6) + 6
    for wrong in (["--prompt="], ["--out=x.jpg"], ["--num=0"], ["--exchange=red"]):
        with pytest.raises(UserError):
            run_verb("explain", *words, *wrong)
