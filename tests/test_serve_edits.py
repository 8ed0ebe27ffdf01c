"""Edits, completions and variations as OpenAI's own client asks for them."""

import base64
import io
import json
import warnings

import numpy as np
import openai
import pytest
from PIL import Image
from served import PROMPTS, run_folder, running

import t2igan
from t2igan.inference.pictures import enlarge, png_bytes
from t2igan.inference.provenance import PNG_KEY
from t2igan.inference.serving.links import Kept
from t2igan.inference.serving.models import open_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server(folder):
    with running(open_models([folder]), batch_images=2, timeout_s=300.0) as server:
        server.when_ready(120)
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300) as client:
        yield client


@pytest.fixture(scope="module")
def drawn(client):
    """A PNG that the server drew, 128 px, with its recipe, and what it shows at 16 px."""
    (item,) = client.images.generate(prompt=PROMPTS[0], extra_body={"seed": 3}).data
    data = base64.b64decode(item.b64_json)
    return data, small(data)


def small(data):
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    step = len(pixels) // 16
    return pixels[::step, ::step]


def facts_of(data):
    return json.loads(Image.open(io.BytesIO(data)).text[PNG_KEY])


def close(a, b):
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def mask():
    """Transparent below, which is to be drawn anew, as OpenAI's API has it."""
    pixels = np.zeros((128, 128, 4), np.uint8)
    pixels[:64, :, 3] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_what_a_mask_hides_is_drawn_anew_and_the_rest_stays(client, server, drawn):
    data, before = drawn
    answer = client.images.edit(
        image=data, mask=mask(), prompt=PROMPTS[1], n=2, quality="low", size="256x256", extra_body={"seed": 5}
    )
    versions = [base64.b64decode(item.b64_json) for item in answer.data]
    for version, seed in zip(versions, (5, 6), strict=True):
        np.testing.assert_array_equal(small(version)[:8], before[:8])
        facts = facts_of(version)
        assert (facts["verb"], facts["prompt"], facts["seed"]) == ("complete", PROMPTS[1], seed)
    assert (small(versions[0])[8:] != small(versions[1])[8:]).any() and answer.size == "256x256"
    assert server.ask("GET", answer.data[0].url.removeprefix(server.url))[2] == versions[0]


def test_another_caption_changes_a_picture_as_python_does(client, drawn, folder):
    from t2igan.inference import editing

    data, before = drawn
    (item,) = client.images.edit(image=[("mine.png", data)], prompt=PROMPTS[1], extra_body={"seed": 1}).data
    model = t2igan.load(folder)
    codes = editing.drawn_codes(model, [PROMPTS[0]], 3)  # what the picture's own recipe says
    wanted = editing.edit(model, before, PROMPTS[1], caption=PROMPTS[0], codes=codes, seed=1)
    close(small(base64.b64decode(item.b64_json)), wanted.image)
    with client.images.edit(image=data, prompt=PROMPTS[1], stream=True) as events:
        assert [event.type for event in events] == ["image_edit.completed"]


def test_variations_of_a_drawn_picture_are_those_of_python(client, drawn, folder):
    from t2igan.inference import editing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI's own endpoint is gone
        answer = client.images.create_variation(image=drawn[0], n=2, extra_body={"seed": 9, "strength": 0.25})
    model = t2igan.load(folder)
    wanted = editing.vary(model, editing.drawn_codes(model, [PROMPTS[0]], 3), 0.25, num=2, seed=9)
    for item, image in zip(answer.data, wanted, strict=True):
        close(small(base64.b64decode(item.b64_json)), image)


def test_a_recipe_is_not_believed_where_the_picture_was_changed(client, drawn):
    changed = 255 - drawn[1]
    data = png_bytes(enlarge(changed[None])[0], facts_of(drawn[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        answer = client.images.create_variation(image=data, extra_body={"seed": 9, "strength": 0, "quality": "low"})
    assert (np.abs(small(base64.b64decode(answer.data[0].b64_json)).astype(int) - drawn[1]) > 1).any()


@pytest.mark.parametrize(
    ("files", "fields", "param", "words"),
    [
        ({}, {"prompt": "a"}, "image", "0 pictures"),
        ({"image": b"no picture"}, {"prompt": "a"}, "image", "cannot be used"),
        ({"image": b""}, {"prompt": "a"}, "image", "cannot be used"),
        ({"image": None}, {}, "prompt", "missing"),
        ({"image": None}, {"prompt": "a"}, "caption", "no captioner"),
        ({"image": None}, {"prompt": "a", "caption": "(a:1.2) cap"}, "caption", "plain"),
        ({"image": None}, {"prompt": "a", "caption": "a", "n": "2"}, "n", "one answer"),
        ({"image": None, "mask": b"no picture"}, {"prompt": "a"}, "mask", "cannot be used"),
        ({"image": None, "mask": "small"}, {"prompt": "a"}, "mask", "8x8"),
        ({"image": None, "mask": "black"}, {"prompt": "a"}, "mask", "hides nothing"),
        ({"image": None}, {"prompt": "a", "quality": "splendid"}, "quality", "splendid"),
        ({"image": None}, {"prompt": "a", "strengh": "1"}, "strengh", "no parameter"),
    ],
)
def test_what_cannot_be_edited_is_named(server, files, fields, param, words):
    grey = png_bytes(np.full((16, 16, 3), 99, np.uint8))
    known = {"small": png_bytes(np.zeros((8, 8, 3), np.uint8)), "black": png_bytes(np.zeros((16, 16, 3), np.uint8))}
    body = b""
    for name, value in files.items():
        data = grey if value is None else known.get(value, value) if isinstance(value, str) else value
        body += (
            f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="upload"\r\n\r\n'.encode() + data + b"\r\n"
        )
    for name, value in fields.items():
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    kind = "multipart/form-data; boundary=x"
    status, _, answer = server.ask("POST", "/v1/images/edits", body + b"--x--\r\n", content_type=kind)
    assert status == 400 and answer["error"]["param"] == param and words in answer["error"]["message"], answer


def test_nothing_is_fetched_that_a_request_names(server):
    body = {"prompt": "a", "images": [{"image_url": "http://127.0.0.1:1/secret"}]}
    status, _, answer = server.ask("POST", "/v1/images/edits", body)
    assert status == 400 and "nothing is fetched" in answer["error"]["message"]


def test_prompts_with_weights_and_negatives_are_those_of_python(client, folder):
    model = t2igan.load(folder)
    for prompt, negative in (("a person with (a red cap:1.3)", ""), (PROMPTS[1], "a blue top")):
        extra = {"seed": 4, "negative_prompt": negative}
        (item,) = client.images.generate(prompt=prompt, extra_body=extra).data
        data = base64.b64decode(item.b64_json)
        close(small(data), model.sample(prompt, seed=4, negative=negative)[0])
        assert facts_of(data).get("negative", "") == negative
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a (red:1,3) cap")
    assert refused.value.param == "prompt"


def test_kept_files_are_let_go():
    kept = Kept(most_bytes=10)
    first, second = kept.keep(b"123456", 60), kept.keep(b"1234", 60)
    assert kept.get(first) == b"123456"
    third = kept.keep(b"12345", 60)
    assert kept.get(first) is None and kept.get(second) == b"1234" and kept.get(third) == b"12345"
    assert Kept().get(Kept().keep(b"1", 60)) is None
    brief = kept.keep(b"1", -1)
    assert kept.get(brief) is None
