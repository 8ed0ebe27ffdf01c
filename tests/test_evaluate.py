"""Evaluations of generators of known quality: what is right gets the ceiling, what ignores the caption the floor."""

import json

import numpy as np
import pytest
from squares import COLORS, QUICK, any_pictures, blocks, nearly, one_picture, real_pictures, squares, tokenizer_of

from configs.base import get_config
from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.evaluation.evaluate import CHEAP, GROUPS, evaluate, flat_figures, merged, without_details
from t2igan.evaluation.evaluators.robustness import changes, with_typos, with_word
from t2igan.evaluation.extractors import FeatureExtractors, Settings
from t2igan.evaluation.table import summary_line, table


@pytest.fixture(scope="module")
def train():
    return squares("train", 300, seed=0, noise=12)


@pytest.fixture(scope="module")
def test():
    return squares("test", 90, seed=1, noise=12)


@pytest.fixture(scope="module")
def fresh():
    """What a generator would draw that has learned the data and not its pictures."""
    return squares("fresh", 300, seed=2, noise=12)


@pytest.fixture(scope="module")
def extractors(train, tmp_path_factory):
    return FeatureExtractors(
        get_config(), train, tokenizer_of(train), tmp_path_factory.mktemp("extractors"), settings=QUICK
    )


@pytest.fixture(scope="module")
def healthy(extractors, test, fresh):
    return evaluate(real_pictures(fresh), test, extractors, num_images=180, seed=0)


def value(result, name):
    return result["figures"][name]["value"]


def test_a_result_is_json_and_says_what_it_is_made_of(healthy):
    assert json.loads(json.dumps(healthy)) == healthy
    assert healthy["format"] == "t2igan evaluation 1"
    assert healthy["counts"] == {
        "num_images": 180,
        "num_captions": 18,  # 2 sizes of 4 colours in 2 wordings, and 2 without colour
        "num_real": 90,
        "num_train": 300,
        "num_compared": 180,
        "resamples": 1_000,
        "num_never_told": 0,
    }
    assert set(healthy["versions"]) == {"t2igan", "jax", "flax", "numpy", "python"}
    assert all(len(digest) == 16 for digest in healthy["hashes"].values())
    assert set(healthy["seconds"]) == {"drawing", *GROUPS}
    too_few = {f"frechet_infinity/{name}" for name in ("attributes", "probe", "pixels")}
    assert set(healthy["left_out"]) == {"binding", "discriminator", "paired"} | too_few


def test_every_figure_is_finite_and_names_its_extractor_direction_and_group(healthy):
    keys = {"value", "low", "high", "real", "floor", "copied", "extractor", "direction", "group", "label", "num_images"}
    for name, figure in healthy["figures"].items():
        assert set(figure) == keys, name
        assert np.isfinite(figure["value"]), name
        assert figure["extractor"] in ("attributes", "probe", "pixels"), name
        assert figure["direction"] in ("higher", "lower", "real"), name
        assert figure["group"] in GROUPS, name
        if figure["low"] is not None:
            assert figure["low"] <= figure["value"] + 1e-9 and figure["value"] <= figure["high"] + 1e-9, name
        if figure["group"] in ("frechet_distance", "kernel_distance", "precision_recall", "retrieval", "diversity"):
            assert name.split("/")[-1] == figure["extractor"], name
    assert {figure["group"] for figure in healthy["figures"].values()} == set(GROUPS) - {
        "binding",
        "discriminator",
        "paired",
    }


def test_a_generator_that_has_learned_the_data_reaches_the_ceiling(healthy):
    figures = healthy["figures"]
    assert figures["attributes/mean"]["real"] > 0.9
    assert value(healthy, "attributes/mean") > figures["attributes/mean"]["real"] - 0.05
    assert figures["attributes/mean"]["floor"] < 0.5
    assert value(healthy, "attributes/all") > figures["attributes/all"]["real"] - 0.1
    assert set(figures) >= {"attributes/each/color", "attributes/each/size", "classifier_score/attributes/color"}
    for name in ("attributes", "probe"):
        assert value(healthy, f"frechet_distance/{name}") < 2 * figures[f"frechet_distance/{name}"]["real"] + 0.1
    assert value(healthy, "retrieval/caption_at_5/probe") > 0.9 > 0.5 > figures["retrieval/caption_at_5/probe"]["floor"]
    assert value(healthy, "memorisation/auc/pixels") == pytest.approx(0.5, abs=0.12)
    assert value(healthy, "memorisation/copies") == 0.0
    assert value(healthy, "robustness/paraphrase/attributes") > 0.9
    assert value(healthy, "robustness/word_order/attributes") < 0.5  # it knows captions by heart only
    assert healthy["verdict"][-1]["finding"] == "healthy"
    assert all(finding["level"] != "bad" for finding in healthy["verdict"])


def test_details_are_what_the_report_needs(healthy, test, train, extractors):
    details = healthy["details"]
    assert set(details) == {"attributes", "captions", "retrieval", "diversity", "memorisation", "robustness"}
    color = details["attributes"]["color"]
    assert color["values"] == extractors.vocabulary["color"]
    assert np.sum(color["generated"]) == 180 and np.sum(color["real"]) == 90
    for entry in details["captions"]["best"] + details["captions"]["worst"]:
        assert entry["caption"] in test.captions[entry["row"]]
        assert entry["wrong"] == {} or entry["attributes_right"] < 1
    best, worst = details["captions"]["best"], details["captions"]["worst"]
    assert len({entry["caption"] for entry in best}) == len(best) == 16
    assert best[0]["similarity"] >= worst[0]["similarity"]
    for pairs in details["memorisation"].values():
        distances = [pair["distance"] for pair in pairs["nearest"]]
        assert distances == sorted(distances)
        assert all(0 <= pair["train_row"] < len(train) for pair in pairs["nearest"] + pairs["typical"])
    for kind in ("typos", "word_order", "paraphrase", "unknown_word"):
        assert (
            details["robustness"][kind]["examples"][0]["changed"] != details["robustness"][kind]["examples"][0]["clean"]
        )
    least, most = details["diversity"]["least"], details["diversity"]["most"]
    assert least[0]["distance"] <= most[0]["distance"]
    assert len(least[0]["seeds"]) == 4


@pytest.mark.parametrize(
    ("finding", "generator"),
    [
        ("mode_collapse", lambda data: one_picture(data["fresh"])),
        ("caption_ignored", lambda data: any_pictures(data["fresh"])),
        ("memorised", lambda data: real_pictures(data["train"])),
        ("memorised", lambda data: nearly(real_pictures(data["train"]), 2)),
        ("unlike_real", lambda data: blocks(real_pictures(data["fresh"]), 4)),
    ],
    ids=["one picture", "shuffled captions", "training pictures", "nearly training pictures", "blocks"],
)
def test_broken_generators_are_told_apart(finding, generator, extractors, test, train, fresh):
    result = evaluate(generator({"train": train, "fresh": fresh}), test, extractors, num_images=180, seed=0)
    assert [f["finding"] for f in result["verdict"] if f["level"] == "bad"][0] == finding  # noqa: RUF015
    assert finding not in [f["finding"] for f in result["verdict"][1:]]
    assert "healthy" not in [f["finding"] for f in result["verdict"]]
    assert set(result["verdict"][0]["figures"]) <= set(result["figures"])


def test_pictures_that_ignore_the_caption_get_the_floor(extractors, test, fresh, healthy):
    wrong = evaluate(any_pictures(fresh), test, extractors, num_images=180, seed=0)
    figures = wrong["figures"]
    assert value(wrong, "attributes/mean") == pytest.approx(figures["attributes/mean"]["floor"], abs=0.1)
    assert value(wrong, "retrieval/caption_at_1/probe") < 0.2
    assert figures["attributes/all"]["real"] == healthy["figures"]["attributes/all"]["real"]
    assert (
        value(wrong, "frechet_distance/probe") < 3 * figures["frechet_distance/probe"]["real"]
    )  # they are good pictures
    assert "clean captions are hardly followed either" in wrong["left_out"].values()


def test_noise_is_far_by_every_distance(extractors, test, healthy):
    def noise(captions, seeds):
        return np.random.default_rng(seeds[0]).integers(0, 256, (len(captions), 8, 8, 3), np.uint8)

    noisy = evaluate(
        noise,
        test,
        extractors,
        num_images=180,
        seed=0,
        metrics=("frechet_distance", "kernel_distance", "precision_recall"),
    )
    for name in ("attributes", "probe", "pixels"):
        assert value(noisy, f"frechet_distance/{name}") > 3 * value(healthy, f"frechet_distance/{name}")
        assert value(noisy, f"kernel_distance/{name}") > 3 * abs(value(healthy, f"kernel_distance/{name}"))
    assert value(noisy, "precision/pixels") == 0.0 and value(noisy, "coverage/pixels") < 0.05
    assert noisy["verdict"][0]["finding"] == "unlike_real"


def test_cheap_figures_are_the_same_and_few(extractors, test, fresh, healthy):
    cheap = evaluate(
        real_pictures(fresh),
        test,
        extractors,
        num_images=180,
        seed=0,
        metrics=CHEAP,
        extractor_names=("attributes",),
        resamples=0,
    )
    names = {
        "attributes/mean",
        "attributes/all",
        "attributes/each/color",
        "attributes/each/size",
        "frechet_distance/attributes",
    }
    assert set(cheap["figures"]) == names
    for name in names:
        assert value(cheap, name) == pytest.approx(value(healthy, name), rel=1e-5)
        assert cheap["figures"][name]["low"] is None
    assert cheap["verdict"][0]["finding"] == "incomplete"
    flat = flat_figures(cheap)
    assert flat["attributes/mean"] == value(cheap, "attributes/mean")
    assert flat["attributes/mean/real"] == cheap["figures"]["attributes/mean"]["real"]
    assert "details" not in without_details(cheap) and "details" in cheap


def test_groups_measured_later_join_those_measured_before(extractors, test, fresh, healthy):
    draw = real_pictures(fresh)
    first, second = (
        evaluate(draw, test, extractors, num_images=180, seed=0, metrics=groups)
        for groups in (("attributes", "diversity", "retrieval"), ("memorisation", "robustness", "attributes"))
    )
    both = merged(first, second)
    groups = {"attributes", "diversity", "retrieval", "memorisation", "robustness"}
    expected = {name: f for name, f in healthy["figures"].items() if f["group"] in groups}
    assert both["figures"] == expected and list(both["figures"]) == list(expected)
    assert both["details"].keys() == healthy["details"].keys()
    assert both["verdict"][-1]["finding"] == "healthy" != second["verdict"][-1]["finding"]
    assert merged(first | {"model": "another"}, second) == second
    assert merged({}, second) == second


def test_the_same_seed_gives_the_same_figures(extractors, test, fresh):
    draw = any_pictures(fresh)
    first, again, other = (
        {**evaluate(draw, test, extractors, num_images=50, seed=seed), "seconds": 0, "seed": 0} for seed in (3, 3, 4)
    )
    assert first == again != other


def test_draw_is_asked_for_each_caption_in_turn_with_seeds_of_their_own(extractors, test):
    asked = []

    def draw(captions, seeds):
        assert all(type(s) is int for s in seeds)
        asked.extend(zip(captions, seeds, strict=True))
        return np.zeros((len(captions), 8, 8, 3), np.uint8)

    evaluate(draw, test, extractors, num_images=180, seed=0, metrics=CHEAP, resamples=0)
    assert len({seed for _, seed in asked}) == 180
    once, twice = ([caption for caption, _ in asked[i : i + 90]] for i in (0, 90))
    assert sorted(once) == sorted(captions[0] for captions in test.captions)
    assert sorted(twice) == sorted(captions[-1] for captions in test.captions)


def test_values_that_training_lacked_are_wrong_for_all(extractors, test, fresh):
    renamed = tuple({**a, "size": "huge"} if i < 45 else a for i, a in enumerate(test.attributes))
    strange = Dataset("squares", "strange", test.images, test.captions, renamed)
    result = evaluate(real_pictures(fresh), strange, extractors, num_images=90, seed=0, metrics=("attributes",))
    assert result["details"]["attributes"]["size"]["unknown"] == 45
    assert result["figures"]["attributes/each/size"]["real"] <= 0.5


def test_without_attributes_captions_are_read_by_the_probe(tmp_path):
    train, test = (
        squares(s, n, seed, px=12, with_attributes=False) for s, n, seed in (("train", 40, 0), ("test", 20, 1))
    )
    settings = Settings(probe_steps=3, probe_batch_images=64, features=16)
    extractors = FeatureExtractors(get_config(), train, tokenizer_of(train), tmp_path, settings=settings)
    result = evaluate(any_pictures(test), test, extractors, num_images=30, seed=0)
    assert {"attributes", "binding", "classifier_score"} <= set(result["left_out"])
    assert "attributes" not in {figure["extractor"] for figure in result["figures"].values()}
    # Of 20 real pictures a Fréchet distance is mostly bias, and so would its ceiling be.
    assert result["figures"]["frechet_distance/probe"]["real"] is None and "Fréchet" not in summary_line(result)
    assert "finds its caption" in summary_line(result)
    assert "left out: attributes (the data has no attributes" in table([result])


def test_pictures_of_another_kind_and_unknown_names_are_refused(extractors, test, fresh):
    draw = real_pictures(fresh)
    with pytest.raises(ValueError, match="as in training"):
        evaluate(
            lambda captions, _: np.zeros((len(captions), 16, 16, 3), np.uint8),
            test,
            extractors,
            num_images=5,
            seed=0,
        )
    with pytest.raises(ValueError, match="2 pictures for 5"):
        evaluate(lambda *_: test.images[:2], test, extractors, num_images=5, seed=0)
    with pytest.raises(UserError, match="-1 pictures"):
        evaluate(draw, test, extractors, num_images=-1, seed=0)
    with pytest.raises(UserError, match="'frechett'; did you mean 'frechet_distance'"):
        evaluate(draw, test, extractors, num_images=5, seed=0, metrics=("frechett",))
    with pytest.raises(UserError, match="There are attributes, probe, pixels"):
        evaluate(draw, test, extractors, num_images=5, seed=0, extractor_names=("inception",))


def test_a_single_picture_gets_the_figures_it_can_have(extractors, test):
    alone = Dataset("squares", "test", test.images[:1], test.captions[:1], test.attributes[:1])
    result = evaluate(real_pictures(alone), alone, extractors, num_images=3, seed=0)
    figure = result["figures"]["attributes/mean"]
    assert figure["value"] == figure["real"]
    assert {"frechet_distance", "kernel_distance", "precision_recall", "retrieval"} <= set(result["left_out"])
    assert "attributes right" in summary_line(result)
    assert "attributes right" in table([result])


def test_the_discriminator_is_asked_about_three_kinds(extractors, test, train):
    def discriminate(images, _):
        known = {image.tobytes() for image in train.images}
        return np.array([2.0 if x.tobytes() in known else 0.5 for x in images]) - 0.5 * (images.mean((1, 2, 3)) < 100)

    result = evaluate(
        lambda captions, _: np.zeros((len(captions), 8, 8, 3), np.uint8),
        test, extractors, num_images=40, seed=0, metrics=("discriminator",), discriminate=discriminate,
    )  # fmt: skip
    assert value(result, "discriminator/overfitting") == pytest.approx(1.5 / 2.0, abs=0.05)
    assert value(result, "discriminator/auc") == 1.0
    assert result["verdict"][0]["finding"] == "overfitted_discriminator"
    assert result["details"]["discriminator"]["train"][2] == 2.0


def test_swapped_values_are_found(tmp_path):
    """Squares with a frame: two colours in a caption, drawn the wrong way round in a third of the pictures."""
    random = np.random.default_rng(0)

    def picture(inner, frame):
        image = np.empty((8, 8, 3), np.uint8)
        image[:], image[2:6, 2:6] = COLORS[frame], COLORS[inner]
        return image

    def split(name, num):
        pairs = [tuple(map(str, random.choice(list(COLORS), 2))) for _ in range(num)]
        captions = tuple((f"{inner} in {frame}",) for inner, frame in pairs)
        attributes = tuple({"inner": inner, "frame": frame} for inner, frame in pairs)
        return Dataset("frames", name, np.stack([picture(*pair) for pair in pairs]), captions, attributes)

    def draw(captions, seeds):
        pairs = [c.split(" in ") for c in captions]
        return np.stack([picture(*(p if s % 3 else p[::-1])) for p, s in zip(pairs, seeds, strict=True)])

    train, test = split("train", 200), split("test", 100)
    extractors = FeatureExtractors(get_config(), train, tokenizer_of(train), tmp_path, settings=QUICK)
    result = evaluate(draw, test, extractors, num_images=200, seed=0, metrics=("attributes", "binding"))
    assert value(result, "binding/swaps") > 0.9
    assert result["figures"]["binding/swaps"]["floor"] < 0.4
    assert result["details"]["binding"][0]["attributes"] == ["frame", "inner"]
    assert json.loads(json.dumps(result)) == result
    assert "swapped_values" in [finding["finding"] for finding in result["verdict"]]


def test_changed_captions():
    random = np.random.default_rng(0)
    for caption in ("a small red square", "big", "a bee", "an aaaa dddd"):
        changed = with_typos(caption, random)
        assert sorted(changed) == sorted(caption)
        assert [len(word) for word in changed.split()] == [len(word) for word in caption.split()]
        assert [word[0] for word in changed.split()] == [word[0] for word in caption.split()]
    assert with_typos("a small red square", random) != "a small red square"
    assert with_typos("big red", random) == "big red"  # nothing long enough
    assert set(with_word("a square", ["zorvel"], random).split()) == {"a", "square", "zorvel"}
    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    same = ({"color": "red"}, {"color": "red"}, {"color": "blue"})
    dataset = Dataset("d", "test", pictures, (("one", "two"), ("three",), ("four",)), same)
    paraphrase = changes(dataset, dataset, np.arange(3), random)["paraphrase"]
    assert paraphrase("one", 0) == "two"  # of the same picture
    assert paraphrase("three", 1) in ("one", "two")  # of a picture with the same attributes
    assert paraphrase("four", 2) is None


def test_summary_and_table_say_what_they_mean(healthy):
    line = summary_line(healthy)
    assert line.startswith("test, 180 pictures: attributes right 0.9") or "1.000" in line
    assert "Fréchet" in line and "by attributes" in line
    lines = table([healthy]).splitlines()
    assert lines[0] == "180 pictures drawn from the captions of 90 in split 'test' of squares, seed 0"
    assert lines[1].split() == ["generated", "real", "shuffled", "by"]
    row = next(line for line in lines if line.strip().startswith("all at once"))
    assert "[" in row and row.endswith("attributes  higher is better")
    both = table([healthy, healthy], ["one", "other"])
    assert both.splitlines()[2].split() == ["one", "other", "real", "shuffled", "by"]
    assert "other: Healthy" in both or "other: No grave fault" in both
