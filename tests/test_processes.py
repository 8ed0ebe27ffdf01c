"""Several processes: how they meet and part, and real ones that train together."""

import importlib.resources
import json
import multiprocessing
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
import pyarrow.parquet as pq
import pytest
from tiny import impatient

import t2igan
from t2igan.errors import UserError
from t2igan.training import guard, loop, stopping, train
from t2igan.training.distributed import agreement, meeting, processes
from t2igan.training.logs import Logs


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def meeting_of(numbers, processes_of=None, time_limit_s=20.0, port=None):
    """Meets in threads; returns by thread the meeting or the error, and what each was told of losses."""
    port = port or free_port()
    met, lost = {}, {}

    def come(i, number):
        lost[i] = []
        try:
            met[i] = meeting.meet(f"127.0.0.1:{port}", (processes_of or {}).get(i, len(numbers)), number, time_limit_s)
            met[i].watch(lost[i].append)
        except UserError as error:
            met[i] = error

    threads = [threading.Thread(target=come, args=pair) for pair in enumerate(numbers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return met, lost


def test_they_meet_and_part():
    met, lost = meeting_of([0, 1, 2])
    assert met[0].port == met[1].port == met[2].port > 0
    met[2].part()
    met[1].part()
    met[0].wait_for_all(20.0)
    assert not met[0]._listener.is_alive()
    met[0].part()
    for i in (1, 2):
        met[i].wait_for_all(20.0)
    assert lost == {0: [], 1: [], 2: []}


def errors(met):
    assert all(isinstance(error, UserError) for error in met.values()), met
    (one,) = {str(error) for error in met.values()}  # all say the same
    return one


def test_those_who_do_not_belong_together_are_told():
    assert "two processes are number 1" in errors(meeting_of([0, 1, 1])[0])
    assert "--processes=3, process 0 with --processes=2; give all the same" in errors(meeting_of([0, 1], {1: 3})[0])


def test_not_all_come():
    began = time.monotonic()
    words = errors(meeting_of([0, 1], {0: 4, 1: 4}, time_limit_s=0.5)[0])
    assert "only 2 of 4 processes came to 127.0.0.1:" in words and "Missing: process 2, 3." in words
    port = free_port()
    words = errors(meeting_of([1], {0: 2}, time_limit_s=0.5, port=port)[0])
    assert f"process 1 of 2 cannot reach the coordinator at 127.0.0.1:{port} within 0.5 s (Connection refused)" in words
    with socket.create_server(("127.0.0.1", port)):
        assert f"cannot wait for the others at port {port}" in errors(meeting_of([0], {0: 2}, port=port)[0])
    assert time.monotonic() - began < 40


def test_strangers_at_the_port_are_let_go():
    port = free_port()
    results = {}
    thread = threading.Thread(target=lambda: results.update(meeting_of([0], {0: 2}, port=port)[0]))
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
    met, _ = meeting_of([1], {0: 2}, port=port)
    thread.join(20)
    assert results[0].port == met[0].port > 0


# Real processes that do not train (tests/crowd.py): all scenes in one start of Python, at the same time.

SCENES = (
    *("exchange", "finish_late", "agree", "agree_by_sigterm", "killed", "killed_in_a_collective", "leader_killed"),
    *("stuck", "leader_stuck", "leaves", "leader_leaves", "fails", "does_not_divide"),
)
OF_JAX_ALONE = ("jax_misses_one", "jax_has_two_of_a_number", "jax_loses_its_leader")


@pytest.fixture(scope="module")
def played(request):
    """By scene, of each process: exit code, what it printed, what it said on stderr."""
    root = request.config.rootpath
    command = [sys.executable, "tests/crowd.py", *SCENES, *OF_JAX_ALONE]
    environ = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=600)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def codes(scene):
    return [code for code, _, _ in scene]


def test_processes_give_each_other_values(played):
    assert codes(played["exchange"]) == [0, 0, 0], played["exchange"]
    for _, printed, said in played["exchange"]:
        assert json.loads(printed)["left"] <= 6 and not said  # keys of two exchanges, after a hundred


def test_processes_may_finish_at_different_times(played):
    assert played["finish_late"] == [[0, "", ""]] * 3


def test_what_processes_cannot_share_is_said_by_all_before_anything_is_read(played):
    lines = (
        "config.devices=2 cannot be shared by 3 processes; set it to a multiple of that, or to 0",
        "config.shard_devices=2 does not divide the 3 devices; set it to a divisor of that, 1 for a copy of everything "
        "on each, or set config.devices",
        "config.train.batch_images=8 cannot be divided among 3 devices; set it to a multiple such as 6 or 9, or set "
        "config.devices",
        "config.train.batch_images=2 cannot be divided among 3 devices; set it to a multiple such as 3 or 6, or set "
        "config.devices",
    )
    for code, printed, said in played["does_not_divide"]:
        assert code == 0 and tuple(printed.splitlines()) == lines, said


@pytest.mark.parametrize("scene", ["agree", "agree_by_sigterm"])
def test_all_agree_after_which_step_to_stop(played, scene):
    """One is asked, by a handler of Python's or by SIGTERM before the first step; each goes at a pace of its own."""
    (step,) = {printed for _, printed, _ in played[scene]}
    assert 50 <= int(step) < 4999 if scene == "agree" else 1 <= int(step) < 4999
    # After the last step a second SIGTERM ends a process, as it does those of others.
    assert codes(played[scene]) == ([0] * 3 if scene == "agree" else [-signal.SIGTERM] * 3)


def line(gone, how, here):
    return rf"t2igan: process {gone} of 3( on \S+)? {how}, so process {here} ends too"


@pytest.mark.parametrize(
    ("scene", "gone", "code", "how"),
    [
        ("killed", 1, -signal.SIGKILL, "ended without a word"),
        ("killed_in_a_collective", 1, -signal.SIGKILL, "ended without a word"),
        ("stuck", 1, processes.LOST, "has been silent for 6 s"),
        ("leaves", 2, 2, "stopped: there is no room"),
        ("leader_leaves", 0, 2, "stopped: there is no room"),
        ("fails", 1, 1, "stopped: ZeroDivisionError: by nothing"),
    ],
)
def test_all_others_end_with_a_line_that_says_which_is_gone(played, scene, gone, code, how):
    for process, (ended, _, said) in enumerate(played[scene]):
        if process == gone:
            assert ended == code or (scene == "stuck" and ended == -signal.SIGABRT), said  # when it is let go on
            continue
        assert ended == processes.LOST and re.fullmatch(f"{line(gone, how, process)}.*\n", said), said
        assert ("; the same command goes on from the last checkpoint" in said) == ("stopped" not in how)


@pytest.mark.parametrize(
    ("scene", "how"), [("leader_killed", "ended without a word"), ("leader_stuck", "has been silent for 6 s")]
)
def test_without_the_leader_jax_may_abort_before(played, scene, how):
    """All end, within the limits of `subprocess.run`; the line is ours if it comes first."""
    for process, (code, _, said) in list(enumerate(played[scene]))[1:]:
        assert code == -signal.SIGABRT or (code == processes.LOST and re.search(line(0, how, process), said)), said


@pytest.mark.parametrize("scene", OF_JAX_ALONE)
def test_jax_alone_aborts(played, scene):
    """Should it do so no more, most of `t2igan.training.distributed.meeting` is not needed."""
    assert -signal.SIGABRT in codes(played[scene]) and not set(codes(played[scene])) - {0, -signal.SIGABRT, -9}


class Told:
    """What the processes other than the leader give, of two, to one that is not the leader."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.said = list(answers), []
        group = processes._Group(meeting.Meeting(1, 2), client=None, stops=None)
        monkeypatch.setattr(processes, "_group", group)
        monkeypatch.setattr(processes, "exchange", self.exchange)

    def exchange(self, value=None):
        self.said.append(value)
        return self.answers.pop(0)


def test_the_leader_s_collapse_is_one_of_all(monkeypatch):
    Told(monkeypatch, [{"collapse": ["spread is 0", 7]}, None], [{"made": 3}, None])
    never = lambda: pytest.fail("only the leader looks")
    with pytest.raises(guard.Collapse, match="spread is 0") as caught:
        loop._from_leader_or_collapse(never)
    assert caught.value.step == 7
    assert loop._from_leader_or_collapse(never) == 3


def test_what_processes_must_have_in_common(monkeypatch, tmp_path, config):
    other = Told(monkeypatch, [{}, {}])
    agreement.check_configuration(config)
    (ours,) = other.said
    assert "config.data.source" in ours and "config.data.cache_dir" not in ours  # which each machine has of its own
    Told(monkeypatch, [ours | {"config.seed": 5}, ours])
    with pytest.raises(UserError, match=r"process 1 has config\.seed=0, process 0 has 5; give all the same command"):
        agreement.check_configuration(config)
    Told(monkeypatch, [ours | {"jax": "0.1", "config.seed": 5}, ours])
    with pytest.raises(UserError, match=r"process 1 has jax='.*', process 0 has '0\.1'; give all the same versions"):
        agreement.check_configuration(config)
    Told(monkeypatch, [ours, ours])
    agreement.check_configuration(config)

    monkeypatch.setattr(agreement, "SEEN_WITHIN_S", 0.0)
    elsewhere = Told(monkeypatch, [["shared_1.txt", "word"], None], [[True, "a"], [False, "b"]])
    with pytest.raises(UserError, match="process 1 on b does not see what process 0 on a wrote to"):
        agreement.check_shared(tmp_path)
    assert elsewhere.said[-1][0] is False
    (tmp_path / "shared_1.txt").write_text("word")
    there = Told(monkeypatch, [["shared_1.txt", "word"], None], [[True, "a"], [True, "b"]])
    agreement.check_shared(tmp_path)
    assert there.said[-1][0] is True

    Told(monkeypatch)
    with pytest.raises(UserError, match=r"config\.devices=3 cannot be shared by 2 processes"):
        processes.local_cpu_devices(3)
    assert processes.local_cpu_devices(8) == 4 and processes.local_cpu_devices(0) == 1


def test_flags_are_checked_before_anything_is_loaded(console, tmp_path):
    port = free_port()
    for flags, words in (
        (["--processes=2"], "--coordinator and --process are missing"),
        (
            [f"--coordinator=127.0.0.1:{port}", "--processes=2", "--process=1", "--start_timeout_s=0.3"],
            f"cannot reach the coordinator at 127.0.0.1:{port} within 0.3 s",
        ),
    ):
        done = console("--config=base", f"--workdir={tmp_path / 'run'}", *flags)
        assert done.returncode == 2 and words in done.stderr, done
        assert len(done.stderr.strip().splitlines()) <= 2 and not (tmp_path / "run").exists(), done


# Real processes that train (tests/descent.py), forked from one that has imported what they need.


@pytest.fixture(scope="module")
def forks():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["descent", "orbax.checkpoint", "t2igan.training.train"])
    return context


@pytest.fixture(scope="module")
def few_pictures(tmp_path_factory):
    """A table of some of the embedded pictures: each of the processes opens its data anew."""
    embedded = pq.read_table(importlib.resources.files("t2igan.data") / "assets" / "pixel_avatars.parquet")
    path = tmp_path_factory.mktemp("few") / "pictures.parquet"
    pq.write_table(embedded.drop_columns("split")[:600], path)
    return str(path)


@pytest.fixture
def start_two(forks, few_pictures, request, tmp_path):
    """Starts two processes that train; all are killed in the end."""
    started = []

    def start(workdir, *flags, hurried_steps=descent.STEPS):
        flags = [f"--config.data.source={few_pictures}", f"--workdir={workdir}", *flags]
        flags += [f"--coordinator=127.0.0.1:{free_port()}", "--processes=2"]
        two = []
        for i in range(2):
            said = tmp_path / f"said_{len(started)}"
            arguments = (str(request.config.rootpath), [*flags, f"--process={i}"], hurried_steps, str(said))
            process = forks.Process(target=descent.play, args=arguments)
            process.start()
            started.append(process)
            two.append((process, said))
        return two

    yield start
    for process in started:
        process.kill()
        process.join()


def saved(workdir) -> int:
    folder = workdir / "checkpoints" / "adversarial"
    return max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0) if folder.is_dir() else 0


def wait_until_saved(workdir, step, started, timeout_s=600.0) -> None:
    deadline = time.monotonic() + timeout_s
    while saved(workdir) < step and time.monotonic() < deadline:
        assert all(process.is_alive() for process, _ in started), [said.read_text() for _, said in started]
        time.sleep(0.005)
    assert saved(workdir) >= step, f"not within {timeout_s} s"


def ended(started, timeout_s=600.0) -> tuple[list[int], list[str]]:
    """Exit codes, and what each said on stderr."""
    for process, _ in started:
        process.join(timeout_s)
    return [process.exitcode for process, _ in started], [said.read_text() for _, said in started]


def assert_alike(one, other):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5),
        t2igan.load(one).params,
        t2igan.load(other).params,
    )
    rows, others = ({r["step"]: r for r in Logs(w).read() if "loss/generator" in r} for w in (one, other))
    assert rows.keys() <= others.keys()  # a row more where a run was stopped
    before = dict(zip(list(others)[1:], others, strict=False))
    for step, row in rows.items():
        if step - before.get(step, 0) < descent.LOG_STEPS:
            continue  # the mean of fewer steps
        for name in ("loss/generator", "loss/discriminator", "gradient_norm/generator"):
            assert row[name] == pytest.approx(others[step][name], rel=1e-5, abs=1e-5), (step, name)


LOOKED_AT = (
    "--config.shard_devices=2",
    f"--config.evaluate.every_images={35 * 8}",
    "--config.evaluate.at_end=True",
)


@pytest.mark.slow
def test_stopped_killed_and_gone_on_with_other_numbers_of_processes_it_ends_as_one_alone(
    tmp_path, start_two, few_pictures, monkeypatch
):
    """From the second part on the two also share a copy of the parameters, at which the leader looks alone."""
    workdir = tmp_path / "run"
    two = start_two(workdir, hurried_steps=10)  # two from the start, one of them asked to stop
    wait_until_saved(workdir, 10, two)
    os.kill(two[1][0].pid, signal.SIGTERM)
    codes, said = ended(two)
    assert codes == [130, 130], said
    stopped = saved(workdir)
    assert 10 <= stopped < descent.STEPS - 10
    assert f"stopped after step {stopped} of phase adversarial; the same command goes on" in said[0]
    assert not any("Traceback" in words for words in said)

    then = stopped // 10 * 10 + 10
    two = start_two(workdir, LOOKED_AT[0], hurried_steps=then - stopped)  # two again, one of them killed
    wait_until_saved(workdir, then, two)
    os.kill(two[1][0].pid, signal.SIGKILL)
    killed_s = time.monotonic()
    codes, said = ended(two)
    assert codes == [processes.LOST, -signal.SIGKILL] and time.monotonic() - killed_s < 30, said
    assert re.search(r"run\.py: process 1 of 2 on .* ended without a word, so process 0 ends too; the same", said[0])
    killed = saved(workdir)
    assert killed <= 30  # or nothing would be evaluated on the way of the last two

    config = descent.get_config()
    config.data.source = few_pictures
    descent.patch(monkeypatch.setattr)
    with monkeypatch.context() as patched:  # one alone, for a few steps
        patched.setattr(stopping, "Interruption", impatient(2))
        with pytest.raises(stopping.Interrupted):
            train.train(config, workdir)
    assert saved(workdir) == killed + 2

    two = start_two(workdir, *LOOKED_AT)  # and two to the end
    codes, said = ended(two)
    assert codes == [0, 0], said
    assert (workdir / "samples" / f"{8 * descent.STEPS:09d}.png").is_file()
    assert not list(workdir.glob("shared_*"))
    looks = [row for row in Logs(workdir).read() if "guard/overfit" in row]
    assert looks and all("attributes/mean" in row for row in looks)  # while they played
    assert (workdir / "evaluation_test.json").is_file()

    config.devices = 1
    train.train(config, tmp_path / "alone")
    assert_alike(tmp_path / "alone", workdir)
