"""`run.py` on a tiny configuration, with plain gradient descent: real processes that can be compared.

Adam makes whole steps of rounding errors where a gradient is zero by nature, and rounding depends on the number of
processes. After the first `HURRIED_STEPS` each step begins with a pause, so that a signal sent then arrives many steps
before the end, however busy the machine is. `--config.shard_devices=2` shards arrays as small as those of the tiny
networks.
"""

import itertools
import os
import sys
import time

STEPS, LOG_STEPS = 40, 4
PAUSE_S = 1.0  # JAX looks for SIGTERM once a second


def get_config():
    """Networks that compile in a moment."""
    from tiny import shrink

    from configs.base import get_config

    config = shrink(get_config())
    with config.unlocked():
        config.devices = 2
        config.phases = ("adversarial",)
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.train.update(steps=STEPS, generator_learning_rate=0.02, discriminator_learning_rate=0.02, warmup_steps=0)
        config.loss.penalty = "none"
        config.checkpoint.every_images = 10 * 8
        config.log.every_images = LOG_STEPS * 8
    return config


def patch(setattr_=setattr) -> None:
    """Puts gradient descent in the place of Adam, and pauses into the loop."""
    import optax

    from t2igan.method.optim import optimizers
    from t2igan.training.distributed import parallel

    to_devices, steps = parallel.to_devices, itertools.count(1)
    hurried_steps = float(os.environ.get("HURRIED_STEPS", "inf"))

    def slowly(batch, mesh):
        if next(steps) > hurried_steps:
            time.sleep(PAUSE_S)
        return to_devices(batch, mesh)

    setattr_(optimizers, "adam", lambda rate, **_: optax.sgd(rate))
    setattr_(parallel, "to_devices", slowly)
    setattr_(parallel, "SHARDED_FROM_VALUES", 64)


def check_local() -> None:
    """Of an array that is shared out every process gets the whole."""
    import jax
    import numpy as np

    from t2igan.training.distributed import parallel, processes

    mesh, mine = parallel.make_mesh(2), np.arange(2.0) + 2 * processes.index()  # two values a process
    shared = jax.make_array_from_process_local_data(parallel.split(mesh), mine)
    assert not shared.is_fully_replicated and not shared.is_fully_addressable
    found = parallel.local({"shared": shared, "other": mine, "none": ()})
    np.testing.assert_array_equal(np.asarray(found["shared"]), np.arange(4.0))
    assert found["other"] is mine and found["shared"].is_fully_addressable


def play(root: str, flags: list[str], hurried_steps: int, said: str) -> None:
    """As `run.py`, in a process of its own that has JAX already; what it says on stderr is in the file `said`."""
    import jax

    os.chdir(root)
    sys.path.insert(0, root)
    os.environ.update(HURRIED_STEPS=str(hurried_steps), NPROC="4")
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # the next process has all of it
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["run.py", "--config=tests/descent.py", *flags]
    sys.exit(main())


def main() -> int:
    """As `run.py`."""
    from t2igan.cli import main as cli
    from t2igan.training import train
    from t2igan.training.distributed import processes

    start, finish = processes.start, train.finish

    def start_and_patch(*arguments):
        start(*arguments)
        patch()

    def check_and_finish(*arguments):
        check_local()
        return finish(*arguments)

    processes.start, train.finish = start_and_patch, check_and_finish
    return cli.main(sys.argv, "python run.py")
