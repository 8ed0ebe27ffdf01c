"""Processes that decode streamed pictures: signals are left to the parent, and they end with it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from coloured import Pictures

PROGRAM = """
    import os, signal, sys, time
    import numpy as np
    from pathlib import Path
    from t2igan.data.decode import Decoding
    from t2igan.data.rows import Streamed
    from t2igan.data.stored import InFile

    if __name__ == "__main__":
        files = sorted(Path(sys.argv[1]).glob("*.png"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # as a training does: to finish its step
            signal.signal(number, lambda *_: None)
        streamed = Streamed([InFile.of(file) for file in files], Decoding(8), workers=2)
        rows = np.arange(len(files))
        starting = streamed._started()
        submit = starting.map

        def submit_and_be_told(*arguments):
            results = submit(*arguments)
            print(*starting.pool._processes, flush=True)
            if sys.argv[2:]:
                os.killpg(0, int(sys.argv[2]))  # before they have begun
            return results

        starting.map = submit_and_be_told
        first = streamed[rows]
        starting.map = submit
        for line in sys.stdin:
            if line == "decode\\n":
                print((streamed[rows] == first).all(), *streamed._workers.pool._processes, flush=True)
"""


@pytest.fixture(params=[None])
def program(tmp_path, request):
    """A program that decodes in two processes, the leader of a group; and the ids of the processes."""
    Pictures(tmp_path / "pictures", 20)
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "pictures")]
    if request.param:
        command.append(str(int(request.param)))
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as started:
        workers = [int(pid) for pid in started.stdout.readline().split()]
        assert len(workers) == 2
        yield started, workers
        started.kill()


def decoded_by(program):
    program.stdin.write("decode\n")
    program.stdin.flush()
    right, *workers = program.stdout.readline().split()
    assert right == "True"
    return [int(pid) for pid in workers]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux has them")
@pytest.mark.parametrize("program", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], indirect=True)
def test_signals_to_the_group_do_not_end_workers_that_are_starting(program):
    started, workers = program
    assert decoded_by(started) == workers


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux has them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_group_are_left_to_the_parent(program, number):
    started, workers = program
    os.killpg(started.pid, number)
    time.sleep(0.3)
    assert decoded_by(started) == workers and all(map(is_running, workers))
    started.stdin.close()
    assert started.wait(20) == 0 and not any(map(is_running, workers))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux has them")
def test_workers_end_with_their_parent_and_are_replaced_when_they_die(program):
    started, workers = program
    os.kill(workers[0], signal.SIGKILL)
    replaced = decoded_by(started)
    assert len(replaced) == 2 and not set(replaced) & set(workers)
    started.kill()
    started.wait(20)
    for _ in range(100):
        if not any(map(is_running, [*workers, *replaced])):
            break
        time.sleep(0.1)
    assert not any(map(is_running, [*workers, *replaced]))
