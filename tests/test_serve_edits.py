"""Edits, completions and variations as OpenAI's own client asks for them."""

import base64
import io
import json
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest
from gifs import shown_ms
from PIL import Image
from served import PROMPTS, run_folder, running, wait_until
from tiny import random_snapshot

import t2igan
from t2igan.inference.pictures import enlarge, png_bytes
from t2igan.inference.provenance import PNG_KEY
from t2igan.inference.serving.links import Kept
from t2igan.inference.serving.models import open_models
from t2igan.inference.snapshot import save_snapshot


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server(folder):
    with running(open_models([folder]), batch_images=2, timeout_s=300.0) as server:
        server.when_ready(120)
        yield server


@pytest.fixture(scope="module")
def model(folder):
    return t2igan.load(folder)


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


def test_another_caption_changes_a_picture_as_python_does(client, drawn, model):
    from t2igan.inference import editing

    data, before = drawn
    (item,) = client.images.edit(image=[("mine.png", data)], prompt=PROMPTS[1], extra_body={"seed": 1}).data
    codes = editing.drawn_codes(model, [PROMPTS[0]], 3)  # what the picture's own recipe says
    wanted = editing.edit(model, before, PROMPTS[1], caption=PROMPTS[0], codes=codes, seed=1)
    close(small(base64.b64decode(item.b64_json)), wanted.image)
    with client.images.edit(image=data, prompt=PROMPTS[1], stream=True) as events:
        assert [event.type for event in events] == ["image_edit.completed"]


def test_variations_of_a_drawn_picture_are_those_of_python(client, drawn, model):
    from t2igan.inference import editing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI's own endpoint is gone
        answer = client.images.create_variation(image=drawn[0], n=2, extra_body={"seed": 9, "strength": 0.25})
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


def test_prompts_with_weights_and_negatives_are_those_of_python(client, model):
    for prompt, negative in (("a person with (a red cap:1.3)", ""), (PROMPTS[1], "a blue top")):
        extra = {"seed": 4, "negative_prompt": negative}
        (item,) = client.images.generate(prompt=prompt, extra_body=extra).data
        data = base64.b64decode(item.b64_json)
        close(small(data), model.sample(prompt, seed=4, negative=negative)[0])
        assert facts_of(data).get("negative", "") == negative
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a (red:1,3) cap")
    assert refused.value.param == "prompt"


def test_kept_files_are_let_go_and_are_what_they_are_called(client, server, drawn):
    kept = Kept(most_bytes=10)
    keep = lambda file, seconds=60: kept.keep(file, "png", seconds)
    first, second = keep(b"123456"), keep(b"1234")
    assert kept.get(first)[0] == b"123456" and 58 <= kept.get(first)[1] <= 60
    third = keep(b"12345")
    assert kept.get(first) is None and kept.get(second)[0] == b"1234" and kept.get(third)[0] == b"12345"
    assert Kept().get(Kept().keep(b"1", "png", 60)) is None
    assert kept.get(keep(b"1", -1)) is None
    (item,) = client.images.edit(image=drawn[0], prompt=PROMPTS[1], response_format="url").data
    path = item.url.removeprefix(server.url)
    assert server.ask("GET", path)[0] == 200 and server.ask("GET", path.replace(".png", ".webp"))[0] == 404


def test_a_picture_that_would_be_gigabytes_is_refused_by_its_header(server):
    """A PNG of 900 megapixels, in 110 kB."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(bytes(3751 * 1000)) for _ in range(30)) + packer.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    grey = png_bytes(np.full((16, 16, 3), 99, np.uint8))
    begun = time.process_time()
    for pictures, param in (
        ({"image": data_url(data)}, "image"),
        ({"image": data_url(grey), "mask": data_url(data)}, "mask"),
    ):
        status, _, answer = server.ask("POST", "/v1/images/edits", pictures | {"prompt": "a"})
        assert status == 400 and answer["error"]["param"] == param and "too big" in answer["error"]["message"], answer
    assert time.process_time() - begun < 20


# ---- descriptions, interpolations, and pictures in JSON


@pytest.fixture(scope="module")
def knowing(tmp_path_factory):
    """A server whose model has a captioner and knows which words were seen; and the model."""
    file = tmp_path_factory.mktemp("runs") / "knowing.safetensors"
    save_snapshot(file, random_snapshot(PROMPTS, captioner=True))
    with running(open_models([file]), batch_images=1, timeout_s=300.0) as server:
        yield server, t2igan.load(file)


def data_url(data):
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def form_of(files, fields):
    """A multipart body with boundary x."""
    part = lambda name, more, data: (
        f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data
    )
    body = [part(name, '; filename="upload"', data) for name, data in files]
    body += [part(name, "", str(value).encode()) for name, value in fields]
    return b"\r\n".join([*body, b"--x--\r\n"]), {"content_type": "multipart/form-data; boundary=x"}


def test_pictures_are_described_as_python_does(knowing, server, drawn):
    from t2igan.inference import editing

    asked, model = knowing
    found = editing.describe(model, drawn[1][None])[0]
    wanted = {"model": "knowing", "caption": found.caption, "confidence": round(found.confidence, 4)}
    wanted |= {"strangeness": round(found.strangeness, 3), "unlike": found.unlike}
    body, headers = form_of([("image", drawn[0])], [])
    assert asked.ask("POST", "/v1/describe", body, **headers)[::2] == (200, wanted)
    assert asked.ask("POST", "/v1/describe", {"image": data_url(drawn[0]), "beams": 4})[::2] == (200, wanted)
    assert asked.ask("GET", "/v1/models/knowing")[2]["t2igan"]["captioner"]
    for given, param in (
        ({}, "image"),
        ({"image": "http://127.0.0.1:1/a.png"}, "image"),
        ({"image": "data:image/png;base64,%%%"}, "image"),
        ({"image": 3}, "image"),
        ({"image": data_url(drawn[0]), "beams": 99}, "beams"),
        ({"image": data_url(drawn[0]), "mode": "x"}, "mode"),
    ):
        status, _, answer = asked.ask("POST", "/v1/describe", given)
        assert status == 400 and answer["error"]["param"] == param, (given, answer)
    status, _, answer = server.ask("POST", "/v1/describe", {"image": data_url(drawn[0])})
    assert status == 400 and answer["error"]["code"] == "unsupported_operation"
    assert not server.ask("GET", "/v1/models/tiny")[2]["t2igan"]["captioner"]


def test_what_lies_between_two_prompts_is_that_of_python(server, model):
    from t2igan.inference import editing

    given = {"prompts": PROMPTS[:2], "seeds": [3, 4], "truncation": 0.5, "frames": 3}
    status, _, answer = server.ask("POST", "/v1/interpolations", given)
    assert status == 200 and [item["share"] for item in answer["data"]] == [0, 0.5, 1]
    assert answer["captions"] == PROMPTS[:2] and answer["seeds"] == [3, 4] and answer["size"] == "128x128"
    codes = editing.drawn_codes(model, PROMPTS[:2], [3, 4], 0.5)
    for item, image in zip(answer["data"], editing.mix(model, codes[:1], codes[1:], 3), strict=True):
        close(small(base64.b64decode(item["b64_json"])), image)
        assert server.ask("GET", item["url"].removeprefix(server.url))[2] == base64.b64decode(item["b64_json"])
    close(small(base64.b64decode(answer["data"][0]["b64_json"])), model.sample(PROMPTS[0], 3, truncation=0.5)[0])
    assert facts_of(base64.b64decode(answer["data"][1]["b64_json"]))["verb"] == "mix"


def test_frames_come_as_a_gif_there_and_back(server):
    fields = [("prompts[]", PROMPTS[0]), ("prompts[]", PROMPTS[2]), ("seed", 1), ("frames", 4), ("frame_ms", 200)]
    body, headers = form_of([], [*fields, ("output_format", "gif"), ("size", "64x64")])
    status, _, answer = server.ask("POST", "/v1/interpolations", body, **headers)
    assert status == 200 and answer["output_format"] == "gif", answer
    (item,) = answer["data"]
    status, headers, data = server.ask("GET", item["url"].removeprefix(server.url))
    assert headers["content-type"] == "image/gif" and data == base64.b64decode(item["b64_json"])
    with Image.open(io.BytesIO(data)) as gif:
        assert (gif.format, gif.size, shown_ms(gif)) == ("GIF", (64, 64), 6 * 200)


def test_what_lies_between_two_pictures_begins_and_ends_with_them(server, client, drawn):
    other = client.images.generate(prompt=PROMPTS[1], extra_body={"seed": 8, "truncation": 0.7}).data[0].b64_json
    given = {"images": [data_url(drawn[0]), {"image_url": f"data:image/png;base64,{other}"}], "frames": 3}
    status, _, answer = server.ask("POST", "/v1/interpolations", given)
    assert status == 200 and answer["captions"] == PROMPTS[:2], answer
    first, _, last = (small(base64.b64decode(item["b64_json"])) for item in answer["data"])
    close(first, drawn[1])  # their recipes are true, so that nothing is searched for
    close(last, small(base64.b64decode(other)))


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "prompts"),
        ({"prompts": ["a"]}, "prompts"),
        ({"prompts": ["a", ""]}, "prompts"),
        ({"prompts": ["a", "(b:1.2) c"]}, "prompts"),
        ({"prompts": ["a", "b"], "images": ["data:;base64,", "data:;base64,"]}, "prompts"),
        ({"prompts": ["a", "b"], "seeds": [1]}, "seeds"),
        ({"prompts": ["a", "b"], "seeds": [1, 2], "seed": 1}, "seeds"),
        ({"prompts": ["a", "b"], "frames": 65}, "frames"),
        ({"prompts": ["a", "b"], "frames": 64, "size": "2048x2048"}, "size"),
        ({"prompts": ["a", "b"], "truncation": 9}, "truncation"),
        ({"images": ["data:;base64,AAAA"]}, "image"),
        ({"images": ["data:;base64,AAAA", "data:;base64,AAAA"]}, "image"),
        ({"images": "file:///etc/passwd"}, "images"),
    ],
)
def test_what_cannot_be_mixed_is_named(server, given, param):
    status, _, answer = server.ask("POST", "/v1/interpolations", given)
    assert status == 400 and answer["error"]["param"] == param, answer


def test_pictures_in_json_are_edited_and_completed_too(server, client, drawn):
    given = {"image": data_url(drawn[0]), "prompt": PROMPTS[1], "seed": 1}
    (item,) = client.images.edit(image=drawn[0], prompt=PROMPTS[1], extra_body={"seed": 1}).data
    assert server.ask("POST", "/v1/images/edits", given)[2]["data"][0]["b64_json"] == item.b64_json
    answer = server.ask("POST", "/v1/images/edits", given | {"mask": data_url(mask()), "quality": "low"})[2]
    np.testing.assert_array_equal(small(base64.b64decode(answer["data"][0]["b64_json"]))[:8], drawn[1][:8])


def test_words_that_were_never_seen_are_named_and_nothing_is_refused(knowing):
    ask = lambda prompt, **more: knowing[0].ask("POST", "/v1/images/generations", {"prompt": prompt} | more)
    assert ask(PROMPTS[0])[2]["warnings"] == []
    status, _, answer = ask("a Zep, red cap", negative_prompt="red cap")
    assert status == 200 and {one["code"] for one in answer["warnings"]} == {"unseen_words", "prompt_changed"}, answer
    (unseen,) = [one for one in answer["warnings"] if one["code"] == "unseen_words"]
    assert unseen["words"] == ["zep"] and "'zep'" in unseen["message"]
    status, _, answer = ask("a red person with a cap")
    assert status == 200 and answer["warnings"][0]["words"] == [] and "red person" in answer["warnings"][0]["pairs"]


def test_a_client_can_ask_how_far_its_request_is(server, monkeypatch):
    from t2igan.inference import editing

    begun, goes_on = threading.Event(), threading.Event()

    def invert(model, images, captions, quality, progress):  # noqa: ARG001
        progress(2, 5)
        begun.set()
        assert goes_on.wait(60)
        return editing.drawn_codes(model, [captions])

    monkeypatch.setattr(editing, "invert", invert)
    given = {"image": data_url(png_bytes(np.full((16, 16, 3), 99, np.uint8))), "caption": PROMPTS[0]}
    with ThreadPoolExecutor(2) as pool:
        ask = lambda name: server.ask("POST", "/v1/images/variations", given, x_request_id=name)
        first = pool.submit(ask, "first")
        assert begun.wait(60)
        second = pool.submit(ask, "second")
        how_far = lambda name: server.ask("GET", f"/t2igan/v1/progress/{name}")[::2]
        assert how_far("third") == (200, {"state": "unknown"})
        wait_until(lambda: how_far("second")[1]["state"] != "unknown")
        assert how_far("first") == (200, {"state": "drawing", "progress": 0.4})
        assert how_far("second") == (200, {"state": "waiting"})
        goes_on.set()
        assert first.result()[0] == second.result()[0] == 200
    assert how_far("first") == (200, {"state": "unknown"})
