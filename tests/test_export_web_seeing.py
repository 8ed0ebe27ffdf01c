"""The page says of a picture what Python says of it: its size, image tower, captioner, beam search, the page itself."""

import base64
import io
import json

import jax.numpy as jnp
import numpy as np
import pytest
from browser import CHROMIUM
from exported import KINDS, NODE, random_model, run_node
from PIL import Image, ImageDraw
from studio_page import PHONE, serious_barriers

import t2igan
from t2igan.data.decode import Decoding
from t2igan.errors import UserError
from t2igan.inference.editing import read_picture
from t2igan.inference.editing.describing import _seen, describe
from t2igan.inference.export import web_captioner, web_page
from t2igan.inference.export.source import open_source, source_of
from t2igan.inference.snapshot import save_snapshot

needs_node = pytest.mark.skipif(NODE is None, reason="Node is not there")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")
CAPTIONS = ["a red square on blue", "a green square, isn't it", "naïve café"]

DESCRIBE = """
const model = await openModel(given.data, (given.plain ? plainMaths : (await bestMaths()).maths));
const seeing = new Seeing(model), size = given.pictures[0].length;
const said = given.pictures.map((picture) => {
  const bytes = Uint8Array.from(picture);
  return { ...seeing.describe(bytes), features: [...seeing.features(bytes)] };
});
save(new TextEncoder().encode(JSON.stringify(said)));
"""


def described(source, pictures, folder, dtype="float32", plain=False):
    packed = base64.b64encode(web_page.packed(source, dtype, describes=True)).decode()
    given = {"data": packed, "pictures": [picture.ravel().tolist() for picture in pictures], "plain": plain}
    return json.loads(run_node(DESCRIBE, folder, describes=True, **given))


@needs_node
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "fully" not in kind])
def test_a_model_of_any_kind_sees_and_says_what_it_does_in_python(kind, tmp_path):
    """Pixels, grey and transparent ones, components of patches, codes; in WebAssembly and in JavaScript."""
    source = source_of(random_model(CAPTIONS, captioner=True, **KINDS[kind]), kind, CAPTIONS)
    channels = source.snapshot.config["data"]["channels"]
    pictures = np.random.default_rng(0).integers(0, 256, (4, 16, 16, channels), np.uint8)
    expected = describe(source.model, pictures)
    features, _ = _seen(source.model.networks, source.model.params, jnp.asarray(pictures))
    for plain in (False, True):
        found = described(source, pictures, tmp_path, plain=plain)
        np.testing.assert_allclose([one["features"] for one in found], features, rtol=1e-4, atol=1e-4)
        assert [one["caption"] for one in found] == [one.caption for one in expected]
        np.testing.assert_allclose(
            [one["confidence"] for one in found], [one.confidence for one in expected], rtol=1e-3
        )
        strange = [one.strangeness for one in expected]
        np.testing.assert_allclose([one["strangeness"] for one in found], strange, rtol=0.02)


@pytest.fixture(scope="module")
def avatars():
    """The model that comes with the package, and 32 pictures that it has not learned from."""
    source = open_source("models/pixel_avatars")
    return source, t2igan.open_dataset("base", "test").images[:32]


@needs_node
def test_32_pictures_are_described_as_python_describes_them(avatars, tmp_path):
    source, pictures = avatars
    expected, found = describe(source.model, pictures), described(source, pictures, tmp_path)
    assert [one["caption"] for one in found] == [one.caption for one in expected]
    assert len({one["caption"] for one in found}) > 16 and not any(one["unlike"] for one in found)
    np.testing.assert_allclose([one["confidence"] for one in found], [one.confidence for one in expected], atol=1e-3)
    strange = [one.strangeness for one in expected]
    np.testing.assert_allclose([one["strangeness"] for one in found], strange, rtol=0.02)


@needs_node
def test_what_is_like_no_picture_of_the_training_is_called_unlike(avatars, tmp_path):
    """With weights of 8 bits, too."""
    source, _ = avatars
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    assert all(one.unlike for one in describe(source.model, noise))
    assert all(one["unlike"] for one in described(source, noise, tmp_path, "int8"))


FIT = """
const { width, height, how } = given, all = Uint8ClampedArray.from(given.rgba);
const rows = (first, count, left, right) => {
  const part = new Uint8ClampedArray(4 * count * (right - left));
  for (let r = 0; r < count; r++) {
    const from = 4 * ((first + r) * width + left);
    part.set(all.subarray(from, from + 4 * (right - left)), 4 * r * (right - left));
  }
  return part;
};
save(fitted({ width, height, rows }, how));
"""
HOW = {
    "a photograph, cut": ((301, 222), {}),
    "a large one, reduced first": ((1003, 777), {}),
    "its whole, with room around": ((301, 222), {"resize": "pad"}),
    "stretched": ((120, 400), {"resize": "stretch"}),
    "a little larger": ((40, 50), {}),
    "smaller": ((9, 13), {}),
    "pixel art, twice as small": ((32, 32), {}),
    "pixel art, enlarged": ((8, 8), {}),
    "as large as the model's": ((16, 16), {}),
    "by means": ((90, 70), {"resample": "area"}),
    "by the nearest": ((90, 70), {"resample": "nearest"}),
    "grey": ((301, 222), {"channels": 1}),
}


def drawing(width, height, transparent):
    """Edges, gradients and noise; where it is transparent, more or less."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = Image.fromarray(np.stack([x, y, 255 - x, np.full_like(x, 255)], -1).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 5, height // 5, width - 3, height // 2), fill=(250, 20, 60, 90 if transparent else 255))
    pixels = np.asarray(image).copy()
    pixels[: height // 4] = np.random.default_rng(0).integers(0, 256, (height // 4, width, 4), np.uint8)
    pixels[..., 3] = pixels[..., 3] if transparent else 255
    return pixels


def fit(rgba, how, folder):
    """The page's picture and Python's."""
    given = {key: getattr(how, key) for key in ("size_px", "channels", "background", "resize", "resample")}
    height, width = rgba.shape[:2]
    found = run_node(FIT, folder, describes=True, rgba=rgba.ravel().tolist(), width=width, height=height, how=given)
    content = io.BytesIO()
    Image.fromarray(rgba).save(content, "PNG")
    expected = read_picture(content.getvalue(), how).pixels
    return np.frombuffer(found, np.uint8).reshape(expected.shape), expected


@needs_node
@pytest.mark.parametrize("what", HOW)
@pytest.mark.parametrize("transparent", [False, True])
def test_a_picture_comes_to_the_models_size_as_in_python(what, transparent, tmp_path):
    """To the byte: cut, padded or stretched, by every filter, on the background."""
    (width, height), changed = HOW[what]
    how = Decoding(**{"size_px": 16, "background": (200, 100, 0)} | changed)
    found, expected = fit(drawing(width, height, transparent), how, tmp_path)
    np.testing.assert_array_equal(found, expected)


@needs_node
@pytest.mark.parametrize("size", [(301, 222), (16, 16), (40, 50)])
@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_transparent_pictures_stay_transparent(size, resize, tmp_path):
    found, expected = fit(drawing(*size, True), Decoding(16, channels=4, resize=resize), tmp_path)
    np.testing.assert_array_equal(found, expected)


@needs_node
def test_pixels_that_were_repeated_are_taken_back(tmp_path):
    small = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    small[..., 3] = 255
    found, expected = fit(small.repeat(20, 0).repeat(20, 1), Decoding(16), tmp_path)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, small[..., :3])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_snapshot(path, random_model(CAPTIONS, captioner=True))
    return path


@needs_node
def test_a_page_describes_where_it_stays_small_and_says_so_where_it_does_not(tiny, tmp_path, monkeypatch):
    done = t2igan.export(tiny, "web", tmp_path / "a.html", "float32")
    assert "64 of 64 pictures are described in the same words" in done.checks[1]
    with_it = (tmp_path / "a.html").read_text(encoding="utf-8")
    t2igan.export(tiny, "web", tmp_path / "b.html", "float32", without=["captioner"])
    monkeypatch.setattr(web_page, "LIMIT_MB", len(with_it) / 1e6 - 1e-6)
    done = t2igan.export(tiny, "web", tmp_path / "c.html", "float32")
    assert "does not describe pictures" in done.checks[1] and "--include=captioner" in done.checks[1]
    for without in ("b.html", "c.html"):
        text = (tmp_path / without).read_text(encoding="utf-8")
        assert "describing" not in text.replace("#describing", "") and len(text) < len(with_it)
    done = t2igan.export(tiny, "web", tmp_path / "d.html", "float32", include=["captioner"])
    assert (tmp_path / "d.html").read_text(encoding="utf-8") == with_it
    assert "64 of 64 pictures are described" in done.checks[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "web", "include": ["inverter"]}, "include='inverter' is not what a page can take along: captioner"),
        ({"format": "onnx", "include": ["captioner"]}, "is for the page: give format 'web' or 'hub'"),
        ({"format": "web", "include": ["captioner"], "without": ["captioner"]}, "both in include and in without"),
    ],
)
def test_what_cannot_be_included_is_explained(tiny, tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        t2igan.export(tiny, out=tmp_path / ("model" if arguments["format"] == "onnx" else "page.html"), **arguments)


def test_a_model_without_a_captioner_cannot_include_it(tmp_path):
    save_snapshot(tmp_path / "none.safetensors", random_model(CAPTIONS))
    with pytest.raises(UserError, match="include=captioner needs a captioner, and this model has none"):
        t2igan.export(tmp_path / "none.safetensors", "web", tmp_path / "page.html", include=["captioner"])


@pytest.fixture(scope="module")
def page(avatars, tmp_path_factory):
    """The file of a page of the package's own model that describes."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(web_page._page(avatars[0], "int8", describes=True), encoding="utf-8")
    return path


SCREENS = {"phone": PHONE, "tablet": {"viewport": {"width": 820, "height": 1180}}}


@pytest.fixture(params=SCREENS)
def screen(request, chromium, page):
    context = chromium.new_context(**SCREENS[request.param])
    opened, console, requests = context.new_page(), [], []
    opened.on("console", lambda message: console.append(message.text))
    opened.on("pageerror", lambda error: console.append(str(error)))
    opened.on("request", lambda asked: requests.append(asked.url))
    opened.goto(page.as_uri())
    opened.wait_for_function("() => document.body.innerText.includes('ms a picture')")
    yield opened
    context.close()
    assert console == [] and all(url.startswith((page.as_uri(), "data:", "blob:")) for url in requests)


def as_png(pixels, times=1):
    content = io.BytesIO()
    Image.fromarray(pixels.repeat(times, 0).repeat(times, 1)).save(content, "PNG")
    return content.getvalue()


def said(screen):
    screen.wait_for_function(
        "() => / sure|cannot|is not a picture/.test(document.querySelector('#described').innerText)"
    )
    return screen.inner_text("#described")


@needs_browser
def test_a_picture_is_chosen_and_its_caption_drawn(screen, avatars):
    source, pictures = avatars
    expected = described_int8(source, pictures[:1])
    screen.set_input_files("#picture", {"name": "me.png", "mimeType": "image/png", "buffer": as_png(pictures[0], 24)})
    assert said(screen).startswith(f"{expected} (")
    pixels = screen.evaluate(
        "() => [...document.querySelector('#given').getContext('2d').getImageData(0,0,16,16).data]"
    )
    np.testing.assert_array_equal(np.array(pixels).reshape(16, 16, 4)[..., :3], pictures[0])
    screen.focus("#draw_described")
    screen.keyboard.press("Enter")
    assert screen.input_value("#caption") == expected
    assert screen.evaluate("() => document.activeElement.id") == "caption"
    widths = screen.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    assert serious_barriers(screen) == []


def described_int8(source, pictures):
    """What the weights of 8 bits say, which need not be what the model says."""
    import tempfile
    from pathlib import Path

    if NODE is None:
        pytest.skip("Node is not there")
    with tempfile.TemporaryDirectory() as folder:
        return described(source, pictures, Path(folder), "int8")[0]["caption"]


@needs_browser
def test_pictures_are_dropped_and_pasted_and_what_is_none_is_refused(screen, avatars):
    _, pictures = avatars
    give = """([kind, data, name]) => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(data)], name, { type: 'image/png' }));
      const [type, key] = kind === 'drop' ? [DragEvent, 'dataTransfer'] : [ClipboardEvent, 'clipboardData'];
      document.body.dispatchEvent(new type(kind, { [key]: files, bubbles: true, cancelable: true }));
    }"""
    found = []
    for kind, picture in (("drop", pictures[1]), ("paste", pictures[2])):
        screen.evaluate("() => { document.querySelector('#described').textContent = ''; }")
        screen.evaluate(give, [kind, list(as_png(picture)), "one.png"])
        found.append(said(screen))
    assert found[0] != found[1]
    screen.evaluate("() => { document.querySelector('#described').textContent = ''; }")
    screen.evaluate(give, ["drop", [1, 2, 3], "none.png"])
    assert "none.png is not a picture that this browser can open" in said(screen)
    assert screen.is_hidden("#seen")


def test_codes_are_normalised_in_the_encoders_last_layer():
    """As `t2igan.nets.autoencoder.normalised` does behind it."""
    random = np.random.default_rng(0)
    kernel, bias, mean = random.normal(size=(5, 3)), random.normal(size=3), random.normal(size=3)
    space = {
        "params": {"encoder": {"Dense_0": {"kernel": kernel, "bias": bias}}},
        "statistics": {"mean": mean, "mean_square": mean**2 + 4},
    }
    last = web_captioner._with_unit_codes(space, "Dense_0")["Dense_0"]
    x = random.normal(size=(7, 5))
    np.testing.assert_allclose(x @ last["kernel"] + last["bias"], (x @ kernel + bias - mean) / 2, rtol=1e-6)
