"""Folders of pictures with captions, and lists of them, of all kinds that users have."""

import io
import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data import list_splits, open_dataset
from t2igan.data.sources.folder import Folder
from t2igan.data.sources.folders import Folders
from t2igan.data.sources.found import Files
from t2igan.data.sources.listing import Listing
from t2igan.data.sources.metadata import read_rows
from t2igan.data.sources.names import kind_of, shown_name
from t2igan.data.sources.pairing import pair
from t2igan.data.sources.walk import holds_pictures
from t2igan.data.stored import InMemory
from t2igan.errors import UserError


def draw(path, colour="red", size=(10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def config_of(path, **changes):
    config = get_config().data
    config.source = str(path)
    config.val_fraction = config.test_fraction = 0.0
    config.update(changes)
    return config


def source_of(path, **changes):
    return (Folder if path.is_dir() else Listing)(config_of(path, **changes), path)


def captions_of(path, split=None, **changes):
    return {record.file: record.captions for record in source_of(path, **changes).records(split)[0]}


def reasons_of(path, split=None, **changes):
    return {skipped.file: skipped.reason for skipped in source_of(path, **changes).records(split)[1]}


# Texts beside pictures


def test_text_beside_pictures(tmp_path):
    draw(tmp_path / "a.png")
    write(tmp_path / "a.txt", "a red square\n\n  a square,   red \na red square")
    draw(tmp_path / "deep" / "er" / "B.JPG", "blue")
    (tmp_path / "deep" / "er" / "b.TXT").write_bytes("\ufeffein blaues Quadrat, schön\r\n".encode())
    draw(tmp_path / "c.webp")
    draw(tmp_path / "d.gif")
    write(tmp_path / "d.txt", " \n")
    write(tmp_path / "notes.txt", "not a caption of anything")
    dataset = open_dataset(config_of(tmp_path), "train")
    assert dataset.captions == (("a red square", "a square, red"), ("ein blaues Quadrat, schön",))
    assert dataset.attributes is None
    np.testing.assert_allclose(dataset.images[:, 0, 0], [(255, 0, 0), (0, 0, 255)], atol=2)
    reasons = reasons_of(tmp_path)
    assert reasons["c.webp"].startswith("no caption: no text of its name") and reasons.keys() == {"c.webp", "d.gif"}
    assert reasons["d.gif"] == "no caption: d.txt has none"
    assert source_of(tmp_path).describe() == "folder: 2 pictures with captions in text files beside them"
    assert captions_of(tmp_path, captions="first")["a.png"] == ("a red square",)


def test_names_that_belong_together(tmp_path):
    for name in ("dots.in.name.png", "whole.png", "both.jpg", "both.png", "AB.png", "aB.png", "ab.PNG", "x.png"):
        draw(tmp_path / name)
    write(tmp_path / "dots.in.name.txt", "dots")
    write(tmp_path / "whole.png.txt", "whole name")
    write(tmp_path / "both.txt", "both")
    write(tmp_path / "AB.txt", "upper")
    write(tmp_path / "aB.txt", "mixed")
    write(tmp_path / "x.caption", "caption")
    write(tmp_path / "x.txt", "text")
    draw(tmp_path / unicodedata.normalize("NFD", "schön.png"))  # as macOS writes it
    write(tmp_path / unicodedata.normalize("NFC", "schön.txt"), "umlaut")
    found = captions_of(tmp_path)
    assert found.pop(unicodedata.normalize("NFD", "schön.png")) == ("umlaut",)
    assert found.pop("ab.PNG")[0] in ("upper", "mixed")  # neither is its own
    assert found == {
        "dots.in.name.png": ("dots",),
        "whole.png": ("whole name",),
        "both.jpg": ("both",),
        "both.png": ("both",),
        "AB.png": ("upper",),
        "aB.png": ("mixed",),
        "x.png": ("text", "caption"),
    }


STAMP = "A frog.\nca@valencia.utf8=Una granota.\nde.utf8=Ein Frosch.\npt_BR.utf8=Um sapo.\nzh_TW.utf8=青蛙。\n"


@pytest.mark.parametrize(
    ("language", "caption"),
    [
        ("", "A frog."),
        ("de", "Ein Frosch."),
        ("de_AT", "Ein Frosch."),
        ("pt-br", "Um sapo."),
        ("ca@valencia", "Una granota."),
        ("zh_TW", "青蛙。"),
    ],
)
def test_translations_as_in_tux_paint(tmp_path, language, caption):
    draw(tmp_path / "stamps" / "frog.png")
    write(tmp_path / "stamps" / "frog.svg", "<svg/>")  # the same picture once more
    write(tmp_path / "stamps" / "frog.dat", "nomirror")
    write(tmp_path / "stamps" / "frog.txt", STAMP)
    assert captions_of(tmp_path, language=language) == {"stamps/frog.png": (caption,)}
    assert reasons_of(tmp_path, language=language) == {}


def test_a_language_that_some_texts_lack_or_all(tmp_path):
    draw(tmp_path / "frog.png")
    write(tmp_path / "frog.txt", STAMP)
    draw(tmp_path / "cat.png")
    write(tmp_path / "cat.txt", "A cat: de.utf8 is not at the beginning = no translation")
    draw(tmp_path / "dog.png")
    write(tmp_path / "dog.txt", "de.utf8=Ein Hund.")
    source = source_of(tmp_path, language="de")
    assert [record.captions for record in source.records(None)[0]] == [
        ("A cat: de.utf8 is not at the beginning = no translation",),
        ("Ein Hund.",),
        ("Ein Frosch.",),
    ]
    assert source.describe().endswith("; 1 without a translation into 'de'")
    assert reasons_of(tmp_path) == {"dog.png": "no caption: dog.txt has none"}
    with pytest.raises(
        UserError, match=r"language='pt_PT': no text .*; did you mean 'pt_BR'\?\nThere are: ca@valencia"
    ):
        captions_of(tmp_path, language="pt_PT")
    write(tmp_path / "frog.txt", "A frog.")
    write(tmp_path / "dog.txt", "A dog.")
    with pytest.raises(UserError, match=r"language='de': no text .*\nThere are none at all"):
        captions_of(tmp_path, language="de")


def test_img2dataset_files(tmp_path):
    """The layout that img2dataset documents for output_format="files"."""
    for key, caption in (("000000000", "a cat"), ("000000001", None), ("000010000", "a dog")):
        folder = tmp_path / key[:5]
        draw(folder / f"{key}.jpg")
        facts = {"caption": caption, "url": "https://x.org/a.jpg", "key": key, "status": "success", "width": 10}
        write(folder / f"{key}.json", json.dumps(facts | {"alt": f"alt {key}"}))
        if caption:
            write(folder / f"{key}.txt", caption)
        write(tmp_path / f"{key[:5]}_stats.json", '{"count": 2}')
    (tmp_path / "00000" / "000000000.txt").unlink()
    assert holds_pictures(tmp_path)
    assert captions_of(tmp_path) == {"00000/000000000.jpg": ("a cat",), "00001/000010000.jpg": ("a dog",)}
    assert list(reasons_of(tmp_path)) == ["00000/000000001.jpg"]  # and 00000, 00001 are no classes
    assert (
        "2 pictures with captions, 1 in JSON files beside them, 1 in text files beside them"
        in source_of(tmp_path).describe()
    )
    assert captions_of(tmp_path, caption_field="alt")["00001/000010000.jpg"] == ("alt 000010000",)
    write(tmp_path / "00000" / "000000001.json", "[" * 100_000)
    assert reasons_of(tmp_path)["00000/000000001.jpg"] == (
        "no caption: 00000/000000001.json is not JSON that can be read"
    )


# Metadata, as Hugging Face's imagefolder has it


def test_metadata_jsonl(tmp_path):
    for name in ("a.png", "sub/b.png", "c.png", "d.png", "e.png"):
        draw(tmp_path / name)
    rows = [
        {"file_name": "a.png", "text": ["one", "two", " one "], "attributes": {"shape": "square", "n": 2}},
        {"file_name": "sub/b.png", "caption": "b", "attributes": '{"shape": "round", "x": null}'},
        {"file_name": "sub\\..\\c.png", "text": "lone \ud83d surrogate"},
        {"file_name": "d.png"},
        {"file_name": "E.PNG", "text": "as Windows finds it"},
        {"file_name": "./a.png", "text": "three", "attributes": {"shape": "other", "colour": "red"}},
    ]
    write(tmp_path / "metadata.jsonl", "\n".join(json.dumps(row) for row in rows))
    write(tmp_path / "c.txt", "a text beside is passed over where there is a row")
    dataset = open_dataset(config_of(tmp_path), "train")
    assert dataset.captions == (("one", "two", "three"), ("lone ? surrogate",), ("as Windows finds it",), ("b",))
    assert dataset.attributes == ({"shape": "square", "n": "2", "colour": "red"}, {}, {}, {"shape": "round"})
    assert reasons_of(tmp_path) == {"d.png": "no caption: its row has 'file_name'"}
    write(tmp_path / "d.txt", "from its text")
    assert captions_of(tmp_path)["d.png"] == ("from its text",)


def test_metadata_csv_with_splits_and_a_field_of_choice(tmp_path):
    for i in range(4):
        draw(tmp_path / f"{i}.png", size=(20, 10 + i))
    write(
        tmp_path / "metadata.csv",
        '\ufefffile_name,prompt_en,split\n0.png,"zero, with comma",train\n0.png,nought,train\n'
        "1.png,one,validation\n2.png,two,\n3.png,,train\n",
    )
    config = config_of(tmp_path, caption_field="prompt_en", test_split="validation")
    assert list_splits(config) == ("train", "validation")
    train = open_dataset(config, "train")
    assert train.captions == (("zero, with comma", "nought"), ("two",))
    assert [skipped.file for skipped in train.skipped] == ["3.png"]
    assert open_dataset(config, "validation").captions == (("one",),)
    with pytest.raises(
        UserError, match=r"metadata.csv: no column 'prompt_de'; it has 'file_name', 'prompt_en', 'split'"
    ):
        captions_of(tmp_path, caption_field="prompt_de")
    write(tmp_path / "metadata.csv", "name,text\n0.png,x\n")  # what the column holds are names of pictures
    assert captions_of(tmp_path) == {"0.png": ("x",)}
    write(tmp_path / "metadata.csv", "name,text\nzero,x\n")
    with pytest.raises(UserError, match="no column 'file_name'; it has 'name', 'text'; its first line must name"):
        captions_of(tmp_path)
    write(tmp_path / "0.txt", "zero")  # then the rest is worth going on with
    assert captions_of(tmp_path) == {"0.png": ("zero",)} and "no column" in reasons_of(tmp_path)["metadata.csv"]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
def test_metadata_in_the_folder_of_each_split(tmp_path, name):
    import pyarrow
    import pyarrow.parquet

    for split in ("train", "test"):
        draw(tmp_path / split / "images" / "a.png")
        row = {"file_name": "images/a.png", "text": f"in {split}"}
        if name.endswith(".parquet"):
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / split / name)
        else:
            text = json.dumps(row) if name.endswith("jsonl") else "\n".join([",".join(row), ",".join(row.values())])
            write(tmp_path / split / name, text)
    for split in ("train", "test"):
        assert captions_of(tmp_path, split) == {f"{split}/images/a.png": (f"in {split}",)}


def test_labels_stand_in_for_captions(tmp_path):
    draw(tmp_path / "a.png")
    write(tmp_path / "metadata.csv", "file_name,label\na.png,T-shirt/top\n")
    dataset = open_dataset(config_of(tmp_path, caption_templates=("a {label}", "some {label}")), "train")
    assert dataset.captions == (("a t-shirt or top", "some t-shirt or top"),)
    assert dataset.attributes == ({"label": "t-shirt or top"},)


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        ("file_name;text\na.png;a cat, sitting\n", ("a cat, sitting",)),
        ("Image_Name| Comment_Number| Text \na.png| 0| a cat\n", ("a cat",)),
        ("\n\nfile_name\ttext\ttext\na.png\ta cat\tsitting\n", ("a cat", "sitting")),
        ('"file_name","text"\r"a.png","a ""cat"",\rsitting"\r', ('a "cat", sitting',)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_write_them(text, captions, encoding):
    rows = list(read_rows("x.csv", io.BytesIO(text.encode(encoding)), get_config().data))
    assert [(row.file, row.captions, row.problem) for row in rows] == [("a.png", captions, "")]


# Folders with a meaning


def test_folders_that_are_splits(tmp_path):
    draw(tmp_path / "train" / "a.png")
    write(tmp_path / "train" / "metadata.jsonl", '{"file_name": "a.png", "text": "in train"}')
    draw(tmp_path / "test" / "b.png")
    write(tmp_path / "test" / "b.txt", "in test")
    draw(tmp_path / "test" / "c.png")
    config = config_of(tmp_path, test_fraction=0.5)
    assert list_splits(config) == ("train", "test")
    assert open_dataset(config, "train").captions == (("in train",),)
    test = open_dataset(config, "test")
    assert test.captions == (("in test",),) and [s.file for s in test.skipped] == ["test/c.png"]
    # "test" is a split only beside a folder for training.
    (tmp_path / "train").rename(tmp_path / "trees")
    assert source_of(tmp_path).splits() == ()


@pytest.mark.parametrize(
    ("names", "splits", "labels"),
    [
        (["cat/1.png", "dog/2.png"], [None, None], ["cat", "dog"]),
        (["pets/cat/1.png", "pets/dog/x/2.png"], [None, None], ["cat", "x"]),
        (["train/cat/1.png", "test/dog/2.png"], ["train", "test"], ["cat", "dog"]),
        (["all/Train/cat/1.png", "all/VAL/dog/2.png"], ["train", "val"], ["cat", "dog"]),
        (["train/1.png", "test/2.png"], ["train", "test"], []),
        (["train/cat/1.png", "train/dog/2.png"], ["train", "train"], ["cat", "dog"]),
        (["cat/1.png", "2.png"], [None, None], []),  # one lies in no folder
        (["cat/1.png", "cat/2.png"], [None, None], []),  # one folder is no class
        (["mine/cat/1.png", "unseen/dog/2.png"], ["mine", "unseen"], ["cat", "dog"]),
        (["test/cat/1.png", "dev/dog/2.png"], [None, None], ["cat", "dog"]),
        ([], [], []),
    ],
)
def test_what_folders_stand_for(tmp_path, names, splits, labels):
    folders = Folders(names, config_of(tmp_path, train_split="mine" if "mine/cat/1.png" in names else "train"))
    assert [folders.split(name) for name in names] == splits
    assert list(folders.labels().values()) == labels


def test_class_folders(tmp_path):
    for name in ("tabby_cat/1.png", "tabby_cat/2.png", "Dog/3.png"):
        draw(tmp_path / name)
    write(tmp_path / "LICENSE.txt", "public domain")
    source = source_of(tmp_path, caption_templates=("a {label}", "one {label}"))
    records, skipped = source.records(None)
    assert [(record.file, record.captions, record.attributes) for record in records] == [
        ("Dog/3.png", ("a dog", "one dog"), {"label": "dog"}),
        ("tabby_cat/1.png", ("a tabby cat", "one tabby cat"), {"label": "tabby cat"}),
        ("tabby_cat/2.png", ("a tabby cat", "one tabby cat"), {"label": "tabby cat"}),
    ]
    assert not skipped and source.describe().endswith("3 pictures with captions in the names of their folders")
    # A single caption says that folders are not meant.
    write(tmp_path / "Dog" / "3.txt", "a dog at the sea")
    assert captions_of(tmp_path) == {"Dog/3.png": ("a dog at the sea",)} and len(reasons_of(tmp_path)) == 2


# Lists


def test_a_list_of_files_and_captions(tmp_path):
    for name in ("img/a.png", "img/b.png", "c.png"):
        draw(tmp_path / name)
    rows = [
        ("img/a.png", "first", ""),
        ("c.png", "sea", "test"),
        ("img/a.png", "second", ""),
        ("gone.png", "x", "test"),
    ]
    rows.append((str(tmp_path / "img" / "b.png"), "absolute, but inside", "train"))
    for name, mark in (("list.tsv", "\t"), ("list.csv", ";")):
        write(tmp_path / name, "\n".join(mark.join(row) for row in [("Path", "Caption", "split"), *rows]))
    lines = [json.dumps(dict(zip(("path", "caption", "split"), row, strict=True))) for row in rows]
    write(tmp_path / "list.jsonl", "\n".join(lines))
    for name in ("list.tsv", "list.csv", "list.jsonl"):
        source = source_of(tmp_path / name)
        assert source.splits() == ("train", "test")
        assert captions_of(tmp_path / name, "train") == {
            "img/a.png": ("first", "second"),
            "img/b.png": ("absolute, but inside",),
        }
        assert captions_of(tmp_path / name, "test") == {"c.png": ("sea",)}
        assert reasons_of(tmp_path / name) == {"gone.png": "there is no such file"}
        assert source.describe() == "list: 3 pictures with captions in 4 listed"
    assert captions_of(tmp_path / "list.tsv", captions="first")["img/a.png"] == ("first",)
    dataset = open_dataset(config_of(tmp_path / "list.csv"), "test")
    assert dataset.captions == (("sea",),) and (dataset.images == (255, 0, 0)).all()


def test_a_list_that_is_none(tmp_path):
    path = write(tmp_path / "list.csv", "url,caption\nhttps://x.org/a.png,a cat\n")
    with pytest.raises(UserError, match=r"list.csv: no column 'file_name'; it has 'url', 'caption'"):
        captions_of(path)
    path = write(tmp_path / "list.csv", "path,caption\nhttps://x.org/a.png,a cat\n")
    assert reasons_of(path) == {"list.csv:2": "'https://x.org/a.png' is an address: pictures are not downloaded"}
    assert captions_of(write(tmp_path / "list.csv", "")) == {}


# Pieces


def test_pairing_needs_names_only():
    """As an archive uses it: no file system."""
    texts = {"top/train/a.txt": b"one\ntwo", "top/test/b.txt": b"three", "__MACOSX/top/train/._a.png": b""}
    names = [*texts, "top/train/a.png", "top/test/b.png", "top/.hidden/c.png"]
    files = Files("x.zip", names, lambda name: io.BytesIO(texts[name]), lambda name: InMemory(name.encode()))
    found = pair(files, get_config().data)
    assert found.splits("train") == ("train", "test") and not found.skipped
    (record,), _ = found.of_split("train", "train")
    assert (record.file, record.image.read(), record.captions) == (
        "top/train/a.png",
        b"top/train/a.png",
        ("one", "two"),
    )


def test_kinds_and_shown_names():
    assert [kind_of(name) for name in ("a/b.JPG", "a.avif", "x.svg", "x.Txt", "x.json", "a/Metadata.CSV", "b.csv")] == [
        "picture", "picture", "unreadable", "text", "json", "metadata", "table"
    ]  # fmt: skip
    assert shown_name("schön.png") == "schön.png"
    assert shown_name("a\nb\x1b[31m\udce9\ud83d.png") == "a\\nb\\x1b[31m\\xe9\\ud83d.png"


def test_every_suffix_of_a_picture_is_one_that_pillow_opens():
    from t2igan.data.sources.names import PICTURE_SUFFIXES, UNREADABLE_SUFFIXES

    Image.init()
    opened = {suffix for suffix, format_name in Image.registered_extensions().items() if format_name in Image.OPEN}
    optional = {".avif", ".avifs", ".qoi", ".pfm"}  # by Pillow's version and how it was built
    assert optional | opened >= PICTURE_SUFFIXES
    assert not PICTURE_SUFFIXES & UNREADABLE_SUFFIXES


def test_nothing_usable_says_why(tmp_path):
    with pytest.raises(UserError, match="there is no picture"):
        open_dataset(config_of(tmp_path), "train")
    draw(tmp_path / "a.png")
    with pytest.raises(UserError, match="1 picture, and not one has a caption"):
        open_dataset(config_of(tmp_path), "train")
    (tmp_path / "a.png").write_bytes(b"broken")
    write(tmp_path / "a.txt", "broken")
    with pytest.raises(UserError, match=r"not one of 1 picture can be used.\nFirst: a.png. Reasons: not a pic"):
        open_dataset(config_of(tmp_path), "train")
