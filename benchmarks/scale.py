"""The same training step on 1, 2, 4, 8 devices and by 1, 2 processes: equal results, traffic, time.

    python -m benchmarks.scale [--config=configs/base.py] [--devices 1 2 4 8] [--processes 2] [--out FILE]

Each layout runs in processes of its own, in turn, several rounds over, so that a busy machine hits all alike. Where
there is no accelerator the devices are simulated, and share the cores: what is to be read off then is that results are
equal, how much is moved, and what sharing out costs, not how fast many devices are. The adversarial step has plain
gradient descent in the place of Adam, which makes whole steps of rounding errors where a gradient is zero by nature.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import re
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

EQUAL_STEPS = 10  # after which losses and parameters are compared
RATE = 0.01  # of descent
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
VALUE_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}


def load(config_file: str) -> Any:
    """Runs a configuration file."""
    return runpy.run_path(config_file)["get_config"]()


def collectives(program: str) -> dict[str, int]:
    """Returns the bytes that a compiled program (HLO as text) hands to collectives on a device, by their kind."""
    found: dict[str, int] = {}
    for shapes, kind in re.findall(rf"= (.*?) ({'|'.join(COLLECTIVES)})(?:-done)?\(", program):
        for dtype, dimensions in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            size = VALUE_BYTES.get(dtype, 4) * math.prod(int(n) for n in dimensions.split(",") if n)
            found[kind] = found.get(kind, 0) + size
    return found


def measure(config_file: str, devices: int, processes: int, steps: int) -> dict[str, Any]:
    """Trains `EQUAL_STEPS` steps from the same state on the same batches, then times `steps` more; for this process.

    Returns "losses" and "params" (for the leader), "bytes" by kind of collective, "step_s", and of several processes
    "exchange_s", how long the loop waits when they agree on something.
    """
    import jax
    import optax

    from t2igan import nets, optimizers, parallel, step
    from t2igan import processes as together

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
    shapes, made = batch_of(config, num, 0), functools.partial(batch_of, config, num)
    share = num // processes
    mine = slice(together.index() * share, (together.index() + 1) * share)
    state = parallel.init_on(mesh, functools.partial(step.init_state, method, shapes))
    train_step = parallel.compile_step(functools.partial(step.train_step, method), mesh)

    def placed(number: int) -> Any:
        return parallel.to_devices({name: array[mine] for name, array in made(number).items()}, mesh)

    flat = lambda state: np.concatenate(  # noqa: E731
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
        "bytes": collectives(compiled.as_text()),
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


def batch_of(config, num_images: int, seed: int) -> dict[str, np.ndarray]:
    """Returns random pictures and captions."""
    random, size = np.random.default_rng(seed), config.data.image_size_px
    t = config.tokenizer
    return {
        "images": random.integers(0, 256, (num_images, size, size, config.data.channels)).astype(np.uint8),
        "tokens": random.integers(3, t.vocab_size, (num_images, t.max_tokens)).astype(np.int32),
    }


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
    from t2igan import processes as together

    together.start(together.find({}, coordinator, processes, process))
    found = measure(config_file, devices, processes, steps)
    if together.leads():
        np.save(f"{file}.npy", found.pop("params"))
        Path(f"{file}.json").write_text(json.dumps(found))
    together.finish()


def table(layouts: list[tuple[int, int]], rounds: dict[tuple[int, int], list[dict]]) -> list[str]:
    """Returns the table in Markdown, a row a layout."""
    first = rounds[layouts[0]][0]
    lines = [
        "| devices | processes | max difference of losses | of parameters | collectives, MB a step and device | "
        "sent by a ring, MB a device | ms a step (median of medians) | ratio | an agreement, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    first_s = np.median([one["step_s"] for one in rounds[layouts[0]]])
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
        cells += [f"{step_s / first_s:.2f}", "" if np.isnan(agree) else f"{agree:.2f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def main() -> None:
    """Prints the table; with --one, measures a layout for the process that asked."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--config", default="configs/base.py")
    arguments.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8], help="of one process")
    arguments.add_argument("--processes", type=int, nargs="*", default=[2], help="of one device each")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=20, help="timed in each round")
    arguments.add_argument("--out", help="a file that gets what is printed")
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
    lines = [
        f"{given.config}, the adversarial step with a batch of {one['images']} pictures and "
        f"{len(one['params']):,} trained parameters; {given.rounds} x {given.steps} steps timed, results after "
        f"{EQUAL_STEPS}, when parameters had moved by up to {one['moved']:.1e}; {os.cpu_count()} cores, "
        f"JAX {_version('jax')}, {one['device']}",
        "",
        *table(layouts, rounds),
    ]
    print("\n".join(lines))
    if given.out:
        Path(given.out).write_text("\n".join(lines) + "\n")


def _version(package: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(package)


if __name__ == "__main__":
    main()
