"""What `t2igan serve` takes of the CPU, what it draws, how late answers are, how soon it is ready, and its memory.

python -m benchmarks.serve --workdir=runs/base
python -m benchmarks.serve --workdir=runs/base --cases=memory --memory_requests=100000

The server runs in a process of its own.

cpu: the server says in /metrics how much CPU time it has used. That is compared with the CPU time of `Model.sample` for
as many pictures at once in this process, in turns. CPU time, unlike seconds, says something on a busy machine too; both
include the threads of XLA. Each client has a caption of its own, of the examples that the model names, and asks for it
with ever other seeds; in the last row each request has a new caption, with a word that no training caption had.
throughput: pictures a second by the clock, and those of `Model.sample`, in turns. It wants an idle machine; the clients
have a share of its cores, too.
besides: the CPU time of a server that draws the first batch of each size and hands those pictures out ever after, which
is what requests take besides drawing.
latency: seconds of requests of one client, one after the other, and of `Model.sample`, in turns of 50. It wants an idle
machine.
start: seconds from the command to a ready server, with an empty cache of compiled programs and with a filled one, which
want an idle machine, and its CPU seconds.
memory: the resident memory of the server on the way through many requests of 8 clients: pictures, pictures by address,
and refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sample import PROMPT
from benchmarks.timing import ROOT, parser, publish, table
from t2igan.inference import shipped
from t2igan.inference.drawing import BATCH_SIZES

WHAT = ("cpu", "throughput", "besides", "latency", "start", "memory")
_NEVER_SEEN = itertools.count(1_000)
CASES = ((1, 1, 1_000), (1, 10, 200), (64, 1, 8_000))  # clients, pictures a request, requests


def start(workdir: Path, *flags: str, **environ: str) -> tuple[subprocess.Popen, int]:
    """Starts a server; returns it and its port when every size is compiled."""
    command = [sys.executable, "run.py", "serve", f"--workdir={shipped.found(workdir).absolute()}", "--port=0", *flags]
    how: dict[str, Any] = {"env": os.environ | environ, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, text=True, **how)
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
    if not found:
        raise SystemExit("the server did not start; `t2igan serve` says why")
    port = int(found[1])
    while "t2igan_ready 1.0" not in metrics(port):
        time.sleep(0.05)
    return process, port


def metrics(port: int) -> str:
    """Returns what the server counts."""
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()


def counted(text: str, name: str) -> float:
    """Returns one of the counters."""
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]


async def load(
    port: int, clients: int, num: int, requests: int, examples: Sequence[str] = (PROMPT,), new: bool = False
) -> None:
    """Sends so many requests, each client one after the other on a connection of its own; captions as `asked` says."""

    async def client(captions: Iterator[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // clients):
            status, body = await answered(reader, writer, request_of(n=num, prompt=next(captions)))
            if status != 200:
                raise SystemExit(body.decode())
        writer.close()

    await asyncio.gather(*map(client, asked(clients, examples, new)))


def asked(clients: int, examples: Sequence[str], new: bool) -> list[Iterator[str]]:
    """Returns what each client asks for, one after the other: one of the examples or, `new`, ever other captions."""
    own = [examples[number % len(examples)] for number in range(clients)]
    return [map(f"{caption} {{}}".format, _NEVER_SEEN) if new else itertools.repeat(caption) for caption in own]


def bare(model: Any, clients: int, num: int, examples: Sequence[str], new: bool = False) -> None:
    """Draws what so many clients ask for, as many pictures as go into a batch; the captions are not checked."""
    together = min(clients * num, BATCH_SIZES[-1])
    captions = [next(of_client) for of_client in asked(clients, examples, new) for _ in range(num)]
    model.sample(captions[:together], seed=list(range(together)), cut_long=True)


def bare_ms(calls: int, *how: Any) -> float:
    """Returns the CPU milliseconds of a call of `bare`."""
    begun = 0.0
    for call in range(calls + 3):
        if call == 3:  # the first ones compile
            begun = time.process_time()
        bare(*how)
    return 1000 * (time.process_time() - begun) / calls


@contextlib.contextmanager
def served(workdir: Path, *flags: str, **environ: str) -> Iterator[int]:
    """The port of a server that is ready, and ends with the block."""
    process, port = start(workdir, *flags, **environ)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(60)


def cpu(workdir: Path, model: Any, examples: Sequence[str], turns: int = 5) -> str:
    """Returns what the server takes of the CPU and what `Model.sample` does, in turns: a row for each case."""
    rows = []
    with served(workdir) as port:
        for (clients, num, requests), new in [*((case, False) for case in CASES), (CASES[-1], True)]:
            asyncio.run(load(port, clients, num, 4 * clients, examples, new))  # connections, caches
            together = min(clients * num, BATCH_SIZES[-1])  # what the sampler is given at once
            each, found = requests // turns, []
            for _ in range(turns):
                before = metrics(port)
                asyncio.run(load(port, clients, num, each, examples, new))
                after = metrics(port)
                used, batches, images = (
                    counted(after, name) - counted(before, name)
                    for name in ("process_cpu_seconds_total", "t2igan_batch_images_count", "t2igan_batch_images_sum")
                )
                drawing_ms = bare_ms(10, model, clients, num, examples, new) * num / together
                found.append((images / batches, 1000 * used / each, drawing_ms))
            a_batch, cpu_ms, drawing_ms = np.median(found, axis=0)
            share = np.median([drawn_ms / used_ms for _, used_ms, drawn_ms in found])
            figures = (
                f"{a_batch:.1f}",
                f"{cpu_ms:.2f}",
                f"{drawing_ms:.2f}",
                f"{cpu_ms - drawing_ms:.2f}",
                f"{share:.0%}",
            )
            rows.append((str(clients), str(num), "new" if new else "own", *figures))
    columns = "clients, n, captions, pictures a batch, CPU ms a request, drawing, besides, of the bare sampler"
    return table(columns.split(", "), rows)


def throughput(workdir: Path, model: Any, examples: Sequence[str], turns: int = 5, images: int = 1000) -> str:
    """Returns the pictures a second of a server and of `Model.sample`, in turns: a row for each case."""
    rows = []
    with served(workdir) as port:
        for clients, num, _ in CASES:
            together = min(clients * num, BATCH_SIZES[-1])
            asyncio.run(load(port, clients, num, 4 * clients, examples))
            bare(model, clients, num, examples)
            found = []
            for _ in range(turns):
                requests = images // num // clients * clients
                begun = time.perf_counter()
                asyncio.run(load(port, clients, num, requests, examples))
                served_s = (time.perf_counter() - begun) / (requests * num)
                calls, begun = images // together, time.perf_counter()
                for _ in range(calls):
                    bare(model, clients, num, examples)
                found.append((served_s, (time.perf_counter() - begun) / (calls * together)))
            served_s, bare_s = np.median(found, axis=0)
            share = np.median([of_sampler_s / of_server_s for of_server_s, of_sampler_s in found])
            rows.append((str(clients), str(num), f"{1 / served_s:.0f}", f"{1 / bare_s:.0f}", f"{share:.0%}"))
    return table(("clients", "n", "pictures a second", "`Model.sample`", "of the bare sampler"), rows)


def besides(workdir: Path, turns: int = 5) -> str:
    """Returns what a server that draws nothing takes of the CPU, a row for each case; medians of turns."""
    rows = []
    with served(workdir, "--plugin=benchmarks/undrawn.py") as port:
        for clients, num, requests in CASES:
            requests = max(requests, 400)  # Linux counts CPU time in steps of 10 ms
            found = []
            for _ in range(turns):
                asyncio.run(load(port, clients, num, 4 * clients))
                before = counted(metrics(port), "process_cpu_seconds_total")
                asyncio.run(load(port, clients, num, requests))
                found.append(1000 * (counted(metrics(port), "process_cpu_seconds_total") - before) / requests)
            rows.append((str(clients), str(num), f"{np.median(found):.2f}", f"{min(found):.2f} to {max(found):.2f}"))
    return table(("clients", "n", "CPU ms a request besides drawing", "of the turns"), rows)


def request_of(**fields: Any) -> bytes:
    """Returns a request for pictures, as bytes."""
    body = json.dumps({"prompt": PROMPT, "response_format": "b64_json"} | fields).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answered(reader: Any, writer: Any, request: bytes) -> tuple[int, bytes]:
    """Sends a request; returns the status and the body of the answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"content-length: (\d+)", head)
    return int(head.split()[1]), await reader.readexactly(int(length[1]))  # type: ignore[index]


def latency(workdir: Path, model: Any, turns: int = 10, calls: int = 50) -> str:
    """Returns percentiles of the seconds of requests and of bare draws, in turns."""

    async def requests(port: int, first: int, times: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for seed in range(first, first + calls):
            request, begun = request_of(seed=seed), time.perf_counter()
            await answered(reader, writer, request)
            times.append(time.perf_counter() - begun)
        writer.close()

    bare: list[float] = []
    asked: list[float] = []
    with served(workdir) as port:
        model.sample([PROMPT])
        asyncio.run(requests(port, 0, []))
        for turn in range(turns):
            asyncio.run(requests(port, turn * calls, asked))
            for seed in range(turn * calls, (turn + 1) * calls):
                begun = time.perf_counter()
                model.sample([PROMPT], seed=seed)
                bare.append(time.perf_counter() - begun)
    rows = []
    for percent in (50, 90, 99):
        one, other = (1000 * float(np.percentile(times, percent)) for times in (bare, asked))
        rows.append((f"p{percent}", f"{one:.2f}", f"{other:.2f}", f"{other - one:.2f}"))
    return table(("", "bare draw, ms", "request, ms", "more, ms"), rows)


def starts(workdir: Path) -> str:
    """Returns the seconds, and those of the CPU, until a server is ready, cold and with its cache."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name in ("nothing compiled before", "everything compiled before"):
            begun = time.perf_counter()
            with served(workdir, XDG_CACHE_HOME=cache) as port:
                seconds = time.perf_counter() - begun
                rows.append((name, f"{seconds:.1f}", f"{counted(metrics(port), 'process_cpu_seconds_total'):.1f}"))
    return table(("", "seconds to ready", "CPU seconds"), rows)


def memory(workdir: Path, requests: int, clients: int = 8, rows: int = 10) -> str:
    """Returns the server's resident memory on the way through many requests; rows are printed as they come."""
    statuses: Counter[int] = Counter()

    async def client(port: int, first: int, last: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(first, last):
            fields: dict[str, Any] = {"prompt": f"{PROMPT}, number {number}", "seed": number, "n": 1 + number % 3}
            if number % 10 == 7:
                fields = {"n": -1}  # refused
            if number % 10 == 8:
                fields = {"response_format": "url", "seed": number}
            status, body = await answered(reader, writer, request_of(**fields))
            statuses[status] += 1
            if number % 10 == 8 and status == 200:
                path = json.loads(body)["data"][0]["url"].partition("/v1/")[2]
                again = f"GET /v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                statuses[(await answered(reader, writer, again))[0]] += 1
        writer.close()

    async def piece(port: int, first: int, each: int) -> None:
        await asyncio.gather(*(client(port, first + i * each, first + (i + 1) * each) for i in range(clients)))

    found = []
    with served(workdir) as port:
        each = max(requests // rows // clients, 1)
        for row in range(rows):
            asyncio.run(piece(port, row * each * clients, each))
            resident = counted(metrics(port), "process_resident_memory_bytes") / 2**20
            found.append((f"{(row + 1) * each * clients:,}", f"{resident:.1f}"))
            print(*found[-1], file=sys.stderr, flush=True)
    answers = ", ".join(f"{count:,} of {status}" for status, count in sorted(statuses.items()))
    return table(("requests", "resident memory, MiB"), found) + f"\n\nanswers: {answers}"


def main() -> None:
    """Prints a table for each of `--cases`."""
    from t2igan.inference.serving.models import open_models
    from t2igan.training.distributed import parallel

    arguments = parser(__doc__)
    arguments.add_argument("--workdir", required=True, type=Path)
    arguments.add_argument(
        "--cases", default="cpu,throughput,besides,latency,start", help=f"of {', '.join(WHAT)}; with commas"
    )
    arguments.add_argument("--memory_requests", default=20_000, type=int)
    given = arguments.parse_args()
    cases = given.cases.split(",")
    if not set(cases) <= set(WHAT):
        raise SystemExit(f"--cases={given.cases} has other things than {', '.join(WHAT)}")
    parallel.start()
    model, examples = None, (PROMPT,)
    if {"cpu", "throughput", "latency"} & set(cases):
        found = open_models([shipped.found(given.workdir)]).default
        model, examples = found.model, found.examples or examples
    load_before = os.getloadavg()[0]
    texts = [f"{given.workdir}, {os.cpu_count()} cores, load {load_before:.1f} before"]
    for case in cases:
        of_case: dict[str, Callable[[], str]] = {
            "cpu": lambda: cpu(given.workdir, model, examples),
            "throughput": lambda: throughput(given.workdir, model, examples),
            "besides": lambda: besides(given.workdir),
            "latency": lambda: latency(given.workdir, model),
            "start": lambda: starts(given.workdir),
            "memory": lambda: memory(given.workdir, given.memory_requests),
        }
        texts += [case, of_case[case]()]
    publish("\n\n".join(texts), given.out)


if __name__ == "__main__":
    main()
