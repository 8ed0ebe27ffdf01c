"""The layouts of captioned collections that people have open with the right captions; each kind by several members."""

import numpy as np
import pytest
from layouts import SUFFIXES, captions_of, config_of, in_file, lay_out, reasons_of, source_of, unread_of

from t2igan.data.sources.folders import Folders, is_place, splits_among
from t2igan.data.sources.nearby import parallel
from t2igan.data.sources.several import parts_of

CAT, DOG = "a cat on a mat", "a dog, in the rain"
BOTH = {"1.png": None, "2.png": None}


def said_in(files):
    """The captions that each picture is to have: all say which picture they are of."""
    return {name: said for name, said in files.items() if name.endswith(SUFFIXES)}


def check(root, files, **changes):
    """Lays out files of which the pictures' values are their captions, and compares what opens with these."""
    expected = {name: (said,) if isinstance(said, str) else said for name, said in said_in(files).items()}
    lay_out(root, {name: None if name in expected else content for name, content in files.items()})
    assert captions_of(root, **changes) == expected


# Texts in folders parallel to those of the pictures

PARALLEL = {
    "CUB's, one caption a line": {
        "images/001.a/x_1.jpg": (CAT, "it sits"), "images/002.b/x_2.jpg": DOG,
        "text/001.a/x_1.txt": f"{CAT}\nit sits\n", "text/002.b/x_2.txt": DOG,
    },
    "captions beside images": {
        "images/1.png": CAT, "images/2.png": DOG, "captions/1.txt": CAT, "captions/2.txt": DOG,
    },
    "another kind of folder, in capitals, deeper": {
        "data/JPEGImages/a/1.png": CAT, "data/JPEGImages/b/1.png": DOG,
        "data/Labels/a/1.txt": CAT, "data/Labels/b/1.txt": DOG,
    },
    "a split above": {
        "train/img/1.png": CAT, "test/img/1.png": DOG, "train/texts/1.txt": CAT, "test/texts/1.txt": DOG,
    },
    "a split below": {
        "images/train/1.png": CAT, "images/val/1.png": DOG, "captions/train/1.txt": CAT, "captions/val/1.txt": DOG,
    },
    "words for the kind in the names": {
        "imgs/image_01.png": CAT, "imgs/image_02.png": DOG,
        "prompts/prompt_01.txt": CAT, "prompts/prompt_02.txt": DOG,
    },
    "names of pictures in the names": {
        "photos/1.png": CAT, "notes/1.png.txt": CAT, "photos/2.png": DOG, "notes/2.png.txt": DOG,
    },
    "a word behind the name": {"1.png": CAT, "2.png": DOG, "1_caption.txt": CAT, "2.caption.txt": DOG},
    "JSON": {
        "images/1.png": CAT, "images/2.png": DOG,
        "annotations/1.json": {"Caption": CAT}, "annotations/2.json": {"Caption": DOG},
    },
    "a folder a picture": {
        "1/image.png": CAT, "2/image.png": DOG, "1/caption.txt": CAT, "2/meta.json": {"text": DOG},
    },
    "only the names are the same": {"pics/cats/1.png": CAT, "pics/dogs/2.png": DOG, "t/1.txt": CAT, "t/2.txt": DOG},
}  # fmt: skip


@pytest.mark.parametrize("kind", PARALLEL)
def test_parallel_folders(tmp_path, kind):
    check(tmp_path, PARALLEL[kind])


def test_parallel_texts_that_are_not_clear(tmp_path):
    lay_out(tmp_path, {"a/1.png": None, "b/1.png": None, "c/1.txt": CAT, "d/2.png": None, "c/2.txt": DOG})
    assert captions_of(tmp_path) == {"d/2.png": (DOG,)}
    assert "it might belong to 'a/1.png', 'b/1.png'" in unread_of(tmp_path)["c/1.txt"]


def test_masks_have_no_captions_of_their_own(tmp_path):
    lay_out(tmp_path, {"images/1.png": None, "masks/1.png": None, "captions/1.txt": CAT})
    assert captions_of(tmp_path) == {"images/1.png": (CAT,)} and not reasons_of(tmp_path)
    assert "masks/1.png" in unread_of(tmp_path)


PAIRS = {
    "rows of JSON": ("metadata7.jsonl", '{{"caption": "{0}", "image": "images/{1}.png", "padded": "more/{1}.png"}}\n'),
    "a table": ("metadata.csv", 'images/{1}.png,"{0}",more/{1}.png\n'),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_pictures_that_a_list_names_beside_others_have_no_captions_of_their_own(tmp_path, kind):
    name, row = PAIRS[kind]
    lay_out(tmp_path, {f"{folder}/{i}.png": None for folder in ("images", "more") for i in range(3)})
    header = "file_name,text,conditioning_image\n" if name.endswith(".csv") else ""
    rows = "".join(row.format(*pair) for pair in [(CAT, 0), (DOG, 1)])
    (tmp_path / name).write_text(header + rows)
    assert captions_of(tmp_path) == {"images/0.png": (CAT,), "images/1.png": (DOG,)}
    assert set(reasons_of(tmp_path)) == {"images/2.png", "more/2.png"}  # which no row names
    assert "beside another picture" in unread_of(tmp_path)["more/0.png"]


@pytest.mark.parametrize("folder", ["labels", "."])
def test_boxes_are_no_captions(tmp_path, folder):
    lay_out(tmp_path, {"images/1.jpg": None, "images/2.jpg": None})
    where = tmp_path / ("images" if folder == "." else folder)
    where.mkdir(exist_ok=True)
    for name in ("1", "2"):
        (where / f"{name}.txt").write_text("0 0.5 0.5 0.1 0.2\n3 .1 .2 1e-1 4")
    assert not captions_of(tmp_path)
    assert all(reason.endswith("has numbers only") for reason in reasons_of(tmp_path).values())


def test_parallel_needs_the_same_folders():
    pictures = ["x/images/1.png", "y/images/1.png", "masks/2.png", "img/2.png", "z/3.png"]
    found, unclear = parallel(pictures, ["x/text/1.txt", "w/text/1.txt", "txt/2.txt", "3.txt"])
    assert found == {"x/images/1.png": ["x/text/1.txt"], "img/2.png": ["txt/2.txt"], "z/3.png": ["3.txt"]}
    assert list(unclear) == ["w/text/1.txt"]


# What folders stand for


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["Train", "Val"], ["train", "val"]),
        (["training_set", "test_set"], ["training", "test"]),
        (["train2017", "val2017"], ["train", "val"]),
        (["seg_train", "seg_test", "seg_pred"], ["train", "test", None]),
        (["trainset", "testset"], ["train", "test"]),
        (["DIV2K_train_HR", "DIV2K_valid_HR"], ["train", "valid"]),
        (["train", "airplane", "car"], [None, None, None]),  # a class
        (["train station", "test tube"], [None, None]),
        (["test", "dev"], [None, None]),
    ],
)
def test_splits_by_names_of_folders(tmp_path, names, splits):
    found = splits_among(names, config_of(tmp_path))
    assert [found.get(name) for name in names] == splits


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["001.Black_footed/1.png", "002.Laysan/2.png"], ["Black_footed", "Laysan"]),
        (["1_cat/1.png", "2_dog/2.png", "3_owl/2.png"], ["cat", "dog", "owl"]),
        (["10_sks cat/1.png"], ["sks cat"]),
        (["10_cat/1.png", "dog/2.png"], ["cat", "dog"]),
        (["3_wheeler/1.png", "car/2.png", "bus/3.png"], ["3_wheeler", "car", "bus"]),
        (["cat/images/1.png", "dog/images/2.png"], ["cat", "dog"]),
        (["cat/train/1.png", "cat/test/2.png", "dog/train/1.png"], ["cat", "cat", "dog"]),
        (["0/1.png", "1/2.png"], []),
        (["00000/1.png", "00001/2.png"], []),
        (["images/1.png", "padded_images/2.png"], []),
        (["batch_1/1.png", "batch_2/2.png"], []),
        (["n01440764/1.png", "n01443537/2.png"], []),
        (["256x256/1.png", "512x512/1.png"], []),
        (["cat/1.png", "dog/2.png", "images/3.png"], ["cat", "dog"]),
        (["mask/1.png", "hat/2.png"], ["mask", "hat"]),
        (["airplane/1.png", "train/2.png", "car/3.png"], ["airplane", "train", "car"]),
    ],
)
def test_classes_by_names_of_folders(tmp_path, names, labels):
    assert list(Folders(names, config_of(tmp_path)).labels().values()) == labels


@pytest.mark.parametrize("name", ["7", "00012", "2024-01-01", "imgs", "New folder (2)", "a1b2c3d4e5", "train_images"])
def test_places(name):
    assert is_place(name)
    assert not is_place(f"{name} of cats")


@pytest.mark.parametrize("with_texts", [False, True])
@pytest.mark.parametrize("above", ["", "img/"])
def test_repeats_of_kohya(tmp_path, with_texts, above):
    files = dict.fromkeys([f"{above}10_sks cat/1.png", f"{above}2_dog/2.png"])
    texts = {f"{above}10_sks cat/1.txt": CAT, f"{above}2_dog/2.txt": DOG} if with_texts else {}
    lay_out(tmp_path, files | texts)
    records, _ = source_of(tmp_path).records(None)
    said = [(CAT,), (DOG,)] if with_texts else [("a picture of sks cat",), ("a picture of dog",)]
    assert [(record.captions, record.repeats) for record in records] == list(zip(said, (10, 2), strict=True))
    assert "drawn repeatedly: '10_sks cat' 10 times, '2_dog' 2 times" in source_of(tmp_path).notes()


# Archives


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize(
    "files",
    [
        {"images.{0}": BOTH, "metadata.jsonl": [{"file": "1.png", "text": CAT}, {"file": "2.png", "text": DOG}]},
        {"images.{0}": {"img/1.png": None, "img/2.png": None}, "captions.{0}": {"1.txt": CAT, "2.txt": DOG}},
        {"images.{0}": {"cat/1.png": None, "dog/2.png": None}, "captions.json": {"1.png": CAT, "2.png": DOG}},
        {"images.{0}": BOTH, "text/1.txt": CAT, "text/2.txt": DOG},
        {"a.{0}": {"x/1.png": None, "x/2.png": None, "dataset.json": {"labels": [["x/1.png", CAT], ["x/2.png", DOG]]}}},
    ],
)  # fmt: skip
def test_captions_beside_archives(tmp_path, suffix, files):
    lay_out(tmp_path, {name.format(suffix): in_file(name, content) for name, content in files.items()})
    assert sorted(captions_of(tmp_path).values()) == [(CAT,), (DOG,)]
    lists = [name for name in files if name.startswith(("metadata", "captions.json"))]
    for name in lists:
        assert sorted(captions_of(tmp_path / name).values()) == [(CAT,), (DOG,)]


def test_texts_in_an_archive_beside_pictures(tmp_path):
    lay_out(tmp_path, {"a/1.png": None, "b/2.png": None, "text.zip": {"text/a/1.txt": CAT, "text/b/2.txt": DOG}})
    assert captions_of(tmp_path) == {"a/1.png": (CAT,), "b/2.png": (DOG,)}


def test_npz_in_a_folder(tmp_path):
    for split, captions in (("train", [CAT, DOG]), ("test", ["x"])):
        images = np.zeros((len(captions), 4, 4, 3), np.uint8)
        np.savez(tmp_path / f"{split}.npz", images=images, captions=np.array(captions, str))
    assert source_of(tmp_path).splits() == ("train", "test")
    assert list(captions_of(tmp_path, "train").values()) == [(CAT,), (DOG,)]
    (tmp_path / "test.npz").unlink()
    assert list(captions_of(tmp_path).values()) == [(CAT,), (DOG,)]


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("colours:100", None),  # a registered name with a number of its own
        ("colours:100,birds:2", [("colours:100", 1), ("birds", 2)]),
        ("tfds:mnist:2,birds", [("tfds:mnist", 2), ("birds", 1)]),
        ("pets:2", [("pets", 2)]),
    ],
)
def test_a_number_in_the_name_of_a_format_is_no_repeat(source, parts):
    assert parts_of(source, lambda name: name.startswith(("colours:", "tfds:"))) == parts
