"""How long a user waits: for the first training step, for one picture from the shell, for one picture in a program.

    python -m benchmarks.waiting --workdir=runs/base

The first step is timed from the start of the process to the first row of metrics.jsonl, with an empty and with a warm
compilation cache; sampling wants the folder of a trained run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import t2igan
from benchmarks.sample import environment, waits
from benchmarks.timing import ROOT


def first_step_s(config: str, cache: Path) -> float:
    """Starts a training in a new folder, and stops it after its first step; returns seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "run.py",
            f"--config={config}",
            f"--workdir={folder}/run",
            "--config.log.every_images=1",
        ]
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        metrics = Path(folder) / "run" / "metrics.jsonl"
        while not (metrics.is_file() and metrics.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        waited_s = time.perf_counter() - start
        process.kill()
        process.wait()
    return waited_s


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--config", default="configs/base.py")
    arguments.add_argument("--workdir", type=Path, default=Path("runs/base"))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        rows = [(f"first training step, {given.config}, cold", f"{first_step_s(given.config, Path(cache)):.1f} s")]
        rows.append(("  with the compilation cache", f"{first_step_s(given.config, Path(cache)):.1f} s"))
        rows += waits(given.workdir, Path(cache), t2igan.load(given.workdir))
    for label, value in rows:
        print(f"{label:<55} {value}")


if __name__ == "__main__":
    main()
