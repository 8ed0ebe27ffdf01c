"""Figures of the caption's own picture, and of copying the picture of the nearest caption."""

import dataclasses

import numpy as np
import pytest
from squares import tokenizer_of

from configs.base import get_config
from t2igan.data import Dataset
from t2igan.evaluation import metrics
from t2igan.evaluation.evaluate import evaluate
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.report.tables import figure_groups
from t2igan.evaluation.table import table

TONES = ("light", "medium", "dark")
THINGS = ("mage", "cook", "pilot", "dancer")


def picture(thing, tone):
    """A picture that differs by much from thing to thing, and by little from tone to tone."""
    image = np.random.default_rng(THINGS.index(thing)).integers(0, 200, (16, 16, 3))
    return (image + 20 * TONES.index(tone)).astype(np.uint8)


def caption_of(thing, tone):
    """A caption that shares more words with others of the thing than with others of the tone."""
    return f"{thing} {thing}craft: {tone} skin"


def split(name, pairs):
    """Captions with a picture each."""
    images = np.stack([picture(*pair) for pair in pairs])
    return Dataset("people", name, images, tuple((caption_of(thing, tone),) for thing, tone in pairs))


@pytest.fixture(scope="module")
def test():
    return split("test", [("mage", "dark"), ("cook", "light"), ("pilot", "medium"), ("dancer", "dark")])


@pytest.fixture(scope="module")
def extractors(test, tmp_path_factory):
    held_out = {of_one[0] for of_one in test.captions}
    pairs = [(thing, tone) for thing in THINGS for tone in TONES if caption_of(thing, tone) not in held_out]
    train = split("train", pairs)
    return FeatureExtractors(get_config(), train, tokenizer_of(train), tmp_path_factory.mktemp("extractors"))


def evaluated(draw, dataset, extractors, groups=("paired",)):
    return evaluate(
        draw, dataset, extractors, num_images=4, seed=0, metrics=groups, extractor_names=("pixels",), resamples=50
    )


def draw_of(change):
    """Draws the picture of a caption, after a change of what it says."""

    def draw(captions, _):
        words = [caption.replace(",", "").split() for caption in captions]  # mage magecraft: dark skin
        return np.stack([picture(*change(of_one[0], of_one[-2])) for of_one in words])

    return draw


def values(result, name):
    figure = result["figures"][f"paired/{name}/pixels"]
    return figure["value"], figure["floor"], figure["copied"]


def test_own_pictures_are_the_nearest_and_copies_never_are(test, extractors):
    result = evaluated(draw_of(lambda *pair: pair), test, extractors, ("paired", "frechet_distance"))
    assert values(result, "nearest") == (1, 0, 0)
    assert values(result, "nearest_in_base") == (1, 0, 0)
    distance, floor, copied = values(result, "distance")
    assert distance == 0 and floor > 0.15
    assert copied == pytest.approx((40 + 20 + 20 + 40) / 4 / 255)  # of equally near captions the first, in a light tone
    figure = result["figures"]["frechet_distance/pixels"]
    assert figure["value"] == pytest.approx(0, abs=1e-6) and figure["copied"] > 0.1
    assert "paired/nearest_told/pixels" not in result["figures"]


def test_the_right_thing_in_the_wrong_tone_is_told_from_the_right_one(test, extractors):
    lighter = {"dark": "medium", "medium": "light", "light": "medium"}
    result = evaluated(draw_of(lambda thing, tone: (thing, lighter[tone])), test, extractors)
    assert values(result, "nearest")[0] == 0 and values(result, "nearest_in_base")[0] == 0
    # Dull pictures lie between all others.
    result = evaluated(lambda captions, _: np.full((len(captions), 16, 16, 3), 120, np.uint8), test, extractors)
    assert values(result, "nearest")[0] <= 0.5


def test_captions_of_training_are_found_by_copying(extractors):
    result = evaluated(draw_of(lambda *pair: pair), extractors.train, extractors)
    assert values(result, "nearest") == (1, 0, 1) and values(result, "distance")[2] == 0


def test_words_never_told_are_measured_apart(extractors):
    strange = split("test", [("mage", "dark"), ("cook", "light")])
    strange = dataclasses.replace(strange, captions=(strange.captions[0], ("sorcerer sorcery: light skin",)))
    result = evaluated(lambda captions, _: np.stack([picture("mage", "dark") for _ in captions]), strange, extractors)
    assert values(result, "nearest")[0] == 0.5
    assert values(result, "nearest_told")[0] == 1 and values(result, "nearest_never_told")[0] == 0
    assert result["figures"]["paired/nearest_in_base/pixels"]["num_images"] == 2  # a base of one picture says nothing


def test_copies_have_a_column_where_there_are_some(test, extractors):
    result = evaluated(draw_of(lambda *pair: pair), test, extractors)
    heading, *lines = table([result]).splitlines()[1:]
    assert heading.split()[:4] == ["generated", "real", "shuffled", "copied"]
    assert lines[-2].startswith("copied: the training pictures whose captions are nearest")
    (group,) = figure_groups(result)
    assert group.copied and group.rows[0].copied == "0.000"


def test_the_nearest_text_has_most_words_in_common_of_all_words():
    known = [{"a", "red", "cap"}, {"a", "cap"}, {"a", "red", "cap", "and", "shoes"}, set()]
    texts = [{"a", "cap"}, {"red", "shoes"}, {"hat"}, {"red", "cap"}]
    # "red shoes": 1/4, 0, 2/5; "red cap": 2/3, 1/3, 2/5. What shares no word gets the first of all.
    assert metrics.nearest_texts(texts, known).tolist() == [1, 2, 0, 0]
    with pytest.raises(ValueError, match="no known text"):
        metrics.nearest_texts(texts, [])
