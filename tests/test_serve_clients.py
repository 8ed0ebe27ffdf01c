"""Clients that people have already: old and other ones of OpenAI, as recorded, Hugging Face's, AUTOMATIC1111's."""

import base64
import io
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served import PROMPTS, run_folder, running

import t2igan
from t2igan.inference.pictures import png_bytes
from t2igan.inference.serving.models import open_models

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server(folder):
    with running(open_models([folder]), batch_images=2, timeout_s=300.0, a1111=True) as server:
        server.when_ready()
        yield server


def close(a, b):
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


# ---- what OpenAI's clients sent when tests/recorded/record.py listened


def recorded():
    found = []
    for file in sorted(RECORDED.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            found.append(pytest.param(one["call"], base64.b64decode(one["request"]), id=f"{file.stem}: {one['call']}"))
    return found


def sent(port, request):
    """Sends bytes as they are; returns the status, the headers and the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        file = connection.makefile("rb")
        status = int(file.readline().split()[1])
        headers = dict(
            re.split(r":\s*", line.decode().strip().lower(), maxsplit=1) for line in iter(file.readline, b"\r\n")
        )
        if "content-length" in headers:
            return status, headers, file.read(int(headers["content-length"]))
        body = b""
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        return status, headers, body


@pytest.mark.parametrize(("call", "request_bytes"), recorded())
def test_what_a_client_has_sent_is_answered_as_it_reads_it(server, call, request_bytes):
    status, headers, body = sent(server.port, request_bytes)
    assert status == 200, body
    what = call.partition(",")[0]
    if "stream" in what:
        assert headers["content-type"].startswith("text/event-stream")
        (event,) = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
        assert event["type"] == ("image_edit.completed" if "edit" in what else "image_generation.completed")
        files = [event["b64_json"]]
    elif what == "models":
        assert [one["id"] for one in json.loads(body)["data"]] == ["tiny"]
        return
    elif what == "model":
        assert json.loads(body)["id"] == "tiny"
        return
    else:
        data = json.loads(body)["data"]
        assert len(data) == (2 if what in ("generate", "variation") else 1)
        if what == "generate url":
            assert "b64_json" not in data[0]
            path = data[0]["url"].partition("/v1/")[2]
            files = [base64.b64encode(server.ask("GET", f"/v1/{path}")[2])]
        else:
            files = [item["b64_json"] for item in data]
    px = 256 if what == "generate" else 128
    for file in files:
        assert Image.open(io.BytesIO(base64.b64decode(file))).size == (px, px)


def test_old_and_other_clients_have_been_recorded():
    calls = [param.id for param in recorded()]
    for wanted in ("python: generate", "python: generate, async", "python: edit", "python: variation", "node: edit"):
        assert wanted in calls
    assert "node: generate stream" in calls and "node: edit stream" in calls


# ---- Hugging Face


def test_hugging_faces_client_draws_too(server, folder):
    hub = pytest.importorskip("huggingface_hub")
    client = hub.InferenceClient(model=f"{server.url}/hf", token="none")
    picture = client.text_to_image(PROMPTS[0], seed=5, width=64, height=64, num_inference_steps=1)
    assert picture.size == (64, 64)
    close(np.asarray(picture)[::4, ::4], t2igan.load(folder).sample(PROMPTS[0], seed=5)[0])
    for body, param in (
        ({"inputs": "a", "parameters": {"width": 64, "height": 32}}, "size"),
        ({"inputs": "a", "parameters": {"sed": 1}}, "sed"),
        ({"inputs": "a", "parameters": 3}, "parameters"),
        ({"parameters": {}}, "prompt"),
    ):
        status, _, answer = server.ask("POST", "/hf/tiny", body)
        assert status == 400 and answer["error"]["param"] == param


# ---- AUTOMATIC1111


def opened(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_automatic1111s_clients_draw(server, folder):
    # As webuiapi sends it, shortened: settings of diffusion models are taken without effect.
    sent = {"prompt": PROMPTS[0], "negative_prompt": "", "seed": 5, "subseed": -1, "batch_size": 1, "n_iter": 2}
    sent |= {"steps": 20, "cfg_scale": 7.0, "sampler_name": "Euler a", "width": 64, "height": 64, "enable_hr": False}
    sent |= {"override_settings": {}, "script_args": [], "alwayson_scripts": {}, "send_images": True}
    status, _, answer = server.ask("POST", "/sdapi/v1/txt2img", sent)
    assert status == 200 and json.loads(answer["info"])["all_seeds"] == [5, 6] and answer["parameters"]["steps"] == 20
    wanted = t2igan.load(folder).sample([PROMPTS[0]] * 2, seed=[5, 6])
    for text, image in zip(answer["images"], wanted, strict=True):
        assert opened(text).shape == (64, 64, 3)
        close(opened(text)[::4, ::4], image)
    status, _, answer = server.ask("POST", "/sdapi/v1/txt2img", {"prompt": PROMPTS[0], "seed": -1})
    assert status == 200 and json.loads(answer["info"])["seed"] >= 0
    named = lambda name: {"prompt": "a", "override_settings": {"sd_model_checkpoint": name}}
    assert server.ask("POST", "/sdapi/v1/txt2img", named("tiny"))[0] == 200
    assert server.ask("POST", "/sdapi/v1/txt2img", named("other"))[0] == 404


def test_automatic1111s_clients_vary_and_complete(server):
    grey = np.full((16, 16, 3), 99, np.uint8)
    picture, mask = png_bytes(grey), np.zeros((16, 16, 3), np.uint8)
    mask[8:] = 255
    sent = {"prompt": PROMPTS[0], "init_images": [base64.b64encode(picture).decode()], "batch_size": 2, "seed": 1}
    sent["quality"] = "low"  # ours
    status, _, answer = server.ask("POST", "/sdapi/v1/img2img", sent | {"denoising_strength": 0.5})
    assert status == 200 and len(answer["images"]) == 2 and "init_images" not in answer["parameters"]
    masked = {"mask": "data:image/png;base64," + base64.b64encode(png_bytes(mask)).decode()}
    status, _, answer = server.ask("POST", "/sdapi/v1/img2img", sent | masked)
    assert status == 200
    kept = opened(answer["images"][0])[::8, ::8][:8]
    np.testing.assert_array_equal(kept, grey[:8])


def test_automatic1111s_clients_look_around(server):
    ask = lambda path: server.ask("GET", f"/sdapi/v1/{path}")[2]
    (model,) = ask("sd-models")
    assert model["title"] == "tiny" and ask("options")["sd_model_checkpoint"] == "tiny"
    assert ask("samplers")[0]["name"] == "GAN" and ask("scripts") == {"txt2img": [], "img2img": []}
    assert ask("progress")["progress"] == 0
    set_options = lambda given: server.ask("POST", "/sdapi/v1/options", given)[0]
    assert set_options({"sd_model_checkpoint": "tiny", "CLIP_stop_at_last_layers": 2}) == 200
    assert set_options({"sd_model_checkpoint": "other"}) == 404
    status, headers, _ = server.ask("OPTIONS", "/sdapi/v1/options")
    assert status == 405 and headers["allow"] == "GET, HEAD, POST"
    for path, given, param in (
        ("txt2img", {"prompt": "a", "batch_size": 0}, "batch_size"),
        ("txt2img", {"prompt": "a", "override_settings": 3}, "override_settings"),
        ("txt2img", {"prompt": "a", "width": 64, "height": 32}, "size"),
        ("img2img", {"prompt": "a"}, "init_images"),
        ("img2img", {"prompt": "a", "init_images": ["http://127.0.0.1:1/"]}, "init_images"),
        (
            "img2img",
            {"prompt": "a", "init_images": ["AAAA"], "mask": "A", "inpainting_mask_invert": 1},
            "inpainting_mask_invert",
        ),
    ):
        status, _, answer = server.ask("POST", f"/sdapi/v1/{path}", given)
        assert status == 400 and answer["error"]["param"] == param, answer


def test_without_the_flag_there_is_no_such_api(folder):
    with running(open_models([folder]), batch_images=1) as server:
        assert server.ask("GET", "/sdapi/v1/sd-models")[0] == 404
