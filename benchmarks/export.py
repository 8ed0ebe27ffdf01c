"""Sizes, differences and times of the forms that a trained model is exported in, side by side, on one thread.

python -m benchmarks.export --workdir=runs/base
python -m benchmarks.export --workdir=runs/base --shrunk=avatars.safetensors --forms=onnx
"""

from __future__ import annotations

import os

# Before JAX starts: one thread for all alike.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.timing import parser, publish, table

SIZES = (1, 64)
FORMS = (("onnx", "float32"), ("onnx", "float16"), ("onnx", "int8"), ("stablehlo", "float32"), ("hub", "float16"))
PAGES = ("float32", "float16", "int8")


def program(folder: Path):
    """Returns the module of an export's sample.py."""
    spec = importlib.util.spec_from_file_location(f"sample_{folder.name}", folder / "sample.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def cpu_ms(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Returns the median CPU time of a call in ms, taking turns; a busy machine changes it little."""
    for work in works.values():
        work()
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for name, work in [*works.items()] * repeats:
        start = time.process_time()
        work()
        times[name].append(1000 * (time.process_time() - start))
    return {name: float(np.median(of_one)) for name, of_one in times.items()}


def main() -> None:
    """Prints the table."""
    import t2igan

    arguments = parser(__doc__)
    arguments.add_argument("--workdir", type=Path, required=True, help="a trained run or a snapshot")
    arguments.add_argument("--repeats", type=int, default=15)
    arguments.add_argument("--shrunk", type=Path, help="a snapshot that `export --shrink` wrote, to be timed beside it")
    arguments.add_argument("--forms", default="", help="of which forms, as onnx,web; all without it")
    given = arguments.parse_args()
    wanted = given.forms.split(",") if given.forms else ["onnx", "stablehlo", "hub", "web"]
    model = t2igan.load(given.workdir)
    from t2igan.inference.export.source import made_captions

    captions, seeds = made_captions(model.tokenizer), list(range(64))
    draws, rows = {"JAX": model.sample}, {"JAX": ["", ""]}
    with tempfile.TemporaryDirectory() as scratch:
        works = [(given.workdir, "", form, dtype) for form, dtype in FORMS if form in wanted]
        if given.shrunk:
            draws["JAX, shrunk"], rows["JAX, shrunk"] = t2igan.load(given.shrunk).sample, ["", ""]
            works += [(given.shrunk, ", shrunk", form, dtype) for form, dtype in FORMS if form == "onnx"]
        for number, (workdir, which, form, dtype) in enumerate(works):
            name, folder = f"{form}, {dtype}{which}", Path(scratch) / f"{form}_{number}"
            done = t2igan.export(workdir, form, folder, dtype)
            main_file = "model.safetensors" if form == "hub" else f"model.{form}"
            rows[name] = [f"{done.size_bytes[main_file] / 1e6:.2f}", done.checks[0 if form != "hub" else 1]]
            if form == "onnx":
                draws[name] = program(folder).Model(folder / "model.onnx", threads=1)
            elif form == "stablehlo":
                draws[name] = program(folder).Model(folder)
        for dtype in PAGES if "web" in wanted else ():
            done = t2igan.export(given.workdir, "web", Path(scratch) / f"{dtype}.html", dtype)
            rows[f"web, {dtype}"] = [f"{sum(done.size_bytes.values()) / 1e6:.2f}", done.checks[0]]
        for size in SIZES:
            calls = {n: lambda d=draw, s=size: d(captions[:s], seeds[:s]) for n, draw in draws.items()}
            for name, each_ms in cpu_ms(calls, given.repeats).items():
                rows[name].append(f"{each_ms:.2f}")
    cells = [
        (name, size_mb, *times, *[""] * (len(SIZES) - len(times)), check)
        for name, (size_mb, check, *times) in rows.items()
    ]
    columns = ("form", "MB", *(f"ms of CPU, batch of {size}" for size in SIZES), "compared with JAX")
    publish(f"{given.workdir}\n\n" + table(columns, cells), given.out)


if __name__ == "__main__":
    main()
