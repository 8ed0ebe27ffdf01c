"""Judges on coloured squares: what is right gets 1, what ignores the caption chance; nothing is learned twice."""

import json

import jax
import numpy as np
import pytest

from configs.base import get_config
from t2igan import judges as judging
from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.evaluate import evaluate, summary_line, table
from t2igan.judges import Judges, Settings, judged_px, shrink
from t2igan.text import Tokenizer

COLORS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 230), "yellow": (230, 220, 40)}
SIZES = {"small": 3, "large": 6}
QUICK = Settings(
    classifier_steps=60,
    classifier_batch_images=32,
    retrieval_steps=80,
    retrieval_batch_images=32,
    features=32,
)


def squares(split, num_images, seed, px=8, with_attributes=True, colors=tuple(COLORS)):
    """Squares at random places; every fifth has no colour: it is black, and its caption names none."""
    random = np.random.default_rng(seed)
    images = np.full((num_images, px, px, 3), 255, np.uint8)
    captions, attributes = [], []
    for i in range(num_images):
        size = random.choice(list(SIZES))
        side = SIZES[size] * px // 8
        y, x = random.integers(px - side + 1, size=2)
        if i % 5 == 0:
            images[i, y : y + side, x : x + side] = 0
            captions.append((f"a {size} square",))
            attributes.append({"size": size})
        else:
            color = str(random.choice(colors))
            images[i, y : y + side, x : x + side] = COLORS[color]
            captions.append((f"a {size} {color} square", f"a square, {color} and {size}"))
            attributes.append({"color": color, "size": size})
    return Dataset("squares", split, images, tuple(captions), tuple(attributes) if with_attributes else None)


def tokenizer_of(train):
    return Tokenizer.train([c for captions in train.captions for c in captions], vocab_size=300, max_tokens=12)


def real_pictures(dataset):
    """A generator that has learned everything: for a caption, some real picture of it."""
    rows = {}
    for row, captions in enumerate(dataset.captions):
        for caption in captions:
            rows.setdefault(caption, []).append(row)

    def draw(captions, seeds):
        return dataset.images[[rows[c][s % len(rows[c])] for c, s in zip(captions, seeds, strict=True)]]

    return draw


def any_pictures(dataset):
    """A generator that draws well and does not read."""
    return lambda _, seeds: dataset.images[np.array(seeds) % len(dataset)]


@pytest.fixture(scope="module")
def train():
    return squares("train", 300, seed=0)


@pytest.fixture(scope="module")
def test():
    return squares("test", 90, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(scope="module")
def judges(train, folder):
    return Judges(get_config(), train, tokenizer_of(train), folder, settings=QUICK).learn()


def test_real_pictures_of_the_captions_are_right(judges, test):
    result = evaluate(real_pictures(test), test, judges, num_images=150, seed=0)
    assert json.loads(json.dumps(result)) == result
    assert result["attributes/real_mean"] > 0.97
    assert result["attributes/mean"] > 0.97
    assert result["attributes/all"] > 0.95
    assert set(result) >= {"attributes/each/color", "attributes/each/size", "attributes/real_each/color"}
    assert result["frechet/extractor"] == "classifier"
    assert result["r_precision/candidates"] == 18  # 2 sizes of 4 colours in 2 wordings, and 2 without colour
    assert result["diversity"] > 0
    assert {key: result[key] for key in ("split", "seed", "num_images", "num_real")} == {
        "split": "test",
        "seed": 0,
        "num_images": 150,
        "num_real": 90,
    }


def test_pictures_that_ignore_the_caption_get_chance(judges, test):
    right = evaluate(real_pictures(test), test, judges, num_images=90, seed=0)
    wrong = evaluate(any_pictures(test), test, judges, num_images=90, seed=0)
    assert wrong["attributes/all"] < 0.3
    assert wrong["attributes/real_all"] == right["attributes/real_all"]
    assert wrong["r_precision"] < 0.25 < right["r_precision"]
    assert wrong["frechet"] < 2 * max(right["frechet"], right["frechet/real"])  # they are good pictures


def test_noise_is_far_by_frechet_and_one_picture_is_not_diverse(judges, test):
    def noise(captions, seeds):
        return np.random.default_rng(seeds[0]).integers(0, 256, (len(captions), 8, 8, 3), np.uint8)

    def same(captions, _):
        return np.repeat(test.images[:1], len(captions), axis=0)

    noisy = evaluate(noise, test, judges, num_images=60, seed=0, full=False)
    real = evaluate(real_pictures(test), test, judges, num_images=60, seed=0)
    assert noisy["frechet"] > 5 * real["frechet"]
    assert "r_precision" not in noisy and "diversity" not in noisy
    assert evaluate(same, test, judges, num_images=60, seed=0)["diversity"] == 0.0


def test_the_same_seed_gives_the_same_figures(judges, test):
    draw = any_pictures(test)
    first, again, other = (evaluate(draw, test, judges, num_images=50, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_draw_is_asked_for_each_caption_in_turn_with_seeds_of_their_own(judges, test):
    asked = []

    def draw(captions, seeds):
        assert all(type(s) is int for s in seeds)
        asked.extend(zip(captions, seeds, strict=True))
        return np.zeros((len(captions), 8, 8, 3), np.uint8)

    evaluate(draw, test, judges, num_images=180, seed=0, full=False)
    assert len({seed for _, seed in asked}) == 180
    once, twice = ([caption for caption, _ in asked[i : i + 90]] for i in (0, 90))
    assert sorted(once) == sorted(captions[0] for captions in test.captions)
    assert sorted(twice) == sorted(captions[-1] for captions in test.captions)


def test_values_that_training_lacked_are_wrong_for_all(judges, test):
    renamed = tuple({**a, "size": "huge"} if i < 45 else a for i, a in enumerate(test.attributes))
    strange = Dataset("squares", "strange", test.images, test.captions, renamed)
    result = evaluate(real_pictures(test), strange, judges, num_images=90, seed=0, full=False)
    assert result["attributes/unknown"] == 45
    assert result["attributes/real_each/size"] <= 0.5
    assert "45 values are unknown" in table(result)
    assert "generated" in table(result)


def test_attributes_that_cannot_be_learned_are_left_out(train):
    attributes = tuple(a | {"file": str(i), "shape": "square"} for i, a in enumerate(train.attributes))
    dataset = Dataset("squares", "train", train.images, train.captions, attributes)
    values = judging.judged_attributes(dataset)
    assert values == {"color": ["blue", "green", "none", "red", "yellow"], "size": ["large", "small"]}


def test_judges_are_kept_and_learned_anew_when_damaged(train, test, tmp_path):
    learned = []

    def load():
        tokenizer = tokenizer_of(train)
        settings = Settings(classifier_steps=3, features=8)
        return Judges(get_config(), train, tokenizer, tmp_path, lambda *p: learned.append(p), settings).learn()

    first = load()
    assert learned == [("classifier", 3, 3)]
    again = load()
    assert len(learned) == 1
    for one, other in zip(first.classify(test.images), again.classify(test.images), strict=True):
        np.testing.assert_array_equal(one, other)

    whole = first.path.read_bytes()
    for damaged in (whole[:100], whole[: len(whole) // 2], whole[:-8] + b"damaged!", b""):
        first.path.write_bytes(damaged)
        learned.clear()
        load()
        assert learned == [("classifier", 3, 3)]
        assert first.path.read_bytes() == whole  # learned alike, written whole
    assert [p.name for p in tmp_path.iterdir()] == [first.path.name]


def test_other_data_or_settings_are_other_judges(train, test, tmp_path):
    def path(dataset=train, **settings):
        return Judges(get_config(), dataset, tokenizer_of(train), tmp_path, settings=Settings(**settings)).path

    assert path() == path()
    assert len({path(), path(test), path(features=64), path(classifier_steps=5)}) == 4


def test_a_folder_that_cannot_be_written_does_not_stop_the_judges(train, test, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    settings = Settings(classifier_steps=2, features=8)
    judges = Judges(get_config(), train, tokenizer_of(train), tmp_path / "file", settings=settings).learn()
    assert len(judges.classify(test.images).labels) == len(test)
    assert "not kept" in caplog.text


def test_without_attributes_the_retrieval_model_is_the_extractor(tmp_path):
    train, test = (
        squares(s, n, seed, px=12, with_attributes=False) for s, n, seed in (("train", 40, 0), ("test", 20, 1))
    )
    settings = Settings(retrieval_steps=3, retrieval_batch_images=64, features=16)
    judges = Judges(get_config(), train, tokenizer_of(train), tmp_path, settings=settings).learn()
    result = evaluate(any_pictures(test), test, judges, num_images=30, seed=0, full=False)
    assert result["frechet/extractor"] == "retrieval"
    assert not any(key.startswith("attributes") for key in result)
    assert "by retrieval" in summary_line(result)
    with pytest.raises(ValueError, match="no classifier"):
        judges.classify(test.images)


def test_pictures_of_another_size_are_refused(judges, test):
    with pytest.raises(ValueError, match="as in training"):
        evaluate(lambda captions, _: np.zeros((len(captions), 16, 16, 3), np.uint8), test, judges, num_images=5, seed=0)
    with pytest.raises(ValueError, match="2 pictures for 5"):
        evaluate(lambda *_: test.images[:2], test, judges, num_images=5, seed=0)
    with pytest.raises(UserError, match="num_images=0"):
        evaluate(real_pictures(test), test, judges, num_images=0, seed=0)


def test_a_single_picture_gets_the_figures_it_can_have(judges, test):
    alone = Dataset("squares", "test", test.images[:1], test.captions[:1], test.attributes[:1])
    result = evaluate(real_pictures(alone), alone, judges, num_images=3, seed=0)
    assert result["attributes/mean"] == result["attributes/real_mean"]
    assert "frechet" not in result and "r_precision" not in result
    assert "attributes right" in summary_line(result)
    assert "attributes right" in table(result)


def test_summary_and_table_say_what_they_mean():
    result = {
        "split": "test",
        "seed": 0,
        "num_images": 425,
        "num_real": 425,
        "attributes/mean": 0.98,
        "attributes/all": 0.875,
        "attributes/real_mean": 1.0,
        "attributes/real_all": 0.999,
        "attributes/each/hat": 0.98,
        "attributes/real_each/hat": 1.0,
        "frechet": 12.34,
        "frechet/extractor": "classifier",
        "frechet/real": 3.2,
        "r_precision": 0.91,
        "r_precision/real": 0.99,
        "r_precision/candidates": 100,
        "diversity": 0.1,
    }
    assert summary_line(result) == (
        "test, 425 pictures: attributes right 0.980 (1.000), all at once 0.875 (0.999) · "
        "Fréchet 12.340 (3.200) by classifier · R-precision 0.910 (0.990) of 100 · diversity 0.100"
    )
    assert table(result).splitlines()[1:5] == [
        "                  generated   real",
        "attributes right      0.980  1.000  higher is better, 0 to 1",
        "  all at once         0.875  0.999",
        "  hat                 0.980  1.000",
    ]


def test_sizes_at_which_judges_look():
    assert [judged_px(px) for px in (4, 16, 28, 30, 32, 64, 100, 256)] == [8, 16, 28, 32, 32, 32, 32, 32]


def test_shrink_is_the_mean_over_areas():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    blocks = images.reshape(3, 32, 2, 32, 2, 3).astype(float).mean((2, 4))
    np.testing.assert_allclose(shrink(images, 32), blocks, atol=0.51)
    assert shrink(images, 64) is images
    flat = np.full((2, 50, 50, 1), 137, np.uint8)
    np.testing.assert_array_equal(shrink(flat, 32), np.full((2, 32, 32, 1), 137))
    ramp = np.arange(3, dtype=np.uint8).reshape(1, 3, 1, 1).repeat(3, axis=2) * 60  # rows 0, 60, 120
    np.testing.assert_array_equal(shrink(ramp, 2)[0, :, 0, 0], [20, 100])


def test_judging_compiles_once(judges, test):
    judges.classify(test.images[:3])
    with jax.log_compiles(False):
        before = judging._classify._cache_size()
        judges.classify(test.images)
        judges.classify(test.images[:1])
        assert judging._classify._cache_size() == before
