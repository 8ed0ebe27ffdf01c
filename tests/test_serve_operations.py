"""Waiting, refusing, leaving, failing, ending: what a server does when there is more than it can do."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import pytest
from served import PROMPTS, run_folder, running, wait_until

from t2igan.cli import serve
from t2igan.cli.parse import parse
from t2igan.errors import UserError
from t2igan.inference.serving.keys import Key, digest_of, new_key, owner_of, read_keys
from t2igan.inference.serving.logs import LOGGER
from t2igan.inference.serving.models import Catalogue, open_models
from t2igan.inference.serving.settings import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def models(folder):
    return list(open_models([folder]).values())


class Gated(Catalogue):
    """Models whose device waits until it is let go, and draws grey: what is asked for is counted, and quick."""

    def __init__(self, models):
        super().__init__(models)
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.drawn, self.sizes, self.failing = [], [], False

    def draw(self, _group, prompts, seeds):
        if prompts[0] == "a":  # the compilation at the start
            return np.zeros((len(prompts), 16, 16, 3), np.uint8)
        self.begun.release()
        assert self.gate.wait(60)
        if self.failing:
            raise RuntimeError("out of memory")
        self.drawn += list(zip(prompts, seeds, strict=True))
        self.sizes.append(len(prompts))
        return np.full((len(prompts), 16, 16, 3), 128, np.uint8)


@pytest.fixture
def gated(models):
    catalogue = Gated(models)
    yield catalogue
    catalogue.gate.set()


def client_of(server, key="none"):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


# ---- a server with too much to do


def test_a_full_queue_refuses_with_advice_and_loses_nothing(gated):
    with running(gated, queue_images=12, request_images=4) as server, ThreadPoolExecutor(16) as pool:
        server.when_ready()
        ask = lambda i: server.ask("POST", "/v1/images/generations", {"prompt": "p", "n": 2, "seed": 10 * i})
        first = pool.submit(ask, 0)
        assert gated.begun.acquire(timeout=20)  # two are being drawn
        others = [pool.submit(ask, i) for i in range(1, 10)]
        wait_until(lambda: sum(other.done() for other in others) == 6)  # a share of 6 waits, and the rest is refused
        refused = [other.result() for other in others if other.done()]
        assert {status for status, _, _ in refused} == {429}
        assert all(1 <= int(headers["retry-after"]) <= 30 for _, headers, _ in refused)
        assert {body["error"]["code"] for _, _, body in refused} == {"share_full"}
        with pytest.raises(openai.RateLimitError):
            client_of(server).images.generate(prompt="p", n=2)
        gated.gate.set()
        answers = [first.result(), *(other.result() for other in others)]
        assert [status for status, _, _ in answers].count(200) == 4
        assert 't2igan_refused_total{code="share_full"} 7.0' in server.ask("GET", "/metrics")[2].decode()
    assert sum(gated.sizes) == 8


def test_who_leaves_is_not_drawn(gated):
    with running(gated) as server:
        server.when_ready()
        held = ThreadPoolExecutor(1).submit(server.ask, "POST", "/v1/images/generations", {"prompt": "held"})
        assert gated.begun.acquire(timeout=20)
        body = json.dumps({"prompt": "left", "n": 4}).encode()
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(head.encode() + body)
                wait_until(lambda: server.service.batcher.waiting_images >= 4)
        wait_until(lambda: server.service.metrics.left.collect()[0].samples[0].value == 5)
        gated.gate.set()
        assert held.result()[0] == 200
        assert server.ask("POST", "/v1/images/generations", {"prompt": "next", "seed": 1})[0] == 200
    assert {prompt for prompt, _ in gated.drawn} == {"held", "next"}


def test_what_takes_too_long_is_given_up_and_not_drawn(gated):
    with running(gated, timeout_s=0.3) as server:
        server.when_ready()
        assert server.ask("POST", "/v1/images/generations", {"prompt": "held"})[0] == 503
        status, headers, body = server.ask("POST", "/v1/images/generations", {"prompt": "late"})
        assert status == 503 and headers["x-should-retry"] == "false"
        assert body["error"]["code"] == "deadline_exceeded"
        gated.gate.set()
        wait_until(lambda: server.service.batcher.waiting_images == 0 or not gated.drawn)
        assert server.ask("POST", "/v1/images/generations", {"prompt": "next"})[0] == 200
    assert "late" not in {prompt for prompt, _ in gated.drawn}


def test_a_device_that_fails_fails_its_batch_and_shows_in_readiness(gated):
    gated.gate.set()
    with running(gated) as server:
        server.when_ready()
        gated.failing = True
        for _ in range(3):
            with pytest.raises(openai.InternalServerError, match="failed to draw"):
                client_of(server).images.generate(prompt="p")
        assert server.ask("GET", "/readyz")[::2] == (503, {"status": "the device fails"})
        assert server.ask("GET", "/healthz")[0] == 200
        gated.failing = False
        assert server.ask("POST", "/v1/images/generations", {"prompt": "p"})[0] == 200
        assert server.ask("GET", "/readyz")[0] == 200


# ---- who may ask


def test_with_keys_only_who_has_one_is_served(gated):
    gated.gate.set()
    keys = (Key("alice", digest_of("t2i-secret")), Key("bob", digest_of("t2i-other")))
    with running(gated, keys=keys) as server:
        ask = lambda **headers: server.ask("POST", "/v1/images/generations", {"prompt": "p"}, **headers)
        for wrong in (
            {},
            {"authorization": "Bearer "},
            {"authorization": "Bearer t2i-secre"},
            {"authorization": "t2i-secret"},
        ):
            status, _, body = ask(**wrong)
            assert status == 401 and body["error"]["code"] == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            client_of(server, "wrong").images.generate(prompt="p")
        (item,) = client_of(server, "t2i-secret").images.generate(prompt="p").data
        assert server.ask("GET", item.url.removeprefix(server.url))[0] == 200  # the address is its own right
        for path, status in (
            ("/", 200),
            ("/studio/app.js", 200),
            ("/healthz", 200),
            ("/metrics", 401),
            ("/v1/models", 401),
        ):
            assert server.ask("GET", path)[0] == status, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]"}, 200),
        ({"host": "evil.example"}, 403),  # a name that was made to point here
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "127.0.0.1", "origin": "http://127.0.0.1"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "https://friend.example"}, 200),
    ],
)
def test_pages_and_names_of_others_are_refused(gated, headers, status):
    gated.gate.set()
    with running(gated, cors_origins=("https://friend.example",)) as server:
        assert server.ask("GET", "/healthz", host="10.0.0.7:8000")[0] == 200  # as probes ask
        found, answer, _ = server.ask("POST", "/v1/images/generations", {"prompt": "p"}, **headers)
        assert found == status
        friend = headers.get("origin") == "https://friend.example"
        assert (answer.get("access-control-allow-origin") == "https://friend.example") == friend


def test_every_answer_has_the_headers_that_keep_pages_safe(gated):
    with running(gated) as server:
        for path in ("/", "/v1/models", "/nothing"):
            headers = server.ask("GET", path)[1]
            assert "script-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert server.ask("GET", "/", if_none_match=server.ask("GET", "/")[1]["etag"])[0] == 304


def test_long_and_slow_requests_are_cut(gated):
    gated.gate.set()
    with running(gated, body_bytes=2048, header_s=0.3, body_s=0.3) as server:
        status, _, body = server.ask("POST", "/v1/images/generations", {"prompt": "x" * 4000})
        assert status == 413 and body["error"]["code"] == "body_too_long"
        status, _, body = server.ask("POST", "/v1/images/generations", iter([b"x" * 1500] * 3))  # in chunks
        assert status == 413
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nX-Slow")
            assert connection.recv(100) == b""  # closed
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert b" 408 " in connection.recv(1000)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        text = lambda: server.ask("GET", "/metrics")[2].decode()
        wait_until(lambda: 'status="499"' in text())  # who leaves within the body is no fault


def test_the_log_has_a_line_a_request_and_no_prompt(gated):
    gated.gate.set()
    lines = []

    class Collect(logging.Handler):
        def emit(self, record):
            lines.append(LOGGER.handlers[0].formatter.format(record))

    for log_prompts in (False, True):
        with running(gated, log_prompts=log_prompts) as server:
            LOGGER.addHandler(Collect())
            (item,) = client_of(server).images.generate(prompt="my secret wish").data
            server.ask("GET", item.url.removeprefix(server.url), x_request_id="of-the-picture")
            server.ask("POST", "/v1/images/generations", {"prompt": "my secret wish", "n": -1})
        assert ("my secret wish" in "\n".join(lines)) == log_prompts
        if not log_prompts:
            facts = [json.loads(line) for line in lines if '"request"' in line]
            assert [one["status"] for one in facts] == [200, 200, 400] and facts[1]["id"] == "of-the-picture"
            assert facts[0]["model"] == "tiny" and facts[0]["images"] == 1 and facts[2]["code"] == "invalid_value"
            assert item.url.rpartition("/")[2][:40] not in "\n".join(
                lines
            )  # an address is a right, and holds the prompt


def test_a_plain_log_cannot_be_given_lines(gated, capfd):
    with running(gated, log_format="plain") as server:
        server.ask("GET", "/nothing%0A2026-01-01T00:00:00.000Z%20draining")
    lines = capfd.readouterr().err.splitlines()
    assert not [line for line in lines if line.startswith("2026-01-01")] and "unknown_url" in "".join(lines)


def test_no_prompt_or_name_takes_long_to_refuse(gated):
    with running(gated) as server:
        begun = time.process_time()
        for fields in (
            {"prompt": ":" + "1" * 1_000_000},
            {"prompt": "(a:" + "1" * 1_999},
            {"prompt": "a", "model": "x" * 1_000_000},
            {"prompt": "a", "x" * 1_000_000: 1},
            {"prompt": "a", "negative_prompt": "a," * 500_000},
            {"prompt": "a", "seeds": [1] * 500_000},
        ):
            status, _, answer = server.ask("POST", "/v1/images/generations", fields)
            assert status in (400, 404) and len(answer["error"]["message"]) < 1000
        assert time.process_time() - begun < 3


def test_an_owners_rules_are_kept(gated, tmp_path):
    gated.gate.set()
    (tmp_path / "deny.txt").write_text("red cap\n# a comment\n", encoding="utf-8")
    given = parse(serve.VERB, [f"--deny={tmp_path / 'deny.txt'}", f"--link_secret={tmp_path / 'secret'}"])
    rules = serve.settings_of(serve.resolve(given)).rules
    with running(gated, rules=rules) as server:
        ask = lambda prompt: server.ask("POST", "/v1/images/generations", {"prompt": prompt})
        assert ask("a cap that is red")[0] == 200
        for prompt in ("a Red cap", "(a red cap:1.2) and hair", "a (red:1.2) cap", "a r(e:1.2)d cap"):
            status, _, answer = ask(prompt)
            assert status == 400 and answer["error"]["code"] == "prompt_refused"


# ---- settings and keys


def test_keys_are_made_once_and_kept_as_hashes(tmp_path):
    path = tmp_path / "keys.txt"
    key = new_key(path, "alice")
    assert key not in path.read_text() and path.stat().st_mode & 0o077 == 0
    new_key(path, "bob")
    keys = read_keys(path)
    assert [one.name for one in keys] == ["alice", "bob"]
    assert owner_of(key, keys) == "alice" and owner_of(key + "x", keys) is None and owner_of("", keys) is None
    for wrong in ("alice", "two words", ""):
        with pytest.raises(UserError):
            new_key(path, wrong)
    path.write_text("alice t2i-the-key-itself\n")
    with pytest.raises(UserError, match="line 1"):
        read_keys(path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "0.0.0.0"}, "--new_key"),
        ({"host": "example.org"}, "--new_key"),
        ({"batch_images": 3}, "1, 2, 4"),
        ({"port": 70_000}, "65535"),
        ({"queue_images": 8, "request_images": 9}, "never be taken"),
        ({"cors_origins": ("https://a.example/path",)}, "must look like"),
        ({"public_url": "example.org"}, "must look like"),
        ({"log_format": "xml"}, "'json' or 'plain'"),
        ({"timeout_s": -1.0}, "timeout_s"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        Settings(**given)


def test_a_flag_is_above_the_environment_and_that_above_the_file(tmp_path, monkeypatch):
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nqueue_images = 100\ntimeout_s = 5\nallowed_hosts = ["a.example", "b.example"]\n')
    monkeypatch.setenv("T2IGAN_SERVE_PORT", "2")
    monkeypatch.setenv("T2IGAN_SERVE_QUEUE_IMAGES", "200")
    options = serve.resolve(parse(serve.VERB, [f"--settings={file}", "--port=3"]))
    assert (options["port"], options["queue_images"], options["timeout_s"], options["host"]) == (
        3,
        200,
        5.0,
        "127.0.0.1",
    )
    assert options["allowed_hosts"] == ("a.example", "b.example")
    for text, words in (("prot = 1", "did you mean 'port'"), ("port = 'x'", "whole number"), ("=", "cannot be read")):
        file.write_text(text)
        monkeypatch.delenv("T2IGAN_SERVE_PORT", raising=False)
        with pytest.raises(UserError, match=words):
            serve.resolve(parse(serve.VERB, [f"--settings={file}"]))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")
def test_sigterm_under_load_loses_no_answer(folder, tmp_path):
    """The command itself, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "t2igan.cli",
        "serve",
        f"--workdir={folder}",
        "--port=0",
        "--batch_images=4",
        "--drain_s=3",
    ]
    environ = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "XDG_CACHE_HOME": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    stopping = threading.Event()
    try:
        said = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url, said + (tmp_path / "log").read_text()
        client = openai.OpenAI(base_url=f"{url[0]}/v1", api_key="none", max_retries=0)
        client.images.generate(prompt=PROMPTS[0])
        answers = []

        def ask():
            while not stopping.is_set():
                answers.append(len(client.images.generate(prompt=PROMPTS[0], n=2).data))

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            try:
                wait_until(lambda: len(answers) > 16, seconds=100)
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)  # less than --drain_s: those who ask now are still served
            finally:
                stopping.set()
            for one in asking:
                one.result()  # raises where an answer was lost
        assert set(answers) == {2}
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
