"""The page on a graphics card, as far as software imitates one: what it draws, and when it is left alone."""

import json

import numpy as np
import pytest
from browser import CHROMIUM
from exported import KINDS, random_model

from t2igan.inference.export import web_page
from t2igan.inference.export.source import open_source, source_of

CAPTIONS = ["a red square on blue", "a green square, isn't it", "naïve café"]
ADAPTER = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
FORCED = "#webgpu"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")


@pytest.fixture(scope="module")
def imitated(chromium, tmp_path_factory):
    """A browser in which software imitates a graphics card."""
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox", *ADAPTER])
    empty = tmp_path_factory.mktemp("empty") / "empty.html"
    empty.write_text("", encoding="utf-8")
    page = browser.new_page()
    page.goto(empty.as_uri())  # WebGPU is for files and for what comes by https
    has = page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())")
    page.close()
    if not has:
        browser.close()
        pytest.skip("this Chromium has no adapter of WebGPU, not even one in software")
    yield browser
    browser.close()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A small page that may draw on a card."""
    monkeypatch.setattr(web_page, "GPU_FROM_PX", 16)
    return page_of(source_of(random_model(CAPTIONS), "tiny", CAPTIONS), tmp_path)


def page_of(source, folder):
    path = folder / "page.html"
    path.write_text(web_page._page(source, "float32", describes=False), encoding="utf-8")
    return path


def seen(browser, path, hash_="", before="", act="() => 0", words="ms a picture"):
    """What a browser shows of a page: what is said, and the pictures. Its console stays empty, and nothing is asked."""
    context = browser.new_context(viewport={"width": 820, "height": 1180})
    context.set_default_timeout(180_000)
    page, console, requests = context.new_page(), [], []
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    if before:
        page.add_init_script(before)
    page.goto(path.as_uri() + hash_)
    until = "([words]) => document.querySelector('#say').innerText.includes(words)"
    page.wait_for_function(until, arg=[words])
    page.evaluate(act)
    page.wait_for_function(until, arg=["ms a picture"])
    said, pixels = page.evaluate(
        """() => {
             const of = (one) => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data];
             const pixels = [...document.querySelectorAll('#sheet canvas')].map(of);
             return [document.querySelector('#say').innerText, JSON.stringify(pixels)];
           }"""
    )
    context.close()
    assert console == [] and all(url.startswith(path.as_uri()) for url in requests)
    return said, np.array(json.loads(pixels))


def close(found, expected):
    """Equal but for a level; and there is something to be seen."""
    assert found.shape == expected.shape and len({one.tobytes() for one in expected}) == len(expected)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "fully" not in kind and "growing" not in kind])
def test_a_card_draws_what_webassembly_draws(imitated, kind, tmp_path, monkeypatch):
    """Pixels with and without words, two blocks, grey and transparent ones, components of patches, codes."""
    monkeypatch.setattr(web_page, "GPU_FROM_PX", 16)
    path = page_of(source_of(random_model(CAPTIONS, **KINDS[kind]), kind, CAPTIONS), tmp_path)
    said, found = seen(imitated, path, FORCED, words="WebGPU")
    assert said.endswith("WebGPU")
    said, expected = seen(imitated, path)
    assert said.endswith("WebAssembly")  # an adapter in software is not used by itself
    close(found, expected)


@pytest.fixture(scope="module")
def toons(tmp_path_factory):
    return page_of(open_source("models/toon_avatars"), tmp_path_factory.mktemp("toons"))


def test_a_model_of_64_px_draws_the_same_and_goes_on_when_the_card_is_lost(imitated, toons):
    """More pictures than at a time, after that with weighed words; then without the card, silently."""
    _, expected = seen(imitated, toons)
    _, found = seen(imitated, toons, FORCED, words="WebGPU")
    close(found, expected)
    keep = """
      const request = GPUAdapter.prototype.requestDevice;
      GPUAdapter.prototype.requestDevice = async function (...given) {
        return window.device = await request.apply(this, given);
      };
    """
    lose = """async () => {
      window.device.destroy();
      await window.device.lost;
      document.querySelector('#caption').dispatchEvent(new Event('input'));
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }"""
    said, found = seen(imitated, toons, FORCED, keep, lose, words="WebGPU")
    assert said.endswith("WebAssembly")
    np.testing.assert_array_equal(found, expected)


def test_without_a_card_nothing_is_asked_for(chromium, tiny):
    """Chromium warns on its console where there is no adapter."""
    said, _ = seen(chromium, tiny, before="navigator.gpu.requestAdapter = () => { console.log('asked'); };")
    assert said.endswith("WebAssembly")


@pytest.mark.parametrize("failing", ["requestAdapter", "requestDevice", "createShaderModule"])
def test_a_card_that_fails_is_left_alone(imitated, tiny, failing):
    owner = {"requestAdapter": "GPU", "requestDevice": "GPUAdapter", "createShaderModule": "GPUDevice"}[failing]
    before = f"{owner}.prototype.{failing} = () => {{ throw new Error('it fails'); }};"
    said, _ = seen(imitated, tiny, FORCED, before)
    assert said.endswith("WebAssembly")


def test_a_card_that_draws_something_else_is_left_alone(imitated, tiny):
    before = """
      const make = GPUDevice.prototype.createShaderModule;
      GPUDevice.prototype.createShaderModule = function ({ code }) {
        return make.call(this, { code: code.replace('x[id.x] + other[id.x]', 'x[id.x] - other[id.x]') });
      };
    """
    said, _ = seen(imitated, tiny, FORCED, before)
    assert said.endswith("WebAssembly")


def test_small_pictures_and_networks_that_it_does_not_know_have_no_card():
    small = source_of(random_model(CAPTIONS), "tiny", CAPTIONS)
    assert not web_page.drawn_by_gpu(small) and "GpuPainter" not in web_page._page(small, "int8", describes=False)
    assert "GpuPainter" in web_page._page(open_source("models/toon_avatars"), "int8", describes=False)
