"""The parts of a report: pictures, curves, tables."""

import base64
import io
import itertools
import re

import numpy as np
import pytest
from evaluations import figure, made_up_evaluation
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2igan.evaluation.report import curves, images, plots, tables
from t2igan.inference.pictures import cut_sheet, sheet


@pytest.mark.parametrize(("image_px", "channels"), [(16, 3), (28, 1), (130, 3)])
def test_a_sheet_can_be_cut_into_its_pictures(image_px, channels):
    random = np.random.default_rng(0)
    drawn = random.integers(0, 256, (6, image_px, image_px, channels), np.uint8)
    captions = ["a caption that is long enough to take more than a line, " * 4, "", "short"]
    picture = sheet(drawn, captions, columns=2)
    cut = cut_sheet(picture, captions, 2, image_px)
    np.testing.assert_array_equal(cut, np.broadcast_to(drawn, (6, image_px, image_px, 3)))
    with pytest.raises(ValueError, match="3 captions in 3 columns"):
        cut_sheet(picture, captions, 3, image_px)


def test_small_pictures_are_kept_to_the_bit_and_large_ones_made_smaller():
    def back(image):
        head, _, data = images.data_uri(image).partition(",")
        return head, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))

    random = np.random.default_rng(0)
    small = random.integers(0, 256, (28, 28, 1), np.uint8)
    head, same = back(small)
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(same, small[..., 0])
    head, shrunk = back(random.integers(0, 256, (256, 256, 3), np.uint8))
    assert head == "data:image/jpeg;base64"
    assert shrunk.shape == (images.MAX_PX, images.MAX_PX, 3)


def test_a_picture_is_lit_where_weights_are():
    image = np.zeros((4, 4, 3), np.uint8) + np.array([200, 10, 10], np.uint8)
    weights = np.zeros((2, 2))
    weights[0, 1] = 0.5
    lit = images.lit(image, weights, 0.5)
    assert (lit[:2, 2:] == image[:2, 2:]).all()
    dark = lit[2:, :]
    assert (dark == dark[0, 0, 0]).all()  # grey
    grey = images.lit(np.full((4, 4, 1), 100, np.uint8), weights, 0.5)
    assert (grey[0, 3] != grey[0, 3, 0]).any()  # a grey picture is lit in a colour


def rows():
    steps = [
        {"phase": "a", "step": i, "images": 8 * i, "loss/x": 1 / i, "loss/penalty": 0.0, "gradient_norm/x": float(i)}
        | {"images_per_s": 5.0}
        for i in range(1, 1001)
    ]
    looks = [
        {
            "phase": "a",
            "step": i,
            "images": 8 * i,
            "frechet_distance/probe": 2.0 / i,
            "frechet_distance/probe/real": 0.1,
            "seed": 0,
        }
        | {"attributes/each/hat": 0.5, "split": "test", "num_images": 9}
        for i in (10, 20)
    ]
    return steps + looks


def test_charts_hold_what_was_logged():
    drawn = curves.charts(rows())
    assert list(drawn) == ["a", "figures"]
    assert [chart.title for chart in drawn["a"]] == ["Losses", "Gradient norms", "Pictures a second"]  # no penalty: 0
    losses = drawn["a"][0].series[0]
    assert losses.name == "x"
    assert len(losses.x) <= curves.MAX_POINTS
    assert losses.x[-1] == 8000
    assert losses.y[-1] == 1 / 1000
    (figures,) = drawn["figures"]
    assert [(series.name, series.dashed) for series in figures.series] == [
        ("generated", False),
        ("real pictures", True),
    ]
    assert curves.charts([]) == {}


def test_what_is_not_finite_is_left_out_of_a_curve():
    broken = [
        {"phase": "a", "step": i, "images": i, "images_per_s": 1.0, "loss/x": y} for i, y in enumerate(["nan", 1.0])
    ]
    assert curves.charts(broken)["a"][0].series[0].y == (1.0,)


def test_a_chart_becomes_an_element_in_the_colours_of_the_page():
    series = (curves.Series("one", (0.0, 1e6), (1.0, 20.0)), curves.Series("two", (0.0,), (3.0,)))
    chart = curves.Chart('a "title" <b>', series)
    drawn = plots.chart_svg(chart, "c0")
    assert drawn.startswith("<svg ")
    assert drawn.rstrip().endswith("</svg>")
    assert 'aria-label="a &quot;title&quot; &lt;b&gt;"' in drawn
    assert "var(--series-0)" in drawn
    assert not set(re.findall(r"#[0-9a-f]{6}", drawn))
    assert "font-family" not in drawn
    assert all(name.startswith("c0-") for name in re.findall(r' id="([^"]*)"', drawn))
    assert {f"#{name}" for name in re.findall(r' id="([^"]*)"', drawn)} >= set(re.findall(r"url\((#[^)]*)\)", drawn))
    assert ">1M<" in drawn
    assert plots.chart_svg(chart, "c0") == drawn  # the same every time
    logarithmic = plots.chart_svg(curves.Chart("log", (curves.Series("x", (1.0, 2.0), (1.0, 1000.0)),), True), "c1")
    assert ">100<" in logarithmic
    assert ">100<" not in plots.chart_svg(
        curves.Chart("log", (curves.Series("x", (1.0, 2.0), (0.0, 1000.0)),), True), "c1"
    )


def test_spreads_are_those_of_distances_and_logits():
    quantiles = [0, 1, 2, 3, 4]
    details = {
        "memorisation": {"pixels": {"quantiles": {"generated": quantiles, "real": quantiles}}, "probe": {}},
        "discriminator": {"step": 9, "train": quantiles, "held_out": quantiles, "generated": quantiles},
    }
    distances, logits = curves.spreads(details)
    assert distances.title.endswith("pixels")
    assert list(logits.quantiles) == ["training", "held out", "generated"]
    drawn = plots.spread_svg(logits, "s0")
    assert drawn.index(">generated<") < drawn.index(">training<")  # drawn from below
    assert curves.spreads({}) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5), st.sampled_from(["higher", "lower", "real"]))
@settings(max_examples=50, deadline=None)
def test_marks_stand_on_their_scale_in_order(numbers, direction):
    low, value, high, real, floor = (*sorted(numbers[:3]), *numbers[3:])
    marks = tables.scale(figure(value, low, high, real, floor, direction=direction))
    of_mark = {low: marks.low, value: marks.value, high: marks.high, real: marks.real, floor: marks.floor}
    places = [of_mark[number] for number in sorted(of_mark)]
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(places))


def test_shares_are_shown_between_0_and_1():
    assert tables.scale(figure(0.5)).value == 50
    assert tables.scale(figure(0.5, direction="lower")).value == 100
    assert tables.scale(figure(3.0, real=6.0)).value == 50


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""), (0.0, "0.000"), (1.0, "1.000"), (0.98765, "0.988"), (3, "3"), (12.34, "12.3"),
        (1234567, "1,234,567"), (1234.5, "1,234"), (0.00123, "0.0012"), (-0.5, "−0.500"), (3e-7, "3.0e−07"),
    ],
)  # fmt: skip
def test_numbers_are_shown_as_a_reader_wants_them(value, shown):
    assert tables.number(value) == shown


def test_durations_are_shown_in_their_own_unit():
    assert [tables.duration(s) for s in (5.4, 700, 12_000)] == ["5 s", "12 min", "3 h 20 min"]


def test_headlines_are_the_first_of_each_kind():
    evaluation = made_up_evaluation("x", ["a red cap"])
    names = [row.name for row in tables.headlines(evaluation)]
    assert names == [
        "attributes/mean",
        "attributes/all",
        "retrieval/caption_at_1/probe",
        "frechet_distance/attributes",
        "diversity_within/pixels",
        "memorisation/auc/pixels",
    ]
    del evaluation["figures"]["attributes/each/hat"]  # one attribute: all at once is no other question
    assert "attributes/all" not in [row.name for row in tables.headlines(evaluation)]


def test_confusions_count_what_was_seen_instead():
    evaluation = {
        "details": {
            "attributes": {
                "right": {"values": ["a", "b"], "generated": [[5, 0], [0, 5]], "real": [[1, 0], [0, 0]], "unknown": 0},
                "hat": {
                    "values": ["red", "blue"],
                    "generated": [[8, 2], [0, 10]],
                    "real": [[9, 1], [0, 10]],
                    "unknown": 0,
                },
                "never": {"values": ["a", "b"], "generated": [[0, 0], [0, 0]], "real": [], "unknown": 3},
            }
        }
    }
    hat, right, never = tables.confusions(evaluation)
    assert (hat.name, hat.right, hat.real_right) == ("hat", 0.9, 0.95)
    assert hat.mistakes == (tables.Mistake("red", "blue", 2, 10),)
    assert hat.shares[0] == (0.8, 0.2)
    assert (right.right, right.mistakes) == (1.0, ())
    assert never.real_right is None
    many = [str(i) for i in range(tables.MAX_CONFUSED + 1)]
    counts = np.eye(len(many), dtype=int).tolist()
    counts[3][4] = 1
    evaluation["details"]["attributes"] = {"many": {"values": many, "generated": counts, "real": counts}}
    (confusion,) = tables.confusions(evaluation)
    assert confusion.counts == ()
    assert confusion.mistakes == (tables.Mistake("3", "4", 1, 2),)
