"""What a run says while it goes on, beside the training itself."""

import sys
from types import ModuleType

import pytest

from t2igan.training.logs import Logs


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for Weights & Biases that notes how it is started; the library itself wants an account."""
    module = ModuleType("wandb")
    module.started = []
    module.init = lambda **settings: module.started.append(settings)
    module.finish = lambda: None
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_a_run_that_goes_on_is_the_same_run_in_weights_and_biases(wandb, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    for folder in (folders[0], folders[1], folders[0]):
        Logs(folder, wandb_project="mine", config={"seed": 1}).close()
    ids = [settings["id"] for settings in wandb.started]
    assert ids[0] == ids[2] != ids[1] and all(ids)
    assert {settings["resume"] for settings in wandb.started} == {"allow"}
    assert (folders[0] / "wandb_id.txt").read_text() == ids[0]


def test_only_the_process_that_writes_starts_one(wandb, tmp_path):
    Logs(tmp_path, active=False, wandb_project="mine").close()
    assert not wandb.started and not list(tmp_path.iterdir())
