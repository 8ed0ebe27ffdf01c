"""What docs/extending.md shows is run as it stands there."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import t2igan
from t2igan import nets
from t2igan.cli.verbs import VERBS
from t2igan.config.files import get_config, load_module
from t2igan.data import open_dataset
from t2igan.data.sources import FORMATS
from t2igan.errors import UserError
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.method.losses import ADVERSARIAL, PENALTIES
from t2igan.method.phases import PHASES
from t2igan.training import train
from t2igan.training.logs import Logs

DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"
REGISTRIES = (ADVERSARIAL, PENALTIES, nets.DISCRIMINATORS, PHASES, FORMATS, VERBS)


@pytest.fixture
def shown(tmp_path):
    """The document's files in a folder; what they register is forgotten afterwards."""
    blocks = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.S | re.M)
    for name, text in blocks:
        (tmp_path / name).write_text(text, encoding="utf-8")
    there, path = [registry.names() for registry in REGISTRIES], list(sys.path)
    yield tmp_path
    for registry, names in zip(REGISTRIES, there, strict=True):
        for name in set(registry.names()) - set(names):
            registry.unregister(name)
    for name in [*(Path(name).stem for name, _ in blocks), "t2igan_config_my_config"]:
        sys.modules.pop(name, None)
    sys.path[:] = path


def shrunk(config):
    """Networks and phases of next to nothing, whatever kinds they are of."""
    from tiny import shrink

    section = config.brightness
    config = shrink(config)
    with config.unlocked():
        config.generator.update(kind="mlp", channels=(8,))
        config.discriminator.channels = (4, 4)
        config.image_encoder.update(channels=(4,), patch_px=4)
        section.update(steps=3, images=0, batch_images=8, warmup_steps=1)
        config.guard.num_images = 0
        config.sample.update(num_captions=1, num_seeds=1)
    return config


def test_a_training_with_a_loss_a_penalty_a_network_and_a_phase_of_ones_own(shown, console):
    config = shrunk(get_config(shown / "my_config.py"))
    train.train(config, shown / "run")
    rows = Logs(shown / "run").read()
    assert list(dict.fromkeys(row["phase"] for row in rows)) == ["brightness", "text", "adversarial"]
    assert all(np.isfinite(row["loss/brightness"]) for row in rows if row["phase"] == "brightness")
    assert min(row["loss/penalty"] for row in rows if row["phase"] == "adversarial") > 0
    _, state = read_checkpoint(shown / "run" / "checkpoints" / "adversarial")
    assert {"Conv_0", "Conv_1", "Dense_0"} == set(state["params"]["discriminator"]["params"])
    assert t2igan.load(shown / "run").sample("red hair").shape == (1, 16, 16, 3)

    # A verb of one's own looks at it; a mistyped one is answered with those that there are.
    plugin = f"--plugin={shown / 'my_verb.py'}"
    done = console("step", plugin, f"--workdir={shown / 'run'}")
    assert done.returncode == 0 and "was trained for 6 steps" in done.stdout
    done = console("--help", plugin)
    assert done.returncode == 0 and "say how long a run was trained" in done.stdout
    done = console("stpe", plugin)
    assert done.returncode == 2 and "did you mean 'step'?" in done.stderr

    # Who loads the run without the file that registers its network is told so.
    nets.DISCRIMINATORS.unregister("strided")
    with pytest.raises(UserError, match=r"discriminator\.kind='strided'.*\n.*--plugin"):
        t2igan.load(shown / "run")


def test_a_data_format_of_ones_own(shown):
    load_module(shown / "my_data.py", "my_data")
    data = t2igan.get_config("base").data
    data.source = "colours:100"
    train_data, test_data = (open_dataset(data, split) for split in ("train", "test"))
    assert len(train_data) > len(test_data) > 0
    first = train_data.captions[0][0]
    number = int(first.removeprefix("colour number "))
    assert tuple(train_data.images[0][0, 0]) == (number % 256, 37 * number % 256, 91 * number % 256)


def test_a_file_that_ran_is_not_run_again_unless_it_changed(shown):
    path = shown / "counted.py"
    path.write_text("import my_loss\nstarts = globals().get('starts', 0) + 1\n")
    first = load_module(path, "counted")
    assert load_module(path, "counted") is first
    path.write_text("changed = True\n")
    os.utime(path, ns=(1, 1))
    assert load_module(path, "counted").changed
    sys.modules.pop("counted")


def test_a_plugin_may_not_take_another_modules_name(shown, console):
    (shown / "json.py").write_text("")
    done = console("sample", f"--plugin={shown / 'json.py'}")
    assert done.returncode == 2 and "has the name of another module, json" in done.stderr
