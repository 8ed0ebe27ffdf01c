"""Our training step against the same in PyTorch: eager, compiled by parts, compiled as a whole; in turns.

    python -m benchmarks.peer --config=base
    python -m benchmarks.peer --config=toon64
    python -m benchmarks.peer --config=dfgan64 --repeats=5

Wants the extra `peer` (PyTorch), and a C++ compiler for torch.compile, which takes minutes. Both have all cores, the
same weights and the same batch, of noise where the game is on codes; PyTorch's memory is channels last or first,
whichever is faster here. The ratio is that of the median to the median of PyTorch's fastest. Runs on a GPU where both
JAX and PyTorch have one.
"""

from __future__ import annotations

import functools
import os
import sys
import time

import jax
import numpy as np
import torch

from benchmarks.peer.step import Peer, Settings
from benchmarks.timing import in_turns, load, made_batch, parser, publish, table
from t2igan import nets, step
from t2igan.method import automatic
from t2igan.nets.kinds import game_size_px
from t2igan.training.distributed import parallel

CALLS = 3  # steps that count in a turn; a training runs one library's steps, not both by turns
VARIANTS = {"eager": "", "compiled by parts": "parts", "compiled as a whole": "whole"}


def ours(config, method, batch: dict, state) -> functools.partial:
    """Returns a call of one step that waits for it."""
    mesh = parallel.make_mesh(1)
    map_values = len(batch["images"]) * nets.largest_map_values(config)
    compiled = parallel.compile_step(functools.partial(step.train_step, method), mesh, step_map_values=map_values)
    held = {"state": state, "batch": parallel.to_devices(batch, mesh)}

    def one_step():
        held["state"], metrics = compiled(held["state"], held["batch"])
        jax.block_until_ready((held["state"], metrics))

    return one_step


def theirs(config, batch: dict, params: dict, settings: Settings, compiled: str, channels_last: bool):
    """Returns the same for PyTorch."""
    peer = Peer(config, config.tokenizer.vocab_size, params, compiled=compiled, channels_last=channels_last)
    images, tokens = torch.from_numpy(batch["images"]), torch.from_numpy(batch["tokens"]).long()
    size = len(images), config.generator.z_dim

    def one_step():
        metrics = peer.step(images, tokens, (torch.randn(size), torch.randn(size)), settings)
        if peer.device.type == "cuda":
            torch.cuda.synchronize()
        return metrics

    return one_step


def main() -> None:
    """Prints the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--batch", type=int, default=0, help="pictures a step; 0 = the configuration's")
    arguments.add_argument("--repeats", type=int, default=20)
    arguments.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    given = arguments.parse_args()
    config = load(given.config)
    if given.batch:
        config.train.batch_images = given.batch
    parallel.start(1)
    torch.set_num_threads(os.cpu_count() or 1)
    batch = made_batch(config, config.train.batch_images)
    if nets.SPACES[config.space.kind].codes:
        shape = config.train.batch_images, game_size_px(config), game_size_px(config), config.space.channels
        batch["images"] = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    values = int(np.prod(batch["images"].shape[1:]))
    config = automatic.settle(config, values, values, 1.0)  # weights that are "auto", for values of variance 1
    method = step.Method.create(config, nets.build(config, config.tokenizer.vocab_size), 10_000)
    state = parallel.init_on(parallel.make_mesh(1), functools.partial(step.init_state, method, batch))
    params = jax.device_get(state.params | state.frozen)
    settings = Settings.of(method, 1000)
    works, notes = {"t2igan (JAX)": ours(config, method, batch, state)}, []
    for name in given.variants:
        layouts = {}
        for channels_last in (True, False):
            label = f"PyTorch {name}, channels {'last' if channels_last else 'first'}"
            start = time.perf_counter()
            try:
                work = theirs(config, batch, params, settings, VARIANTS[name], channels_last)
                work()
            except Exception as error:  # what torch.compile cannot do is part of the result
                notes.append(f"{label}: fails, {type(error).__name__}: {str(error).splitlines()[0][:200]}")
                continue
            print(f"{label}: first step after {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            layouts[label] = work
        times = in_turns(layouts, 3)
        if times:
            best = min(times, key=lambda label: np.median(times[label]))
            works[best] = layouts[best]
    times = in_turns(works, given.repeats, CALLS)
    medians = {name: float(np.median(of_one)) for name, of_one in times.items()}
    mine, *others = medians.values()
    num, cores = len(batch["images"]), os.cpu_count()
    rows = []
    for name, median in medians.items():
        times_ms = 1000 * median, 1000 * times[name].min()
        rows.append((name, *(f"{ms:.1f}" for ms in times_ms), f"{num / median:.1f}", f"{median / mine:.2f}"))
    title = (
        f"{given.config}, {config.data.image_size_px} px, batch {num}, {cores} cores, {jax.devices()[0].device_kind}, "
        f"JAX {jax.__version__}, PyTorch {torch.__version__}, {given.repeats} turns of {CALLS} steps each"
    )
    columns = ("step", "median ms", "minimum ms", "images/s", "times ours")
    verdict = f"t2igan is {min(others) / mine:.2f} times as fast as PyTorch's fastest." if others else ""
    publish("\n\n".join([title, table(columns, rows), *notes, verdict]), given.out)


if __name__ == "__main__":
    main()
