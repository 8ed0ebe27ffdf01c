"""COCO captions in its documented layout (cocodataset.org/#format-data), Karpathy's splits, and broken ones."""

import json
import os
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_archives import COLOURS, config_of, png, skipped

from t2igan.data import list_splits, open_dataset
from t2igan.data.sources import coco
from t2igan.data.sources.coco import Coco, annotations
from t2igan.errors import UserError


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def document(*names, captions=5, first_id=1):
    """What COCO's captions_*.json says of pictures: facts, and captions apart from them in another order."""
    images = [
        {"id": first_id + i, "file_name": name, "height": 8, "width": 8, "license": 3, "coco_url": "http://nowhere"}
        for i, name in enumerate(names)
    ]
    said = [
        {"image_id": image["id"], "id": 100 * i + image["id"], "caption": f"{image['file_name'][:-4]}, caption {i}.\n"}
        for i in range(captions)
        for image in reversed(images)
    ]
    return {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": said}


@pytest.fixture
def folder(tmp_path):
    """The folder as COCO's archives unpack."""
    for split, colours in (("train", ("red", "lime")), ("val", ("blue",))):
        names = [f"{colour}.jpg" for colour in colours]
        write(tmp_path / "annotations" / f"captions_{split}2017.json", document(*names, first_id=len(split)))
        write(tmp_path / "annotations" / f"instances_{split}2017.json", {"images": [], "annotations": []})
        for name, colour in zip(names, colours, strict=True):
            write(tmp_path / f"{split}2017" / name, png(colour))
    return tmp_path


def test_the_folder_of_coco(folder):
    config = config_of(folder, test_split="val", val_split="minival", val_fraction=0.0)
    assert [file.name for file in annotations(folder)] == ["captions_train2017.json", "captions_val2017.json"]
    assert list_splits(config) == ("train", "val")
    train = open_dataset(config, "train")
    assert train.captions == tuple(tuple(f"{c}, caption {i}." for i in range(5)) for c in ("red", "lime"))
    assert [tuple(image[0, 0]) for image in train.images] == [COLOURS["red"], COLOURS["lime"]] and not train.skipped
    assert open_dataset(config, "val").captions[0][4] == "blue, caption 4."
    assert open_dataset(config_of(folder, captions="first"), "train").captions == (
        ("red, caption 0.",),
        ("lime, caption 0.",),
    )
    assert Coco(config, folder).describe() == (
        "COCO: 3 pictures with 15 captions in annotations/captions_train2017.json, annotations/captions_val2017.json"
    )


def test_one_file_is_all_there_is(folder):
    for split, colours in (("train", ["red", "lime"]), ("val", ["blue"])):
        path = folder / "annotations" / f"captions_{split}2017.json"
        assert list_splits(config_of(path)) == ("train",)
        assert [captions[0][:-12] for captions in open_dataset(config_of(path), "train").captions] == colours


@pytest.mark.parametrize("where", ["images", "images/train2017", "train", ".", "annotations", "deep/er"])
def test_where_the_pictures_are(tmp_path, where):
    name = "deep/er/red.png" if where == "deep/er" else "red.png"
    path = write(tmp_path / "annotations" / "captions_train2017.json", document(name))
    write(tmp_path / where / "red.png", png())
    (record,), lost = Coco(config_of(path), path).records(None)
    assert record.file == os.path.normpath(f"{where}/red.png") and not lost
    assert pickle.loads(pickle.dumps(record.image)).read() == png()


def test_splits_of_karpathy(tmp_path):
    images = [
        {
            "filepath": "val2014", "filename": f"{colour}.jpg", "split": split, "cocoid": i, "imgid": i, "sentids": [i],
            "sentences": [{"tokens": ["a", colour], "raw": f"A {colour}.", "imgid": i, "sentid": i}, {"raw": colour}],
        }
        for i, (colour, split) in enumerate([("red", "restval"), ("lime", "train"), ("blue", "test"), ("white", "val")])
    ]  # fmt: skip
    write(tmp_path / "dataset_coco.json", {"images": images, "dataset": "coco"})
    for colour in COLOURS:
        write(tmp_path / "images" / "val2014" / f"{colour}.jpg", png(colour))
    config = config_of(tmp_path)
    assert list_splits(config) == ("train", "test", "val")
    assert open_dataset(config, "train").captions == (("A red.", "red"), ("A lime.", "lime"))
    assert open_dataset(config, "test").captions == (("A blue.", "blue"),)


def test_a_list_as_blip_writes_it(tmp_path):
    rows = [{"caption": "a red one", "image": "x/red.png", "image_id": "coco_1"}]
    rows += [{"caption": "red", "image": "x/red.png"}, {"caption": ["blue", "a blue one"], "image": "x/blue.png"}]
    write(tmp_path / "list.json", rows)
    for colour in ("red", "blue"):
        write(tmp_path / "x" / f"{colour}.png", png(colour))
    dataset = open_dataset(config_of(tmp_path / "list.json"), "train")
    assert dataset.captions == (("a red one", "red"), ("blue", "a blue one"))


def image(**facts):
    """A document of red.png and of one more picture."""
    made = document("red.png", captions=1)
    made["images"].append({"id": 2, "file_name": "blue.png"} | facts)
    made["annotations"].append({"image_id": 2, "caption": "blue"})
    return made


def annotation(**facts):
    """A document of red.png and blue.png, and of a caption of the latter."""
    made = document("red.png", captions=1)
    made["images"].append({"id": 2, "file_name": "blue.png"})
    made["annotations"].append({"image_id": 2, "caption": "blue"} | facts)
    return made


# What the file says, how many of the pictures red and blue can be used, and for which file which reason is given.
CASES = {
    "a picture that is not there": (image(file_name="gone.png"), 1, ("gone.png", "there is no such file")),
    "a file name that climbs": (image(file_name="../blue.png"), 1, ("c.json: image 1", "not inside the folder")),
    "an absolute file name": (image(file_name="/etc/passwd"), 1, ("c.json: image 1", "not inside the folder")),
    "a file name of Windows": (image(file_name="C:\\blue.png"), 1, ("c.json: image 1", "not inside the folder")),
    "a file name with backslashes": (image(file_name=".\\blue.png"), 2, None),
    "a file name that is an address": (image(file_name="https://x/blue.png"), 1, ("c.json: image 1", "an address")),
    "a file name of a folder": (image(file_name="folder"), 1, ("folder", "a folder")),
    "a file name below a file": (image(file_name="red.png/x.png"), 1, ("red.png/x.png", "there is no such file")),
    "a file name of 5,000 letters": (image(file_name="a" * 5000), 1, ("a" * 5000, "ile name too long")),
    "a file name with a zero": (image(file_name="a\0b"), 1, ("c.json: image 1", "not inside the folder")),
    "a file name with a line end": (image(file_name="a\nb.png"), 1, ("a\\nb.png", "there is no such file")),
    "a lone surrogate": (image(file_name="\ud800.png"), 1, ("\\ud800.png", "there is no such file")),
    "a number for a file name": (image(file_name=7), 1, ("c.json: image 1", "no file name")),
    "a picture that is a number": ({"images": [7], "annotations": []}, 0, ("c.json: image 0", "not a JSON object")),
    "a pipe": (image(file_name="pipe"), 1, ("pipe", "a pipe")),
    "a link that leads out": (image(file_name="out"), 1, ("out", "leads out of the folder")),
    "a picture without captions": (annotation(caption=" \n"), 1, ("blue.png", "no caption")),
    "null for a caption": (annotation(caption=None), 1, ("blue.png", "no caption")),
    "a number for a caption": (annotation(caption=7), 1, ("blue.png", "no caption")),
    "a caption of a megabyte": (annotation(caption="word " * 200_000), 2, None),
    "captions of another picture": (annotation(image_id=9), 1, ("c.json: image_id 9", "not in the list")),
    "text for a number": (annotation(image_id="2"), 2, None),
    "a list for a number": (annotation(image_id=[2]), 1, ("blue.png", "no caption")),
    "annotations that are numbers": ({**document("red.png"), "annotations": [1, None]}, 0, ("red.png", "no caption")),
    "one number of two pictures": (image(id=1), 2, ("c.json: image_id 2", "not in the list")),
    "one picture twice": (image(file_name="red.png"), 1, None),
    "not-a-numbers": (json.dumps(image(id=float("nan"))).encode(), 1, ("blue.png", "no caption")),
    "a mark at the start": (b"\xef\xbb\xbf" + json.dumps(image()).encode(), 2, None),
    "UTF-16": (json.dumps(image()).encode("utf-16"), 2, None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_entry_costs_itself(tmp_path, case):
    data, usable, expected = CASES[case]
    root = tmp_path / "data"
    path = write(root / "c.json", data)
    for colour in ("red", "blue"):
        write(root / f"{colour}.png", png(colour))
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    (root / "out").symlink_to(write(tmp_path / "outside.png", png()))
    records, lost = Coco(config_of(path), path).records(None)
    assert len(records) == usable, lost
    if expected:
        assert [s for s in lost if s.file == expected[0] and expected[1] in s.reason], lost
    else:
        assert not lost
    assert all(len(caption) <= 2000 for record in records for caption in record.captions)
    if case == "a link that leads out":
        assert len(Coco(config_of(path, follow_links=True), path).records(None)[0]) == 2


NOT_COCO = {
    "nothing": (b"", "not JSON"),
    "cut off": (json.dumps(document("red.png")).encode()[:-9], "not JSON"),
    "nested without end": (b"[" * 1_000_000, "not JSON that can be read"),
    "a number of 5,000 digits": (b"9" * 5000, "not JSON that can be read"),
    "no pictures": ({"annotations": []}, 'no list of "images"'),
    "pictures that are no list": ({"images": {}}, 'no list of "images"'),
    "annotations that are no list": ({"images": [], "annotations": {}}, '"annotations" are no list'),
    "a number": (b"7", 'no list of "images"'),
    "another file": (png(), "not JSON"),
}


@pytest.mark.parametrize("case", NOT_COCO)
def test_what_is_not_coco_is_said(folder, case):
    data, reason = NOT_COCO[case]
    path = write(folder / "annotations" / "captions_train2017.json", data)
    with pytest.raises(UserError, match=rf"captions_train2017\.json cannot be read as COCO captions: .*{reason}"):
        Coco(config_of(path), path).splits()
    # Beside a good one it costs no more than itself.
    source = Coco(config_of(folder), folder)
    (record,), (lost,) = source.records("val")[0], source.records("train")[1]
    assert record.file == "val2017/blue.jpg" and lost.file == "annotations/captions_train2017.json"


def test_files_that_are_too_big_or_none(folder, monkeypatch):
    path = folder / "annotations" / "captions_val2017.json"
    monkeypatch.setattr(coco, "MAX_JSON_BYTES", 100)
    with pytest.raises(UserError, match=r"too big: .* 100 are accepted"):
        Coco(config_of(path), path).splits()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="a pipe"):
        Coco(config_of(path), path).splits()
    assert annotations(folder / "train2017") == []


def test_captions_in_a_field_of_ones_own(folder):
    path = write(folder / "c.json", [{"file": "train2017/red.jpg", "de": "rot"}, {"file": "train2017/lime.jpg"}])
    dataset = open_dataset(config_of(path, caption_field="de"), "train")
    assert dataset.captions == (("rot",),) and "caption_field" not in skipped(dataset)["train2017/lime.jpg"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("red.png"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "image_id", "file_name", "caption", "sentences", "raw", "split"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images=st.lists(JSON, max_size=4), said=st.lists(JSON, max_size=4))
def test_any_entries(tmp_path, images, said):
    write(tmp_path / "red.png", png())
    path = write(tmp_path / "c.json", {"images": images, "annotations": said})
    records, lost = Coco(config_of(path), path).records(None)
    assert all(record.image.read() == png() and record.captions for record in records)
    assert all(one.file.isprintable() and one.reason for one in lost)
