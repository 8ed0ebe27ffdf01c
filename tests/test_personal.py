"""What may be personal in captions, licences in columns, rare words in tokenizers."""

import json

import numpy as np
import pytest

from t2igan.data import Dataset, personal
from t2igan.data.summary import as_json
from t2igan.data.tokenizer import Tokenizer


def dataset(captions, attributes=None):
    images = np.arange(len(captions) * 48, dtype=np.uint8).reshape(len(captions), 4, 4, 3)
    return Dataset.from_arrays(images, captions, attributes)


@pytest.mark.parametrize(
    ("caption", "kind", "found"),
    [
        ("Anna, anna.b+x@mail.example.org, smiling", "e-mail address", "anna.b+x@mail.example.org"),
        ("call +49 151 2345678 now", "phone number", "+49 151 2345678"),
        ("(030) 123-4567", "phone number", "(030) 123-4567"),
        ("fax 0151/23456789", "phone number", "0151/23456789"),
        ("+4915123456789", "phone number", "+4915123456789"),
        ("the house at 12 Baker Street", "address", "12 Baker Street"),
        ("Haus in der Lindenstraße 5a", "address", "Lindenstraße 5a"),
        ("devant le 5, rue Lepic", "address", "5, rue Lepic"),
    ],
)
def test_what_looks_personal_is_found(caption, kind, found):
    (one,) = personal.personal(dataset(["a red cap", caption]))
    assert (one.kind, one.row, one.found.strip(" (").rstrip()) == (kind, 1, found.strip(" ("))


@pytest.mark.parametrize(
    "caption",
    [
        "a street with 12 cars",
        "in 2026, on 12.05.2026 or 2026-05-12",
        "1920x1080 and 64 x 64 px",
        "a red cap @ the fair",
        "10 000 birds",
        "numbers 1 2 3 4 5",
        "the 5 avenues",
        "version 1.2.3.4",
    ],
)
def test_what_is_not_personal_is_left_alone(caption):
    assert personal.personal(dataset([caption])) == []


def test_the_report_lists_captions_and_licences():
    columns = [{"licence": "CC0"}, {"licence": "CC-BY"}, {"licence": "CC0", "kind": "cat"}, {}]
    data = dataset(["a cat", "b@c.de", "a dog", "x@y.org"], columns)
    report = as_json([data])
    json.dumps(report)
    listed = report["captions_that_may_be_personal"]["e-mail address"]
    assert listed["captions"] == 2 and [one["row"] for one in listed["listed"]] == [1, 3]
    assert report["licences"] == {"train": {"licence": {"CC0": 2, "CC-BY": 1, "none": 1}}}
    said = personal.remarks([data])
    assert any("2 captions have what looks like an e-mail address" in line for line in said)
    assert any("licences: column 'licence' has CC0 2, CC-BY 1, none 1; 1 have none" in line for line in said)
    assert personal.remarks([dataset(["a cat"])]) == []


def test_rare_words_that_the_tokenizer_shows_are_listed():
    captions = [*[f"a red cap {i}" for i in range(9)], "schmidt with a cap", "schmidt again, schmidt"]
    tokenizer = Tokenizer.train(captions, 400, 16)
    rare = personal.rare_words(captions, tokenizer)
    assert "schmidt" in rare and "cap" not in rare
    assert personal.rare_words(captions[:9], tokenizer) == []
