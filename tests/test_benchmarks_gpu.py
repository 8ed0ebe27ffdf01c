"""The visit to a GPU: what goes wrong stays in its part; what is known is written; figures mean what they say."""

import json
import time

import numpy as np
import pytest

from benchmarks.gpu import __main__ as visit
from benchmarks.gpu import pictures, steps, training
from benchmarks.gpu.peaks import peak_flop_s
from t2igan.config.checks import check

ROWS = [("base", "float32"), ("toon64", "float32"), ("coco64", "float32")]


@pytest.mark.parametrize("name", visit.CONFIGS)
@pytest.mark.parametrize("tiny", [False, True])
def test_what_is_timed_is_a_valid_configuration_for_one_device(name, tiny):
    config = steps.configured(name, "bfloat16", tiny)
    check(config)
    assert config.shard_devices == 1 and config.compute_dtype == "bfloat16"
    whole = {"base": 32, "toon64": 32, "avatars64": 128, "coco64": 64, "coco256": 32}
    assert config.train.batch_images == (2 if tiny else whole[name])


def test_the_tiny_training_is_a_valid_configuration():
    config = training.shrunk(visit_config("emoji64"))
    check(config)


def visit_config(name):
    from benchmarks.timing import load

    return load(name).copy_and_resolve_references().unlock()


def test_a_part_that_hangs_is_ended_and_one_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(visit, "GRACE_S", 0.5)
    (tmp_path / "benchmarks" / "gpu").mkdir(parents=True)
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "gpu" / "__init__.py").touch()
    hangs = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('begun', flush=True)\n"
    (tmp_path / "benchmarks" / "gpu" / "hangs.py").write_text(hangs + "time.sleep(60)\n")
    (tmp_path / "benchmarks" / "gpu" / "fails.py").write_text("raise SystemExit(5)\n")
    monkeypatch.setattr(visit, "ROOT", tmp_path)
    start = time.monotonic()
    assert visit.run_part("hangs", [], 3.0, tmp_path) == 124
    assert time.monotonic() - start < 40
    assert visit.run_part("fails", ["--word"], 60.0, tmp_path) == 5
    log = (tmp_path / "log.txt").read_text()
    assert "begun" in log and "== -m benchmarks.gpu.fails --word" in log


def test_a_step_that_kills_its_process_costs_no_other(tmp_path, monkeypatch):
    asked = []

    def run_part(name, words, limit_s, out, platform=""):  # noqa: ARG001
        if "--count" in words:
            assert platform == "cpu"
            visit.append(out, {"part": "work", "config": "base", "gflop_image": 2.0})
            return 0
        rows = [word for word in words if ":" in word]
        asked.append(rows)
        for row in rows:
            config, dtype = row.split(":")
            if config == "toon64":
                return -9
            visit.append(out, {"part": "step", "config": config, "dtype": dtype, "images_s": 7.0})
        return 0

    monkeypatch.setattr(visit, "run_part", run_part)
    assert visit.steps(tmp_path, ROWS, [], lambda: 100.0) == 0
    assert asked == [[f"{config}:{dtype}" for config, dtype in ROWS], ["coco64:float32"]]
    rows = {row["config"]: row for row in visit.rows_of(tmp_path) if row["part"] == "step"}
    assert rows["base"]["images_s"] == rows["coco64"]["images_s"] == 7.0
    assert "exit code -9" in rows["toon64"]["error"]
    text = (tmp_path / "results.md").read_text()
    assert "| base |" in text and "- toon64, float32: its process ended" in text


def test_steps_end_when_the_time_does(tmp_path, monkeypatch):
    monkeypatch.setattr(visit, "run_part", lambda *arguments: 124)  # noqa: ARG005
    times = iter([100.0, 100.0, 100.0, 100.0, 1.0, 1.0])
    assert visit.steps(tmp_path, ROWS, [], lambda: next(times)) == 124
    errors = [row["error"] for row in visit.rows_of(tmp_path)]
    assert errors == ["out of time", "no time was left for it", "no time was left for it"]


def test_lines_that_were_cut_short_are_left_out(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps({"part": "time"}) + '\n{"part": "st')
    assert visit.rows_of(tmp_path) == [{"part": "time"}]


def test_pictures_are_compared_in_levels():
    one = np.array([[[[0], [10], [255], [7]]]], np.uint8)
    other = np.array([[[[0], [11], [250], [7]]]], np.uint8)
    found = pictures.compared(one, other)
    assert found == {
        "pictures": 1, "most_levels": 5, "mean_levels": 1.5, "equal_values": 0.5, "within_one_level": 0.75,
    }  # fmt: skip


def test_peaks_are_those_of_the_device():
    assert peak_flop_s("NVIDIA H100 80GB HBM3", "bfloat16") == peak_flop_s("NVIDIA H200", "bfloat16") == 989e12
    assert peak_flop_s("NVIDIA H100 PCIe", "float32") == 378e12
    assert peak_flop_s("NVIDIA A100-SXM4-40GB", "bfloat16") == 312e12
    assert peak_flop_s("NVIDIA L40S", "bfloat16") is peak_flop_s("cpu", "float32") is None


def test_work_is_counted_apart_and_shown_beside_the_speed():
    step = {"part": "step", "config": "base", "dtype": "bfloat16", "images_s": 1e4, "device": "NVIDIA H200"}
    shown = visit.with_work(step, 98.9)
    assert shown["tflop_s"] == 989.0 and shown["mfu"] == 1.0
    assert visit.with_work(step, None) == step
    assert visit.with_work(step | {"device": "cpu"}, 2.0)["mfu"] is None
    text = visit.as_markdown([step, {"part": "work", "config": "base", "gflop_image": 98.9}])
    assert "| 98.9 | 989.0 | 1.0 |" in text and "## work" not in text


def test_all_parts_run_in_order_within_the_minutes(tmp_path, monkeypatch, capsys):
    limits = {}

    def run_part(name, words, limit_s, out, platform=""):
        limits.setdefault(f"{name} {platform}".strip(), limit_s)
        if name == "steps" and not platform:
            visit.append(out, {"part": "step", "config": "base", "dtype": "float32", "images_s": 7.0})
        if name == "training":
            assert f"--seconds={limit_s:.0f}" in words and "--config=emoji64" in words
        return 3 if name == "pictures" and not platform else 0

    monkeypatch.setattr(visit, "run_part", run_part)
    words = ["gpu", "--minutes=8", f"--out={tmp_path / 'out'}", "--configs", "base", "--dtypes", "float32"]
    monkeypatch.setattr("sys.argv", words)
    visit.main()
    assert set(limits) == {"pictures cpu", "pictures", "steps cpu", "steps", "training"}
    assert limits["pictures cpu"] < 101 and 250 < limits["steps"] < 260 and 450 < limits["training"] < 470
    said = capsys.readouterr().out
    assert "pictures: " in said and "exit code 3" in said and "| base |" in said
    rows = visit.rows_of(tmp_path / "out")
    assert [row["of"] for row in rows if row["part"] == "time"] == ["pictures", "steps", "training"]
