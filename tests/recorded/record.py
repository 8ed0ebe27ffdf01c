"""Records what clients really send, byte by byte, for tests/test_serve_clients.py, which sends it again.

    t2igan serve --workdir=RUN --port=8000
    pip install --target=/tmp/old 'openai==1.30.5' 'httpx<0.28'
    npm install --prefix=/tmp/node openai
    python tests/recorded/record.py --server=127.0.0.1:8000 --python=/tmp/old --node=/tmp/node

Between client and server stands a proxy, which writes each request into a file a client beside this one: a line of JSON
each, with the name of the call and the bytes, in base64. Recorded headers name the client's versions and system; it
is recorded with a key called "none", so that there is no secret in them.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
MARK = re.compile(rb"^x-call: (.*)\r\n", re.IGNORECASE | re.MULTILINE)  # the clients' scripts name each call so


class Proxy:
    """Passes connections on to a server and keeps what goes there."""

    def __init__(self, server: str):
        host, _, port = server.rpartition(":")
        self.to = (host, int(port))
        self.requests = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listening.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        """One connection; requests on it follow each other, each after the answer to the one before."""
        server = socket.create_connection(self.to)
        answering = threading.Thread(target=self._answer, args=(server, client), daemon=True)
        answering.start()
        while data := client.recv(1 << 16):
            if MARK.search(data.partition(b"\r\n\r\n")[0] + b"\r\n"):
                self.requests.append(b"")
            self.requests[-1] += data
            server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _answer(server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)


def record(name: str, command: list[str], server: str, environ: dict[str, str]) -> None:
    """Runs a client's script and writes what it sent."""
    proxy = Proxy(server)
    subprocess.run(command, env=os.environ | environ | {"OPENAI_BASE_URL": proxy.url}, check=True, timeout=300)
    lines = []
    for request in proxy.requests:
        call = MARK.search(request)[1].decode()
        lines.append(json.dumps({"call": call, "request": base64.b64encode(request).decode()}))
    (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {len(lines)} requests")


def main() -> None:
    """Records an old Python client and the Node client."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--server", required=True, help="HOST:PORT of a server that runs")
    arguments.add_argument("--python", type=Path, help="folder with an old openai for Python")
    arguments.add_argument("--node", type=Path, help="folder with node_modules/openai")
    given = arguments.parse_args()
    if given.python:
        record(
            "python", [sys.executable, "-S", str(HERE / "client.py")], given.server, {"PYTHONPATH": str(given.python)}
        )
    if given.node:
        record("node", ["node", str(HERE / "client.mjs"), str(given.node)], given.server, {})


if __name__ == "__main__":
    main()
