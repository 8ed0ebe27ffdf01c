"""What `pip install t2igan` brings: everything, no more, and byte for byte the same whenever it is built.

.ci/run installs the wheel for real and trains from it in an empty folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from t2igan import config as config_lib

ROOT = Path(__file__).parents[1]
NEEDED = ("t2igan", "configs", "examples", "pyproject.toml", "README.md", "LICENSE")


def build(source: Path, out: Path) -> Path:
    """Builds the wheel of a source tree with the tools at hand; nothing is downloaded."""
    environ = os.environ | {"SOURCE_DATE_EPOCH": "1750000000"}
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    done = subprocess.run(command, cwd=source, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The wheel, unpacked as pip does."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def test_two_builds_are_the_same_byte_for_byte(wheel, tmp_path):
    """From a copy elsewhere, with other times and other permissions."""
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(tmp_path, tmp_path / "dist")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, again)]
    assert wheel.name == again.name and digests[0] == digests[1]


def test_all_of_the_package_is_in_it_and_nothing_beside(site):
    assert sorted(path.name for path in site.iterdir() if not path.name.endswith(".dist-info")) == ["t2igan"]
    tracked = [path for path in (ROOT / "t2igan").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(tracked) > 150
    for path in tracked:
        assert (site / path.relative_to(ROOT)).read_bytes() == path.read_bytes(), path
    for preset in (ROOT / "configs").glob("*.py"):
        assert (site / "t2igan" / "config" / "presets" / preset.name).read_bytes() == preset.read_bytes()
    for program in (ROOT / "examples").glob("*.py"):
        assert (
            site / "t2igan" / "inference" / "export" / "examples" / program.name
        ).read_bytes() == program.read_bytes()
    assert not list(site.rglob("*.pyc"))


def test_its_metadata_names_the_command_and_the_licence(site):
    (info,) = site.glob("*.dist-info")
    assert "t2igan = t2igan.cli.main:console" in (info / "entry_points.txt").read_text()
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    assert "License-Expression: Apache-2.0" in metadata and "Requires-Python: >=3.11" in metadata
    assert (info / "licenses" / "LICENSE").is_file()


@pytest.mark.slow
def test_from_an_empty_folder_presets_and_data_are_found(site, tmp_path):
    """No `configs` is there, or one that is somebody else's."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('somebody else')\n")
    environ = os.environ | {"PYTHONPATH": str(site)}

    def call(*arguments):
        command = [sys.executable, "-m", "t2igan", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    shown = call("train", "--help")
    assert all(name in shown.stdout for name in config_lib.presets())
    assert str(site / "t2igan" / "config" / "presets" / "base.py") in " ".join(shown.stdout.split())
    found = call("data", "--config=base", "--out=sheet.png")
    assert found.returncode == 0 and "8,000 pixel people" in found.stdout, found.stderr
    assert (tmp_path / "sheet.png").is_file()
    wrong = call("data", "--config=configs/coco64.py")
    assert wrong.returncode == 2 and "did you mean 'coco64'?" in wrong.stderr
