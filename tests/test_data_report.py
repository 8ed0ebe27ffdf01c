"""What the user is told of the data before and while it is used."""

import json

import numpy as np
import pytest

from configs.base import get_config
from t2igan.data import Dataset, Skipped, check_usable, open_dataset
from t2igan.data.summary import as_json, examples, left_out, lines, printable
from t2igan.errors import UserError


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
