"""Several processes: the place of each, how they meet and part, and real ones that train together."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import descent
import jax
import numpy as np
import pytest
from tiny import impatient

import t2igan
from t2igan.errors import UserError
from t2igan.training import guard, loop, train
from t2igan.training.distributed import agreement, channel, processes
from t2igan.training.distributed.processes import Place, find
from t2igan.training.logs import Logs

SLURM = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_NODELIST": "node[007-008,020],other",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
}
OPEN_MPI_4 = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}
OPEN_MPI_5 = {name: value for name, value in OPEN_MPI_4.items() if "hnp" not in name}
OPEN_MPI_5["PMIX_NAMESPACE"] = "prterun-a-1@1"


def test_a_process_alone_has_no_place():
    assert find({}) is None
    assert find({}, processes=1) is None and find({}, "a:1", 1, 0) is None
    assert find(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None  # an interactive shell in a job of four tasks
    assert find({"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None  # the batch script itself
    assert find({"JOB_COMPLETION_INDEX": "3"}) is None  # an indexed job may be of single processes


def test_slurm_tells_everything_and_as_jax_sees_it(monkeypatch):
    from jax._src.clusters import SlurmCluster

    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    for nodes in ("node7", "node7,node9", "node[007-008,020],other", "node[001,007-015],host2"):
        monkeypatch.setenv("SLURM_STEP_NODELIST", nodes)
        coordinator = SlurmCluster.get_coordinator_address(60, None)
        assert find(os.environ) == Place(coordinator, 4, 3, None)


def test_open_mpi_tells_all_but_where_to_meet_in_its_fifth_version(monkeypatch):
    from jax._src.clusters import OmpiCluster

    monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", OPEN_MPI_4["OMPI_MCA_orte_hnp_uri"])
    place = find(OPEN_MPI_4)
    assert place.coordinator.split(":")[0] == OmpiCluster.get_coordinator_address(60, None).split(":")[0] == "10.96.0.1"
    assert (place.processes, place.process, place.local_devices) == (4, 2, (1,))
    with pytest.raises(UserError, match="--coordinator is missing, which Open MPI does not tell"):
        find(OPEN_MPI_5)
    assert find(OPEN_MPI_5, "head:1234") == Place("head:1234", 4, 2, (1,))
    here = OPEN_MPI_5 | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    assert find(here).coordinator.startswith("127.0.0.1:")
    assert find(here).coordinator == find(here | {"OMPI_COMM_WORLD_RANK": "1"}).coordinator
    # mpirun inside a Slurm job: its numbers count, not those of Slurm's own step
    assert find(SLURM | OPEN_MPI_4).process == 2


def test_kubernetes_tells_the_number():
    assert find({"JOB_COMPLETION_INDEX": "3"}, "train-0.train:1234", 8) == Place("train-0.train:1234", 8, 3)


def test_processes_of_one_machine_share_its_accelerators():
    two = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_LOCALID": "1"}
    assert find(two).local_devices == (1,)
    assert find(two | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}).local_devices == (1,)
    # The launcher has shared them out, or the user has.
    assert find(two | {"CUDA_VISIBLE_DEVICES": "1"}).local_devices is None
    assert find(two | {"SLURM_GPUS_PER_TASK": "2"}).local_devices is None
    assert find(two | {"JAX_LOCAL_DEVICE_IDS": "2,3"}).local_devices is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a:1", None, None), "--processes and --process are missing"),
        ((None, 2, 0), "--coordinator is missing; each of several processes needs"),
        (("a:1", 2, None), "--process is missing"),
        (("a:1", 2, 2), "--process=2 must lie between 0 and 1, for --processes=2"),
        (("a:1", 2, -1), "--process=-1 must lie"),
        (("a:1", 0, 0), "--processes=0 must be 1 or more"),
        (("a", 2, 0), "--coordinator=a is not HOST:PORT"),
        (("a:b", 2, 0), "--coordinator=a:b is not HOST:PORT"),
        (("a:70000", 2, 0), "--coordinator=a:70000 is not HOST:PORT"),
    ],
)
def test_what_cannot_be_a_place(given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        find({}, *given)


def test_a_launcher_that_says_nonsense():
    with pytest.raises(UserError, match="SLURM_PROCID='x', set by the launcher, is no number"):
        find(SLURM | {"SLURM_PROCID": "x"})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def meeting(numbers, processes_of=None, time_limit_s=20.0, alike=None, port=None):
    """Meets in threads; returns by thread the channel or the error, and what each was told of losses."""
    port = port or free_port()
    met, lost = {}, {}

    def come(i, number):
        lost[i] = []
        with contextlib.suppress(UserError):
            try:
                count = (processes_of or {}).get(i, len(numbers))
                same = {"t2igan": (alike or {}).get(i, "1")}
                met[i] = channel.meet(
                    f"127.0.0.1:{port}", count, number, time_limit_s, lost[i].append, same, lambda: {"port": 7}
                )
            except UserError as error:
                met[i] = error
                raise

    threads = [threading.Thread(target=come, args=pair) for pair in enumerate(numbers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return met, lost


def at_once(calls):
    """What each call returns, all run at the same time."""
    results = [None] * len(calls)

    def run(i):
        try:
            results[i] = calls[i]()
        except channel.Lost as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_they_meet_exchange_and_part():
    met, lost = meeting([0, 1, 2])
    assert [met[i].facts for i in range(3)] == [{"port": 7}] * 3
    for value in (1, {"a": [1.5, float("inf")]}, None, np.float32(0.25)):
        expected = [[value, i] for i in range(3)]
        assert at_once([lambda i=i, v=value: met[i].exchange([v, i]) for i in range(3)]) == [expected] * 3
    # An answer may be read later.
    first, second = ([met[i].post(i + k) for i in range(3)] for k in (0, 10))
    assert [met[i].take(second[i]) for i in range(3)] == [[10, 11, 12]] * 3
    assert [met[i].take(first[i]) for i in range(3)] == [[0, 1, 2]] * 3
    for i in range(3):
        met[i].close()
    time.sleep(0.2)
    assert lost == {0: [], 1: [], 2: []}


def until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


@pytest.mark.parametrize("gone", [0, 1])
def test_all_others_learn_at_once_that_one_is_gone(gone):
    met, lost = meeting([0, 1, 2])
    others = [i for i in range(3) if i != gone]
    met[gone]._closed = True  # it says no more
    for line in met[gone]._lines.values():  # as the kernel does for a process that was killed
        line._connection.shutdown(socket.SHUT_RDWR)
    until(lambda: all(lost[i] for i in others), 5.0)
    for i in others:
        assert lost[i][0].startswith(f"process {gone} of 3 on ") and lost[i][0].endswith("ended without a word")
        with pytest.raises(channel.Lost, match=f"process {gone} of 3"):
            met[i].exchange()


def test_one_that_leaves_says_why():
    met, lost = meeting([0, 1, 2])
    met[2].close("there is no room on the disk")
    until(lambda: lost[0] and lost[1])
    assert all("process 2 of 3" in lost[i][0] and "stopped: there is no room" in lost[i][0] for i in (0, 1))
    assert not lost[2]


def errors(met):
    assert all(isinstance(error, UserError) for error in met.values()), met
    (one,) = {str(error) for error in met.values()}  # all say the same
    return one


def test_those_who_do_not_belong_together_are_told():
    assert "two processes are number 1" in errors(meeting([0, 1, 1])[0])
    assert "--processes=3, process 0 with --processes=2; give all the same" in errors(meeting([0, 1], {1: 3})[0])
    assert "has t2igan 2, process 0 has 1" in errors(meeting([0, 1], alike={1: "2"})[0])


def test_not_all_come():
    began = time.monotonic()
    words = errors(meeting([0, 1], {0: 4, 1: 4}, time_limit_s=0.5)[0])
    assert "only 2 of 4 processes came to 127.0.0.1:" in words and "Missing: process 2, 3." in words
    port = free_port()
    words = errors(meeting([1], {0: 2}, time_limit_s=0.5, port=port)[0])
    assert f"process 1 of 2 cannot reach the coordinator at 127.0.0.1:{port} within 0.5 s (Connection refused)" in words
    with socket.create_server(("127.0.0.1", port)):
        assert f"cannot wait for the others at port {port}" in errors(meeting([0], {0: 2}, port=port)[0])
    assert time.monotonic() - began < 10


def test_strangers_at_the_port_are_let_go():
    port = free_port()
    results = {}
    thread = threading.Thread(target=lambda: results.update(meeting([0], {0: 2}, port=port)[0]))
    thread.start()
    for words in (b"GET / HTTP/1.1\r\n\r\n", b'{"hello": 3}\n', b"[1]\n"):
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port)) as stranger:
                    stranger.sendall(words)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
    met, _ = meeting([1], {0: 2}, port=port)
    thread.join(20)
    assert results[0].facts == met[0].facts == {"port": 7}


class Told:
    """The channel of a process other than the leader, which hears what it is given."""

    process, processes = 1, 2

    def __init__(self, *answers):
        self.answers, self.said = list(answers), []

    def exchange(self, value):
        self.said.append(value)
        return self.answers.pop(0)


def test_the_leader_s_collapse_is_one_of_all(monkeypatch):
    monkeypatch.setattr(processes, "_channel", Told([{"collapse": ["spread is 0", 7]}, None], [{"made": 3}, None]))
    never = lambda: pytest.fail("only the leader looks")  # noqa: E731
    with pytest.raises(guard.Collapse, match="spread is 0") as caught:
        loop._from_leader_or_collapse(never)
    assert caught.value.step == 7
    assert loop._from_leader_or_collapse(never) == 3


def test_what_processes_must_have_in_common(monkeypatch, tmp_path, config):
    ours = dict(t2igan_config_flat(config))
    other = Told([ours | {"seed": 5, "data.cache_dir": "/fast"}, ours])
    monkeypatch.setattr(processes, "_channel", other)
    with pytest.raises(UserError, match=r"process 1 has config\.seed=0, process 0 has 5; give all the same command"):
        agreement.check_configuration(config)
    assert other.said == [ours]

    monkeypatch.setattr(agreement, "SEEN_WITHIN_S", 0.0)
    elsewhere = Told([["shared_1.txt", "word"], None], [[True, "a"], [False, "b"]])
    monkeypatch.setattr(processes, "_channel", elsewhere)
    with pytest.raises(UserError, match="process 1 on b does not see what process 0 on a wrote to"):
        agreement.check_shared(tmp_path)
    assert elsewhere.said[-1][0] is False
    (tmp_path / "shared_1.txt").write_text("word")
    there = Told([["shared_1.txt", "word"], None], [[True, "a"], [True, "b"]])
    monkeypatch.setattr(processes, "_channel", there)
    agreement.check_shared(tmp_path)
    assert there.said[-1][0] is True

    monkeypatch.setattr(processes, "_channel", Told())
    with pytest.raises(UserError, match=r"config\.devices=3 cannot be shared by 2 processes"):
        processes.local_cpu_devices(3)
    assert processes.local_cpu_devices(8) == 4 and processes.local_cpu_devices(0) == 1


def t2igan_config_flat(config):
    import json

    from t2igan import config as config_lib

    return config_lib.flatten(json.loads(config_lib.to_json(config)))


def test_all_agree_after_which_step_to_stop(monkeypatch):
    """Three processes, one of them asked at step 50; each goes at a pace of its own."""
    met, _ = meeting([0, 1, 2])
    own = threading.local()

    class ByThread:
        def __getattr__(self, name):
            return getattr(met[own.process], name)

    monkeypatch.setattr(processes, "_channel", ByThread())
    monkeypatch.setattr(processes, "AGREE_EVERY_S", 0.02)

    def of_process(process):
        own.process = process
        agreement = processes.Agreement(0)
        for done in range(1, 1000):
            time.sleep(0.001 * (process + 1) * (done % 3))
            if agreement.stops(done, asked=process == 2 and done >= 50, waits=done % 40 == 0):
                return done
        agreement.close()
        return None

    stopped = at_once([lambda i=i: of_process(i) for i in range(3)])
    assert len(set(stopped)) == 1 and 50 <= stopped[0] <= 80  # at the wait at 80, if not before


def test_flags_are_checked_before_anything_is_loaded(request, tmp_path):
    port = free_port()
    for flags, words in (
        (["--processes=2"], "--coordinator and --process are missing"),
        (
            [f"--coordinator=127.0.0.1:{port}", "--processes=2", "--process=1", "--start_timeout_s=0.3"],
            f"cannot reach the coordinator at 127.0.0.1:{port} within 0.3 s",
        ),
    ):
        command = [sys.executable, "run.py", "--config=configs/base.py", f"--workdir={tmp_path / 'run'}", *flags]
        done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2, done.stderr


# Real processes.


def start_two(root, workdir, *flags, pause_s=0.0) -> list[subprocess.Popen]:
    coordinator = f"127.0.0.1:{free_port()}"
    environ = {**os.environ, "PYTHONPATH": str(root), "PAUSE_S": str(pause_s), "JAX_NUM_CPU_DEVICES": "2", "NPROC": "4"}
    command = [sys.executable, "tests/descent.py", "--config=tests/descent.py", f"--workdir={workdir}", *flags]
    return [
        subprocess.Popen(
            [*command, f"--coordinator={coordinator}", "--processes=2", f"--process={i}"],
            cwd=root,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def saved(workdir) -> int:
    folder = workdir / "checkpoints" / "adversarial"
    return max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0) if folder.is_dir() else 0


@contextlib.contextmanager
def running(*arguments, **settings):
    started = start_two(*arguments, **settings)
    try:
        yield started
    finally:
        for process in started:
            process.kill()


def wait_until_saved(workdir, step, started, timeout_s=600.0) -> None:
    deadline = time.monotonic() + timeout_s
    while saved(workdir) < step and time.monotonic() < deadline:
        assert all(p.poll() is None for p in started), [p.communicate()[1] for p in started]
        time.sleep(0.005)


def ended(started, timeout_s=600.0) -> list[str]:
    """What each said on stderr."""
    return [process.communicate(timeout=timeout_s)[1] for process in started]


def assert_alike(one, other):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5),
        t2igan.load(one).params,
        t2igan.load(other).params,
    )
    rows, others = ({row["step"]: row for row in Logs(w).read()} for w in (one, other))
    assert rows.keys() <= others.keys()  # a row more where a run was stopped
    before = dict(zip(list(others)[1:], others, strict=False))
    for step, row in rows.items():
        if step - before.get(step, 0) < descent.LOG_STEPS:
            continue  # the mean of fewer steps
        for name in ("loss/generator", "loss/discriminator", "gradient_norm/generator"):
            assert row[name] == pytest.approx(others[step][name], rel=1e-5, abs=1e-5), (step, name)


@pytest.mark.slow
def test_stopped_killed_and_gone_on_with_other_numbers_of_processes_it_ends_as_one_alone(
    tmp_path, request, monkeypatch
):
    root, workdir = request.config.rootpath, tmp_path / "run"
    with running(root, workdir, pause_s=0.05) as started:  # two from the start, one of them asked to stop
        wait_until_saved(workdir, 10, started)
        started[1].send_signal(signal.SIGTERM)
        errors = ended(started)
        assert [process.returncode for process in started] == [130, 130], errors
    stopped = saved(workdir)
    assert 10 <= stopped < 20
    assert f"stopped after step {stopped} of phase adversarial; the same command goes on" in errors[0]
    assert not any("Traceback" in error for error in errors)

    with running(root, workdir, pause_s=0.05) as started:  # two again, one of them killed
        wait_until_saved(workdir, 20, started)
        started[1].kill()
        killed_s = time.monotonic()
        errors = ended(started)
        assert time.monotonic() - killed_s < 30
        assert started[0].returncode == processes.LOST, errors[0]
    assert re.search(r"run\.py: process 1 of 2 on .* ended without a word, so process 0 ends too; the same", errors[0])
    assert 20 <= saved(workdir) < descent.STEPS - 5

    descent.patch(monkeypatch.setattr)
    with monkeypatch.context() as patched:  # one alone, for a few steps
        patched.setattr(loop, "Interruption", impatient(5))
        with pytest.raises(loop.Interrupted):
            train.train(descent.get_config(), workdir)

    with running(root, workdir) as started:  # and two to the end
        errors = ended(started)
        assert [process.returncode for process in started] == [0, 0], errors
    assert (workdir / "samples" / f"{8 * descent.STEPS:09d}.png").is_file()
    assert not list(workdir.glob("shared_*"))

    config = descent.get_config()
    with config.unlocked():
        config.devices = 1
    train.train(config, tmp_path / "alone")
    assert_alike(tmp_path / "alone", workdir)


SHARDED_AND_LOOKED_AT = (
    "--config.shard_devices=2",
    "--config.phases=('discriminator','adversarial')",
    "--config.pretrain_discriminator.steps=2",
    "--config.train.steps=4",
    "--config.train.ema_tracks=(0.5,)",
    f"--config.evaluate.every_images={2 * 8}",
    "--config.evaluate.at_end=True",
    "--config.evaluate.probe_steps=2",
    "--config.evaluate.classifier_steps=2",
)


@pytest.mark.slow
def test_two_processes_that_share_a_copy_of_the_parameters_train_through_evaluations_to_the_end(tmp_path, request):
    """The leader looks alone, at arrays that are sharded over both while they train."""
    with running(request.config.rootpath, tmp_path / "run", *SHARDED_AND_LOOKED_AT) as started:
        errors = ended(started)
        assert [process.returncode for process in started] == [0, 0], errors
    rows = Logs(tmp_path / "run").read()
    assert any("accuracy/held_out" in row for row in rows)  # after the phase "discriminator"
    assert any("guard/overfit" in row and "attributes/mean" in row for row in rows)  # while they play
    assert (tmp_path / "run" / "evaluation_test.json").is_file()  # at the end
    kernel = t2igan.load(tmp_path / "run").params["generator"]
    assert max(x.size for x in jax.tree.leaves(kernel)) >= 64
