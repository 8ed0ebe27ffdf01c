"""The whole training on a tiny configuration, in one process; see test_resume for kills and test_cli for commands."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from tiny import impatient, shrink

import t2igan
from configs.base import get_config
from t2igan import step
from t2igan.config import to_json
from t2igan.data import open_datasets, split_names
from t2igan.data.summary import counts
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.runs import evaluate_run, evaluate_runs
from t2igan.inference.checkpoint import Checkpoints
from t2igan.training import monitor, opening, stopping, train
from t2igan.training.distributed import parallel
from t2igan.training.logs import Logs


@pytest.fixture
def tiny(config):
    with config.unlocked():
        config.devices = 2
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a whole training on `tiny`, not to be written to, and what it printed."""
    config, workdir = shrink(get_config()), tmp_path_factory.mktemp("finished")
    with config.unlocked():
        config.devices = 2
    with contextlib.redirect_stdout(io.StringIO()) as said:
        train.train(config, workdir)
    return workdir, said.getvalue()


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished[0], tmp_path / "run")


def final_params(workdir):
    return t2igan.load(workdir).params


def test_two_trainings_in_one_folder_are_refused(tiny, tmp_path):
    with FileLock(tmp_path / train.LOCK_NAME), pytest.raises(UserError, match="another training goes on in"):
        train.train(tiny, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {train.LOCK_NAME}
    tiny.phases = ("text",)
    train.train(tiny, tmp_path)  # it was let go
    train.train(tiny, tmp_path)


def test_a_start_that_failed_leaves_no_tokenizer_to_another(tiny, tmp_path):
    """Before its configuration is written down nothing counts."""
    tiny.sample.captions = ("word " * 40,)
    with pytest.raises(UserError, match="this model takes 30"):
        train.train(tiny, tmp_path)
    assert (tmp_path / "tokenizer.json").is_file() and not (tmp_path / "config.json").is_file()
    tiny.sample.captions = ()
    tiny.tokenizer.max_tokens = 64
    tiny.phases = ("text",)
    train.train(tiny, tmp_path)
    assert Tokenizer.from_json((tmp_path / "tokenizer.json").read_text()).max_tokens == 64


def test_a_damaged_checkpoint_is_named_in_two_lines(tiny, tmp_path):
    tiny.phases = ("text",)
    train.train(tiny, tmp_path)
    arrays = [path for path in (tmp_path / "checkpoints").rglob("d/*") if path.is_file()]
    for path in arrays:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert arrays
    for tiny.init_from, workdir in ((str(tmp_path), tmp_path / "new"), ("", tmp_path)):
        with pytest.raises(UserError, match=r"cannot (read|restore) .*checkpoints.*text") as caught:
            train.train(tiny, workdir)
        assert len(str(caught.value).splitlines()) == 2


def test_a_run_leaves_all_that_a_user_needs(finished):
    workdir, said = finished
    files = {str(path.relative_to(workdir)) for path in workdir.rglob("*") if path.is_file()}
    assert {"config.json", "tokenizer.json", "metrics.jsonl", "snapshot.safetensors", "samples/000000048.png"} <= files
    assert any(file.startswith("tensorboard/adversarial/") for file in files)
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["adversarial", "text"]
    rows = Logs(workdir).read()
    assert [(row["phase"], row["step"]) for row in rows] == [
        ("text", 2), ("text", 4), ("adversarial", 2), ("adversarial", 4), ("adversarial", 6),
    ]  # fmt: skip
    assert {"loss/generator", "loss/discriminator", "gradient_norm/generator", "images_per_s"} <= rows[-1].keys()
    assert "t2igan.load(" in said and "run.py" not in said  # as Python code calls it here
    assert t2igan.load(workdir).sample("red hair").shape == (1, 16, 16, 3)


def test_nothing_is_compiled_after_the_first_step_and_the_first_save(tiny, tmp_path, monkeypatch):
    """Not the step, and nothing of the loop around it: what is compiled is counted whenever a step is called."""
    compilations, phases = [], []

    def count(event, _, **__):
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":  # said of what the persistent cache has, too
            compilations.append(event)

    def counted(step_function, *arguments, **settings):
        compiled, counts = compile_step(step_function, *arguments, **settings), []
        phases.append((compiled, counts))

        def call(*arguments):
            counts.append(len(compilations))
            return compiled(*arguments)

        return call

    compile_step = train.parallel.compile_step
    monkeypatch.setattr(train.parallel, "compile_step", counted)
    jax.monitoring.register_event_duration_secs_listener(count)
    train.train(tiny, tmp_path)
    assert [len(counts) for _, counts in phases] == [4, 6]  # steps of both phases; it logs and saves after every second
    for compiled, (before, first, *others) in phases:
        assert before < first  # it does count
        assert len(set(others)) == 1
        assert compiled._cache_size() == 1


def test_the_same_command_on_a_finished_run_changes_nothing(tiny, run):
    before, rows = final_params(run), Logs(run).read()
    train.train(tiny, run)
    jax.tree.map(np.testing.assert_array_equal, before, final_params(run))
    assert Logs(run).read() == rows


def test_stopped_and_resumed_equals_uninterrupted(tiny, finished, tmp_path, monkeypatch):
    """Stopped as by Ctrl-C after every second step, in both phases."""
    monkeypatch.setattr(stopping, "Interruption", impatient(2))
    stops = 0
    while True:
        try:
            train.train(tiny, tmp_path / "parts")
        except stopping.Interrupted:
            stops += 1
            assert stops < 20
        else:
            break
    assert stops >= 3
    whole, parts = finished[0], tmp_path / "parts"
    jax.tree.map(np.testing.assert_array_equal, final_params(whole), final_params(parts))
    steps = [[(r["phase"], r["step"]) for r in Logs(workdir).read()][-1] for workdir in (whole, parts)]
    assert steps[0] == steps[1]


def test_a_sharded_run_goes_on_unsharded(tiny, tmp_path, monkeypatch):
    """Drawings and snapshots see sharded parameters whole; where they lie may change when a run goes on."""
    monkeypatch.setattr(parallel, "SHARDED_FROM_VALUES", 64)
    with tiny.unlocked():
        tiny.update(phases=("adversarial",), shard_devices=2)
        tiny.generator.update(kind="mlp", channels=(8,))
        tiny.discriminator.update(kind="mlp", channels=(8,))
    train.train(tiny, tmp_path / "whole")

    with monkeypatch.context() as patch, pytest.raises(stopping.Interrupted):
        patch.setattr(stopping, "Interruption", impatient(4))
        train.train(tiny, tmp_path / "parts")
    with tiny.unlocked():
        tiny.update(devices=1, shard_devices=1)
    train.train(tiny, tmp_path / "parts")
    whole, parts = final_params(tmp_path / "whole"), final_params(tmp_path / "parts")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), whole, parts)


def test_a_non_finite_loss_stops_and_is_named(tiny, tmp_path, monkeypatch):
    """At step 5 the discriminator's loss becomes infinite; the checkpoint of step 4 stays the last."""
    original = step.update_discriminator
    with tiny.unlocked():
        tiny.checkpoint.every_images = 16

    def poisoned(method, state, *arguments):
        state, metrics = original(method, state, *arguments)
        metrics["loss/discriminator"] = jnp.where(state.step == 4, jnp.inf, metrics["loss/discriminator"])
        return state, metrics

    monkeypatch.setattr(step, "update_discriminator", poisoned)
    with pytest.raises(UserError, match=r"loss/discriminator is inf at step 5 of phase adversarial.*step 4"):
        train.train(tiny, tmp_path)
    assert {p.name for p in (tmp_path / "checkpoints" / "adversarial").iterdir() if p.name.isdigit()} == {"2", "4"}


def test_a_changed_configuration_is_refused_by_key(tiny, run):
    with tiny.unlocked():
        tiny.loss.penalty_weight = 7.0
        tiny.log.every_images = 8  # free to change
    with pytest.raises(UserError, match=r"config.loss.penalty_weight was 0.1, is 7.0\.") as caught:
        train.train(tiny, run)
    assert "log" not in str(caught.value)


def test_changed_data_is_refused(tiny, run):
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"data_fingerprint": "another"}))
    with pytest.raises(UserError, match="training pictures or captions of pixel_avatars are not those"):
        train.train(tiny, run)


def test_the_text_phase_can_be_left_out(tiny, tmp_path):
    with tiny.unlocked():
        tiny.phases = ("adversarial",)
        tiny.train.tune_text = True
    train.train(tiny, tmp_path)
    assert t2igan.load(tmp_path).sample("red hair").shape == (1, 16, 16, 3)


def test_figures_are_logged_and_kept_with_the_best_checkpoint(tiny, tmp_path):
    with tiny.unlocked():
        tiny.evaluate.update(every_images=16, at_end=True)
    result = train.train(tiny, tmp_path)
    assert 0 <= result["figures"]["attributes/mean"]["value"] <= 1
    assert 0 < result["figures"]["discriminator/auc"]["value"] < 1
    rows = [row for row in Logs(tmp_path).read() if "frechet_distance/attributes" in row]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(0 <= row["attributes/mean"] <= 1 and "attributes/mean/real" in row for row in rows)
    saved = json.loads((tmp_path / "evaluation_test.json").read_text())
    assert saved == result
    assert t2igan.load(tmp_path).metrics == {key: value for key, value in saved.items() if key != "details"}
    assert (saved["model"], saved["step"]) == (t2igan.load(tmp_path).digest, 6)
    best = {row["step"]: row["attributes/mean"] for row in rows}
    with Checkpoints(tmp_path / "checkpoints" / "adversarial", "attributes/mean") as checkpoints:
        assert checkpoints.best_step() in [step for step, value in best.items() if value == max(best.values())]
    unseen = evaluate_run(tmp_path, "unseen", num_images=16, metrics=("attributes",))
    assert unseen["split"] == "unseen"
    assert unseen["model"] == t2igan.load(tmp_path).digest
    assert json.loads((tmp_path / "evaluation_unseen.json").read_text()) == unseen
    # From the checkpoint on disk the discriminator is the one that training had in memory.
    again = evaluate_run(tmp_path, "test", metrics=("discriminator",))
    kept = json.loads((tmp_path / "evaluation_test.json").read_text())
    assert set(kept["figures"]) == set(result["figures"])  # what was measured before is not lost
    name = "discriminator/auc"
    assert again["figures"][name]["value"] == pytest.approx(result["figures"][name]["value"], abs=1e-3)
    assert again["details"]["discriminator"]["step"] == 6
    with pytest.raises(UserError, match="no split 'unsen'; did you mean 'unseen'"):
        evaluate_run(tmp_path, "unsen")


def test_the_best_metric_brings_its_extractor_and_must_be_there(tiny, tmp_path):
    with tiny.unlocked():
        tiny.evaluate.every_images = 16
        tiny.checkpoint.best_metric = "kernel_distance/pixels"
    train.train(tiny, tmp_path / "run")
    rows = [row for row in Logs(tmp_path / "run").read() if "kernel_distance/pixels" in row]
    assert [row["step"] for row in rows] == [2, 4, 6]
    with tiny.unlocked():
        tiny.checkpoint.best_metric = "frechet_distance/clip"
    with pytest.raises(UserError, match=r"best_metric='frechet_distance/clip' cannot be had"):
        train.train(tiny, tmp_path / "other")


def test_runs_are_evaluated_side_by_side(tiny, finished, tmp_path, capsys):
    shutil.copytree(finished[0], tmp_path / "one")
    train.train(tiny, tmp_path / "two")
    capsys.readouterr()
    evaluated = evaluate_runs(
        [tmp_path / "one", tmp_path / "two"], "test", 8, metrics=("attributes", "kernel_distance")
    )
    printed = capsys.readouterr().out
    assert [one.result["counts"]["num_images"] for one in evaluated] == [8, 8]
    assert evaluated[0].result["figures"] == evaluated[1].result["figures"]  # the same training twice
    headings = next(line for line in printed.splitlines() if "shuffled" in line)
    assert headings.split() == ["one", "two", "real", "shuffled", "copied", "by"]
    assert all((tmp_path / name / "evaluation_test.json").is_file() for name in ("one", "two"))


def test_batches_that_do_not_divide_are_refused_before_compiling(tiny, tmp_path):
    with tiny.unlocked():
        tiny.devices = 3
    with pytest.raises(UserError, match="batch_images=8 cannot be divided among 3 devices"):
        train.train(tiny, tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_choices_and_monitoring_use_val_and_test_is_measured_once(tiny, tmp_path, monkeypatch):
    looked = []

    def spied(module, name, of):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: looked.append((name, of(*a).split)) or function(*a, **k))

    spied(monitor, "evaluate", lambda *given: given[1])
    spied(train, "evaluate", lambda *given: given[1])
    spied(monitor.Guard, "create", lambda *given: given[-1])
    tiny.train.ema_tracks = (0.5,)
    tiny.evaluate.update(every_images=24, at_end=True)
    figures = train.train(tiny, tmp_path)
    splits = [split for name, split in looked]
    assert figures["split"] == "test" and splits.count("test") == 1 and splits[-1] == "test"
    # The guard and the figures at 24 and 48 pictures, the two averages, and the one of them that was chosen.
    assert set(splits[:-1]) == {"val"} and ("create", "val") in looked and splits.count("val") == 2 + 2 + 2 + 1
    assert [path.name for path in tmp_path.glob("evaluation_*.json")] == ["evaluation_test.json"]
    report = json.loads((tmp_path / "data_report.json").read_text())
    assert list(report["splits"]) == ["train", "val", "test"]
    assert (
        evaluate_runs([tmp_path], metrics=("attributes",))[0].path.name == "evaluation_test.json"
    )  # the test split is the default
    captions = [data["captions"] for data in sheets_of(tmp_path)]
    assert captions and all(len(set(one)) == len(one) for one in captions)


def test_only_the_end_of_a_training_reads_the_test_split():
    users = {path.name for path in Path(train.__file__).parent.glob("*.py") if ".test_data" in path.read_text()}
    assert users == {"train.py"}


def sheets_of(workdir):
    """What the sheets say of themselves."""
    return [json.loads(Image.open(path).text["t2igan"]) for path in sorted((workdir / "samples").glob("*.png"))]


def test_a_run_that_may_not_go_on_leaves_its_data_report(tiny, tmp_path):
    record = {"config": json.loads(to_json(tiny)), "data_fingerprint": "of other pictures"}
    (tmp_path / "config.json").write_text(json.dumps(record))
    (tmp_path / "data_report.json").write_text("{}")
    with pytest.raises(UserError, match="are not those that"):
        train.train(tiny, tmp_path)
    assert (tmp_path / "data_report.json").read_text() == "{}"


def test_the_data_report_is_written_again_where_the_data_is_another(tiny, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(opening, "as_json", lambda datasets: written.append(len(datasets)) or counts(datasets))
    path, datasets = tmp_path / "data_report.json", open_datasets(tiny.data, split_names(tiny.data))
    for text in (None, None, "no JSON", json.dumps({"splits": {}})):
        if text is not None:
            path.write_text(text)
        opening._report_data(path, datasets)
    assert written == [3, 3, 3] and json.loads(path.read_text()) == json.loads(json.dumps(counts(datasets)))
    opening._report_data(path, (datasets[0], datasets[1], datasets[1]))
    assert len(written) == 4


def test_training_says_what_data_says(tiny, tmp_path, capsys):
    """Captions that are cut, splits too small to measure on, a picture that is there twice, another encoding."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(40):
        shade = min(i, 38)
        Image.new("RGB", (16, 16), (6 * shade, 200 - 5 * shade, 90)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_bytes(
            f"une fenêtre très foncée près du garçon numéro {i}, et ainsi de suite".encode("cp1252")
        )
    tiny.data.source = str(folder)
    tiny.tokenizer.max_tokens = 8
    parallel.start(2)
    train.open_run(tiny, tmp_path / "run", parallel.make_mesh(2)).logs.close()
    said = capsys.readouterr().out
    for words in (
        "30 training pictures of 16 px, 5 to validate on, 5 to test on", "40 texts are not UTF-8 and read as cp1252",
        "30 of 30 are longer than config.tokenizer.max_tokens=8", "only 5 pictures in val and 5 pictures in test",
        "train: 1 picture again, byte by byte",
    ):  # fmt: skip
        assert words in said, said


def test_what_is_refused_leaves_the_list_of_what_was_left_out(tiny, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(20):
        Image.new("RGB", (16, 16), (12 * i, 0, 0)).save(folder / f"{i}.png")
        if i < 6:
            (folder / f"{i}.txt").write_text(f"number {i}")
    tiny.data.source = str(folder)
    with pytest.raises(UserError, match="only 4 of 18 pictures can be used"):
        train.train(tiny, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "data_report.json").read_text())
    assert report["splits"]["train"]["left_out"] == 14
