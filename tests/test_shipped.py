"""Models that come with the package: found by name, listed, drawn with, and begun from."""

import dataclasses
import shutil

import numpy as np
import pytest
from exported import random_model

import t2igan
from t2igan.errors import UserError
from t2igan.inference import shipped
from t2igan.inference.examples import captions_of, drawing_code
from t2igan.inference.sample import snapshot_path
from t2igan.inference.snapshot import load_snapshot, save_snapshot
from t2igan.training import warm_start

LARGEST_BYTES = 17_000_000  # of all together


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with two models, and an empty current folder."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", folder)
    licences = "- Licence of the model: CC0-1.0\n- Licence of the data: mine"
    card = f"# Squares\n\n{licences}\n\n```python\n{drawing_code(['a red square'])}\n```\n"
    metrics = {"figures": {"attributes/mean": {"value": 0.75}}}
    save_snapshot(folder / "raw.safetensors", dataclasses.replace(random_model(["a red square"]), metrics=metrics))
    made = t2igan.export(folder / "raw.safetensors", "snapshot", folder / "squares.safetensors", "float16")
    snapshot = dataclasses.replace(load_snapshot(made.out), model_card=card, metrics=metrics)
    save_snapshot(made.out, snapshot)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return folder


def test_a_name_is_found_and_a_folder_of_ones_own_comes_first(package):
    assert list(shipped.shipped()) == ["raw", "squares"]
    for name in ("models/squares", "models/squares.safetensors"):
        assert snapshot_path(name) == package / "squares.safetensors"
    images = t2igan.load("models/squares").sample("a red square", seed=3)
    assert images.shape == (1, 16, 16, 3)
    shutil.copytree(package, "models")
    (package.parent / "here" / "models" / "squares").mkdir()
    with pytest.raises(UserError, match=r"models/squares has no snapshot\.safetensors yet"):
        snapshot_path("models/squares")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("read", [snapshot_path, warm_start.read])
def test_a_name_that_is_none_is_answered_with_those_there_are(read):
    words = r"no model 'square'; did you mean 'squares'\? There are models/raw, models/squares"
    with pytest.raises(UserError, match=words):
        read("models/square")


def test_a_training_begins_from_one_in_float32(package):
    source = warm_start.read("models/squares")
    assert source.label.startswith("snapshot ") and {"generator", "text"} <= source.params.keys()
    snapshot = load_snapshot(package / "squares.safetensors")
    model = t2igan.load("models/squares")
    batch = {"tokens": np.zeros((1, 16), np.int32), "images": np.zeros((1, 16, 16, 3), np.float32)}
    taken, report = warm_start.take(source, model.networks, batch, 0, with_text=True)
    assert taken["generator"]["params"]["base"]["kernel"].dtype == np.float32
    np.testing.assert_array_equal(
        taken["generator"]["params"]["base"]["kernel"],
        snapshot.params["generator"]["params"]["base"]["kernel"].astype(np.float32),
    )
    assert any("generator: all" in line for line in report)


@pytest.mark.usefixtures("package")
def test_the_list_says_size_figures_licences_and_what_to_type(console):
    done = console("models")
    said = done.stdout
    assert done.returncode == 0
    assert "models/squares: 16 x 16 px, 0.0 MB, attributes right 0.750" in said
    assert "Licence of the model: CC0-1.0" in said and "Licence of the data: mine" in said
    assert "t2igan sample --workdir=models/squares --prompt='a red square'" in said
    done = console("models", "--card=models/squares")
    assert done.returncode == 0 and "# Squares" in done.stdout
    done = console("models", "--card=round")
    assert done.returncode == 2 and "models/raw, models/squares" in done.stderr


def test_what_the_package_ships_is_small_licensed_and_has_cards():
    models = shipped.shipped()
    assert sum(path.stat().st_size for path in models.values()) <= LARGEST_BYTES
    for path in models.values():
        snapshot = load_snapshot(path, with_weights=False)
        assert snapshot.config["model_card"]["license"] and snapshot.model_card.startswith("# "), path
        assert f"- Licence of the model: {snapshot.config['model_card']['license']}" in snapshot.model_card
        examples = captions_of(snapshot)  # what the studio begins with
        assert len(examples) >= 8 and t2igan.load(path).unseen(examples) == [], path
        assert "not known" not in snapshot.model_card.split("- Licence of the data: ")[1].split("\n")[0]
