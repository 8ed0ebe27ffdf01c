"""What the benchmarks share: configurations by name, batches, turns, tables."""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]


def load(config: str) -> Any:
    """Returns the configuration of a file, of configs/NAME.py or of benchmarks/NAME.py."""
    named = [Path(config), *(ROOT / folder / f"{config}.py" for folder in ("configs", "benchmarks"))]
    file = next((path for path in named if path.is_file()), None)
    if file is None:
        raise SystemExit(f"--config={config}: there is no {', '.join(str(path) for path in named)}")
    return runpy.run_path(str(file))["get_config"]()


def made_batch(config: Any, num_images: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns a batch of random pictures and captions of full length."""
    random, size = np.random.default_rng(seed), config.data.image_size_px
    t = config.tokenizer
    return {
        "images": random.integers(0, 256, (num_images, size, size, config.data.channels)).astype(np.uint8),
        "tokens": random.integers(3, t.vocab_size, (num_images, t.max_tokens)).astype(np.int32),
    }


def in_turns(
    works: Mapping[str, Callable[[], object]],
    repeats: int,
    calls: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Returns the seconds of each call, [repeats] by name; they take turns, so that a busy machine hits all alike.

    Each is called once before. A call has to wait for its results. With `calls` a turn is one call that does not count,
    since it finds caches and memory as another left them, and so many that do: seconds are then [repeats * calls]. The
    clock may be `time.process_time`: seconds of this process on all cores, whoever else is busy.
    """
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for name, work in [*works.items()] * repeats:
        if calls:
            work()
        for _ in range(max(calls, 1)):
            start = clock()
            work()
            times[name].append(clock() - start)
    return {name: np.array(of_one) for name, of_one in times.items()}


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def parser(doc: str | None, config: str = "base") -> argparse.ArgumentParser:
    """Returns a parser with --config and --out."""
    arguments = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--config", default=config, help="base, dfgan64, ... or a file")
    arguments.add_argument("--out", type=Path, help="a file that gets what is printed too")
    return arguments


def publish(text: str, out: Path | None) -> None:
    """Prints, and writes to `out`."""
    print(text, flush=True)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
