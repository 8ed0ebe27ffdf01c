"""The same training step on 1, 2, 4, 8 devices and by 1, 2 processes: equal results, traffic, time.

    python -m benchmarks.scale [--config=base] [--devices 1 2 4 8] [--processes 2] [--out FILE]

Each layout runs in processes of its own, in turn, several rounds over, so that a busy machine hits all alike. Where
there is no accelerator the devices are simulated, and share the cores: what is to be read off then is that results are
equal, how much is moved, and what sharing out costs, not how fast many devices are. The adversarial step has plain
gradient descent in the place of Adam, which makes whole steps of rounding errors where a gradient is zero by nature.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import load, made_batch, parser, publish
from benchmarks.timing import table as markdown

EQUAL_STEPS = 10  # after which losses and parameters are compared
RATE = 0.01  # of descent


def measure(config_file: str, devices: int, processes: int, steps: int) -> dict[str, Any]:
    """Trains `EQUAL_STEPS` steps from the same state on the same batches, then times `steps` more; for this process.

    Returns "losses" and "params" (for the leader), "bytes" by kind of collective, "step_s", and of several processes
    "exchange_s", how long they wait for each other's values.
    """
    import jax
    import optax

    from t2igan import nets, step
    from t2igan.method.optim import optimizers
    from t2igan.training import plan
    from t2igan.training.distributed import parallel
    from t2igan.training.distributed import processes as together

    optimizers.adam = lambda rate, **_: optax.sgd(rate)
    parallel.start(together.local_cpu_devices(devices))
    config = load(config_file)
    config.train.warmup_steps = 0  # the first steps have to move something
    config.train.update(generator_learning_rate=RATE, discriminator_learning_rate=RATE)
    mesh = parallel.make_mesh(devices)
    together.exchange()
    parallel.connect(mesh)
    method = step.Method.create(config, nets.build(config, config.tokenizer.vocab_size), 1000)
    num = config.train.batch_images * config.train.discriminator_steps
    shapes, made = made_batch(config, num), functools.partial(made_batch, config, num)
    share = num // processes
    mine = slice(together.index() * share, (together.index() + 1) * share)
    state = parallel.init_on(mesh, functools.partial(step.init_state, method, shapes))
    train_step = parallel.compile_step(functools.partial(step.train_step, method), mesh)

    def placed(number: int) -> Any:
        return parallel.to_devices({name: array[mine] for name, array in made(number).items()}, mesh)

    flat = lambda state: np.concatenate(
        [np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(parallel.local(state.params))]
    )
    before, compiled = flat(state), train_step.lower(state, placed(0)).compile()
    history = []
    for number in range(EQUAL_STEPS):
        state, metrics = compiled(state, placed(number))
        history.append([float(metrics[f"loss/{player}"]) for player in ("generator", "discriminator")])
    params = flat(state)
    batch, times = placed(0), []
    for _ in range(steps):
        begun = time.perf_counter()
        state, _ = compiled(state, batch)
        jax.block_until_ready(state)
        times.append(time.perf_counter() - begun)
    result = {
        "losses": history,
        "params": params,
        "moved": float(np.abs(params - before).max()),
        "bytes": plan.collectives(compiled.as_text()),
        "step_s": float(np.median(times)),
        "images": num,
        "device": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
    }
    if processes > 1:
        times = []
        for _ in range(200):
            begun = time.perf_counter()
            together.exchange([False, 1])
            times.append(time.perf_counter() - begun)
        result["exchange_s"] = float(np.median(times))
    return result


def run(config_file: str, devices: int, processes: int, steps: int) -> dict[str, Any]:
    """Measures a layout in processes of its own; returns what the first one found."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result"
        started = []
        for process in range(processes):
            one = [config_file, devices, processes, process, steps, f"127.0.0.1:{port}", str(file)]
            command = [sys.executable, "-m", "benchmarks.scale", f"--one={json.dumps(one)}"]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        said = [process.communicate()[1] for process in started]
        if any(process.returncode for process in started):
            raise SystemExit("\n".join(said))
        return json.loads(file.with_suffix(".json").read_text()) | {"params": np.load(file.with_suffix(".npy"))}


def run_one(config_file: str, devices: int, processes: int, process: int, steps: int, coordinator: str, file: str):
    """In a process of its own: meets the others, measures, and writes what it found if it is the first."""
    from t2igan.training.distributed import launchers
    from t2igan.training.distributed import processes as together

    together.start(launchers.find({}, coordinator, processes, process))
    found = measure(config_file, devices, processes, steps)
    if together.leads():
        np.save(f"{file}.npy", found.pop("params"))
        Path(f"{file}.json").write_text(json.dumps(found))
    together.finish()


def table(layouts: list[tuple[int, int]], rounds: dict[tuple[int, int], list[dict]]) -> str:
    """Returns the table in Markdown, a row a layout."""
    first = rounds[layouts[0]][0]
    columns = ("devices", "processes", "max difference of losses", "of parameters", "collectives, MB a step and device",
               "sent by a ring, MB a device", "ms a step (median of medians)", "ratio", "an exchange, ms")  # fmt: skip
    first_s, rows = np.median([one["step_s"] for one in rounds[layouts[0]]]), []
    for devices, processes in layouts:
        found = rounds[devices, processes]
        loss = np.abs(np.array(found[0]["losses"]) - np.array(first["losses"])).max()
        params = np.abs(found[0]["params"] - first["params"]).max()
        size = sum(found[0]["bytes"].values())
        ring = 2 * (devices - 1) / devices * size  # reduce-scatter and all-gather of each all-reduce
        step_s = np.median([one["step_s"] for one in found])
        kinds = ", ".join(f"{kind} {value / 1e6:.2f}" for kind, value in found[0]["bytes"].items()) or "none"
        agree = np.median([one.get("exchange_s", np.nan) for one in found]) * 1e3
        cells = [devices, processes, f"{loss:.1e}", f"{params:.1e}", kinds, f"{ring / 1e6:.2f}", f"{step_s * 1e3:.1f}"]
        rows.append([*cells, f"{step_s / first_s:.2f}", "" if np.isnan(agree) else f"{agree:.2f}"])
    return markdown(columns, rows)


def main() -> None:
    """Prints the table; with --one, measures a layout for the process that asked."""
    arguments = parser(__doc__)
    arguments.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8], help="of one process")
    arguments.add_argument("--processes", type=int, nargs="*", default=[2], help="of one device each")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=20, help="timed in each round")
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        run_one(*json.loads(given.one))
        return
    layouts = [(devices, 1) for devices in given.devices] + [(count, count) for count in given.processes]
    rounds: dict[tuple[int, int], list[dict]] = {layout: [] for layout in layouts}
    for _ in range(given.rounds):
        for layout in layouts:
            rounds[layout].append(run(given.config, *layout, given.steps))
    one = rounds[layouts[0]][0]
    title = (
        f"{given.config}, the adversarial step with a batch of {one['images']} pictures and "
        f"{len(one['params']):,} trained parameters; {given.rounds} x {given.steps} steps timed, results after "
        f"{EQUAL_STEPS}, when parameters had moved by up to {one['moved']:.1e}; {os.cpu_count()} cores, "
        f"JAX {importlib.metadata.version('jax')}, {one['device']}"
    )
    publish(f"{title}\n\n{table(layouts, rounds)}", given.out)


if __name__ == "__main__":
    main()
