"""What `t2igan serve` takes of the CPU besides drawing, for one client and for many.

python -m benchmarks.serve --workdir=runs/base

The server runs in a process of its own, and says in /metrics how much CPU time it has used. That is compared with the
CPU time of `Model.sample` for the same pictures in this process. CPU time, unlike seconds, says something on a busy
machine too; both include the threads of XLA.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.sample import PROMPT
from benchmarks.timing import ROOT, parser, publish, table

CASES = ((1, 1, 400), (1, 10, 80), (64, 1, 1600))  # clients, pictures a request, requests


def start(workdir: Path) -> tuple[subprocess.Popen, int]:
    """Starts a server; returns it and its port when every size is compiled."""
    command = [sys.executable, "run.py", "serve", f"--workdir={workdir.absolute()}", "--port=0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
    if not found:
        raise SystemExit("the server did not start; `t2igan serve` says why")
    port = int(found[1])
    while "t2igan_ready 1.0" not in metrics(port):
        time.sleep(0.5)
    return process, port


def metrics(port: int) -> str:
    """Returns what the server counts."""
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()


def counted(text: str, name: str) -> float:
    """Returns one of the counters."""
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]


async def load(port: int, clients: int, num: int, requests: int) -> None:
    """Sends so many requests, each client one after the other on a connection of its own."""
    body = json.dumps({"prompt": PROMPT, "n": num, "response_format": "b64_json"}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // clients):
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.split(b"\r\n")[0]:
                raise SystemExit(answer.decode())
            length = re.search(rb"content-length: (\d+)", answer.lower())
            await reader.readexactly(int(length[1]))  # type: ignore[index]
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))


def bare_ms(model, images: int, calls: int) -> float:
    """Returns CPU milliseconds of `Model.sample` for so many pictures at once."""
    begun = 0.0
    for call in range(calls + 3):
        if call == 3:  # the first ones compile
            begun = time.process_time()
        model.sample([PROMPT] * images, seed=list(range(images)))
    return 1000 * (time.process_time() - begun) / calls


def measure(workdir: Path) -> list[tuple[str, ...]]:
    """Returns a row for each case."""
    import t2igan
    from t2igan.training.distributed import parallel

    parallel.start()
    model = t2igan.load(workdir)
    process, port = start(workdir)
    rows = []
    try:
        for clients, num, requests in CASES:
            asyncio.run(load(port, clients, num, min(requests, 4 * clients)))  # connections, caches
            before = metrics(port)
            asyncio.run(load(port, clients, num, requests))
            after = metrics(port)
            used, batches, images = (
                counted(after, name) - counted(before, name)
                for name in ("process_cpu_seconds_total", "t2igan_batch_images_count", "t2igan_batch_images_sum")
            )
            cpu_ms, a_batch = 1000 * used / requests, images / batches
            drawing_ms = bare_ms(model, round(a_batch), 30) * num / round(a_batch)
            rest_ms, share = cpu_ms - drawing_ms, drawing_ms / cpu_ms
            figures = (f"{a_batch:.1f}", f"{cpu_ms:.2f}", f"{drawing_ms:.2f}", f"{rest_ms:.2f}", f"{share:.0%}")
            rows.append((str(clients), str(num), *figures))
    finally:
        process.terminate()
        process.wait(60)
    return rows


def main() -> None:
    """Prints the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--workdir", required=True, type=Path)
    given = arguments.parse_args()
    columns = (
        "clients",
        "n",
        "pictures a batch",
        "CPU ms a request",
        "drawing alone",
        "besides",
        "of the bare sampler",
    )
    title = f"{given.workdir}, {os.cpu_count()} cores"
    publish("\n\n".join([title, table(columns, measure(given.workdir))]), given.out)


if __name__ == "__main__":
    main()
