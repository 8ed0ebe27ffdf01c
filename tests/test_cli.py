"""What a user may type wrong: one or two lines, exit code 2, no traceback, nothing lost."""

import subprocess
import sys

import pytest

RUN = "run.py"


def run(root, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, RUN, *arguments], cwd=root, capture_output=True, text=True, check=False)


def says(done: subprocess.CompletedProcess, *words: str) -> None:
    """The error is short, names what is wrong, and comes with exit code 2."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) <= 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.fixture(scope="module")
def root(request):
    return request.config.rootpath


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "--config=configs/base.py"], ["no verb 'trian'", "did you mean 'train'"]),
        ([], ["--config is missing", "configs/base.py"]),
        (["--config=configs/bas.py"], ["configs/bas.py", "did you mean 'configs/base.py'"]),
        (["--config=configs/base.py", "--config.train.stepz=3"], ["stepz", "steps"]),
        (["--config=configs/base.py", "--config.train.steps=many"], ["config.train.steps", "many"]),
        (["--config=configs/base.py", "--wrokdir=x"], ["wrokdir", "workdir"]),
        (["--config=configs/base.py", "--config.data.image_size_px=17"], ["image_size_px=17", "base_px"]),
        (["--config=configs/base.py", "--config.loss.adversarial=hing"], ["'hing'", "did you mean 'hinge'"]),
        (["--config=configs/base.py", "--config.devices=3"], ["batch_images", "3 devices"]),
        (["--config=configs/base.py", "--config.data.source=/no/such/folder"], ["/no/such/folder", "does not exist"]),
        (["sample", "--prompt=x"], ["--workdir is missing"]),
        (["sample", "--workdir=/no/such/run", "--prompt=x"], ["there is no /no/such/run"]),
        (["sample", "--workdir=/tmp"], ["there is no prompt"]),
        (["sample", "--workdir=/tmp", "--prompts=/no/such/file"], ["/no/such/file"]),
        (["sample", "--workdir=/tmp", "--prompt=x", "--num=0"], ["--num=0"]),
        (["evaluate"], ["--workdir is missing"]),
        (["evaluate", "--workdir=/no/such/run"], ["/no/such/run"]),
        (["data"], ["--config is missing"]),
        (["data", "--config=configs/base.py", "--out=sheet.jpg"], ["--out=sheet.jpg", ".png"]),
        (["evaluate", "--workdir=/tmp", "--metrics=frechett"], ["--metrics has 'frechett'", "did you mean 'frechet'"]),
        (["sample", "--workdir=a", "--workdir=b", "--prompt=x"], ["--workdir is given 2 times", "`sample` takes one"]),
        (["sample", "evaluate"], ["one word too many"]),
        (["--config", "configs/bas.py"], ["configs/bas.py", "did you mean 'configs/base.py'"]),
        (["-config=configs/bas.py"], ["did you mean 'configs/base.py'"]),
        (["--config=README.md"], ["the configuration cannot be read"]),
        (["evaluate", "--workdir=README.md"], ["--workdir=README.md is a file"]),
        (["evaluate", "--workdir=/tmp", "--seed=-1"], ["--seed=-1"]),
        (["data", "--config=configs/base.py", "--num=-5", "--out=sheet.png"], ["--num=-5"]),
    ],
)
def test_a_mistake_gets_a_helpful_line(root, tmp_path, arguments, words):
    if any(a.startswith("--config") for a in arguments) and not any(a.startswith("--workdir") for a in arguments):
        arguments = [*arguments, f"--workdir={tmp_path / 'run'}"]
    says(run(root, *arguments), *words)


def test_a_folder_without_pictures_or_captions_is_told_apart(root, tmp_path):
    from PIL import Image

    empty, mute = tmp_path / "empty", tmp_path / "mute"
    empty.mkdir()
    mute.mkdir()
    Image.new("RGB", (16, 16)).save(mute / "a.png")
    common = ["--config=configs/base.py", f"--workdir={tmp_path / 'run'}"]
    says(run(root, *common, f"--config.data.source={empty}"), "no picture")
    says(run(root, *common, f"--config.data.source={mute}"), "not one has a caption")


def test_too_few_usable_pictures_stop_before_anything_is_trained(root, tmp_path):
    import json

    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"number {i}")
        (folder / f"broken{i}.png").write_bytes(b"no picture")
        (folder / f"broken{i}.txt").write_text("broken")
    (folder / "mute.png").write_bytes(b"")
    arguments = ["--config=configs/base.py", f"--config.data.source={folder}", f"--workdir={tmp_path / 'run'}"]
    done = run(root, *arguments)
    assert done.returncode == 2 and "config.data.min_usable=0.5" in done.stderr and "Traceback" not in done.stderr
    report = json.loads((tmp_path / "run" / "data_report.json").read_text())["splits"]["train"]
    assert (
        report["left_out"] == 7
        and {"file": "broken3.png", "reason": "not a picture that Pillow can read"} in (report["files_left_out"])
    )
    assert not (tmp_path / "run" / "config.json").exists()  # not begun
    # What is in the data is shown all the same.
    sheet = tmp_path / "sheet.png"
    done = run(root, "data", *arguments[:2], f"--out={sheet}")
    assert done.returncode == 0, done.stderr
    assert "left out 7 pictures: not a picture that Pillow can read (6)" in done.stdout
    assert Image.open(sheet).width > 128 and json.loads(sheet.with_suffix(".json").read_text())["splits"]


def test_a_workdir_that_cannot_be_written_is_named(root, tmp_path):
    (tmp_path / "file").write_text("")
    says(run(root, "--config=configs/base.py", f"--workdir={tmp_path / 'file' / 'run'}"), "could not write")


def test_help_lists_the_flags(root):
    done = run(root, "--help")
    assert "--prompt" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
