"""What the user is told of the data before and while it is used."""

import dataclasses
import json

import numpy as np
import pytest

from configs.base import get_config
from t2igan.data import Dataset, Skipped, check_usable, open_dataset
from t2igan.data.alike import signature
from t2igan.data.summary import as_json, cut_captions, examples, few_held_out, left_out, lines, printable
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, counted


def made(split: str, numbers: list[int], skipped: tuple[Skipped, ...] = ()) -> Dataset:
    """A split whose picture `i` is one colour and has the captions "number i" and "the number i"."""
    images = np.array(numbers, np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    content = np.repeat(np.array(numbers, np.uint8)[:, None], 16, axis=1)
    sizes = np.array([[10 + i, 300] for i in numbers], np.int32)
    captions = tuple((f"number {i}", f"the number {i}") for i in numbers)
    return Dataset("made", split, images, captions, None, skipped, content, sizes, "made for a test")


SKIPPED = (Skipped("a.png", "no caption"), Skipped("b\x1b[2J.png", "no caption"), Skipped("c.png", "broken"))


def test_the_report_has_every_file_that_was_left_out():
    report = as_json([made("train", [1, 2, 2, 3], SKIPPED), made("test", [3, 4])])
    train = report["splits"]["train"]
    assert (train["pictures"], train["captions"], train["left_out"], train["same_picture_again"]) == (4, 8, 3, 1)
    assert train["reasons"] == {"no caption": 2, "broken": 1}
    assert train["files_left_out"][2] == {"file": "c.png", "reason": "broken"}
    assert report["same_picture_in_two_splits"] == {"train and test": 1}
    assert json.loads(json.dumps(report)) == report


def test_the_terminal_shows_what_matters_and_no_control_characters():
    config = get_config()
    text = "\n".join(lines([made("train", [1, 2, 2, 3], SKIPPED), made("test", [3, 4])], config.data, config.tokenizer))
    for words in (
        "made for a test", "4 pictures", "8 captions", "11 to 13 wide", "4 are smaller", "more than twice as long",
        "left out 3 pictures: no caption (2); broken (1). The first: a.png", "1 picture again, byte by byte",
        "1 picture in both train and test",
    ):  # fmt: skip
        assert words in text, text
    assert "\x1b" not in left_out(made("train", [1], SKIPPED[1:])) and printable("a\nb\ud800") == "a\\nb\\ud800"
    config.tokenizer.max_tokens = 3
    assert "8 are longer than config.tokenizer.max_tokens=3" in "\n".join(
        lines([made("train", [1, 2, 2, 3])], config.data, config.tokenizer)
    )


def test_few_held_out_pictures_and_long_captions_are_remarked_upon():
    train, val, test = made("train", list(range(60))), made("val", [70, 71]), made("test", [72])
    (few,) = few_held_out([train, val, test])
    assert few.startswith("only 2 pictures in val and 1 picture in test: ")
    assert "config.data.val_fraction and test_fraction" in few
    assert not few_held_out([train, train, made("test", list(range(100, 131)))])
    captions = ("number 3", "a very long caption of many words, far beyond what is read")
    tokenizer = Tokenizer.train(captions, 300, 12)
    long = dataclasses.replace(train, captions=tuple((captions[row % 3 == 0],) for row in range(60)))
    (line,) = cut_captions(long, tokenizer)
    assert "20 of 60 are longer than config.tokenizer.max_tokens=12 and are cut" in line
    assert not cut_captions(train, Tokenizer.train(captions, 300, 40))


def test_one_picture_in_two_files_of_two_splits_is_remarked_upon():
    """Of colours on a ground: in the splits as PNG here and as JPEG there, and once byte by byte."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (3, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    noisy = np.clip(blocks.astype(int) + random.integers(-2, 3, blocks.shape), 0, 255).astype(np.uint8)
    signatures = [np.stack([signature(pixels) for pixels in images]) for images in (blocks, noisy)]
    train = dataclasses.replace(made("train", [1, 2, 3]), signatures=signatures[0])
    test = dataclasses.replace(made("test", [1, 12, 13]), signatures=signatures[1])
    text = "\n".join(lines([train, test], get_config().data, get_config().tokenizer))
    assert "1 picture in both train and test: figures" in text
    assert "2 pictures more in both train and test, in another file or nearly the same" in text


def test_notes_of_the_source_are_said():
    noted = dataclasses.replace(made("train", [1, 2]), notes=("2 texts are not UTF-8 and read as cp932",))
    assert f"note: {noted.notes[0]}" in lines([noted], get_config().data, get_config().tokenizer)
    assert as_json([noted])["notes"] == list(noted.notes)


def test_examples_are_spread_over_the_split_and_over_captions():
    images, captions = examples(made("train", list(range(50))), 6)
    assert images[:, 0, 0, 0].tolist() == [0, 10, 20, 29, 39, 49]
    assert captions[:2] == ["number 0", "the number 10"]
    assert len(examples(made("train", [7]), 24)[0]) == 1


def test_too_few_usable_pictures_are_refused():
    config = get_config().data
    check_usable(made("train", [1, 2, 3], SKIPPED), config)
    with pytest.raises(UserError, match=r"only 2 of 5 .*no caption \(2\); broken \(1\)(.|\n)*min_usable=0.5"):
        check_usable(made("train", [1, 2], SKIPPED), config)
    config.min_usable = 0.3
    check_usable(made("train", [1, 2], SKIPPED), config)


def test_the_embedded_data_is_described():
    config = get_config()
    text = "\n".join(lines([open_dataset(config.data, "test")], config.data, config.tokenizer))
    assert "attribute hat: " in text and "nothing was left out" in text and "425 pictures" in text


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 pictures"), (1, "1 picture"), (2, "2 pictures"), (1_234, "1,234 pictures")]
)
def test_a_number_and_its_noun_agree(count, said):
    assert counted(count, "picture") == said
