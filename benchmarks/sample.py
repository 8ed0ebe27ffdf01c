"""How long one picture takes from a trained model, how many come a second, how long the first one takes from the shell.

python -m benchmarks.sample --workdir=runs/base      a trained run
python -m benchmarks.sample --config=dfgan64         untrained networks: times do not depend on weights
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import ROOT, in_turns, load, parser, publish, table
from t2igan.inference import shipped

PROMPT = "a pixel person with long red hair and a green top, dark skin"


def sample_process_s(workdir: Path, cache: Path) -> float:
    """Draws one picture from the shell; returns seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "run.py", "sample", f"--workdir={workdir.absolute()}", f"--prompt={PROMPT}"]
        start = time.perf_counter()
        subprocess.run(
            [*command, f"--out={folder}/me.png"], cwd=ROOT, env=environment(cache), check=True, capture_output=True
        )
        return time.perf_counter() - start


def sample_calls_ms(model, calls: int = 200) -> np.ndarray:
    """Draws one picture again and again in this process; returns milliseconds of each call, the first ones left out."""
    times_ms = []
    for seed in range(calls + 10):
        start = time.perf_counter()
        model.sample(PROMPT, seed=seed)
        times_ms.append(1000 * (time.perf_counter() - start))
    return np.array(times_ms[10:])


def images_per_s(model, calls: int = 10) -> dict[int, float]:
    """Returns pictures a second for each size of batch that is compiled; the median of calls."""
    from t2igan.inference.drawing import BATCH_SIZES

    works = {str(size): lambda size=size: model.sample([PROMPT] * size, seed=list(range(size))) for size in BATCH_SIZES}
    return {int(size): int(size) / float(np.median(of_one)) for size, of_one in in_turns(works, calls).items()}


def untrained(config, folder: Path) -> Path:
    """Writes a snapshot of fresh networks into a folder, as a training would; returns the folder."""
    import jax

    from t2igan.inference.sample import SNAPSHOT_NAME
    from t2igan.inference.snapshot import save_snapshot
    from t2igan.nets.init import init_network
    from t2igan.training import train
    from t2igan.training.distributed import parallel
    from t2igan.training.monitor import snapshot_of

    parallel.start(1)
    run = train.open_run(config, folder, parallel.make_mesh(1))
    names = ("text", "generator")
    params = {name: init_network(run.networks, name, jax.random.key(0), run.batch_shapes) for name in names}
    run.logs.close()
    save_snapshot(folder / SNAPSHOT_NAME, snapshot_of(run, params, 0, "adversarial"))
    return folder


def environment(cache: Path) -> dict[str, str]:
    """This process's environment with another compilation cache."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }


def waits(workdir: Path, cache: Path, model) -> list[tuple[str, str]]:
    """Returns rows of label and value: how long one picture takes, from the shell and in a program."""
    rows = [("one picture from the shell, whole process, cold", f"{sample_process_s(workdir, cache):.1f} s")]
    rows.append(("  with the compilation cache", f"{sample_process_s(workdir, cache):.1f} s"))
    p50, p99 = np.percentile(sample_calls_ms(model), [50, 99])
    return [*rows, ("one picture, warm call, p50 / p99", f"{p50:.1f} / {p99:.1f} ms")]


def measure(workdir: Path, cache: Path) -> list[tuple[str, str]]:
    """Returns rows of label and value."""
    import t2igan

    model = t2igan.load(workdir)
    rows = waits(workdir, cache, model)
    rows += [(f"batches of {size}", f"{rate:,.0f} images/s") for size, rate in images_per_s(model).items()]
    return rows


def main() -> None:
    """Prints the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--workdir", type=Path, help="a trained run or models/NAME, instead of --config")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        (Path(folder) / "run").mkdir()
        trained = given.workdir and shipped.found(given.workdir)
        workdir = trained or untrained(load(given.config), Path(folder) / "run")
        rows = measure(workdir, Path(cache))
    title = f"{given.workdir or given.config}, {os.cpu_count()} cores"
    publish("\n\n".join([title, table(("sampling", ""), rows)]), given.out)


if __name__ == "__main__":
    main()
