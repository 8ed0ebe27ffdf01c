"""The page: its tokenizer and noise are Python's, it draws what JAX draws, and a browser has nothing to complain of."""

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from browser import CHROMIUM, look
from exported import NODE, random_model, run_node
from PIL import Image

import t2igan
from t2igan.data.tokenizer import Tokenizer
from t2igan.inference import serving
from t2igan.inference.drawing import noise, to_bytes
from t2igan.inference.export import web_page
from t2igan.inference.export.source import source_of
from t2igan.inference.prompts import without_span
from t2igan.inference.provenance import GENERATED, png_texts, read_claims
from t2igan.inference.snapshot import save_snapshot
from t2igan.inference.verify import verify

needs_node = pytest.mark.skipif(NODE is None, reason="Node is not there")
CAPTIONS = ["a red square on blue", "a green square, isn't it", "ΟΔΟΣ straße", "two  spaces 12345", "naïve café"]
NASTY = [
    *(
        "",
        " ",
        "\t\n",
        "<end>",
        "<begin> <pad>",
        "a" * 300,
        "ΟΔΥΣΣΕΥΣ ΟΔΟΣ",
        "İstanbul",
        "ﬁne ﬂy",
        "Å Å",
        "¼ ½",
        "㋿",
        "ꟲ",
    ),
    *(
        "\ufeffa",
        "a\x85b",
        "a\u2028b",
        "a\xa0b",
        "\u200ba",
        "\ud83d",
        "x\ude00y",
        "👩‍👩‍👧 zwj",
        "e\u0301",
        "가각",
        "ᄀ",
        "ﷺ",
    ),
    *(
        "it's WE'LL they're",
        "'s's",
        "12３４ ٣",
        "___--__",
        "a.b,c;d",
        "\x00\x01",
        "ǅ ǆ",
        "ß ẞ",
        "Ⅷ ⅷ",
        "ｱｲｳ",
        "🇩🇪🇫🇷",
        "\U0001fbf5",
    ),
]


def tokens_in_node(tokenizer, texts, folder):
    source = source_of(dataclasses.replace(random_model(CAPTIONS), tokenizer=tokenizer.to_json()), "x", ["a"])
    program = """
const tokenizer = new Tokenizer(given.tokenizer);
save(Int32Array.from(given.texts.flatMap((text) => {
  const ids = tokenizer.encode(text);
  return [tokenizer.count(text), ...ids, ...Array(tokenizer.maxTokens - ids.length).fill(0)];
})));
"""
    found = run_node(program, folder, tokenizer=web_page._tokenizer(source), texts=texts)
    return np.frombuffer(found, np.int32).reshape(len(texts), -1)


@needs_node
@pytest.mark.parametrize("lowercase", [True, False])
def test_the_tokenizer_is_pythons(tmp_path, lowercase):
    """Nasty strings, every 97th code point that there is, and random mixtures."""
    tokenizer = Tokenizer.train(CAPTIONS, 300, 16, lowercase)
    points = [chr(point) for point in range(1, 0x30000, 97)]
    random = np.random.default_rng(0)
    mixed = ["".join(random.choice([*points, *"abc  .'"], 12)) for _ in range(300)]
    texts = [*NASTY, *CAPTIONS, *points, *(f"a{point} b" for point in points[::7]), *mixed]
    found = tokens_in_node(tokenizer, texts, tmp_path)
    expected = np.concatenate([tokenizer.lengths(texts)[:, None] - 2, tokenizer.encode(texts)], axis=1)
    differ = [text for text, a, b in zip(texts, found, expected, strict=True) if (a != b).any()]
    assert not differ, f"{len(differ)} of {len(texts)}: {differ[:5]!r}"


@needs_node
def test_the_noise_is_jaxs(tmp_path):
    seeds = [0, 1, 2, 255, 65_536, 2**31 - 1, 2**31, 2**32 - 1]
    found = run_node("save(...given.seeds.map((seed) => noise(seed, 1500)));", tmp_path, seeds=seeds)
    expected = np.asarray(noise(jnp.asarray(seeds, jnp.uint32), 1_500))
    np.testing.assert_allclose(np.frombuffer(found, np.float32).reshape(8, 1_500), expected, rtol=0, atol=1e-6)


@needs_node
@pytest.mark.parametrize("shape", [(1, 5, 3), (4, 7, 8), (6, 3, 13), (9, 130, 64), (3, 1, 1)])
def test_products_in_webassembly_and_in_javascript_are_numpys(tmp_path, shape):
    """Rows in fours and single, columns in eights, fours and fewer, with and without a bias; again after others."""
    rows, inner, out = shape
    program = """
const fast = await bestMaths(), found = [];
if (fast.by !== 'WebAssembly') throw new Error(fast.by);
const [x, w, b] = [given.x, given.w, given.b].map((values) => Float32Array.from(values));
const many = Float32Array.from({ length: 40_000 }, (_, i) => i % 7);
for (const maths of [plainMaths, fast.maths]) for (const bias of [b, undefined]) {
  found.push(maths.product(given.rows, given.inner, given.out, x, w, bias));
  maths.product(1, 200, 200, many, many, undefined); // its memory grows
}
save(...found);
"""
    random = np.random.default_rng(0)
    x, w, b = (random.normal(size=size).astype(np.float32) for size in ((rows, inner), (inner, out), out))
    arrays = {name: array.ravel().tolist() for name, array in {"x": x, "w": w, "b": b}.items()}
    found = run_node(program, tmp_path, rows=rows, inner=inner, out=out, **arrays)
    found = np.frombuffer(found, np.float32).reshape(2, 2, rows, out)
    for by in found:
        np.testing.assert_allclose(by[0], x @ w + b, rtol=0, atol=2e-5)
        np.testing.assert_allclose(by[1], x @ w, rtol=0, atol=2e-5)


@needs_node
@pytest.mark.parametrize(("places", "words", "heads", "d"), [(5, 3, 2, 5), (16, 8, 4, 8), (1, 13, 1, 2)])
def test_attention_and_gelu_in_webassembly_are_those_of_javascript(tmp_path, places, words, heads, d):
    """Heads of whole vectors and of parts, words of whole panels and of parts, logits of any size."""
    program = """
const fast = (await bestMaths()).maths, { places, words, heads, d } = given, found = [];
const of = (values) => ({ data: Float32Array.from(values), row: heads * d, head: d, at: 0 });
const [q, k, v] = [given.q, given.k, given.v].map(of);
for (const maths of [fast, plainMaths]) {
  found.push(maths.attend(places, words, heads, d, q, k, v), maths.gelu(Float32Array.from(given.x)));
}
save(...found);
"""
    random = np.random.default_rng(0)
    given = {
        name: random.normal(0, 6, rows * heads * d).tolist()
        for name, rows in zip("qkv", (places, words, words), strict=True)
    }
    x = [*np.linspace(-150, 150, 62), 0.0]
    found = run_node(program, tmp_path, places=places, words=words, heads=heads, d=d, x=x, **given)
    by_fast, by_plain = np.frombuffer(found, np.float32).reshape(2, -1)
    np.testing.assert_allclose(by_fast, by_plain, rtol=2e-6, atol=1e-5)


@needs_node
def test_without_webassembly_there_is_javascript(tmp_path):
    program = """
globalThis.WebAssembly = undefined;
const { maths, by } = await bestMaths();
save(Uint8Array.from([by === 'JavaScript', maths === plainMaths]));
"""
    assert run_node(program, tmp_path) == b"\1\1"


SENTENCES = [
    "a pixel person with a red cap, light skin",
    "a cat, a dog and the bird",
    "red",
    "with glasses, a beard and a hat",
    "brown hair; and a t-shirt. The end, or an owl",
    "and, or with",
]


@needs_node
def test_a_caption_without_a_word_is_pythons(tmp_path):
    program = """
const of = (text) => wordsOf(text).map(({ start, end }) => [start, end, withoutSpan(text, start, end)]);
const said = given.texts.map(of);
save(new TextEncoder().encode(JSON.stringify(said)));
"""
    found = json.loads(run_node(program, tmp_path, texts=SENTENCES))
    for text, words in zip(SENTENCES, found, strict=True):
        assert [text[start:end] for start, end, _ in words] == re.findall(r"[\w'-]+", text)
        assert [left for *_, left in words] == [without_span(text, start, end) for start, end, _ in words]


@needs_node
@pytest.mark.parametrize("weights", [(1.0, 1.3, 1.0), (0.2, 1.0, 1.5)])
def test_words_weigh_as_in_the_language_of_prompts(tmp_path, weights):
    """One word more, or one less and not read any more; the picture is that of (word:1.3)."""
    source = source_of(random_model(CAPTIONS), "x", ["a"])
    caption = "blue green square"
    prompt = " ".join(f"({word}:{weight})" for word, weight in zip(caption.split(), weights, strict=True))
    program = """
const model = await openModel(given.data, (await bestMaths()).maths);
const encode = (text) => model.networks.encode(model.tokenizer.encode(text));
const { style, text } = weighted(model.networks, noise(3, model.about.z_dim), given.caption, given.weights, encode);
save(toBytes(model.networks.drawFrom(style, text).data, 3));
"""
    packed = base64.b64encode(web_page.packed(source, "float32")).decode()
    found = np.frombuffer(run_node(program, tmp_path, data=packed, caption=caption, weights=weights), np.uint8)
    expected = source.model.sample(prompt, 3)
    assert np.abs(found.reshape(expected.shape).astype(int) - expected).max() <= 1
    assert np.abs(source.model.sample(caption, 3).astype(int) - expected).max() > 1


@needs_node
def test_bytes_are_rounded_as_in_python(tmp_path):
    """Halves to even numbers; what lies outside is clipped."""
    values = [*((level + 0.5 - 127.5) / 127.5 for level in range(8)), -1.5, 1.5, 0.0, 1.0, -1.0]
    found = np.frombuffer(run_node("save(toBytes(Float32Array.from(given.x), 1));", tmp_path, x=values), np.uint8)
    x = np.float32(values)
    expected = np.round(np.clip(x * np.float32(127.5) + np.float32(127.5), 0, 255)).astype(np.uint8)
    assert found.tolist() == expected.tolist()
    rgba = np.random.default_rng(0).uniform(-1.1, 1.1, (50, 4)).astype(np.float32)
    rgba[:, 3] = np.linspace(-1.1, 1.1, 50)  # from nothing to all that is seen
    found = run_node("save(toBytes(Float32Array.from(given.x), 4));", tmp_path, x=rgba.ravel().tolist())
    expected = np.asarray(to_bytes(jnp.asarray(rgba[None, None])))
    np.testing.assert_array_equal(np.frombuffer(found, np.uint8), expected.ravel())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    example = 'images = model.sample(["a red </script> square"], seed=0)'
    card = f'# Tiny <script>alert("x")</script> \\_\n\n```python\n{example}\n```\n'
    save_snapshot(folder / "tiny.safetensors", dataclasses.replace(random_model(CAPTIONS), model_card=card))
    done = t2igan.export(folder / "tiny.safetensors", "web", folder / "page.html", "float32")
    return (folder / "page.html").read_text(encoding="utf-8"), done


@needs_node
def test_the_page_is_compared_with_jax(page):
    _, done = page
    assert done.checks[0].startswith("page.html: 64 pictures, ") and "in Node, by WebAssembly" in done.checks[0]


def test_the_page_asks_for_nothing_and_shows_text_as_text(page):
    text, _ = page
    assert not re.search(
        r"""(src|href)=["']|@import|url\(|fetch\(|XMLHttpRequest|https?://""", text.replace("link.href", "")
    )
    assert text.count("<script") == 2 and "Tiny &lt;script&gt;" in text
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'") and "unsafe-inline" not in policy
    script = re.search(r'<script type="module">([^]*?)</script>'.replace("[^]", r"[\s\S]"), text)[1]
    assert f"script-src '{web_page._hash(script)}'" in policy


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")
@pytest.mark.parametrize("width_px", [360, 1200])
def test_a_browser_draws_and_has_nothing_to_complain_of(page, tmp_path, width_px):
    text, _ = page
    seen = look(text, tmp_path, width_px, until="ms a picture")
    assert not seen.console and not seen.requests
    assert "ms a picture, WebAssembly" in seen.text and "Tiny <script>" in seen.text
    assert seen.content_px <= seen.width_px


@needs_node
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_of_the_page_is_read_as_it_was_written(tmp_path, channels):
    """Pixels, of transparent pictures also, are repeated and not rounded; texts are those that the studio reads."""
    facts = {"prompt": "红帽, ünï", "t2igan": "1"}
    texts, studio = png_texts(facts), Path(serving.__file__).parent / "studio" / "png.js"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, channels), np.uint8)
    program = """
const file = await pngFile(Uint8Array.from(given.pixels), 5, given.channels, 3, given.texts);
const { recipeOf } = await import(`data:text/javascript,${encodeURIComponent(given.studio)}`);
if (JSON.stringify(await recipeOf(file)) !== JSON.stringify(given.facts)) throw new Error("studio");
save(new Uint8Array(await file.arrayBuffer()));
"""
    given = {"pixels": pixels.ravel().tolist(), "studio": studio.read_text(), "facts": facts}
    found = run_node(program, tmp_path, channels=channels, texts=texts, **given)
    with Image.open(io.BytesIO(found)) as picture:
        picture.load()
        assert picture.text == texts
        np.testing.assert_array_equal(np.asarray(picture).reshape(15, 15, channels), pixels.repeat(3, 0).repeat(3, 1))
    assert read_claims(io.BytesIO(found)).source_type == GENERATED


def weigh(tab):
    tab.click("#explain")
    tab.fill("#words input >> nth=1", "0.3")


def mix(tab):
    tab.click("#mix")
    tab.click("#sheet button:nth-child(1)")
    tab.click("#sheet button:nth-child(4)")


BRACKETS = 'a "red" (square:1.2), ünï'
LONG = "red " + "square " * 40
DOWNLOADS = {  # a caption, what is done, what the recipe says, and what comes of it
    "a caption": (BRACKETS, None, {"prompt": BRACKETS, "seed": 42, "cut_long": True}, "the same in every pixel"),
    "a long one": (LONG, None, {"prompt": LONG, "seed": 42, "cut_long": True}, "the same in every pixel"),
    "a word weighed": (
        "blue (green) square",
        weigh,
        {"prompt": r"blue \((green:0.3)\) square", "seed": 42},
        "the same in every pixel",
    ),
    "a variation": (
        "red",
        lambda tab: tab.click("#vary") or tab.click("#sheet button:nth-child(1)"),
        {"verb": "vary", "prompt": "red", "cut_long": True, "seed": 7961, "around": {"seed": 42}, "share": 0.4},
        "its recipe is not one of `sample` (vary)",
    ),
    "a frame": (
        "red",
        mix,
        {"verb": "mix", "prompt": "red", "cut_long": True, "from": {"seed": 42}, "to": {"seed": 40}, "share": 3 / 7},
        "its recipe is not one of `sample` (mix)",
    ),
}


@pytest.fixture(scope="module")
def tab(page, chromium, tmp_path_factory):
    """A tab of a browser at the page, from a disk."""
    path = tmp_path_factory.mktemp("tab") / "page.html"
    path.write_text(page[0], encoding="utf-8")
    context = chromium.new_context(accept_downloads=True)
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(path.as_uri())
    tab.wait_for_selector("#say:has-text('ms a picture')")  # its policy allows no function that asks
    yield tab
    context.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")
@pytest.mark.parametrize("what", DOWNLOADS)
def test_a_download_says_how_it_was_made(page, tab, tmp_path, what):
    """What was typed and chosen, by the names of `t2igan sample`, and the source type; it is drawn again from that."""
    caption, act, said, found = DOWNLOADS[what]
    model = t2igan.load(page[1].out.with_name("tiny.safetensors"))
    tab.fill("#seed", "40")
    tab.fill("#caption", caption)
    tab.fill("#variety", "0.75")
    tab.click("#sheet button:nth-child(3)")
    if act:
        act(tab)
    with tab.expect_download() as waiting:
        tab.click("#download")
    waiting.value.save_as(tmp_path / "x.png")
    claims = read_claims(tmp_path / "x.png")
    common = {
        "t2igan": t2igan.__version__,
        "model": model.digest,
        "dtype": "float32",
        "truncation": 0.75,
        "guidance": 1,
    }
    assert claims.facts == common | said
    assert (claims.source_type, claims.tool) == (GENERATED, f"t2igan {t2igan.__version__}")
    assert claims.size_px == (512, 512)
    verdict = verify(tmp_path / "x.png", model)
    assert found in verdict.lines[-1] and not verdict.failed


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")
def test_words_are_explained_and_weighed(page, tmp_path):
    """Each word's share of changed pixels; a slider changes the chosen picture and the sheet."""
    act = """
        inside.querySelector("#sheet button:nth-child(2)").click();
        inside.getElementById("explain").click();
        const pixels = () => inside.getElementById("large").toDataURL();
        const before = pixels(), slider = inside.querySelector("#words input");
        slider.value = "0.2";
        slider.dispatchEvent(new Event("input"));
        const said = [...inside.querySelectorAll("#words label")].map((label) => label.textContent).join("; ");
        inside.getElementById("card").textContent = `${said} | ${pixels() === before ? "the same" : "another"}`;
    """
    seen = look(page[0], tmp_path, 360, until="ms a picture", act=act)
    assert not seen.console and not seen.requests and seen.content_px <= seen.width_px
    assert re.search(r"a: \d+ %; red: \d+ %; script: \d+ %; square: \d+ % \| another", seen.text)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")
def test_frames_lead_from_one_picture_to_another(page, tmp_path):
    act = """
        const pick = (number) => inside.querySelector(`#sheet button:nth-child(${number})`);
        pick(1).click();
        inside.getElementById("mix").click();
        pick(8).click();
        setTimeout(() => {
          pick(4).click();
          const labels = [...inside.querySelectorAll("#sheet button")].map((b) => b.getAttribute("aria-label"));
          const said = labels.map((label) => label.replace(/.*, /, "")).join("; ");
          inside.getElementById("card").textContent = `${inside.getElementById("about_chosen").textContent} | ${said}`;
        }, 1000);
    """
    seen = look(page[0], tmp_path, 1200, until="ms a picture", act=act)
    assert not seen.console
    between = "of the way from seed 0 to seed 7"
    assert f"43 % {between} | seed 0; 14 % {between}; 29 % {between}; 43 %" in seen.text
    assert seen.text.rstrip().endswith("; seed 7")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is there")
@pytest.mark.parametrize(
    ("caption", "words"), [(" ", "Say in words what to draw"), ("red " * 40, "this model reads 14")]
)
def test_a_caption_that_is_empty_or_too_long_is_explained(page, tmp_path, caption, words):
    act = f"""
        inside.getElementById("caption").value = {caption!r};
        inside.getElementById("caption").dispatchEvent(new Event("input"));
    """
    seen = look(page[0], tmp_path, 360, until="ms a picture", act=act)
    assert words in seen.text and not seen.console


@pytest.mark.parametrize("version", ["v16.20.2", "", "v18.0.0"])
def test_without_a_node_that_can_the_page_is_written_and_not_said_to_be_compared(tmp_path, monkeypatch, version):
    (tmp_path / "node").write_text(f"#!/bin/sh\necho {version}\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (web_page.node_path() is not None) == (version == "v18.0.0")
    monkeypatch.setattr(web_page, "node_path", lambda: None)
    (line,) = web_page.check_file(source_of(random_model(CAPTIONS), "x", ["a"]), tmp_path / "page.html", "int8")
    assert line.startswith("page.html: not compared, for Node 18 or newer")
