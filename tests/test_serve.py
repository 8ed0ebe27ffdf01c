"""The Images API as OpenAI's own client uses it, against a real server."""

import asyncio
import base64
import io
import json
import time
from pathlib import Path

import numpy as np
import openai
import pytest
from PIL import Image
from served import PROMPTS, run_folder, running
from tiny import random_snapshot

import t2igan
from t2igan.inference.provenance import PNG_KEY
from t2igan.inference.serving import links
from t2igan.inference.serving.models import open_models
from t2igan.inference.snapshot import save_snapshot

SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def catalogue(folder):
    return open_models([folder])


@pytest.fixture(scope="module")
def server(catalogue):
    with running(catalogue, link_secret=SECRET) as server:
        server.when_ready()
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def opened(data):
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def drawn(item):
    """The picture of an answer at the size in which the model draws, 16 px."""
    pixels = np.asarray(opened(base64.b64decode(item.b64_json)))
    step = pixels.shape[0] // 16
    small = pixels[::step, ::step]
    np.testing.assert_array_equal(pixels, small.repeat(step, 0).repeat(step, 1))  # pixels stay sharp squares
    return small


def close(a, b):
    """Equal but for the last bit, which the compiled batch size may tip."""
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_pictures_are_those_of_python_and_hold_their_recipe(client, folder):
    answer = client.images.generate(
        prompt=PROMPTS[0], n=3, response_format="b64_json", extra_body={"seed": 5, "truncation": 0.5}
    )
    model = t2igan.load(folder)
    wanted = model.sample([PROMPTS[0]] * 3, seed=[5, 6, 7], truncation=0.5)
    assert [item.seed for item in answer.data] == [5, 6, 7]
    for item, image in zip(answer.data, wanted, strict=True):
        close(drawn(item), image)
        facts = json.loads(opened(base64.b64decode(item.b64_json)).text[PNG_KEY])
        assert facts == {
            "model": model.digest,
            "t2igan": t2igan.__version__,
            "truncation": 0.5,
            "guidance": 1.0,
            "prompt": PROMPTS[0],
            "seed": item.seed,
        }
        assert item.url is None
    assert answer.created > 1e9 and answer.size == "128x128" and answer.usage.input_tokens > 2


def test_without_a_format_both_come_and_the_address_gives_the_same_bytes(client, server):
    (item,) = client.images.generate(prompt=PROMPTS[1]).data
    status, headers, data = server.ask("GET", item.url.removeprefix(server.url))
    assert status == 200 and headers["content-type"] == "image/png" and data == base64.b64decode(item.b64_json)
    assert "immutable" in headers["cache-control"] and headers["cross-origin-resource-policy"] == "cross-origin"


def test_without_a_seed_pictures_differ_and_say_which_it_was(client):
    one, other = (client.images.generate(prompt=PROMPTS[0]).data[0] for _ in range(2))
    assert one.seed != other.seed
    again = client.images.generate(prompt=PROMPTS[0], extra_body={"seeds": [other.seed, one.seed]}).data
    close(drawn(again[1]), drawn(one))
    close(drawn(again[0]), drawn(other))


def test_neighbours_from_other_requests_do_not_matter(server, folder):
    model = t2igan.load(folder)

    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            asked = (
                client.images.generate(prompt=PROMPTS[i % 3], n=1 + i % 2, extra_body={"seed": i}) for i in range(10)
            )
            return await asyncio.gather(*asked)

    def batches():
        (histogram,) = server.service.metrics.batches.collect()
        return next(sample.value for sample in histogram.samples if sample.name.endswith("_count"))

    before = batches()
    answers = asyncio.run(all_at_once())
    for i, answer in enumerate(answers):
        for k, item in enumerate(answer.data):
            close(drawn(item), model.sample(PROMPTS[i % 3], seed=i + k)[0])
    assert batches() - before < 15  # 15 pictures took fewer batches


def test_a_stream_has_an_event_a_picture(client, folder):
    with client.images.generate(
        prompt=PROMPTS[2], n=2, stream=True, extra_body={"seed": 9, "partial_images": 2}
    ) as events:
        found = list(events)
    assert [event.type for event in found] == ["image_generation.completed"] * 2
    assert found[0].output_format == "png" and found[0].usage.total_tokens > 2
    close(drawn(found[1]), t2igan.load(folder).sample(PROMPTS[2], seed=10)[0])


def test_a_stream_can_be_read_asynchronously(server):
    async def read():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            return [event async for event in await client.images.generate(prompt=PROMPTS[0], stream=True)]

    assert len(asyncio.run(read())) == 1


@pytest.mark.parametrize(
    ("size", "px"), [("auto", 128), ("16x16", 16), ("1024x1024", 1024), ("100x100", 100), ("8x8", 8)]
)
def test_a_size_is_kept(client, size, px):
    (item,) = client.images.generate(prompt=PROMPTS[0], size=size, extra_body={"seed": 1}).data
    assert opened(base64.b64decode(item.b64_json)).size == (px, px)


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_other_formats(client, form):
    (item,) = client.images.generate(prompt=PROMPTS[0], output_format=form, output_compression=80).data
    assert opened(base64.b64decode(item.b64_json)).format == form.upper()
    assert item.url.endswith(f".{form}")


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": 17}, "n", "between 1 and 16"),
        ({"n": "three"}, "n", "n='three'"),
        ({"size": "large"}, "size", "512x512"),
        ({"size": "512x256"}, "size", "squares"),
        ({"size": "4096x4096"}, "size", "2048x2048"),
        ({"seed": -1}, "seed", "seed=-1"),
        ({"seed": 2**32}, "seed", "seed=4294967296"),
        ({"seed": 2**32 - 2, "n": 3}, "seed", "too large for n=3"),
        ({"seed": 1, "seeds": [1]}, "seeds", "exclude each other"),
        ({"seeds": [1, 2], "n": 3}, "seeds", "one a picture"),
        ({"seeds": []}, "seeds", "0 of them"),
        ({"seed": True}, "seed", "seed=True: a number is wanted"),
        ({"seeds": [1, False]}, "seeds", "a number is wanted"),
        ({"n": True}, "n", "a number is wanted"),
        ({"guidance": False}, "guidance", "a number is wanted"),
        ({"truncation": 2.5}, "truncation", "truncation=2.5"),
        ({"truncation": float("nan")}, "truncation", "nan"),
        ({"guidance": 11}, "guidance", "guidance=11"),
        ({"guidance": 3}, "guidance", "cannot draw without a caption"),
        ({"response_format": "xml"}, "response_format", "'url' or 'b64_json'"),
        ({"output_format": "gif"}, "output_format", "png"),
        ({"background": "transparent"}, "background", "opaque"),
        ({"sed": 3}, "sed", "did you mean 'seed'?"),
        ({"prompt": "  "}, "prompt", "empty"),
        ({"prompt": None}, "prompt", "missing"),
        ({"prompt": ["a", "b"]}, "prompt", "string"),
        ({"prompt": "red cap " * 50}, "prompt", "Shorten it"),
        ({"prompt": "x" * 40_000}, "prompt", "40,000 characters"),
    ],
)
def test_a_wrong_parameter_is_named(server, given, param, words):
    status, _, body = server.ask("POST", "/v1/images/generations", {"prompt": PROMPTS[0]} | given)
    assert status == 400 and set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["param"] == param and words in body["error"]["message"]
    assert body["error"]["type"] == "invalid_request_error"


def test_the_client_turns_refusals_into_its_exceptions(client):
    with pytest.raises(openai.BadRequestError, match="squares") as refused:
        client.images.generate(prompt=PROMPTS[0], size="512x256")
    assert refused.value.param == "size" and refused.value.request_id.startswith("req_")
    with pytest.raises(openai.NotFoundError, match="did you mean 'tiny'") as refused:
        client.images.generate(prompt=PROMPTS[0], model="tyni")
    assert refused.value.param == "model" and refused.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="cannot be used") as refused:
        client.images.edit(image=b"\x89PNG", prompt="a blue cap")
    assert refused.value.param == "image"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b'"text"',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"prompt": "a", "n": 1e999}',
        b'{"prompt": {"a": 1}}',
        b'{"prompt": "a", "seeds": "12"}',
    ],
)
def test_malformed_json_is_a_refusal(server, body):
    status, headers, answer = server.ask("POST", "/v1/images/generations", body, content_type="application/json")
    assert status == 400 and answer["error"]["message"] and headers["x-request-id"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--y\r\nnothing"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n3'),
        ("application/x-www-form-urlencoded", b"prompt=%ff%fe&n=zz"),
    ],
)
def test_malformed_forms_are_refusals(server, kind, body):
    status, _, answer = server.ask("POST", "/v1/images/generations", body, content_type=kind)
    assert status == 400 and answer["error"]["message"]


def test_nulls_forms_odd_texts_and_long_prompts_to_be_cut_are_taken(server):
    ask = lambda body, **headers: server.ask("POST", "/v1/images/generations", body, **headers)
    assert ask({"prompt": "a cap", "n": None, "size": None, "stream": None, "seed": None, "user": None})[0] == 200
    assert ask("prompt=a+cap&n=2&seed=3", content_type="application/x-www-form-urlencoded")[0] == 200
    assert ask(b'{"prompt": "\\ud83d alone"}')[0] == 200  # a lone surrogate
    assert ask({"prompt": "red cap " * 50, "cut_long": True})[0] == 200
    for name in ("gpt-image-1", "dall-e-3", "chatgpt-image-latest", "tiny", ""):
        assert ask({"prompt": "a cap", "model": name})[0] == 200


def test_models_are_listed(client, server):
    (only,) = client.models.list().data
    assert only.id == "tiny" and only.owned_by == "t2igan" and only.t2igan["native_px"] == 16
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("mine/other")
    _, _, about = server.ask("GET", "/t2igan/v1/models/tiny")
    assert about["limits"] == {"images": 16, "largest_px": 2048}
    assert {"cap", "blue"} <= set(about["vocabulary"]["words"])


def test_two_models_of_one_name_get_longer_ones(folder, tmp_path):
    other = tmp_path / "others" / "tiny"
    other.mkdir(parents=True)
    save_snapshot(other / "snapshot.safetensors", random_snapshot(["a", "b"]))
    catalogue = open_models([folder, other])
    assert list(catalogue) == [f"{folder.parent.name}/tiny", "others/tiny"]
    with running(catalogue, batch_images=1, request_images=2) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        assert client.models.retrieve("others/tiny").id == "others/tiny"  # sent as %2F
        (item,) = client.images.generate(prompt="a b", model="others/tiny", extra_body={"seed": 4}).data
        close(drawn(item), t2igan.load(other).sample("a b", seed=4)[0])


def test_an_address_outlives_the_server_but_not_its_time_nor_a_change(server, catalogue):
    recipe = links.Recipe(catalogue.default.model.digest, PROMPTS[0], 3, 1.0, 1.0, 32, "png", 90)
    good = links.sign(recipe, SECRET, int(time.time()) + 60)  # as an earlier server with this secret made it
    assert server.ask("GET", f"/v1/images/files/{good}.png")[0] == 200
    changed = {
        "expired": links.sign(recipe, SECRET, int(time.time()) - 1) + ".png",
        "other secret": links.sign(recipe, b"another secret, as long", int(time.time()) + 60) + ".png",
        "other model": links.sign(recipe._replace(model="0" * 12), SECRET, int(time.time()) + 60) + ".png",
        "other form": good + ".jpeg",
        "a letter": ("A" if good[0] != "A" else "B") + good[1:] + ".png",
        "no signature": good.partition(".")[0] + ".png",
        "nothing": ".png",
        "no token": "%00%ff.png",
    }
    for what, name in changed.items():
        status, _, body = server.ask("GET", f"/v1/images/files/{name}")
        assert status == 404 and body["error"]["message"], what


def test_words_that_the_model_has_not_learned_are_found(server):
    ask = lambda prompt: server.ask("POST", "/t2igan/v1/words", {"prompt": prompt})[2]
    assert ask("a person with a red cap")["unseen"] == []
    assert ask("A person with a Zeppelin, red cap")["unseen"] == ["Zeppelin"]
    assert ask("a")["certain"]  # the tokenizer learned all there was
    assert ask("a")["following"] == []  # a model of random weights keeps nothing of captions


def test_what_is_counted_can_be_read(server):
    server.ask("POST", "/v1/images/generations", {"prompt": PROMPTS[0]}, x_request_id="mine-1")
    text = server.ask("GET", "/metrics")[2].decode()
    assert 't2igan_requests_total{route="/v1/images/generations",status="200"}' in text
    assert "t2igan_batch_images_bucket" in text and "t2igan_ready 1.0" in text and "t2igan_queue_images 0.0" in text


def test_paths_that_there_are_not(server):
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/images/generations", 405)):
        found, headers, body = server.ask(method, path, x_request_id="mine-1")
        assert found == status and body["error"]["message"] and headers["x-request-id"] == "mine-1"


def test_a_model_of_the_package_is_served_with_a_caption_to_begin_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalogue = open_models([Path("models/pixel_avatars")])
    about = catalogue.find(None).description()
    assert about["id"] == "pixel_avatars" and about["t2igan"]["editable"]
    assert about["examples"] and all(word in " ".join(about["examples"]) for word in ("pixel person", "skin"))
    assert {"beard", "sunglasses"} <= set(about["vocabulary"]["words"])


def test_a_field_of_a_form_that_is_given_twice_is_a_list(server):
    kind = "application/x-www-form-urlencoded"
    body = b"prompt=a&n=2&seeds=4&seeds=5&size=8x8"
    assert [
        one["seed"] for one in server.ask("POST", "/v1/images/generations", body, content_type=kind)[2]["data"]
    ] == [4, 5]
    status, _, answer = server.ask("POST", "/v1/images/generations", body + b"&prompt=b", content_type=kind)
    assert status == 400 and answer["error"]["param"] == "prompt" and "['a', 'b']" in answer["error"]["message"]


def test_openapi_says_that_answers_may_be_streams(server):
    paths = server.ask("GET", "/openapi.json")[2]["paths"]
    answers = {path: of["post"]["responses"]["200"].get("content", {}) for path, of in paths.items() if "post" in of}
    assert {path for path, kinds in answers.items() if "text/event-stream" in kinds} == {
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/interpolations",
    }
    assert "application/json" in answers["/v1/images/edits"]
