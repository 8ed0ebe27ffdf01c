"""Waiting, refusing, leaving, failing, ending: what a server does when there is more than it can do."""

import asyncio
import contextlib
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

import openai
import pytest
from served import PROMPTS, Gated, client_of, run_folder, running, wait_until
from starlette.responses import Response
from starlette.routing import Route

from t2igan.inference.serving.keys import Key, digest_of
from t2igan.inference.serving.logs import LOGGER
from t2igan.inference.serving.models import open_models

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def models(folder):
    return list(open_models([folder]).values())


@pytest.fixture
def gated(models):
    catalogue = Gated(models)
    yield catalogue
    catalogue.gate.set()


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
        # It was begun, and what draws weights is compiled when the first comes.
        weighted = {"prompt": "a person with (a red cap:1.3)"}
        status, headers, body = server.ask("POST", "/v1/images/generations", weighted)
        assert status == 503 and headers["retry-after"] == "5" and "x-should-retry" not in headers
        assert body["error"]["code"] == "compiling" and "send the same request again" in body["error"]["message"]
        status, headers, body = server.ask("POST", "/v1/images/generations", {"prompt": "late"})
        assert status == 503 and headers["x-should-retry"] == "false"
        assert body["error"]["code"] == "deadline_exceeded"
        gated.gate.set()
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
            assert connection.recv(100) == b""  # who says nothing at all is not waited for longer
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert b" 408 " in connection.recv(1000)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        text = lambda: server.ask("GET", "/metrics")[2].decode()
        wait_until(lambda: 'status="499"' in text())  # who leaves within the body is no fault


def test_who_does_not_read_an_answer_is_cut_and_who_reads_slowly_is_not(gated):
    gated.gate.set()
    long = b"x" * 2**25
    with running(gated, body_s=0.5) as server:

        async def answer(_request):
            return Response(long)

        server.app.router.routes.insert(0, Route("/v1/long", answer))
        asked = b"GET /v1/long HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.socket() as idle, socket.socket() as slow:
            for connection in (idle, slow):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
                connection.settimeout(20)
                connection.connect(("127.0.0.1", server.port))
                connection.sendall(asked)
            got, begun_s = 0, time.monotonic()
            while got < len(long):
                got += len(slow.recv(2**18))
                time.sleep(0.005)
            assert time.monotonic() - begun_s > 0.5
            unread = lambda: [one.transport.get_write_buffer_size() for one in server.server.server_state.connections]
            wait_until(lambda: not any(unread()))
            got = 0
            with contextlib.suppress(ConnectionResetError):
                while data := idle.recv(2**20):
                    got += len(data)
            assert got < len(long)


def test_three_hundred_clients_of_a_short_queue_are_all_answered(gated):
    keys = tuple(Key(f"client{i}", digest_of(f"t2i-{i}")) for i in range(4))  # who share the queue
    refused = []

    async def ask(port, number):
        body = json.dumps({"prompt": "p", "seed": number, "response_format": "b64_json", "size": "16x16"}).encode()
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t2i-{number % 4}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        found = json.loads(await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer)[1])))
        writer.close()
        status = int(answer.split()[1])
        if status == 429:
            assert b"retry-after: " in answer and found["error"]["code"] in ("queue_full", "share_full")
            refused.append(number)
        return status

    async def all_at_once(server):
        asked = [asyncio.create_task(ask(server.port, number)) for number in range(300)]
        while len(refused) + server.service.batcher.waiting_images < 300 - 4:  # 4 at most are being drawn
            await asyncio.sleep(0.01)
        gated.gate.set()
        return await asyncio.gather(*asked)

    with running(gated, queue_images=128, keys=keys, timeout_s=100.0) as server:
        server.when_ready()
        statuses = asyncio.run(all_at_once(server))
    assert set(statuses) == {200, 429} and 128 <= statuses.count(200) <= 132


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


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/v1/images/generations", {"prompt": "p"}), ("GET", "/v1/models/tiny", None)],  # paths whole and in part
)
def test_a_fault_of_the_server_has_the_shape_of_a_refusal_and_a_line_in_the_log(gated, capfd, method, path, body):
    def fail(_name):
        raise RuntimeError("a fault")

    gated.find = fail
    with running(gated) as server:
        status, headers, answer = server.ask(method, path, body, x_request_id="of-the-fault")
    assert status == 500 and answer["error"]["code"] == "fault" and "of-the-fault" in answer["error"]["message"]
    assert headers["x-request-id"] == "of-the-fault" and headers["x-frame-options"] == "DENY"
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    fault, request = (line for line in lines if line.get("id") == "of-the-fault")
    assert (fault["event"], fault["level"]) == ("fault", "error") and "a fault" in fault["traceback"]
    assert (request["event"], request["status"], request["code"]) == ("request", 500, "server_error")


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
        assert time.process_time() - begun < 20


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")
def test_sigterm_under_load_loses_no_answer(folder, tmp_path):
    """The command itself, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "t2igan",
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
