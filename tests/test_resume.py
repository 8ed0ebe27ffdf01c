"""Real processes, really killed: the same command goes on and ends with the same bits."""

import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from squares import save, squares

import t2igan

OVERRIDES = """
--config=configs/base.py --config.phases=('text','adversarial') --config.devices=2 --config.tokenizer.vocab_size=300
--config.text_encoder.width=8 --config.text_encoder.layers=1 --config.text_encoder.heads=2
--config.image_encoder.channels=(8,8) --config.generator.channels=(8,8,8) --config.generator.style_dim=8
--config.generator.attention_heads=2 --config.discriminator.channels=(8,8,8) --config.discriminator.features=8
--config.pretrain_text.steps=20 --config.pretrain_text.batch_images=8 --config.pretrain_text.warmup_steps=1
--config.train.steps=40 --config.train.batch_images=8 --config.log.every_images=16
--config.sample.every_images=0 --config.evaluate.every_images=0 --config.evaluate.at_end=False
--config.checkpoint.every_images=16
""".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Few pictures, which are opened in no time."""
    return save(squares("all", 60, 0, 16, noise=40), tmp_path_factory.mktemp("squares") / "data")


def start(root, data, workdir) -> subprocess.Popen:
    command = [sys.executable, "run.py", *OVERRIDES, f"--config.data.source={data}", f"--workdir={workdir}"]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill_when(process, condition, timeout_s: float = 300.0) -> bool:
    """Kills as soon as `condition()`; returns whether it came before the process ended."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.0005)
    assert process.poll() is not None, "neither the condition nor the end came in time"
    return False


@pytest.mark.slow
def test_killed_anywhere_the_run_ends_with_the_same_bits(data, tmp_path, request):
    root = request.config.rootpath
    whole = start(root, data, tmp_path / "whole")
    _, error = whole.communicate(timeout=300)
    assert whole.returncode == 0, error

    parts = tmp_path / "parts"

    def saving(phase):
        """Whether a checkpoint is half written."""
        folder = parts / "checkpoints" / phase
        return folder.is_dir() and any("tmp" in path.name for path in folder.iterdir())

    def saved(phase, step):
        folder = parts / "checkpoints" / phase
        return folder.is_dir() and any(p.name.isdigit() and int(p.name) >= step for p in folder.iterdir())

    assert kill_when(start(root, data, parts), lambda: saving("text") and saved("text", 10))
    step = random.Random(time.time()).randrange(6, 24)  # anywhere; the message below says where
    assert kill_when(start(root, data, parts), lambda: saved("adversarial", step)), step
    if kill_when(start(root, data, parts), lambda: saving("adversarial") and saved("adversarial", step + 4)):
        last = start(root, data, parts)
        _, error = last.communicate(timeout=300)
        assert last.returncode == 0, error
    a, b = t2igan.load(tmp_path / "whole"), t2igan.load(parts)
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    assert a.digest == b.digest


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_says_how_to_go_on(data, tmp_path, request):
    process = start(request.config.rootpath, data, tmp_path)
    folder = tmp_path / "checkpoints" / "text"
    deadline = time.monotonic() + 300
    while not list(folder.glob("[0-9]*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 130, error
    assert "the same command goes on" in error
    assert "Traceback" not in error
