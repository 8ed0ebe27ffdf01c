"""Verdicts from made-up figures, on both sides of each threshold."""

import pytest

from t2igan.evaluation.table import summary_line
from t2igan.evaluation.verdict import LEVELS, verdict

HEALTHY = {
    "attributes/mean": (0.95, 1.0, 0.3),
    "diversity_across/pixels": (0.2, 0.2, None),
    "diversity_within/pixels": (0.1, 0.1, None),
    "memorisation/copies": (0.0, 0.0, None),
    "memorisation/auc/pixels": (0.5, 0.5, None),
    "memorisation/ratio/pixels": (1.0, 1.0, None),
    "precision/probe": (0.9, 0.9, None),
    "coverage/probe": (0.9, 0.9, None),
    "recall/probe": (0.9, 0.9, None),
    "discriminator/overfitting": (0.1, None, None),
}


def findings(binding=None, **changed):
    figures = {name: dict(zip(("value", "real", "floor"), of, strict=True)) for name, of in (HEALTHY | changed).items()}
    found = verdict(figures, binding)
    assert all(set(f) == {"finding", "level", "text", "figures"} and f["level"] in LEVELS for f in found)
    levels = [LEVELS.index(f["level"]) for f in found]
    assert levels == sorted(levels)
    return [f["finding"] for f in found]


def test_healthy_figures_are_healthy():
    assert findings() == ["healthy"]


@pytest.mark.parametrize(
    ("name", "healthy", "broken", "finding"),
    [
        ("diversity_across/pixels", (0.11, 0.2, None), (0.09, 0.2, None), "mode_collapse"),
        ("diversity_within/pixels", (0.021, 0.1, None), (0.019, 0.1, None), "noise_ignored"),
        ("memorisation/copies", (0.30, 0.21, None), (0.32, 0.21, None), "memorised"),
        ("attributes/mean", (0.87, 1.0, 0.3), (0.5, 1.0, 0.3), "caption_ignored"),
        ("attributes/mean", (0.87, 1.0, 0.3), (0.85, 1.0, 0.3), "caption_half_followed"),
        ("precision/probe", (0.64, 0.9, None), (0.62, 0.9, None), "poor_quality"),
        ("precision/probe", (0.64, 0.9, None), (0.26, 0.9, None), "poor_quality"),
        ("coverage/probe", (0.46, 0.9, None), (0.44, 0.9, None), "narrow"),
        ("recall/probe", (0.46, 0.9, None), (0.44, 0.9, None), "narrow"),
        ("discriminator/overfitting", (0.49, None, None), (0.51, None, None), "overfitted_discriminator"),
    ],
)
def test_each_threshold_from_both_sides(name, healthy, broken, finding):
    assert findings(**{name: healthy}) == ["healthy"]
    assert findings(**{name: broken})[0] == finding


def test_near_copies_are_both_nearer_and_near():
    near = {"memorisation/auc/pixels": (0.95, 0.5, None), "memorisation/ratio/pixels": (0.3, 1.0, None)}
    assert findings(**near) == ["memorised"]
    assert findings(**near | {"memorisation/ratio/pixels": (0.6, 1.0, None)}) == ["healthy"]  # bland, not copied
    assert findings(**near | {"memorisation/auc/pixels": (0.85, 0.5, None)}) == ["healthy"]


def test_collapse_explains_why_captions_are_not_followed():
    both = {"diversity_across/pixels": (0.0, 0.2, None), "attributes/mean": (0.3, 1.0, 0.3)}
    assert findings(**both) == ["mode_collapse"]


def test_without_attributes_retrieval_decides_where_it_tells_captions_apart():
    def of(value):
        figures = {name: f for name, f in HEALTHY.items() if not name.startswith("attributes")}
        figures["retrieval/caption_at_1/probe"] = (0.05, 0.06, 0.01)  # real pictures hardly find theirs either
        figures["retrieval/caption_at_5/probe"] = (value, 0.6, 0.05)
        return [f["finding"] for f in verdict({k: dict(zip(("value", "real", "floor"), v, strict=True)) for k, v in figures.items()})]  # fmt: skip # noqa: E501

    assert of(0.55) == ["healthy"]
    assert of(0.1) == ["caption_ignored"]


def test_swaps_need_to_be_many_and_more_than_by_chance():
    pair = {"attributes": ("hair", "top"), "swaps": 9, "swaps_by_chance": 2.0}
    assert findings([pair]) == ["swapped_values", "healthy"]
    assert findings([pair | {"swaps_by_chance": 3.1}]) == ["healthy"]
    assert findings([pair | {"swaps": 4, "swaps_by_chance": 0.1}]) == ["healthy"]


def test_few_figures_are_no_verdict():
    assert [f["finding"] for f in verdict({})] == ["incomplete"]


@pytest.mark.parametrize("num_real, said", [(1, "1 picture,"), (12, "12 pictures,")])
def test_few_pictures_are_said_to_be_the_reason(num_real, said):
    (finding,) = verdict({}, None, num_real)
    assert finding["finding"] == "too_few_pictures" and said in finding["text"]
    assert "30 or more" in finding["text"] and "config.data.test_fraction" in finding["text"]
    assert verdict({}, None, 30)[-1]["finding"] == "incomplete"


@pytest.mark.parametrize("num_real", [7, 44])
def test_few_real_pictures_are_a_weak_ruler_for_good_figures_and_for_bad_ones(num_real):
    figures = {name: dict(zip(("value", "real", "floor"), of, strict=True)) for name, of in HEALTHY.items()}
    assert [f["finding"] for f in verdict(figures, num_real=num_real)] == ["weak_ruler", "unsure"]
    found = verdict(BLOBS, num_real=num_real)
    assert found[0]["finding"] == "unlike_real" and "weak_ruler" in [f["finding"] for f in found]
    assert any(f"{num_real} real pictures" in finding["text"] for finding in found)


RETRIEVAL = {"retrieval/caption_at_1/probe": {"value": 0.4, "real": 0.5}}


@pytest.mark.parametrize(
    ("figures", "explained", "line"),
    [
        ({}, True, "test, 16 pictures: too few real pictures to measure by, 1 in all"),
        (RETRIEVAL, True, "test, 16 pictures: finds its caption 0.400 (0.500) (in brackets: of real pictures)"),
        (RETRIEVAL, False, "test, 16 pictures: finds its caption 0.400 (0.500)"),
    ],
)
def test_brackets_are_explained_where_there_are_some(figures, explained, line):
    counts = {"num_images": 16, "num_real": 1}
    assert summary_line({"figures": figures, "split": "test", "counts": counts}, explained) == line


# A run on photographs that drew blobs, with 44 real pictures: precision and coverage took them for pictures.
BLOBS = {
    "retrieval/caption_at_1/probe": {"value": 0.141, "real": 0.205, "floor": 0.028},
    "precision/probe": {"value": 0.751, "real": 0.449, "floor": None},
    "coverage/probe": {"value": 1.0, "real": 1.0, "floor": None},
    "recall/probe": {"value": 0.045, "real": 0.614, "floor": None},
    "recall/pixels": {"value": 0.0, "real": 0.636, "floor": None},
    "kernel_distance/probe": {"value": 0.183, "low": 0.07, "high": 0.29, "real": -0.002, "floor": None},
    "diversity_across/pixels": {"value": 0.152, "real": 0.189, "floor": None},
    "diversity_within/pixels": {"value": 0.067, "real": 0.122, "floor": None},
    "memorisation/copies": {"value": 0.0, "real": 0.0, "floor": None},
}


def test_blobs_are_no_pictures():
    found = verdict(BLOBS, num_real=44)
    assert (found[0]["finding"], found[0]["level"]) == ("unlike_real", "bad")
    assert "4% of the real pictures lie among them (recall), and 61% among training pictures" in found[0]["text"]
    assert "the kernel distance by probe is 0.183, that of training pictures -0.002" in found[0]["text"]
    weak = next(f["text"] for f in found if f["finding"] == "weak_ruler")
    assert weak == (
        "The ruler is weak: real pictures find their own caption in 20% of the cases, and there are 44 real pictures "
        "to compare with."
    )
    assert "healthy" not in {f["finding"] for f in found}


@pytest.mark.parametrize("witness", ["kernel_distance/probe", "recall/pixels", "precision/probe"])
def test_one_more_figure_has_to_agree(witness):
    agreeing = {"precision/probe": 0.3, "recall/pixels": 0.0, "kernel_distance/probe": 0.183}
    figures = {name: dict(figure) for name, figure in BLOBS.items()}
    figures["recall/pixels"]["value"], figures["kernel_distance/probe"]["low"] = 0.6, -0.1
    assert "unlike_real" not in [f["finding"] for f in verdict(figures)]
    figures[witness] = BLOBS[witness] | {"value": agreeing[witness]}
    assert verdict(figures)[0]["finding"] == "unlike_real"
    assert witness in verdict(figures)[0]["figures"]
    figures["recall/probe"]["value"] = 0.13  # a fifth of the real ones
    assert "unlike_real" not in [f["finding"] for f in verdict(figures)]


@pytest.mark.parametrize(("low", "finding"), [(0.05, "shifted"), (0.01, None), (-0.2, None)])
def test_the_kernel_distance_counts_beyond_chance(low, finding):
    figures = {name: dict(zip(("value", "real", "floor"), of, strict=True)) for name, of in HEALTHY.items()}
    figures["kernel_distance/probe"] = {"value": 0.1, "low": low, "high": 0.3, "real": 0.02, "floor": None}
    assert [f["finding"] for f in verdict(figures)] == ([finding] if finding else []) + ["healthy"]


@pytest.mark.parametrize(("num_real", "last"), [(49, "unsure"), (50, "healthy"), (425, "healthy")])
def test_a_weak_ruler_finds_nothing_healthy(num_real, last):
    figures = {name: dict(zip(("value", "real", "floor"), of, strict=True)) for name, of in HEALTHY.items()}
    found = verdict(figures, num_real=num_real)
    assert found[-1]["finding"] == last
    assert ("weak_ruler" in {f["finding"] for f in found}) == (last == "unsure")


# Stamps of one object each, of which most held-out ones were never told of; drawn as blobs, which the probe likes.
STAMPS = BLOBS | {
    "retrieval/caption_at_1/probe": {"value": 0.312, "real": 0.125, "floor": 0.047},
    "retrieval/caption_at_5/probe": {"value": 0.422, "real": 0.312, "floor": 0.109},
    "recall/probe": {"value": 0.188, "real": 0.5, "floor": None},
    "recall/pixels": {"value": 0.188, "real": 0.688, "floor": None},
    "kernel_distance/probe": {"value": 0.22, "low": -0.87, "high": 1.31, "real": 0.017, "floor": None},
}


def test_drawings_that_find_captions_better_than_real_pictures_are_not_praised():
    found = verdict(STAMPS, num_real=64)
    assert [f["finding"] for f in found] == ["narrow", "weak_ruler", "unsure"]
    assert "find their own caption among the first five in 31% of the cases" in found[1]["text"]
    assert "captions as far as real pictures, or farther" in found[2]["text"]
    assert found[2]["text"].startswith("Undecided") and "%" not in found[2]["text"]


@pytest.mark.parametrize(
    ("never_told", "last"), [(None, "healthy"), (0.19, "healthy"), (0.2, "unsure"), (1.0, "unsure")]
)
def test_words_that_no_training_caption_has_are_said(never_told, last):
    figures = {name: dict(zip(("value", "real", "floor"), of, strict=True)) for name, of in HEALTHY.items()}
    found = verdict(figures, num_real=425, never_told=never_told)
    assert [f["finding"] for f in found] == (["words_never_told"] if last == "unsure" else []) + [last]


@pytest.mark.parametrize(
    ("num_real", "complete", "said"),
    [
        (1, True, "has 1 picture"),
        (16, True, "has 16 pictures"),
        (425, True, "does not tell the captions of real pictures from shuffled ones"),
        (425, False, "evaluate all groups of metrics"),
    ],
)
def test_nothing_is_advised_that_was_done(num_real, complete, said):
    found = verdict({}, num_real=num_real, complete=complete)
    assert said in found[-1]["text"]
    assert ("all groups" in found[-1]["text"]) == (not complete)
