"""Pictures a second of the whole training step on 1, 2, ... simulated CPU devices, or on the accelerators at hand.

    python -m benchmarks.devices --devices 1 2 --config=configs/base.py

Each count runs in a process of its own, in turn, three times over, so that a busy machine hits all alike.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import time

import numpy as np


def measure(config_file: str, devices: int, steps: int = 40) -> float:
    """Returns pictures a second of `steps` adversarial steps after the first few."""
    import jax

    from t2igan import nets, parallel, step

    parallel.start(devices)
    config = load(config_file)
    networks = nets.build(config, vocab_size=config.tokenizer.vocab_size)
    method = step.Method.create(config, networks, 1000)
    mesh = parallel.make_mesh(devices)
    size, random = config.data.image_size_px, np.random.default_rng(0)
    num = config.train.batch_images * config.train.discriminator_steps
    batch = {
        "images": random.integers(0, 256, (num, size, size, config.data.channels)).astype(np.uint8),
        "tokens": random.integers(3, config.tokenizer.vocab_size, (num, config.tokenizer.max_tokens)).astype(np.int32),
    }
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in batch.items()}
    state = parallel.init_on(mesh, functools.partial(step.init_state, method, shapes))
    train_step = parallel.compile_step(functools.partial(step.train_step, method), mesh)
    for _ in range(3):
        state, _ = train_step(state, parallel.to_devices(batch, mesh))
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(steps):
        state, _ = train_step(state, parallel.to_devices(batch, mesh))
    jax.block_until_ready(state)
    return steps * num / (time.perf_counter() - start)


def load(config_file: str):
    """Runs a configuration file."""
    import runpy

    return runpy.run_path(config_file)["get_config"]()


def main() -> None:
    """Prints the table; with --one, one number for the process that asked."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--config", default="configs/base.py")
    arguments.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(measure(given.config, given.one))
        return
    rates: dict[int, list[float]] = {devices: [] for devices in given.devices}
    for _ in range(given.rounds):
        for devices in given.devices:
            command = [sys.executable, "-m", "benchmarks.devices", f"--config={given.config}", f"--one={devices}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rates[devices].append(float(done.stdout.split()[-1]))
    first = np.median(rates[given.devices[0]])
    print(f"{'devices':>8}  {'images/s (median)':>18}  {'min':>6}  {'max':>6}  {'ratio':>6}")
    for devices, of_one in rates.items():
        median = np.median(of_one)
        print(f"{devices:>8}  {median:>18.0f}  {min(of_one):>6.0f}  {max(of_one):>6.0f}  {median / first:>6.2f}")


if __name__ == "__main__":
    main()
