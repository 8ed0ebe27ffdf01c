"""Pictures in bulk: shards of a file of prompts, whole or not at all, and what reads them."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from served import PROMPTS, run_folder

import t2igan
from t2igan.cli import sample
from t2igan.cli.parse import parse
from t2igan.errors import UserError
from t2igan.inference import shards
from t2igan.inference.provenance import PNG_KEY
from t2igan.inference.shards import Shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def model(folder):
    return t2igan.load(folder)


@pytest.fixture
def draw(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(t2igan, "load", lambda *_: model)  # compiled once
    (tmp_path / "prompts.txt").write_text("\n".join([*PROMPTS, "", "a Zep", "green cap"]) + "\n", encoding="utf-8")

    def run(shard, **more):
        given = {"workdir": folder, "prompts": tmp_path / "prompts.txt", "out": tmp_path / "shards", "num": 2} | more
        arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
        sample.run(parse(sample.VERB, [f"--shard={shard}", *arguments]))
        return tmp_path / "shards" / Shard.parse(shard).name

    return run


def contents(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_all_shards_together_have_each_row_once():
    for total in (0, 1, 7, 100):
        rows = [row for number in range(9) for row in Shard(number, 9).rows(total)]
        assert rows == list(range(total))
    for wrong in ("3", "3/3", "-1/3", "0/0", "a/b", "1/2/3"):
        with pytest.raises(UserError, match="I/N"):
            Shard.parse(wrong)


def test_pictures_of_shards_are_those_of_python(draw, model):
    files = contents(draw("0/2")) | contents(draw("1/2"))
    prompts = [*PROMPTS, "a Zep", "green cap"]
    assert sorted(files) == [f"{i:09d}.{kind}" for i in range(10) for kind in ("json", "png")]
    wanted = model.sample([prompt for prompt in prompts for _ in range(2)], seed=[0, 1] * 5)
    for i, image in enumerate(wanted):
        facts = json.loads(files[f"{i:09d}.json"])
        assert (facts["prompt"], facts["seed"], facts["model"]) == (prompts[i // 2], i % 2, model.digest)
        picture = Image.open(io.BytesIO(files[f"{i:09d}.png"]))
        assert np.abs(np.asarray(picture).astype(int) - image).max() <= 1  # in another compiled size
        assert json.loads(picture.text[PNG_KEY]) == facts


def test_webdataset_reads_shards(draw):
    webdataset = pytest.importorskip("webdataset")
    paths = [str(draw("0/2")), str(draw("1/2"))]
    rows = list(webdataset.WebDataset(paths, shardshuffle=False).decode("rgb8").to_tuple("png", "json"))
    assert len(rows) == 10 and rows[9][0].shape == (16, 16, 3) and rows[9][1]["prompt"] == "green cap"


def test_the_same_command_draws_only_what_is_not_there_and_the_same_bytes(draw, monkeypatch, capsys):
    path = draw("1/3")
    before = path.read_bytes()
    written = path.stat().st_mtime_ns
    draw("1/3")
    assert path.stat().st_mtime_ns == written and "there already" in capsys.readouterr().out
    path.unlink()
    add, count = shards._add, []

    def fails(*arguments):
        count.append(1)
        if len(count) == 3:
            raise OSError(28, "No space left on device")
        add(*arguments)

    monkeypatch.setattr(shards, "_add", fails)
    with pytest.raises(UserError, match="No space left"):
        draw("1/3")
    assert [file.name for file in path.parent.iterdir()] == [shards.ABOUT_NAME]  # whole, or not at all
    assert draw("1/3").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"num": 3}, "num is 2 there and 3 here"),
        ({"truncation": 0.5}, "truncation is 1.0 there"),
        ({"shard": "0/4"}, "shards is 3 there and 4 here"),
    ],
)
def test_a_folder_has_shards_of_one_work(draw, given, words):
    draw("0/3")
    with pytest.raises(UserError, match=words):
        draw(**{"shard": "1/3"} | given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompts": None}, "--prompts=FILE"),
        ({"prompt": "a"}, "no --prompt"),
        ({"out": "a.png"}, "--out=FOLDER"),
        ({"out": None}, "--out=FOLDER"),
        ({"scale": -1}, "--scale=-1"),
        ({"prompts": "nowhere.txt"}, "cannot be read"),
        ({"guidance": 2}, "guidance"),
    ],
)
def test_what_makes_no_shard_is_refused(draw, given, words):
    with pytest.raises(UserError, match=words):
        draw("0/2", **given)


def test_a_prompt_that_cannot_be_drawn_is_found_before_anything_is(draw, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cap\n(a cap:1,3)\n", encoding="utf-8")
    with pytest.raises(UserError, match="no number"):
        draw("0/1")
    assert not list((tmp_path / "shards").glob("*.tar"))
