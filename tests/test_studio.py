"""The studio in a real Chromium: what people do with it, on a desktop and on a phone. Skipped where there is none."""

import dataclasses
import io
import json
import zipfile

import pytest
from browser import CHROMIUM
from PIL import Image
from served import PROMPTS, run_folder, running
from studio_page import PHONE, Watched, drop, serious_barriers
from tiny import random_snapshot

from t2igan.data.seen import Seen
from t2igan.data.tokenizer import Tokenizer
from t2igan.inference.provenance import PNG_KEY
from t2igan.inference.serving.models import open_models
from t2igan.inference.snapshot import save_snapshot

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
CAPTION = PROMPTS[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = run_folder(tmp_path_factory.mktemp("runs"))
    with running(open_models([folder]), batch_images=8, timeout_s=300.0) as server:
        server.when_ready(120)
        yield server


def test_what_is_typed_is_drawn_kept_and_got_back(desktop):
    page = desktop.page
    desktop.open()
    desktop.write("a person with a blue")
    assert page.inner_text("#spoken") == "8 pictures of “a person with a blue”"
    desktop.write(CAPTION)
    first = desktop.wall()
    page.keyboard.press("Enter")  # now it goes into the history at once
    page.wait_for_selector(f"#history .run:has-text('{CAPTION}')")
    seed = page.input_value("#seed")
    with page.expect_response(lambda answer: "generations" in answer.url):
        page.click("#dice")
    desktop.drawn()
    assert page.input_value("#seed") != seed and desktop.wall() != first
    with page.expect_response(lambda answer: "generations" in answer.url):
        page.click("#num label:has-text('4') >> nth=0")
    desktop.drawn(4)
    page.click(f"#history .run:has-text('{CAPTION}') .back")
    desktop.drawn(8)
    assert page.input_value("#seed") == seed and desktop.wall() == first
    page.reload()
    page.wait_for_selector(f"#history .run:has-text('{CAPTION}')")
    desktop.drawn(8)
    assert desktop.wall() == first  # the link in the address bar draws the same


def test_a_model_that_names_no_caption_waits_for_one_and_helps_with_it(chromium, tmp_path):
    own = random_snapshot(PROMPTS)
    told = ["a person with a red cap", "a person with a blue top", "a person with a red top", "a blue cap"]
    seen = Seen.of(told, [], Tokenizer.from_json(own.tokenizer))
    save_snapshot(tmp_path / "own.safetensors", dataclasses.replace(own, seen=seen.to_json()))
    with running(open_models([tmp_path / "own.safetensors"]), batch_images=8, timeout_s=300.0) as server:
        server.when_ready(120)
        visitor = Watched(chromium, server)
        visitor.page.goto(server.url)
        visitor.page.wait_for_selector("#suggestions button")
        assert visitor.page.input_value("#caption") == "" and visitor.page.locator("#wall img").count() == 0
        visitor.page.fill("#caption", "a person with a ")
        chips = "[...document.querySelectorAll('#suggestions button')].map((chip) => chip.innerText)"
        offers = f"() => {chips}.join().startsWith("
        visitor.page.wait_for_function(f"{offers}'person,red,blue,')")  # what captions had after "a"
        visitor.page.click("#suggestions button:has-text('red')")
        visitor.page.wait_for_function(f"{offers}'cap,top,')")
        visitor.write(CAPTION)
        visitor.drawn()
        visitor.close()


def test_words_that_are_new_to_the_model_are_named_gently(desktop):
    desktop.open()
    desktop.page.fill("#caption", "a zeppelin cap")
    desktop.page.wait_for_selector("#words:has-text('never seen “zeppelin”')")
    desktop.page.fill("#caption", "a bagpipe")  # the word that is being typed is left alone
    desktop.page.wait_for_function("() => document.querySelector('#words').textContent === ''")
    desktop.page.locator("#caption").blur()
    desktop.page.wait_for_selector("#words:has-text('never seen “bagpipe”')")
    desktop.page.fill("#caption", "a person with a re")
    desktop.page.click("#suggestions button:has-text('red')")
    assert desktop.page.input_value("#caption") == "a person with a red"
    desktop.page.wait_for_function("() => document.querySelector('#words').textContent === ''")


def test_a_picture_is_enlarged_kept_and_downloaded_with_its_recipe(desktop, tmp_path):
    page = desktop.page
    desktop.open()
    desktop.write(CAPTION)
    page.click("#wall li:nth-child(2) button")
    page.wait_for_selector("#viewer[open]")
    assert page.inner_text("#viewer-caption") == CAPTION
    width_px, rendering = page.evaluate(
        "() => { const p = document.querySelector('#viewer-picture'); "
        "return [p.width, getComputedStyle(p).imageRendering]; }"
    )
    assert width_px % 16 == 0 and width_px >= 256 and rendering == "pixelated"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("f")
    page.wait_for_selector("#favourite[aria-pressed=true]")
    page.select_option("#size", "512")
    saved = tmp_path / "one.png"
    desktop.downloaded("#download").save_as(saved)
    picture = Image.open(saved)
    facts = json.loads(picture.text[PNG_KEY])
    seed = int(page.input_value("#seed"))
    assert picture.size == (512, 512) and (facts["prompt"], facts["seed"]) == (CAPTION, seed + 2)
    page.keyboard.press("Escape")
    page.click("#tab-favourites")
    assert page.locator("#favourites img").count() == 1
    page.reload()
    desktop.drawn()
    page.click("#tab-favourites")
    page.wait_for_selector("#favourites img", state="attached")

    page.click("#dice")
    page.fill("#caption", "green hair")
    desktop.drawn()
    drop(page, saved.read_bytes())
    page.wait_for_function("seed => document.querySelector('#seed').value === seed", arg=str(seed + 2))
    assert page.input_value("#caption") == CAPTION
    drop(page, b"no picture at all")
    page.wait_for_selector("#notice:has-text('no picture')")


def test_a_picture_is_varied_and_gets_another_caption(desktop, tmp_path):
    page = desktop.page
    desktop.open()
    desktop.write(CAPTION)
    page.click("#num label:has-text('4') >> nth=0")
    desktop.drawn(4)
    page.click("#wall li:nth-child(2) button")
    page.click("#vary")
    page.wait_for_selector("#spoken:has-text('4 variations of')")
    desktop.drawn(4)
    page.click("#wall li:nth-child(1) button")
    desktop.downloaded("#download").save_as(tmp_path / "variation.png")
    facts = json.loads(Image.open(tmp_path / "variation.png").text[PNG_KEY])
    assert (facts["verb"], facts["caption"], facts["strength"]) == ("vary", CAPTION, 0.5)
    page.keyboard.press("Escape")
    page.click("#history .run .back")  # the pictures that the caption was typed for, or their variations: kept both
    page.fill("#caption", CAPTION)
    desktop.drawn(4)
    page.click("#wall li:nth-child(1) button")
    page.fill("#edit-caption", PROMPTS[1])
    page.press("#edit-caption", "Enter")
    page.wait_for_selector(f"#spoken:has-text('changed to “{PROMPTS[1]}”')")
    desktop.drawn(1)
    assert page.input_value("#caption") == PROMPTS[1] and page.is_disabled("#share")


def test_all_pictures_come_in_a_zip(desktop, tmp_path):
    desktop.open()
    desktop.write(CAPTION)
    desktop.downloaded("#zip").save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:
        assert packed.testzip() is None and len(packed.namelist()) == 8
        pictures = [Image.open(io.BytesIO(packed.read(name))) for name in packed.namelist()]
    assert {json.loads(picture.text[PNG_KEY])["prompt"] for picture in pictures} == {CAPTION}
    assert {picture.size for picture in pictures} == {(128, 128)}
    page = desktop.page
    page.click("#wall li:nth-child(1) button")
    page.click("#favourite")
    page.keyboard.press("Escape")
    page.click("#dice")
    desktop.drawn()
    page.click("#wall li:nth-child(2) button")
    page.click("#favourite")
    page.keyboard.press("Escape")
    page.click("#tab-favourites")
    page.wait_for_function("() => document.querySelectorAll('#favourites img').length === 2")
    desktop.downloaded("#favourites .below").save_as(tmp_path / "favourites.zip")
    with zipfile.ZipFile(tmp_path / "favourites.zip") as packed:
        recipes = [json.loads(Image.open(io.BytesIO(packed.read(name))).text[PNG_KEY]) for name in packed.namelist()]
    assert len({recipe["seed"] for recipe in recipes}) == 2


def test_a_link_draws_the_same_for_somebody_else(desktop, phone):
    desktop.open()
    desktop.write(CAPTION)
    desktop.context.grant_permissions(["clipboard-read", "clipboard-write"])
    desktop.page.click("#share")
    link = desktop.page.evaluate("() => navigator.clipboard.readText()")
    phone.open(link.removeprefix(desktop.server.url))
    assert phone.page.input_value("#caption") == CAPTION and phone.wall() == desktop.wall()


def test_on_a_phone_in_chinese_nothing_sticks_out(phone):
    phone.open()
    phone.page.click("#language")
    assert phone.page.inner_text("#draw") == "画" and phone.page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    assert phone.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 21, 23)"  # dark
    phone.page.tap("#wall li:nth-child(1) button")
    phone.page.wait_for_selector("#viewer[open]")
    box = phone.page.locator("#viewer-picture").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    phone.page.tap("#close")


def test_what_closes_a_dialog_stays_in_sight_on_a_small_screen(chromium, server):
    watched = Watched(chromium, server, **PHONE | {"viewport": {"width": 390, "height": 420}})
    page = watched.page
    watched.open()
    for opened, close in (
        ("#wall li:nth-child(1) button", "#close"),
        ("#models", "#gallery-close"),
        ("", "#keys-close"),
    ):
        if opened:
            page.tap(opened)
        else:
            page.evaluate("() => document.querySelector('#keys').showModal()")
        page.evaluate(
            "() => [...document.querySelectorAll('dialog[open], dialog[open] *')].forEach(e => e.scrollTop = 9e9)"
        )
        box = page.locator(close).bounding_box()
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        assert page.evaluate("([x, y, on]) => Boolean(document.elementFromPoint(x, y)?.closest(on))", [*middle, close])
        page.tap(close)
    watched.close()


def test_a_server_that_is_away_is_waited_for(desktop):
    desktop.open()
    refuse = lambda route: route.fulfill(status=503, json={"error": {"message": "away"}})
    desktop.page.route("**/v1/images/generations", refuse)
    desktop.page.fill("#caption", CAPTION)
    desktop.page.wait_for_selector("#notice:has-text('trying again')")
    desktop.page.unroute("**/v1/images/generations")
    desktop.page.wait_for_selector("#notice", state="hidden")
    desktop.drawn()
    desktop.console[:] = [
        line for line in desktop.console if "503" not in line
    ]  # the browser notes the refusals itself


def test_what_takes_long_is_shown_and_can_be_given_up(desktop):
    page = desktop.page
    desktop.open()
    before = desktop.wall()
    page.route("**/v1/images/variations", lambda _route: None)  # nobody ever answers
    page.route("**/t2igan/v1/progress/*", lambda route: route.fulfill(json={"state": "drawing", "progress": 0.4}))
    page.click("#wall li:nth-child(1) button")
    page.click("#vary")
    page.wait_for_function("() => document.querySelector('#working-bar').value === 0.4")
    assert page.inner_text("#working-text") == "Drawing variations …"
    page.click("#working-cancel")
    page.wait_for_selector("#working", state="hidden")
    desktop.drawn()
    assert desktop.wall() == before


def test_where_the_browser_keeps_nothing_the_page_does(desktop):
    page = desktop.page
    desktop.context.add_init_script("Object.defineProperty(window, 'indexedDB', {value: undefined})")
    desktop.open()
    page.keyboard.press("Escape")
    page.press("#caption", "Enter")
    page.wait_for_selector("#history .run")
    page.click("#history .gone", force=True)
    page.wait_for_selector("#history .nothing")


@pytest.mark.parametrize(
    ("view", "scheme"), [("page", "light"), ("viewer", "dark"), ("gallery", "light"), ("keys", "dark")]
)
def test_there_are_no_serious_barriers(chromium, server, view, scheme):
    watched = Watched(chromium, server, viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
    watched.open()
    watched.page.keyboard.press("Escape")
    if view == "viewer":
        watched.page.click("#wall li:nth-child(1) button")
    elif view == "gallery":
        watched.page.click("#models")
        watched.page.click("#gallery summary")
        watched.page.wait_for_selector("#gallery .cloud button")
    elif view == "keys":
        watched.page.keyboard.press("?")
    assert serious_barriers(watched.page) == []
    watched.close()
