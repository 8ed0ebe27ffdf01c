"""Captions are never replaced silently: what lies unread is named, and reasons say which file is to blame."""

import json

import numpy as np
import pytest
from layouts import captions_of, config_of, lay_out, reasons_of, source_of, unread_of

from t2igan.data import Batches, Dataset, Skipped, list_splits, open_dataset, open_datasets
from t2igan.data.reasons import reasons
from t2igan.data.settings import check_data
from t2igan.data.sources.file_names import caption_in_name
from t2igan.data.sources.several import parts_of
from t2igan.data.summary import as_json, lines, unread
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError

CAT, DOG = "a cat on a mat", "a dog in the rain"
CLASSES = {f"{label}/{i}.png": None for label in ("cats", "dogs") for i in range(4)}
ORPHANS = {f"docs/item-{i}-x.txt": f"this is text number {i}" for i in range(8)}

# What lies beside folders that could be classes, and the file that has to be named.
EVIDENT = {
    "texts of other names": (ORPHANS, "docs/item-0-x.txt"),
    "a spreadsheet": ({"captions.xlsx": b"PK"}, "captions.xlsx"),
    "pickled captions": ({"annotations.pkl": b"\x80"}, "annotations.pkl"),
    "a table with an unknown column": (
        {"data.csv": "file,photographer,blurb\n0.png,Jo Doe,a fine day\n" + "cats/1.png,Jo Doe,two cats\n"},
        "data.csv",
    ),
    "a table of other pictures": ({"data.csv": f"file_name,text\nx/0001.png,{CAT}\n"}, "data.csv"),
    "JSON of other pictures": ({"x.json": [{"file_name": "x/0001.png", "text": CAT}]}, "x.json"),
    "captions without names": ({"captions.txt": f"{CAT}\n{DOG}\n"}, "captions.txt"),
    "captions in broken JSON": ({"captions.json": '{"0.png": "a cat'}, "captions.json"),
    "an archive that cannot be opened": ({"captions.tgz": b"no archive"}, "captions.tgz"),
    "an archive of an unknown kind": ({"text.7z": b"7z"}, "text.7z"),
}
# What lies there too and is no reason to doubt that folders are classes.
HARMLESS = {
    "texts about the set": {"README.txt": "about these", "LICENSE.txt": "free to use", "classes.txt": "a b\nc d"},
    "facts of Kaggle": {"dataset-metadata.json": {"title": "Cats and dogs", "licenses": [{"name": "CC0"}]}},
    "boxes": {"boxes.csv": "image,x,y\n" + "".join(f"{name},1,2\n" for name in CLASSES)},
    "a log": {"results.csv": "epoch,loss\n1,2.0\n"},
    "lists of splits": {"train_list.txt": "cats/0.png\ndogs/1.png\n"},
    "CUB's tables": {"images.txt": "".join(f"{i} {name}\n" for i, name in enumerate(CLASSES)), "sizes.txt": "1 2 3\n"},
    "other archives": {"backup.zip": {"cats/0.png": None}, "weights.7z": b"7z"},
}  # fmt: skip


@pytest.mark.parametrize("kind", EVIDENT)
def test_folders_do_not_stand_in_for_captions(tmp_path, kind):
    files, named = EVIDENT[kind]
    lay_out(tmp_path, CLASSES | files)
    with pytest.raises(UserError, match="captions seem to be in ") as error:
        open_dataset(config_of(tmp_path), "train")
    assert named in str(error.value) and 'folder_labels="use"' in str(error.value)
    assert len(str(error.value).splitlines()) == 2
    said = captions_of(tmp_path, folder_labels="use")
    assert len(said) == len(CLASSES) and said["cats/0.png"] == ("a picture of cats",)
    assert named in unread_of(tmp_path, folder_labels="use")
    with pytest.raises(UserError, match="not one has a caption") as error:
        open_dataset(config_of(tmp_path, folder_labels="ignore"), "train")
    assert named.rpartition("/")[0] in str(error.value)


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_has_no_captions_does_not_disturb_classes(tmp_path, kind):
    lay_out(tmp_path, CLASSES | HARMLESS[kind])
    assert captions_of(tmp_path)["dogs/3.png"] == ("a picture of dogs",)
    assert any("names of folders" in note for note in source_of(tmp_path).notes())


@pytest.mark.parametrize("names", [("0", "1"), ("00000", "00001"), ("images", "padded_images"), ("part1", "part2")])
def test_places_are_no_captions(tmp_path, names):
    lay_out(tmp_path, {f"{name}/{i}.png": None for name in names for i in range(2)})
    with pytest.raises(UserError, match=r"not one has a caption(.|\n)*the name of its folder says nothing"):
        open_dataset(config_of(tmp_path), "train")
    with pytest.raises(UserError, match="not one has a caption"):
        open_dataset(config_of(tmp_path, folder_labels="use"), "train")


def test_a_few_texts_among_classes(tmp_path):
    lay_out(tmp_path, CLASSES | {"cats/0.txt": CAT})
    assert captions_of(tmp_path) == {"cats/0.png": (CAT,)}
    assert all('folder_labels="use"' in reason for reason in reasons_of(tmp_path).values())
    assert len(captions_of(tmp_path, folder_labels="use")) == len(CLASSES)


def test_what_is_unread_is_counted_and_named(tmp_path):
    lay_out(tmp_path, {"1.png": None, "1.txt": CAT, "index.csv": "file_name,text\n1.png,x\n", "notes.txt": "x y"})
    lay_out(tmp_path, {f"texts/{i}-of-none.txt": "some words" for i in range(5)})
    dataset = open_dataset(config_of(tmp_path), "train")
    assert dataset.captions == ((CAT,),) and not dataset.skipped
    said = unread(dataset)
    assert said.startswith("not read: ") and "and 4 more" in said and "index.csv (not needed" in said
    report = as_json([dataset])
    assert {"texts/0-of-none.txt", "index.csv"} <= {entry["file"] for entry in report["not_read"]}
    assert json.loads(json.dumps(report)) == report


# Reasons


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"metadata.csv": "file_name,blurb\n1.png,a b\n"}, ["has 'file_name', 'blurb' (1)", "caption_field=NAME"]),
        ({"metadata.csv": "file_name,text\n"}, ["metadata.csv (it has no rows)"]),
        ({"1.json": {"width": 3}}, ["NAME.json has 'width'", "caption_field=NAME"]),
        ({"1.txt": " \n"}, ["NAME.txt has none"]),
        ({"captions.txt": "one\ntwo\n"}, ["captions.txt"]),
        ({"list.json": [{"image": "1.png", "x": "some words"}]}, ["list.json", "'image', 'x'"]),
    ],
)  # fmt: skip
def test_the_true_reason_is_said(tmp_path, files, words):
    lay_out(tmp_path, {"1.png": None} | files)
    with pytest.raises(UserError, match="1 picture, and not one has a caption: ") as error:
        open_dataset(config_of(tmp_path), "train")
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", ["x.tar", "x.zip", "."])
def test_without_pictures_the_kinds_of_files_are_said(tmp_path, name):
    members = {"1.img": b"x", "1.cap": CAT, "2.img": b"x"}
    lay_out(tmp_path, members if name == "." else {name: members})
    with pytest.raises(UserError, match=r"there is no picture \(what lies there: 2 \.img, 1 \.cap\)"):
        open_dataset(config_of(tmp_path / name), "train")


def test_reasons_that_differ_in_names_are_one():
    left_out = [Skipped(f"images/{i}.png", f"no caption: text/{i}.txt has none") for i in range(3)]
    left_out += [Skipped(f"m.csv:{i}", f"file name '../{i}.png' is not inside the folder") for i in range(2)]
    left_out += [Skipped(f"{i}.png", f"broken {i}") for i in "abcde"]
    assert reasons(left_out, shown=2) == (
        "no caption: NAME.txt has none (3); file name NAME is not inside the folder (2); and 5 reasons more"
    )


def test_pictures_in_several_formats_are_noted(tmp_path):
    lay_out(tmp_path, {"a.png": None, "a.jpg": None, "a.webp": None, "a.txt": CAT})
    assert captions_of(tmp_path) == dict.fromkeys(("a.jpg", "a.png", "a.webp"), (CAT,))
    assert any("a.jpg, a.png, a.webp" in note for note in source_of(tmp_path).notes())


# What the crop cuts off


@pytest.mark.parametrize(
    ("sizes", "words", "advised"),
    [
        ([(64, 64)] * 4, "", False),
        ([(64, 64)] * 3 + [(65, 64)], "", False),
        ([(100, 90)] * 4, "4 (100%) are not square: the crop cuts off 10% of them (median; 10% at most)", False),
        ([(40, 64)] * 2 + [(64, 64)] * 2, "2 (50%) are not square: the crop cuts off 38% of them", True),
        ([(10, 40)], "1 are more than twice as long as wide, 1 lose more than 20%", True),
    ],
)
@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_what_the_crop_cuts_off(sizes, words, advised, resize):
    from configs.base import get_config

    config = get_config()
    config.data.update({"resize": resize})
    images = np.zeros((len(sizes), 4, 4, 3), np.uint8)
    dataset = Dataset("x", "train", images, ((CAT,),) * len(sizes), sizes=np.array(sizes, np.int32))
    text = "\n".join(lines([dataset], config.data, config.tokenizer))
    assert (words in text if resize == "crop" else "not square" not in text) and ("not square" in text) <= bool(words)
    assert ('resize="pad"' in text) == (advised and resize == "crop")


# Captions in the names of files


@pytest.mark.parametrize(
    ("template", "name", "caption", "attributes"),
    [
        ("{caption}_{}", "x/a_red_circle_0001.png", "a red circle", {}),
        ("{caption} ({})", "a red circle (12).jpg", "a red circle", {}),
        ("{}-{caption}", "0001-a-red-circle.webp", "a red circle", {}),
        ("{caption}", "a%20caf%C3%A9.png", "a café", {}),
        ("{hat}__{caption}__{}", "top_hat__a_man__3.png", "a man", {"hat": "top hat"}),
        ("{artist}/{caption}", "van_gogh/sun_flowers.png", "sun flowers", {"artist": "van gogh"}),
        (r"\d+_(?P<caption>[a-z ]+)(_v\d)?", "17_a cat_v2.png", "a cat", {}),
        ("{caption}_{}", "nothing.png", None, {}),
    ],
)
def test_captions_in_names(template, name, caption, attributes):
    assert caption_in_name(name, template) == (((caption,) if caption else ()), attributes)


def test_captions_in_names_of_a_folder_and_of_an_archive(tmp_path):
    files = {"a_red_circle_1.png": None, "a_blue_one_2.png": None, "cover.png": None, "cover.txt": "x"}
    lay_out(tmp_path, files | {"z.zip": files})
    for source in (tmp_path, tmp_path / "z.zip"):
        said = captions_of(source, caption_from_name="{caption}_{}")
        assert said == {"a_red_circle_1.png": ("a red circle",), "a_blue_one_2.png": ("a blue one",)}
        reason = "no caption: its name does not fit config.data.caption_from_name"
        assert reasons_of(source, caption_from_name="{caption}_{}") == {"cover.png": reason}
    with pytest.raises(UserError, match=r"not one has a caption: its name(.|\n)*the first name is 'a_blue_one_2.png'"):
        open_dataset(config_of(tmp_path, caption_from_name="{caption}#{}"), "train")


@pytest.mark.parametrize("template", ["{}_{}", "name", "(?P<caption>", "{caption}_{1x}"])
def test_templates_that_are_none(tmp_path, template):
    lay_out(tmp_path, ["1.png"])
    with pytest.raises(UserError, match=r"config\.data\.caption_from_name="):
        config = config_of(tmp_path, caption_from_name=template)
        check_data(config)
        captions_of(tmp_path, caption_from_name=template)


# Several sources


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("pets", None), ("tfds:mnist", None), ("tfds:x:3", None), ("hf:2", None), ("C:\\pets", None),
        ("pets:2", [("pets", 2)]), ("pets:2,birds", [("pets", 2), ("birds", 1)]),
        ("tfds:x,hf:y:2", [("tfds:x", 1), ("hf:y", 2)]),
        (" pets , tfds:mnist:3", [("pets", 1), ("tfds:mnist", 3)]),
        (("C:\\pets:2", "b"), [("C:\\pets", 2), ("b", 1)]), (["one"], [("one", 1)]),
    ],
)  # fmt: skip
def test_parts_of_a_source(source, parts):
    assert parts_of(source) == parts


@pytest.mark.parametrize("source", ["a,,b", "a:0", ("a", ""), ",a"])
def test_parts_that_are_none(source):
    with pytest.raises(UserError, match="is no source"):
        parts_of(source)


def test_several_sources(tmp_path):
    lay_out(tmp_path / "pets", {"1.png": None, "1.txt": CAT, "4.png": None})
    lay_out(tmp_path / "x" / "pets", {"train/2.png": None, "train/2.txt": DOG, "test/3.png": None, "test/3.txt": "x"})
    lay_out(tmp_path, {"z.zip": {"5.png": None, "5.txt": "five"}})
    source = f"{tmp_path}/pets:3,{tmp_path}/x/pets,{tmp_path}/z.zip:2"
    config = config_of(source)
    assert list_splits(config) == ("train", "test")
    train, test = open_datasets(config, ["train", "test"])
    assert train.captions == ((CAT,), (DOG,), ("five",)) and test.captions == (("x",),)
    assert train.repeats.tolist() == [3, 1, 2] and test.repeats is None
    assert [one.file for one in train.skipped] == ["pets#1/4.png"]
    assert "pets#1 (3 times): folder: 1 picture" in train.description
    with pytest.raises(UserError, match="'/no/such' does not exist"):
        open_dataset(config_of(f"{tmp_path}/pets,/no/such"), "train")
    name = tmp_path / "a,b:2"
    lay_out(name, {"1.png": None, "1.txt": CAT})
    assert list(captions_of(name)) == ["1.png"]  # a folder of just that name


def test_repeats_are_drawn(tmp_path):
    lay_out(tmp_path, {"3_cat/1.png": None, "3_cat/1.txt": CAT, "1_dog/2.png": None, "1_dog/2.txt": DOG})
    dataset = open_dataset(config_of(tmp_path), "train")
    tokenizer = Tokenizer.train([CAT, DOG], 300, 24, True)
    batch = Batches(dataset, tokenizer, seed=0, batch_images=8)[5]
    drawn = [tokenizer.decode(ids) for ids in batch["tokens"]]
    assert (drawn.count(CAT), drawn.count(DOG)) == (6, 2)  # two whole epochs
    plain = Dataset("x", "train", dataset.images, dataset.captions, content=dataset.content)
    assert plain.fingerprint() != dataset.fingerprint() and dataset.take([0]).repeats.tolist() == [1]


# Splits


NAMES = [("train", "val"), ("Train", "Val"), ("training", "validation"), ("train2017", "val2017")]


@pytest.mark.parametrize("names", NAMES)
def test_data_with_two_splits_has_three(tmp_path, names):
    train, val = names
    files = {f"{split}/{i}.png": None for split in names for i in range(16)}
    lay_out(tmp_path, files | {name.replace(".png", ".txt"): f"of {name}" for name in files})
    config = config_of(tmp_path, test_fraction=0.2, min_held_out=1)
    opened = open_datasets(config, ["train", "val", "test"])
    assert all(len(dataset) for dataset in opened)
    assert all(captions[0].startswith(f"of {val}/") for captions in opened[1].captions)
    assert all(captions[0].startswith(f"of {train}/") for captions in opened[0].captions + opened[2].captions)
    assert not set(opened[0].captions) & set(opened[2].captions)


def test_training_and_test_sets(tmp_path):
    names = [
        f"{folder}_set/{label}/{i}.png" for folder in ("training", "test") for label in ("cat", "dog") for i in (1, 2)
    ]
    lay_out(tmp_path, names)
    train, test = open_datasets(config_of(tmp_path), ["train", "test"])
    assert len(train) == len(test) == 4 and set(train.captions) == {("a picture of cat",), ("a picture of dog",)}
