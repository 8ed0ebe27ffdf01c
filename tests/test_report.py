"""The page about a run: whole, escaped, self-contained, honest about what is missing, and at home in a browser."""

import json
import re
import shutil

import html5lib
import numpy as np
import pytest
from browser import CHROMIUM, look
from evaluations import made_up_evaluation
from tiny import shrink

from configs.base import get_config
from t2igan.data import open_dataset
from t2igan.errors import UserError
from t2igan.evaluation.report import page, sections, write_report
from t2igan.evaluation.report.page import SECTIONS
from t2igan.inference.snapshot import load_snapshot
from t2igan.training import train
from t2igan.training.logs import Logs

HOSTILE = '<script>alert("x")</script> {{ 7 * 7 }} & </style> a red cap'
MAX_BYTES = 5_000_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a few steps with two sheets and without an evaluation. To be copied, not written to."""
    config = shrink(get_config())
    with config.unlocked():
        config.devices = 1
        config.sample.every_images = 16
        config.log.every_images = 8
    workdir = tmp_path_factory.mktemp("trained")
    train.train(config, workdir)
    return workdir


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run <b>&")


@pytest.fixture(autouse=True)
def data_decoded_once(monkeypatch):
    monkeypatch.setattr(page, "open_dataset", decoded)


_decoded = {}


def decoded(data_config, split):
    """The data set, decoded at the first call only."""
    key = (repr(data_config), split)
    if key not in _decoded:
        _decoded[key] = open_dataset(data_config, split)
    return _decoded[key]


def evaluates(monkeypatch, captions=("a pixel person with a red cap", HOSTILE), values=("red", "blue", "none")):
    """Puts a made-up evaluation in the place of the real one; returns the list of those that were asked for."""
    asked = []

    def evaluate_run(workdir, split, num_images=None, seed=0):
        asked.append((split, num_images, seed))
        digest = load_snapshot(workdir / "snapshot.safetensors").digest
        evaluation = made_up_evaluation(digest, captions, split, values)
        (workdir / f"evaluation_{split}.json").write_text(json.dumps(evaluation))

    monkeypatch.setattr(page, "evaluate_run", evaluate_run)
    return asked


def report(run, **arguments):
    return write_report(run, base=get_config().to_dict(), **arguments).read_text(encoding="utf-8")


def parsed(html):
    """The document; any error of HTML fails."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)


def _sections():
    """Those of a run without the networks of editing."""
    return [name for name in SECTIONS if name not in page.OF_EDITING]


def text_of(document, section):
    found = [e for e in document.iter("section") if e.get("id") == section]
    assert len(found) == 1, section
    return " ".join("".join(found[0].itertext()).split())


def pictures_in(document, section):
    (found,) = [e for e in document.iter("section") if e.get("id") == section]
    return len(list(found.iter("img")))


def test_the_page_is_valid_whole_and_self_contained(run, monkeypatch):
    asked = evaluates(monkeypatch)
    html = report(run)
    document = parsed(html)
    assert asked == [("test", None, 0)]
    assert [s.get("id") for s in document.iter("section")] == ["verdict", *_sections()]
    assert [a.get("href") for a in document.iter("a")] == [f"#{name}" for name in _sections()]
    ids = [e.get("id") for e in document.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert not list(document.iter("script"))
    # Pictures are in the page, and nothing else has an address but the parts of the page itself.
    assert all(img.get("src").startswith("data:image/") and img.get("alt") for img in document.iter("img"))
    for element in document.iter():
        for name, value in element.attrib.items():
            if name in ("src", "href", "srcset", "data", "poster"):
                assert value.startswith(("data:", "#")), (element.tag, name, value[:80])
            assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", value))
    assert "@import" not in html
    assert len(html.encode()) < MAX_BYTES


def test_every_section_shows_what_it_is_for(run, monkeypatch):
    evaluates(monkeypatch)
    document = parsed(report(run))
    assert "It copies <b>training</b> pictures." in text_of(document, "verdict")
    assert "0.998" in text_of(document, "verdict")
    assert pictures_in(document, "pictures") == 2 * 2  # captions, seeds
    assert pictures_in(document, "time") == 2 * 3  # captions, sheets: at 16, 32 and at the end
    figures = text_of(document, "figures")
    assert figures.count("Fréchet distance ↓") == 1 + 2  # the first extractor's; and all, to be opened
    for shown in ("0.287", "0.250 – 0.330", "2.440", "Fréchet distance", "Something", "Left out: discriminator"):
        assert shown in figures
    assert pictures_in(document, "captions") == 2 * 2 * 2  # best and worst, two captions, beside the real ones
    assert "hatColor: blue instead of red" in text_of(document, "captions")
    assert "hairColor and hatColor" in text_of(document, "attributes")
    assert pictures_in(document, "neighbours") == 2 * 2
    assert "a copy" in text_of(document, "neighbours")
    assert pictures_in(document, "diversity") == 2 * 2 * 4
    assert "Typos" in text_of(document, "robustness")
    assert pictures_in(document, "ways") == 3 * 7
    assert pictures_in(document, "attention") > 2 * 5
    words = text_of(document, "words")
    assert "without 'pixel': " in words and "Attention is what the generator reads, not what it uses" in words
    assert pictures_in(document, "words") % 4 == 0  # the picture, the changed one, what changes, attention
    card = (run / "data_card.md").read_text()
    assert card.startswith("# Data of run") and "| train | 5,880 |" in card
    assert "Losses" in text_of(document, "curves")
    assert "Phase text" in text_of(document, "curves")
    assert "5,880 pictures" in text_of(document, "data")
    assert pictures_in(document, "data") == 12
    configuration = text_of(document, "configuration")
    assert configuration.index("train.steps") < configuration.index("other")
    assert "data.channels" in configuration
    assert "Trained on" in text_of(document, "environment")


def test_what_others_wrote_is_text_and_nothing_else(run, monkeypatch):
    evaluates(monkeypatch, values=("<i>red</i>", "blue", "none"))
    html = report(run)
    document = parsed(html)
    assert HOSTILE in text_of(document, "captions")
    assert "49" not in text_of(document, "robustness")
    assert not list(document.iter("script"))
    assert "<i>red</i>" in text_of(document, "attributes")
    assert "alert" not in "".join(e.text or "" for e in document.iter("style"))
    assert next(document.iter("h1")).text == "run <b>&"


def test_a_model_is_evaluated_once_until_it_changes(run, monkeypatch):
    asked = evaluates(monkeypatch)
    first = page.collect(run, None, None, 0)
    assert page.collect(run, None, None, 0).evaluation == first.evaluation
    assert asked == [("test", None, 0)]
    (run / "evaluation_test.json").write_text(json.dumps(first.evaluation | {"model": "of another"}))
    page.collect(run, "test", 7, 3)
    assert asked[1:] == [("test", 7, 3)]
    monkeypatch.setattr(page, "evaluate_run", lambda *_: None)  # a training goes on: the evaluation is of another model
    (run / "evaluation_test.json").write_text(json.dumps(first.evaluation | {"model": "of another"}))
    sources = page.collect(run, None, None, 0)
    assert sources.evaluation is None
    assert "make the report once more" in sources.missing


def test_another_split_is_shown_beside_the_first(run, monkeypatch):
    asked = evaluates(monkeypatch)
    page.collect(run, None, None, 0)
    document = parsed(report(run, split="unseen"))
    assert asked == [("test", None, 0), ("unseen", None, 0)]
    assert "The same on split “test”" in text_of(document, "verdict")
    assert "1,348 pictures" in text_of(document, "data")


def test_without_attributes_captions_or_sheets_the_page_says_so(run, monkeypatch):
    """Data without attributes: no confusions; a model that was never looked at: no sheets."""
    evaluates(monkeypatch)
    real = page.evaluate_run

    def without_details(workdir, split, num_images=None, seed=0):
        real(workdir, split, num_images, seed)
        path = workdir / f"evaluation_{split}.json"
        evaluation = json.loads(path.read_text())
        figures = {name: f for name, f in evaluation["figures"].items() if "attributes" not in name}
        path.write_text(json.dumps(evaluation | {"details": {}, "figures": figures, "verdict": []}))

    monkeypatch.setattr(page, "evaluate_run", without_details)
    shutil.rmtree(run / "samples")
    document = parsed(report(run))
    assert "no attributes that could be judged" in text_of(document, "attributes")
    assert "no sheets in samples/" in text_of(document, "time")
    assert pictures_in(document, "time") == 0
    assert pictures_in(document, "pictures") == 2 * 6  # the captions of the sheet, seeds of the report's own
    assert "evaluation has nothing on this" in text_of(document, "captions")


def test_without_sheets_the_captions_of_the_run_are_drawn(run, monkeypatch):
    """They stand in its record, not in its snapshot, which may be given to others."""
    evaluates(monkeypatch)
    shutil.rmtree(run / "samples")
    record = json.loads((run / "config.json").read_text())
    record["config"]["sample"]["captions"] = ["a person in a green jumper"]
    (run / "config.json").write_text(json.dumps(record))
    document = parsed(report(run))
    assert pictures_in(document, "pictures") == 6
    assert "a person in a green jumper" in text_of(document, "pictures")


def test_a_run_that_has_drawn_nothing_yet_has_its_curves(run, monkeypatch):
    asked = evaluates(monkeypatch)
    (run / "snapshot.safetensors").unlink()
    shutil.rmtree(run / "samples")
    document = parsed(report(run))
    assert not asked
    assert "There is no snapshot yet" in text_of(document, "verdict")
    assert "Losses" in text_of(document, "curves")
    assert pictures_in(document, "data") == 12
    (run / "metrics.jsonl").unlink()
    assert "no rows yet" in text_of(parsed(report(run)), "curves")


def test_data_that_went_away_are_named(run, monkeypatch):
    asked = evaluates(monkeypatch)
    record = json.loads((run / "config.json").read_text())
    record["config"]["data"]["source"] = "/no/such/<folder>"
    (run / "config.json").write_text(json.dumps(record))
    document = parsed(report(run))
    assert not asked
    assert "/no/such/<folder>" in text_of(document, "verdict")
    assert "does not exist" in text_of(document, "data")
    assert pictures_in(document, "pictures") == 2 * 2
    assert pictures_in(document, "time") == 2 * 3


def test_a_generator_that_reads_no_words_says_so(run, monkeypatch):
    monkeypatch.setattr("t2igan.evaluation.report.drawings.attend", lambda *_: None)
    evaluates(monkeypatch)
    assert "reads the sentence as a whole" in text_of(parsed(report(run)), "attention")


def test_captions_that_repeat_and_sheets_of_others_do_no_harm(run, monkeypatch):
    """The same caption twice; a sheet of other captions; a picture that is no sheet; rows that are no numbers."""
    evaluates(monkeypatch, captions=("a cap", "a cap"))
    from PIL import Image

    Image.new("RGB", (8, 8)).save(run / "samples" / "000000001.png")
    (run / "samples" / "000000002.png").write_bytes(b"no picture")
    with (run / "metrics.jsonl").open("a") as file:
        row = Logs(run, active=False).read()[-1]
        file.write(json.dumps(row | {"step": 7, "loss/generator": "nan"}) + "\n{cut")
    assert pictures_in(parsed(report(run)), "time") == 2 * 3


@pytest.mark.parametrize("size_px", [64, 256])
def test_pictures_of_any_size_keep_the_page_small(run, monkeypatch, size_px):
    """Every picture a page can show, at this size, with detail as photographs have."""
    evaluates(monkeypatch, captions=("a red cap", "blue", "green", "white", "pink", "hat", "top", "skin"))
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.fftfreq(size_px)[None]) + 1 / size_px
    spectrum = np.fft.fft2(random.normal(size=(3, size_px, size_px))) / frequency
    photo = np.fft.ifft2(spectrum).real.transpose(1, 2, 0)
    photo = np.clip(128 + 50 * photo / photo.std(), 0, 255).astype(np.uint8)
    real = page.sections.data_uri
    shown = []

    def large(image):
        shown.append(image)
        return real(photo)

    monkeypatch.setattr(page.sections, "data_uri", large)
    size_bytes = len(report(run).encode())
    monkeypatch.setattr(page.sections, "data_uri", real)
    most = 350  # with eight captions, six seeds, eight sheets, three extractors and four kinds of change
    assert size_bytes + (most - len(shown)) * len(real(photo)) < MAX_BYTES


def test_mistakes_are_explained(run, tmp_path, monkeypatch):
    evaluates(monkeypatch)
    with pytest.raises(UserError, match=r"must end in \.html"):
        write_report(run, tmp_path / "report.png")
    with pytest.raises(UserError, match=r"has no config\.json"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="did you mean 'test'"):
        write_report(run, split="tset")
    assert write_report(run, tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"


@pytest.mark.slow
def test_the_command_evaluates_and_shows_it(run, console):
    """Nothing made up: what `evaluate` writes is what the page reads."""
    done = console("report", f"--workdir={run}", "--num=24", "--seed=1")
    assert done.returncode == 0, done.stderr
    document = parsed((run / "report.html").read_text(encoding="utf-8"))
    evaluation = json.loads((run / "evaluation_test.json").read_text())
    assert evaluation["verdict"][0]["text"] in text_of(document, "verdict")
    figures = text_of(document, "figures")
    assert "24 pictures drawn" in figures
    assert all(" ".join(figure["label"].split()) in figures for figure in evaluation["figures"].values())
    assert pictures_in(document, "captions") == 4 * len(evaluation["details"]["captions"]["worst"][:8])
    assert pictures_in(document, "neighbours") > 8
    assert pictures_in(document, "diversity") > 8
    assert pictures_in(document, "robustness") > 8
    assert "Distance to the nearest training picture" in text_of(document, "neighbours")
    assert "Changed from configs/base.py" in text_of(document, "configuration")
    card = load_snapshot(run / "snapshot.safetensors").model_card
    assert card == (run / "model_card.md").read_text(encoding="utf-8")
    assert "Split `test`, 24 pictures drawn" in card


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report"], "--workdir is missing"),
        (["report", "--workdir=/no/such/run"], "has no config.json"),
        (["report", "--workdir=/no/such/run", "--out=a.png"], "must end in .html"),
    ],
)
def test_a_mistake_at_the_command_gets_a_line(console, arguments, words):
    done = console(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@browser
@pytest.mark.slow
def test_in_a_browser_it_fits_any_screen_and_asks_for_nothing(run, tmp_path, monkeypatch):
    values = [f"a value of many letters {i}" for i in range(14)]
    evaluates(monkeypatch, captions=("a cap", HOSTILE, "verylongwordwithoutanyspaces" * 20), values=values)
    html = report(run)
    for width_px in (320, 360, 1280):
        seen = look(html, tmp_path / str(width_px), width_px)
        assert not seen.console
        assert not seen.requests
        assert seen.content_px <= seen.width_px <= width_px
        assert "It copies <b>training</b> pictures." in seen.text
        assert "model card" in seen.text.lower()
    assert not seen.dark
    dark = look(html, tmp_path / "dark", 360, dark=True)
    assert dark.dark
    assert not dark.console


@browser
@pytest.mark.slow
def test_the_browser_notices_what_is_wrong(tmp_path):
    """What the test above says of a page would be said of a bad one too, were it not looked at."""
    bad = """<!doctype html><title>bad</title><div style="width: 700px">wide</div>
        <img src="http://127.0.0.1:9/picture.png" alt=""><script>console.error("wrong")</script>"""
    seen = look(bad, tmp_path, 360)
    assert seen.content_px >= 700 > seen.width_px
    assert "http://127.0.0.1:9/picture.png" in seen.requests
    assert any("wrong" in line for line in seen.console)
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    seen = look(bad.replace("<title>", policy + "<title>"), tmp_path / "policy", 360)
    assert seen.console  # what the page's own policy refuses is said
    assert not seen.requests


def test_sections_of_editing_are_there_where_the_run_can_edit(run, monkeypatch):
    evaluates(monkeypatch)
    document = parsed(report(run))
    ids = {element.get("id") for element in document.iter("section")}
    assert not ids & set(page.OF_EDITING)  # this run has none of the networks
    strip = sections.Strip(HOSTILE, (sections.picture(np.zeros((16, 16, 3), np.uint8), HOSTILE),), "41.0 dB")
    drawn = {"inversion": (strip,), "edits": (strip, strip)}
    monkeypatch.setattr(page.edits, "draw", lambda model, shown: drawn)  # noqa: ARG005
    document = parsed(report(run))
    assert pictures_in(document, "inversion") == 1 and pictures_in(document, "edits") == 2
    assert "41.0 dB" in text_of(document, "inversion")
    (nav,) = document.iter("nav")
    assert "Edits" in "".join(nav.itertext()) and "Completion" not in "".join(nav.itertext())
