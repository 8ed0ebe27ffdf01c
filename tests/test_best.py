"""The best model: an evaluation that is the best is saved at any sizes, and can be drawn with, measured, begun with."""

import importlib
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import shrink

import t2igan
from configs.base import get_config
from t2igan import config as config_lib
from t2igan.errors import UserError
from t2igan.evaluation.evaluators import membership
from t2igan.evaluation.runs import evaluate_runs
from t2igan.inference.checkpoint import Checkpoints, read_checkpoint
from t2igan.inference.snapshot import load_snapshot
from t2igan.method.phases import Phase
from t2igan.training import monitor, train, warm_start
from t2igan.training.logs import Logs

PRESETS = sorted(p.stem for p in (Path(__file__).parents[1] / "configs").glob("*.py") if p.stem != "__init__")


@pytest.fixture(scope="module")
def quick():
    config = shrink(get_config())
    with config.unlocked():
        config.phases = ("adversarial",)
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.update(kind="mlp", channels=(8,))
        config.sample.update(num_captions=1, num_seeds=1)
        config.devices = 1
    return config


@pytest.fixture(scope="module")
def run(quick, tmp_path_factory):
    """A run of 6 steps of 8 pictures, evaluated every 20, saved only at its end, with snapshots every 24."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    config = quick.copy_and_resolve_references()
    config.evaluate.every_images = 20
    config.checkpoint.update(every_images=0, keep_every_images=24)
    train.train(config, workdir)
    return workdir


def test_what_is_crossed():
    assert [config_lib.crossed(n, n + 3, 7) for n in range(0, 21, 3)] == [0, 0, 1, 0, 1, 0, 1]
    assert not config_lib.crossed(0, 10**9, 0)
    assert all(config_lib.crossed(n, n + 8, 3) for n in range(0, 80, 8))  # rarer than every step it cannot be


@pytest.mark.parametrize("preset", PRESETS)
def test_every_evaluation_of_a_preset_falls_on_a_save(preset):
    config = importlib.import_module(f"configs.{preset}").get_config()
    section = config.train
    images = section.batch_images * section.discriminator_steps
    total = config_lib.total_steps(section, 10_000)
    phase = Phase("adversarial", dict, dict, total, images, (), evaluates="on_the_way")
    evaluated, saved = set(), set()
    for done in range(1, total + 1):
        if monitor.due(config, phase, done).evaluates:
            evaluated.add(done)
        if config_lib.crossed((done - 1) * images, done * images, config.checkpoint.every_images) or done == total:
            saved.add(done)
    assert evaluated <= saved
    assert len(evaluated) >= max(total * images // config.evaluate.every_images, 1)


def test_the_best_evaluation_has_a_checkpoint_and_a_snapshot(run):
    rows = {row["step"]: row["attributes/mean"] for row in Logs(run).read() if "attributes/mean" in row}
    assert list(rows) == [3, 5, 6]  # 24, 40 and 48 pictures
    best = t2igan.load(run, which="best")
    assert rows[best.info["step"]] == max(rows.values())
    assert best.info["phase"] == "adversarial"
    assert best.metrics["figures"]["attributes/mean"]["value"] == max(rows.values())
    folder = run / "checkpoints" / "adversarial"
    with Checkpoints(folder, "attributes/mean") as checkpoints:
        assert checkpoints.best_step() == best.info["step"]
    assert t2igan.load(run).info["step"] == 6
    kept = {path.stem: load_snapshot(path).info["step"] for path in (run / "snapshots").iterdir()}
    assert kept == {"000000024": 3, "000000048": 6}


def test_the_best_is_drawn_with_measured_and_begun_with(run, quick, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    # The first evaluation is made the best, whichever it was: an earlier model than the latest.
    early = load_snapshot(workdir / "snapshots" / "000000024.safetensors")
    shutil.copy(workdir / "snapshots" / "000000024.safetensors", workdir / "snapshot_best.safetensors")
    assert t2igan.load(workdir, which="best").digest == early.digest != t2igan.load(workdir).digest
    with pytest.raises(UserError, match="which='newest' is none of 'latest', 'best'"):
        t2igan.load(workdir, which="newest")
    done = evaluate_runs([workdir], "test", 8, metrics=("attributes",), which="best")[0]
    assert done.path.name == "evaluation_test_best.json"
    assert (done.result["model"], done.result["step"]) == (early.digest, 3)
    if (workdir / "checkpoints" / "adversarial" / "3").is_dir():
        assert warm_start.read(workdir, "best").label.endswith("phase adversarial, step 3")
    best = load_snapshot(run / "snapshot_best.safetensors")
    source = warm_start.read(run, "best")
    assert source.label == f"{run}, phase adversarial, step {best.info['step']}"
    jax.tree.map(np.testing.assert_array_equal, source.params["generator"], best.params["generator"])
    (workdir / "snapshot_best.safetensors").unlink()
    with pytest.raises(UserError, match=r"no snapshot_best.safetensors: nothing was evaluated on the way"):
        t2igan.load(workdir, which="best")
    config = quick.copy_and_resolve_references()
    config.update(init_from=str(workdir), init_which="best")
    with pytest.raises(UserError, match="no snapshot_best"):
        train.train(config, tmp_path / "new")


def test_a_smaller_evaluation_leaves_a_larger_one(run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    first = evaluate_runs([workdir], "test", 24, metrics=("attributes",))[0]
    fewer = evaluate_runs([workdir], "test", 8, metrics=("attributes",))[0]
    more = evaluate_runs([workdir], "test", 32, metrics=("attributes",))[0]
    assert first.path == more.path == workdir / "evaluation_test.json"
    assert fewer.path.name == "evaluation_test_8.json"


def test_membership_alone_asks_the_discriminator_too(run, tmp_path, monkeypatch):
    monkeypatch.setattr(membership, "ATTACKED_IMAGES", 50)
    monkeypatch.setattr(membership, "DRAWINGS", 2)
    workdir = shutil.copytree(run, tmp_path / "run")
    figures = evaluate_runs([workdir], "test", 1, metrics=("membership",))[0].result["figures"]
    assert {name.split("/")[2] for name in figures} == {"nearest", "density", "control", "discriminator"}


@pytest.mark.parametrize("lower", [False, True])
def test_only_a_better_evaluation_counts(tmp_path, lower):
    """In the loop's own words: `improves` tells what `save` has been given, also after the folder is opened again."""
    state = {"x": np.zeros(3, np.float32)}
    with Checkpoints(tmp_path, "score", lower) as checkpoints:
        assert not checkpoints.improves({}) and not checkpoints.improves(None)
        assert checkpoints.improves({"score": 0.5})
        checkpoints.save(1, state, {"score": 0.5})
        assert [checkpoints.improves({"score": s}) for s in (0.4, 0.5, 0.6)] == [lower, True, not lower]
        checkpoints.save(2, state, {"score": 0.5})
        for step in (3, 4):
            checkpoints.save(step, state, {"score": 0.6 if lower else 0.4})
    with Checkpoints(tmp_path, "score", lower) as checkpoints:
        assert [checkpoints.improves({"score": s}) for s in (0.4, 0.5, 0.6)] == [lower, True, not lower]
        assert checkpoints.best_step() == 2  # of equals the later one
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"2", "3", "4"}
    with Checkpoints(tmp_path, "another", lower) as checkpoints:
        assert checkpoints.improves({"another": 0.5})


def test_a_step_on_disk_is_the_best_without_being_written_again(tmp_path, monkeypatch):
    """What was due after a saved step is made up for when the training goes on; a kill meanwhile costs no state."""
    like = {"x": np.zeros(3, np.float32)}
    with Checkpoints(tmp_path, "score") as checkpoints:
        checkpoints.save(1, {"x": np.full(3, 1, np.float32)}, {"score": 0.5})
        checkpoints.save(2, {"x": np.full(3, 2, np.float32)})

    def killed(*_):
        raise KeyboardInterrupt

    with Checkpoints(tmp_path, "score") as checkpoints, monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.add_metrics(2, {"score": 0.6, "another": 1.0})
    with Checkpoints(tmp_path, "score") as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.best_step()) == (2, 1)
        assert checkpoints.improves({"score": 0.6})
        checkpoints.add_metrics(2, {"score": 0.6, "another": 1.0})
        checkpoints.reread()
        assert checkpoints.best_step() == 2
        assert not checkpoints.improves({"score": 0.55})
        for step in (3, 4):
            checkpoints.save(step, like)
    with Checkpoints(tmp_path, "score") as checkpoints:
        assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"2", "3", "4"}
        assert checkpoints.best_step() == 2
        np.testing.assert_array_equal(checkpoints.restore(2, jax.tree.map(jnp.asarray, like))["x"], 2)
    step, state = read_checkpoint(tmp_path, 2)
    np.testing.assert_array_equal(state["x"], 2)


@pytest.mark.parametrize("damaged", ["cut", "missing"])
def test_a_damaged_newest_checkpoint_has_one_before_it(quick, tmp_path, damaged):
    config = quick.copy_and_resolve_references()
    config.checkpoint.every_images = 16
    train.train(config, tmp_path)  # saved at 16, 32 and 48 pictures
    last = load_snapshot(tmp_path / "snapshot.safetensors")
    folder = tmp_path / "checkpoints" / "adversarial"
    assert sorted(path.name for path in folder.iterdir() if path.name.isdigit()) == ["4", "6"]
    for path in [path for path in (folder / "6").rglob("d/*") if path.is_file()]:
        if damaged == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            path.unlink()
    with pytest.raises(UserError, match="delete that folder and run the same command: it goes on from the one before"):
        train.train(config, tmp_path)
    shutil.rmtree(folder / "6")
    train.train(config, tmp_path)
    assert [row["step"] for row in Logs(tmp_path).read()] == [2, 4, 6]
    assert load_snapshot(tmp_path / "snapshot.safetensors").digest == last.digest
