"""The page on a graphics card, as far as software imitates one: what it draws, and when it is left alone."""

import contextlib

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


@contextlib.contextmanager
def opened(browser, path, hash_="", before=""):
    """A page that has drawn; its console stays empty, and nothing is asked for."""
    context = browser.new_context(viewport={"width": 820, "height": 1180})
    context.set_default_timeout(240_000)
    page, console, requests = context.new_page(), [], []
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    if before:
        page.add_init_script(before)
    page.goto(path.as_uri() + hash_)
    page.wait_for_function("() => document.querySelector('#say').innerText.includes('ms a picture')")
    yield page
    context.close()
    assert console == [] and all(url.startswith(path.as_uri()) for url in requests)


def on_card(page):
    """Waits until a page that is told to has drawn on a card."""
    page.wait_for_function("() => document.querySelector('#say').innerText.includes('WebGPU')")


def drawn_by(page):
    return page.inner_text("#say").rpartition(", ")[2]


def pictures(page):
    """Those of the sheet, int [N, H * W * 4]."""
    return np.array(
        page.evaluate(
            """() => [...document.querySelectorAll('#sheet canvas')].map((one) => {
                 const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
                 Object.assign(copy.canvas, {width: one.width, height: one.height});
                 copy.drawImage(one, 0, 0);
                 return [...copy.getImageData(0, 0, one.width, one.height).data];
               })"""
        )
    )


def draw_again(page):
    """As when somebody types; waits until what is said is new."""
    page.evaluate(
        """() => {
             document.querySelector('#say').textContent = '';
             document.querySelector('#caption').dispatchEvent(new Event('input'));
           }"""
    )
    page.wait_for_function("() => document.querySelector('#say').innerText.includes('ms a picture')")


def close(found, expected):
    """Equal but for a level; and there is something to be seen."""
    assert found.shape == expected.shape and len({one.tobytes() for one in expected}) == len(expected)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "fully" not in kind and "growing" not in kind])
def test_a_card_draws_what_webassembly_draws(imitated, kind, tmp_path, monkeypatch):
    """Pixels with and without words, two blocks, grey and transparent ones, components of patches, codes."""
    monkeypatch.setattr(web_page, "GPU_FROM_PX", 16)
    path = page_of(source_of(random_model(CAPTIONS, **KINDS[kind]), kind, CAPTIONS), tmp_path)
    with opened(imitated, path, FORCED) as page:
        on_card(page)
        found = pictures(page)
    with opened(imitated, path) as page:
        assert drawn_by(page) == "WebAssembly"  # an adapter in software is not used by itself
        close(found, pictures(page))


@pytest.fixture(scope="module")
def toons(tmp_path_factory):
    return page_of(open_source("models/toon_avatars"), tmp_path_factory.mktemp("toons"))


def test_a_model_of_64_px_draws_the_same_and_goes_on_when_the_card_is_lost(imitated, toons):
    keep = """
      const request = GPUAdapter.prototype.requestDevice;
      GPUAdapter.prototype.requestDevice = async function (...given) {
        return window.device = await request.apply(this, given);
      };
    """
    with opened(imitated, toons, FORCED, keep) as page:
        on_card(page)
        found = pictures(page)
        page.evaluate("async () => { window.device.destroy(); await window.device.lost; }")
        draw_again(page)
        assert drawn_by(page) == "WebAssembly"
        close(found, pictures(page))


def test_without_a_card_nothing_is_asked_for(chromium, tiny):
    """Chromium warns on its console where there is no adapter."""
    with opened(chromium, tiny, before="navigator.gpu.requestAdapter = () => { console.log('asked'); };") as page:
        page.wait_for_timeout(1000)
        draw_again(page)
        assert drawn_by(page) == "WebAssembly"


@pytest.mark.parametrize("faster", [True, False])
def test_a_card_is_used_where_it_is_measured_to_be_faster(imitated, tiny, faster):
    """On a clock that goes by 10 ms between two looks at it, and by a second where a slow card is waited for."""
    before = f"""
      const real = WebGL2RenderingContext.prototype.getParameter, map = GPUBuffer.prototype.mapAsync;
      WebGL2RenderingContext.prototype.getParameter = function (name) {{
        return typeof real.call(this, name) === 'string' ? 'A card' : real.call(this, name);
      }};
      Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', {{ get: () => false }});
      let clock = 0;
      window.drawn = 0;
      performance.now = () => clock += 10;
      GPUDevice.prototype.destroy = () => {{ window.refused = true; }};
      GPUBuffer.prototype.mapAsync = function (mode) {{
        window.drawn++;
        clock += {0 if faster else 1000};
        return map.call(this, mode);
      }};
    """
    with opened(imitated, tiny, before=before) as page:
        page.wait_for_function("() => window.drawn >= 4")  # once to see whether it is right, three times to be timed
        if not faster:
            page.wait_for_function("() => window.refused")
        for _ in range(1 if not faster else 100):
            draw_again(page)
            if drawn_by(page) == "WebGPU":
                break
            page.wait_for_timeout(200)
        assert drawn_by(page) == ("WebGPU" if faster else "WebAssembly")


@pytest.mark.parametrize("failing", ["requestAdapter", "requestDevice", "createShaderModule"])
def test_a_card_that_fails_is_left_alone(imitated, tiny, failing):
    owner = {"requestAdapter": "GPU", "requestDevice": "GPUAdapter", "createShaderModule": "GPUDevice"}[failing]
    before = f"{owner}.prototype.{failing} = () => {{ throw new Error('it fails'); }};"
    with opened(imitated, tiny, FORCED, before) as page:
        page.wait_for_timeout(1000)
        draw_again(page)
        assert drawn_by(page) == "WebAssembly"


def test_a_card_that_draws_something_else_is_left_alone(imitated, tiny):
    before = """
      const make = GPUDevice.prototype.createShaderModule;
      GPUDevice.prototype.createShaderModule = function ({ code }) {
        return make.call(this, { code: code.replace('x[id.x] + other[id.x]', 'x[id.x] - other[id.x]') });
      };
    """
    with opened(imitated, tiny, FORCED, before) as page:
        page.wait_for_timeout(1000)
        draw_again(page)
        assert drawn_by(page) == "WebAssembly"


def test_small_pictures_and_networks_that_it_does_not_know_have_no_card():
    small = source_of(random_model(CAPTIONS), "tiny", CAPTIONS)
    assert not web_page.drawn_by_gpu(small) and "GpuPainter" not in web_page._page(small, "int8", describes=False)
    assert "GpuPainter" in web_page._page(open_source("models/toon_avatars"), "int8", describes=False)
