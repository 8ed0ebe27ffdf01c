import logging
import os
import stat
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.errors import UserError
from t2igan.inference.checkpoint import Checkpoints, read_checkpoint
from t2igan.inference.files import write_text
from t2igan.inference.snapshot import Snapshot, load_snapshot, save_networks, save_snapshot


def state(value: float):
    return {"step": jnp.asarray(int(value), jnp.int32), "params": {"kernel": jnp.full((3, 2), value)}}


def snapshot() -> Snapshot:
    params = {"generator": {"params": {"dense": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}}}}
    return Snapshot(params, {"seed": 1, "phases": ["text"]}, "{}", {"attributes/mean": 0.5}, {"step": 7})


def test_a_state_comes_back_bit_for_bit(tmp_path):
    saved = state(1 / 3)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, saved)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest_step() == 4
    restored = checkpoints.restore(4, saved)
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, restored, saved)


def test_the_latest_two_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, "score")
    for step, score in [(1, 0.1), (2, 0.9), (3, 0.3), (4, None), (5, 0.2)]:
        checkpoints.save(step, state(step), None if score is None else {"score": score})
    assert checkpoints.latest_step() == 5
    assert checkpoints.best_step() == 2
    checkpoints.close()
    assert sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()) == [2, 4, 5]


def test_the_best_may_be_the_lowest(tmp_path):
    checkpoints = Checkpoints(tmp_path, "frechet", lower_is_better=True)
    for step, score in [(1, 5.0), (2, 1.0), (3, 3.0)]:
        checkpoints.save(step, state(step), {"frechet": score})
    assert checkpoints.best_step() == 2
    checkpoints.close()


@pytest.mark.parametrize("lower", [True, False])
def test_another_metric_may_count_from_now_on(tmp_path, lower):
    with Checkpoints(tmp_path, "attributes/mean") as checkpoints:
        checkpoints.save(1, state(1), {"attributes/mean": 0.9})
    with Checkpoints(tmp_path, "frechet/probe", lower) as checkpoints:
        checkpoints.save(2, state(2), {"frechet/probe": 5.0})
        checkpoints.save(3, state(3), {"frechet/probe": 6.0 if lower else 4.0})
        checkpoints.save(4, state(4))
        assert checkpoints.best_step() == 2 and checkpoints.latest_step() == 4


def test_what_is_saved_does_not_change_when_the_state_is_used_up(tmp_path):
    """The save goes on in the background while the next step overwrites the buffers it was given."""
    checkpoints = Checkpoints(tmp_path)
    add = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    live = jax.tree.map(lambda x: jnp.broadcast_to(x, (256, 256)).copy(), {"x": jnp.zeros(())})
    checkpoints.save(1, live)
    for _ in range(20):
        live = add(live)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path)
    np.testing.assert_array_equal(checkpoints.restore(1, live)["x"], np.zeros((256, 256)))
    checkpoints.close()


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("Requested `tracked_metric`; did not provide metrics.", False),
        ("Waiting for previous save to complete took 1.2 seconds.", False),
        ("Merge of the checkpoint failed", True),
    ],
)
def test_what_orbax_says_at_many_saves_is_not_shown(tmp_path, caplog, said, seen):
    caplog.set_level(logging.WARNING, logger="absl")  # which the command line sets higher
    with Checkpoints(tmp_path / "checkpoints"):
        logging.getLogger("absl").warning(said)
    assert (said in caplog.messages) == seen


def test_a_snapshot_comes_back(tmp_path):
    path = tmp_path / "a" / "snapshot.safetensors"
    digest = save_snapshot(path, snapshot())
    loaded = load_snapshot(path)
    assert loaded.digest == digest
    assert (loaded.config, loaded.metrics, loaded.info) == (snapshot().config, snapshot().metrics, snapshot().info)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, snapshot().params)
    assert [p.name for p in path.parent.iterdir()] == ["snapshot.safetensors"]


@pytest.mark.parametrize("keep_bytes", [0, 5, 100, -1])
def test_a_snapshot_cut_short_is_named(tmp_path, keep_bytes):
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, snapshot())
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(UserError, match="not a whole"):
        load_snapshot(path)


def test_another_safetensors_file_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not a snapshot of t2igan"):
        load_snapshot(tmp_path / "other.safetensors")


def test_a_missing_snapshot_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no snapshot"):
        load_snapshot(tmp_path / "none.safetensors")


@pytest.mark.parametrize("name", ["pets [64px]", "a]b[", r"a\\b", "a?b", "*", "two words", "日本 🙂", "50%20 {x}"])
def test_folders_of_any_name_hold_checkpoints_that_can_be_read(tmp_path, name):
    """Orbax and TensorStore take some characters of a folder's name for patterns or slashes."""
    other = tmp_path / "axb" / "text"  # which a?b and * would match
    with Checkpoints(other) as checkpoints:
        checkpoints.save(1, state(1.0))
    folder = tmp_path / name / "text"
    with Checkpoints(folder, "score") as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(step, state(step), {"score": 1 / step})
    with Checkpoints(folder, "score") as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.best_step()) == (6, 2)
        np.testing.assert_array_equal(checkpoints.restore(6, state(0))["params"]["kernel"], np.full((3, 2), 6.0))
    assert read_checkpoint(folder)[0] == 6
    assert read_checkpoint(folder, 2)[1]["params"]["kernel"].max() == 2
    assert read_checkpoint(folder, 3) is None
    assert {path.name for path in tmp_path.iterdir()} == {"axb", name}
    assert [path.name for path in other.iterdir() if path.name.isdigit()] == ["1"]


@pytest.mark.parametrize("name", ["[x]", "a?b"])
def test_a_name_that_cannot_be_helped_is_refused_at_once(tmp_path, monkeypatch, name):
    """The folder for temporary files, where a link with a plain name would be, has such a name too."""
    temporary = tmp_path / "tmp*"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(UserError, match=r"checkpoints cannot be kept in .*choose another --workdir"):
        Checkpoints(tmp_path / name)
    assert not list(temporary.iterdir())


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {root!r})
from t2igan.inference.snapshot import Snapshot, save_snapshot
from t2igan.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
big = Snapshot({{"w": np.ones(100_000, np.float32)}}, {{}}, "{{}}", {{}}, {{}})
try:
    save_snapshot(Path({path!r}), big)
except UserError as error:
    print("UserError:", error)
"""


def test_a_disk_that_fills_up_loses_nothing(tmp_path, request):
    """A limit on the size of files stands for the full disk; the snapshot that was there stays whole."""
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, snapshot())
    script = FULL_DISK.format(root=str(request.config.rootpath), path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "UserError: could not write below" in done.stdout, done.stderr
    assert load_snapshot(path).info == {"step": 7}
    assert [p.name for p in tmp_path.iterdir()] == ["snapshot.safetensors"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask, mode):
    """A snapshot is for others too: the writer's temporary file, of mode 0600, is not what stays."""
    before = os.umask(umask)
    try:
        save_snapshot(tmp_path / "snapshot.safetensors", snapshot())
        save_networks(tmp_path / "networks.safetensors", snapshot().params)
        write_text(tmp_path / "text.txt", "one")
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "snapshot.safetensors": mode,
        "networks.safetensors": mode,
        "text.txt": mode,
    }


def test_a_text_file_is_written_whole(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
