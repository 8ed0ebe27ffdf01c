"""Folders and Parquet files of all kinds that users have."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data import list_splits, open_dataset
from t2igan.errors import UserError


def draw(path, colour="red", size=(10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def config_of(path, **changes):
    config = get_config().data
    config.source = str(path)
    config.test_fraction = 0.0
    config.update(changes)
    return config


def skipped(dataset):
    return {s.file: s.reason for s in dataset.skipped}


def test_text_beside_pictures(tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a red square\n\n  a square,   red \n")
    draw(tmp_path / "deep" / "er" / "B.JPG")
    (tmp_path / "deep" / "er" / "b.TXT").write_bytes("\ufeffein rotes Quadrat, schön".encode())
    draw(tmp_path / "c.webp")
    draw(tmp_path / "d.gif")
    (tmp_path / "d.txt").write_text(" \n")
    (tmp_path / "e.png").write_bytes(b"nonsense")
    (tmp_path / "e.txt").write_text("nothing to see")
    draw(tmp_path / ".hidden" / "x.png")
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("not a caption of anything")
    dataset = open_dataset(config_of(tmp_path), "train")
    assert dataset.captions == (("a red square", "a square, red"), ("ein rotes Quadrat, schön",))
    assert dataset.attributes is None and dataset.images.shape == (2, 16, 16, 3)
    reasons = skipped(dataset)
    assert set(reasons) == {"c.webp", "d.gif", "e.png"}
    assert reasons["c.webp"].startswith("no caption") and "Pillow" in reasons["e.png"]


def test_metadata_jsonl(tmp_path):
    for name in ("a.png", "sub/b.png", "c.png", "d.png"):
        draw(tmp_path / name)
    rows = [
        {"file_name": "a.png", "text": ["one", "two", " one "], "attributes": {"shape": "square", "n": 2}},
        {"file_name": "sub/b.png", "caption": "b", "attributes": '{"shape": "round", "x": null}'},
        {"file_name": "../../etc/passwd.png", "text": "out"},
        {"file_name": "/etc/passwd", "text": "out"},
        {"file_name": "C:\\x.png", "text": "out"},
        {"file_name": "sub\\..\\c.png", "text": "lone \ud83d surrogate"},
        {"file_name": "gone.png", "text": "gone"},
        {"text": "no file"},
        {"file_name": "d.png"},
    ]
    lines = [json.dumps(row) for row in rows] + ["{not json", "[1]", ""]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    dataset = open_dataset(config_of(tmp_path), "train")
    assert dataset.captions == (("one", "two"), ("lone ? surrogate",), ("b",))
    assert dataset.attributes == ({"shape": "square", "n": "2"}, {}, {"shape": "round"})
    assert dataset.fingerprint()
    reasons = skipped(dataset)
    assert len(reasons) == 8
    for line in (3, 4, 5):
        assert "is not inside the folder" in reasons[f"metadata.jsonl:{line}"]
    assert reasons["gone.png"] == "there is no such file"
    assert reasons["d.png"].startswith("no caption: its row has 'file_name'")
    assert reasons["metadata.jsonl:10"].startswith("not JSON")


def test_metadata_csv_with_splits_and_a_field_of_choice(tmp_path):
    for i in range(4):
        draw(tmp_path / f"{i}.png", size=(20, 10 + i))
    (tmp_path / "metadata.csv").write_text(
        '\ufefffile_name,prompt_en,split\n0.png,"zero, with comma",train\n0.png,nought,train\n'
        "1.png,one,validation\n2.png,two,\n3.png,,train\n",
        encoding="utf-8",
    )
    config = config_of(tmp_path, caption_field="prompt_en", test_split="validation")
    assert list_splits(config) == ("train", "validation")
    train = open_dataset(config, "train")
    assert train.captions == (("zero, with comma", "nought"), ("two",)) and set(skipped(train)) == {"3.png"}
    assert open_dataset(config, "validation").captions == (("one",),)
    with pytest.raises(UserError, match=r"no column 'prompt_de'; it has file_name, prompt_en, split"):
        open_dataset(config_of(tmp_path, caption_field="prompt_de"), "train")
    (tmp_path / "metadata.csv").write_text("path,text\n0.png,x\n")
    with pytest.raises(UserError, match="no column 'file_name'; it has path, text"):
        open_dataset(config_of(tmp_path), "train")


def test_labels_stand_in_for_captions(tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,T-shirt/top\n")
    dataset = open_dataset(config_of(tmp_path, caption_templates=("a {label}", "some {label}")), "train")
    assert dataset.captions == (("a t-shirt or top", "some t-shirt or top"),)
    assert dataset.attributes == ({"label": "t-shirt or top"},)


def test_folders_that_are_splits(tmp_path):
    draw(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "in train"}')
    draw(tmp_path / "test" / "b.png")
    (tmp_path / "test" / "b.txt").write_text("in test")
    draw(tmp_path / "test" / "c.png")
    config = config_of(tmp_path, test_fraction=0.5)
    assert list_splits(config) == ("train", "test")
    assert open_dataset(config, "train").captions == (("in train",),)
    test = open_dataset(config, "test")
    assert test.captions == (("in test",),) and set(skipped(test)) == {"test/c.png"}
    # "test" is a split only beside a folder for training.
    (tmp_path / "train").rename(tmp_path / "trees")
    assert list_splits(config_of(tmp_path)) == ("train",)


def test_a_typing_slip_does_not_make_a_split(tmp_path):
    for split in ("train", "validation"):
        draw(tmp_path / split / "a.png")
        (tmp_path / split / "a.txt").write_text(split)
    with pytest.raises(UserError, match=r"no split 'test'\.\nThere are: train, validation"):
        open_dataset(config_of(tmp_path, test_fraction=0.5), "test")


def test_held_out_by_name(tmp_path):
    for i in range(40):
        draw(tmp_path / f"{i}.png", (i, i, i))
        (tmp_path / f"{i}.txt").write_text(f"number {i}")
    config = config_of(tmp_path, test_fraction=0.25)
    assert list_splits(config) == ("train", "test")
    before = {s: {c[0] for c in open_dataset(config, s).captions} for s in ("train", "test")}
    assert len(before["train"] | before["test"]) == 40 and not before["train"] & before["test"]
    draw(tmp_path / "new.png")
    (tmp_path / "new.txt").write_text("new")
    after = {s: {c[0] for c in open_dataset(config, s).captions} for s in ("train", "test")}
    assert before["train"] <= after["train"] and before["test"] <= after["test"]


def test_nothing_usable_says_why(tmp_path):
    with pytest.raises(UserError, match="there is no picture"):
        open_dataset(config_of(tmp_path), "train")
    draw(tmp_path / "a.png")
    with pytest.raises(UserError, match="1 pictures, and not one has a caption"):
        open_dataset(config_of(tmp_path), "train")
    (tmp_path / "a.png").write_bytes(b"broken")
    (tmp_path / "a.txt").write_text("broken")
    with pytest.raises(UserError, match=r"not one of 1 pictures can be used.\nFirst: a.png. Reasons: not a pic"):
        open_dataset(config_of(tmp_path), "train")
    with pytest.raises(UserError, match=r"is not a folder or a \.parquet file"):
        open_dataset(config_of(tmp_path / "a.txt"), "train")


# Parquet


def encoded(colour):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


def write_table(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_with_splits_and_attributes(tmp_path):
    path = write_table(
        tmp_path / "x.parquet",
        image=[{"bytes": encoded(c), "path": f"{c}.png"} for c in ("red", "lime", "blue")]
        + [{"bytes": None, "path": "../up.png"}, {"bytes": b"x", "path": "broken.png"}],
        text=["red", "green", "blue", "out", "broken"],
        attributes=['{"c": "r", "tags": ["x"], "n": null}', None, "{}", None, "not json"],
        split=["train", "test", "train", "train", "train"],
    )
    config = config_of(path)
    assert list_splits(config) == ("train", "test")
    train = open_dataset(config, "train")
    assert train.captions == (("red",), ("blue",)) and train.attributes == ({"c": "r"}, {})
    assert set(skipped(train)) == {"../up.png", "broken.png"}
    np.testing.assert_array_equal(train.images[:, 0, 0], [(255, 0, 0), (0, 0, 255)])
    assert open_dataset(config, "test").captions == (("green",),)


def test_a_folder_of_parquet_files(tmp_path):
    for split, colours in (("train", ["red", "blue"]), ("test", ["lime"])):
        write_table(
            tmp_path / "data" / f"{split}-00000-of-00001.parquet",
            image=[{"bytes": encoded(c), "path": None} for c in colours],
            captions=[[c, f"some {c}"] for c in colours],
        )
    config = config_of(tmp_path)
    assert list_splits(config) == ("train", "test")
    assert open_dataset(config, "train").captions == (("red", "some red"), ("blue", "some blue"))


def test_parquet_that_cannot_be_used(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        open_dataset(config_of(tmp_path / "x.parquet"), "train")
    write_table(tmp_path / "x.parquet", pixels=[1], text=["x"])
    with pytest.raises(UserError, match="no column of pictures; it has 'pixels', 'text'"):
        open_dataset(config_of(tmp_path / "x.parquet"), "train")
