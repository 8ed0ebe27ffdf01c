"""One visit to a GPU: pictures against the CPU's, steps of five shapes, then a training on the emoji.

    python -m benchmarks.gpu --minutes=8 --out=gpu_results
    python -m benchmarks.gpu --minutes=4 --out=/tmp/tried --tiny     the same with tiny numbers, as on a CPU

In this order, each part in a process of its own with a time limit of its own, so that one that fails, hangs or kills
its process takes nothing else with it:

    pictures   of snapshots (--snapshots; the package's own of base.py and toon64.py), on this device and on the CPU
    steps      the adversarial step of base, toon64, avatars64, coco64, coco256, in float32 and bfloat16
    training   --train_config on its own data, for the time that is left, to a snapshot and a sheet

What there is lies in --out as soon as it is known: `results.jsonl`, a line each; `results.md`, tables of it;
`pictures_*.png`, `emoji.png`, `emoji.safetensors`, and `log.txt`, what the parts printed. A part that failed is a line
with "error". The whole ends within --minutes, which includes starting JAX and compiling.

Model FLOP utilisation (MFU) is the FLOP/s of the step, as XLA counts it for a CPU before it simplifies, over the peak
of the device for dense products in that type (`benchmarks.gpu.peaks`); it includes gradient penalties and what is
computed twice on purpose, and is empty where the peak is not known. "peak MB" is the most that the process has held so
far, of all rows. Compile times are with up to four programs at once; "disturbed": others still compiled while it was
timed. Work is counted on the CPU at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.gpu.peaks import peak_flop_s
from benchmarks.timing import ROOT, table

SNAPSHOTS = ("models/pixel_avatars", "models/toon_avatars")
CONFIGS = ("base", "toon64", "avatars64", "coco64", "coco256")
COMPILED_SOON = ("base", "toon64")
DTYPES = ("float32", "bfloat16")
ENDS_BEFORE_S = 10.0  # of the time, for the parent to write its last lines
PICTURES_SHARE = 0.21  # of the time, which is the most that the pictures may take
STEPS_SHARE = 0.55  # of the minutes, at which the steps end however far they are
GRACE_S = 12.0  # between asking a part to stop and ending it
# Convolutions are tried out, but what they give is not checked: their trials are most of the time of compiling.
QUICKER = "--xla_gpu_autotune_level=1"
PARTS = ("pictures", "steps", "training")


def run_part(name: str, words: list[str], limit_s: float, out: Path, platform: str = "") -> int:
    """Runs `benchmarks.gpu.NAME` for `limit_s` seconds at most; returns its exit code, 124 where it was ended.

    What it prints goes to `log.txt`; it is asked to stop (SIGTERM) before it is killed,
    with all that it started.
    """
    environment = {"XLA_FLAGS": QUICKER} | os.environ | ({"JAX_PLATFORMS": platform} if platform else {})
    command = [sys.executable, "-m", f"benchmarks.gpu.{name}", *words]
    with (out / "log.txt").open("ab") as log:
        log.write(f"\n== {' '.join(command[1:])}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return process.wait(max(limit_s, 1.0))
        except subprocess.TimeoutExpired:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, number)
                try:
                    process.wait(GRACE_S)
                    break
                except subprocess.TimeoutExpired:
                    continue
            return 124


def append(out: Path, row: dict[str, Any]) -> None:
    """Adds a line to `results.jsonl` and makes `results.md` anew."""
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    (out / "results.md").write_text(as_markdown(rows_of(out)), encoding="utf-8")


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Returns the lines of `results.jsonl`; one that was cut short is left out."""
    path, rows = out / "results.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


COLUMNS = {
    "config": "config", "px": "px", "dtype": "dtype", "batch": "batch", "ms": "ms", "images/s": "images_s",
    "GFLOP a picture": "gflop_image", "TFLOP/s": "tflop_s", "MFU": "mfu", "planned MB": "planned_mb",
    "peak MB": "peak_mb", "traced s": "traced_s", "compiled s": "compiled_s", "disturbed": "disturbed",
}  # fmt: skip


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Returns all rows as text and tables."""
    blocks = ["# One visit to a GPU"]
    for row in rows:
        if row["part"] not in ("step", "time", "work"):
            facts = "\n".join(f"- {name}: {value}" for name, value in row.items() if name != "part")
            blocks.append(f"## {row['part']}\n\n{facts}")
    work = {row["config"]: row["gflop_image"] for row in rows if row["part"] == "work"}
    steps = [with_work(row, work.get(row["config"])) for row in rows if row["part"] == "step"]
    if good := [row for row in steps if "error" not in row]:
        cells = [[row.get(key, "") if row.get(key) is not None else "" for key in COLUMNS.values()] for row in good]
        blocks.append("## Adversarial steps\n\n" + table(tuple(COLUMNS), cells))
    if bad := [row for row in steps if "error" in row]:
        blocks.append("\n".join(f"- {row['config']}, {row['dtype']}: {row['error']}" for row in bad))
    return "\n\n".join(blocks) + "\n"


def in_order(configs: Sequence[str], dtypes: Sequence[str]) -> list[tuple[str, str]]:
    """Returns what is timed, the float32 of large shapes last: in one visit there was no time to compile them."""
    wanted = [(config, dtype) for config in configs for dtype in dtypes]
    return sorted(wanted, key=lambda row: row[0] not in COMPILED_SOON and row[1] == "float32")


def with_work(row: dict[str, Any], gflop_image: float | None) -> dict[str, Any]:
    """Returns the line of a step with its FLOP/s, and their share of the device's peak where that is known."""
    if gflop_image is None or "images_s" not in row:
        return row
    flop_s = 1e9 * gflop_image * row["images_s"]
    peak = peak_flop_s(row.get("device", ""), row["dtype"])
    utilisation = round(flop_s / peak, 4) if peak else None
    return row | {"gflop_image": gflop_image, "tflop_s": round(flop_s / 1e12, 3), "mfu": utilisation}


def main() -> None:
    """Runs the parts and says what came of them."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=8.0, help="for everything")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--snapshots", nargs="+", default=list(SNAPSHOTS), help="whose pictures are compared")
    arguments.add_argument("--configs", nargs="+", default=list(CONFIGS), help="whose steps are timed")
    arguments.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    arguments.add_argument("--train_config", default="emoji64", help="what is trained in the time that is left")
    arguments.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--tiny", action="store_true", help="tiny networks and few steps, to try this script")
    given = arguments.parse_args()
    if not given.minutes > 0:
        raise SystemExit(f"--minutes={given.minutes} must be more than 0")
    start, out = time.monotonic(), given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    for old in ("results.jsonl", "results.md", "log.txt"):
        (out / old).unlink(missing_ok=True)
    end = 60 * given.minutes - ENDS_BEFORE_S
    left = lambda: end - (time.monotonic() - start)
    tiny = ["--tiny"] * given.tiny

    def finished(name: str, code: int, begun: float) -> None:
        seconds = round(time.monotonic() - begun, 1)
        append(out, {"part": "time", "of": name, "seconds": seconds, "exit_code": code})
        what = f", exit code {code}: {out / 'log.txt'} says why" if code else ""
        print(f"{name}: {seconds} s{what}", flush=True)

    if "pictures" in given.parts:
        begun = time.monotonic()
        limit_s = PICTURES_SHARE * end if len(given.parts) > 1 else end
        snapshots = [str(Path(name).absolute()) if Path(name).exists() else name for name in given.snapshots]
        finished("pictures", pictures(out, snapshots, tiny, limit_s), begun)
    if "steps" in given.parts:
        begun = time.monotonic()
        until = STEPS_SHARE * end if "training" in given.parts else end
        wanted = in_order(given.configs, given.dtypes)
        code = steps(out, wanted, tiny, lambda: until - (time.monotonic() - start))
        finished("steps", code, begun)
    if "training" in given.parts and left() > 20:
        begun = time.monotonic()
        words = [f"--out={out}", f"--seconds={left() - GRACE_S:.0f}", f"--config={given.train_config}", *tiny]
        finished("training", run_part("training", words, left() - GRACE_S, out), begun)
    print((out / "results.md").read_text(encoding="utf-8"), flush=True)


def pictures(out: Path, snapshots: list[str], tiny: list[str], limit_s: float) -> int:
    """Draws on the CPU and on the device, and compares; returns the exit code of the one that failed, or 0."""
    words = [f"--out={out}", *tiny, "--snapshots", *snapshots]
    begun = time.monotonic()
    code = run_part("pictures", ["--as=cpu", *words], limit_s, out, platform="cpu")
    if code == 0:
        code = run_part("pictures", ["--as=device", *words], limit_s - (time.monotonic() - begun), out)
    if code:
        append(out, {"part": "pictures", "error": f"exit code {code}"})
    return code


def steps(out: Path, wanted: list[tuple[str, str]], tiny: list[str], left: Any) -> int:
    """Times the steps in a process, and in a new one where that ended before all were done; returns the last exit code.

    A step that the process ended at is not tried again.
    """
    code, left_over = 0, list(wanted)
    names = [f"{config}:{dtype}" for config, dtype in wanted]
    with ThreadPoolExecutor(1) as beside:
        beside.submit(run_part, "steps", [f"--out={out}", "--count", "--rows", *names, *tiny], left(), out, "cpu")
        while left_over and left() > 5:
            words = [f"{config}:{dtype}" for config, dtype in left_over]
            code = run_part("steps", [f"--out={out}", f"--seconds={left():.0f}", "--rows", *words, *tiny], left(), out)
            done = {(row["config"], row["dtype"]) for row in rows_of(out) if row["part"] == "step"}
            left_over = [row for row in left_over if row not in done]
            if code == 0 or not left_over:
                break
            config, dtype = left_over.pop(0)
            what = "out of time" if code == 124 else f"its process ended with exit code {code}"
            append(out, {"part": "step", "config": config, "dtype": dtype, "error": what})
    for config, dtype in left_over:
        append(out, {"part": "step", "config": config, "dtype": dtype, "error": "no time was left for it"})
    return code


if __name__ == "__main__":
    main()
