"""Scenes that several real processes play, without training: they meet, talk, agree to stop, end, are killed.

    python tests/crowd.py SCENE [SCENE ...]

prints a JSON of {scene: [[exit code, stdout, stderr] of each process]}. JAX is imported once and forked, before it has
started any thread; the scenes go on at the same time.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import jax

from t2igan.errors import UserError
from t2igan.training import train
from t2igan.training.distributed import processes
from t2igan.training.distributed.launchers import Place

SILENT_FOR_S = 6
NUM = 3
STOPPED = (("stuck", 1), ("leader_stuck", 0))


def exchange():
    """All sorts of values, often; the keys of earlier exchanges are deleted."""
    from jax._src.distributed import global_state

    for value in (1, {"a": [1.5, float("inf")]}, None, "x\n"):
        assert processes.exchange([value, processes.index()]) == [[value, i] for i in range(NUM)]
    assert processes.from_leader(lambda: os.getpid()) == processes.exchange(os.getpid())[0]
    times = []
    for number in range(100):
        begun = time.perf_counter()
        processes.exchange(number)
        times.append(time.perf_counter() - begun)
    left = len(global_state.client.key_value_dir_get("t2igan/exchange/"))
    processes.finish()
    print(json.dumps({"left": left, "exchange_s": sorted(times)[50]}))


def finish_late():
    """Each at another time, as threads wait for heartbeats."""
    time.sleep(1.1 * processes.index())
    processes.finish()


def does_not_divide():
    """What three processes, of a device each, cannot share out; all find it before they wait for each other."""
    from tiny import shrink

    from configs.base import get_config

    for key, value in (("devices", 2), ("shard_devices", 2), ("train.batch_images", 8), ("train.batch_images", 2)):
        config = shrink(get_config())
        config.phases = ("adversarial",)
        config.update_from_flattened_dict({key: value})
        try:
            train.train(config, Path("nowhere"))
        except UserError as error:
            print(error)
    processes.finish()


def agree():
    """Each goes at a pace of its own; one of them is asked after some steps."""
    done = 0
    for done in range(1, 5000):
        time.sleep(0.002 * (processes.index() + 1))
        if processes.stops(asked=processes.index() == 2 and done >= 50):
            break
    processes.finish()
    print(done)


def agree_by_sigterm():
    """As `agree`; the signal comes from elsewhere, before the first step."""
    if processes.index() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    done = 1
    while not processes.stops(asked=False) and done < 5000:
        time.sleep(0.002)
        done += 1
    processes.no_more_stops()
    processes.finish()
    print(done, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)  # not for JAX any more
    time.sleep(10)


def _all_wait_but(number, does):
    processes.exchange()
    if processes.index() == number:
        does()
    processes.exchange()


def killed():
    """One is killed, without a word."""
    _all_wait_but(1, lambda: os.kill(os.getpid(), signal.SIGKILL))


def leader_killed():
    """The leader is, and with it what counts heartbeats."""
    _all_wait_but(0, lambda: os.kill(os.getpid(), signal.SIGKILL))


def killed_in_a_collective():
    """One is killed while all compute together."""
    import jax.numpy as jnp

    from t2igan.training.distributed import parallel

    mesh = parallel.make_mesh()
    parallel.connect(mesh)
    mean = jax.jit(lambda x: jnp.ones_like(x) * x.mean(), out_shardings=parallel.split(mesh))
    x = jax.make_array_from_process_local_data(parallel.split(mesh), jnp.ones(2))
    for number in range(10**6):
        x = jax.block_until_ready(mean(x))
        if number == 20 and processes.index() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def stuck():
    """One is stopped: its connections live on."""
    _all_wait_but(1, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def leader_stuck():
    """The leader is, and with it what counts heartbeats."""
    _all_wait_but(0, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def leaves():
    """One ends by an error and says why."""
    _all_wait_but(2, lambda: processes.leave("there is no room\non the disk", 2))


def leader_leaves():
    """The leader does."""
    _all_wait_but(0, lambda: processes.leave("there is no room", 2))


def fails():
    """An error of the program."""

    def wrong():
        try:
            raise ZeroDivisionError("by nothing")
        except ZeroDivisionError as error:
            processes.fail(error)

    _all_wait_but(1, wrong)


# What JAX does by itself, for which there is `t2igan.training.distributed.meeting`.


def jax_misses_one(port, process):
    """Two of three start."""
    if process < 2:
        jax.distributed.initialize(f"127.0.0.1:{port}", NUM, process, initialization_timeout=3)


def jax_has_two_of_a_number(port, process):
    """The last one calls itself as the one before."""
    jax.distributed.initialize(f"127.0.0.1:{port}", NUM, min(process, 1), initialization_timeout=3)


def jax_loses_its_leader(port, process):
    """The others do nothing but wait."""
    jax.config.update("jax_enable_recoverability", True)
    jax.distributed.initialize(f"127.0.0.1:{port}", NUM, process, heartbeat_timeout_seconds=SILENT_FOR_S)
    time.sleep(1)
    if process == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(20)


def play(scene, port, process):
    """One process of a scene; returns its exit code."""
    play_scene = globals()[scene]
    if scene.startswith("jax_"):
        play_scene(port, process)
        return 0
    processes.SILENT_FOR_S = SILENT_FOR_S
    try:
        processes.start(Place(f"127.0.0.1:{port}", NUM, process), 60)
        play_scene()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        processes.fail(error)
        raise
    return 0


def main(scenes):
    """Forks all, waits for all."""
    started, found = {}, {}
    for scene in scenes:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        for process in range(NUM):
            files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - they are read when it has ended
            pid = os.fork()
            if not pid:
                for descriptor, file in enumerate(files, start=1):
                    os.dup2(file.fileno(), descriptor)
                sys.exit(play(scene, port, process))
            started[pid] = scene, process, files
            found.setdefault(scene, [None] * NUM)
    stopped = {pid for pid, (scene, process, _) in started.items() if (scene, process) in STOPPED}
    while started:
        if stopped and started.keys() <= stopped:  # all others have ended
            for pid in started:
                os.kill(pid, signal.SIGCONT)
        pid, status = os.wait()
        scene, process, files = started.pop(pid)
        for file in files:
            file.seek(0)
        found[scene][process] = [os.waitstatus_to_exitcode(status), *(file.read() for file in files)]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
