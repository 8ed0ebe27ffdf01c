"""A real server on a thread of this process, and plain requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
from tiny import random_snapshot

from t2igan.inference.serving.app import create_app
from t2igan.inference.serving.models import Catalogue
from t2igan.inference.serving.server import Server, bound_socket
from t2igan.inference.serving.settings import Settings
from t2igan.inference.snapshot import save_snapshot

PROMPTS = ["a person with a red cap", "a person with a blue top", "green hair"]


def run_folder(root: Path) -> Path:
    """Returns the folder of a run below `root`, with a snapshot of random weights that knows the words of `PROMPTS`."""
    folder = root / "tiny"
    folder.mkdir()
    save_snapshot(folder / "snapshot.safetensors", random_snapshot(PROMPTS, {"model_card.examples": tuple(PROMPTS)}))
    return folder


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


class Running:
    """A server that takes requests, at `url`."""

    def __init__(self, catalogue: Catalogue, settings: Settings):
        taken = bound_socket(settings)
        self.port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = create_app(catalogue, settings)
        self.service = self.app.state.service
        self.server = Server(self.app, settings)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [taken]}, daemon=True)
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.started:
            assert time.monotonic() < until and self.thread.is_alive(), "the server does not start"
            time.sleep(0.02)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Sends a request of plain HTTP; a dictionary goes as JSON, and JSON comes back as what it says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            if isinstance(body, dict):
                body = json.dumps(body)
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            data: Any = answer.read()
            if found.get("content-type", "").startswith("application/json"):
                data = json.loads(data)
            return answer.status, found, data
        finally:
            connection.close()

    def when_ready(self, seconds: float = 60) -> None:
        """Returns when every size is compiled."""
        wait_until(lambda: self.ask("GET", "/readyz")[0] == 200, seconds)

    def stop(self) -> None:
        """Ends it as SIGTERM would."""
        self.server.drain(0)
        self.thread.join(30)
        assert not self.thread.is_alive(), "the server does not end"


@contextlib.contextmanager
def running(catalogue: Catalogue, **settings: Any) -> Iterator[Running]:
    """A server for as long as the block lasts, on a free port; batches are small, so that little is compiled."""
    how = {"port": 0, "batch_images": 4, "log_format": "json"}
    if isinstance(catalogue, Gated):
        how["drawing_threads"] = 1  # which waits at the gate, and nobody draws beside it
    server = Running(catalogue, Settings(**how | settings))
    try:
        yield server
    finally:
        server.stop()


def wait_until(true: Any, seconds: float = 20) -> None:
    """Returns when it is true; a test fails where it never is."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def client_of(server: Running, key: str = "none") -> openai.OpenAI:
    """OpenAI's client of a server, which tries nothing twice."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
