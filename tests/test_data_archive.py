"""Tar and zip archives as webdataset, img2dataset, tar and zip write them."""

import bz2
import gzip
import json
import lzma
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import webdataset
from made_archives import COLOURS, config_of, make_tar, make_zip, pairs, png, skipped
from PIL import Image

from t2igan.data import list_splits, open_dataset
from t2igan.data.sources.archive import Archive
from t2igan.errors import UserError


def colours_of(dataset):
    """Caption -> colour of the first pixel."""
    return {
        captions[0]: tuple(image[0, 0].tolist())
        for captions, image in zip(dataset.captions, dataset.images, strict=True)
    }


def test_shards_that_webdataset_wrote(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (7, 8, 8, 3), np.uint8)
    for split, numbers in (("train", range(5)), ("val", range(5, 7))):
        with webdataset.ShardWriter(str(tmp_path / f"{split}-%06d.tar"), maxcount=3, verbose=0) as shards:
            for i in numbers:
                shards.write({"__key__": f"{i:05d}", "png": pictures[i], "txt": f"number {i}", "json": {"n": i}})
    config = config_of(tmp_path, test_split="val", val_split="minival", val_fraction=0.0)
    assert list_splits(config) == ("train", "val")
    train, val = open_dataset(config, "train"), open_dataset(config, "val")
    assert train.captions == tuple((f"number {i}",) for i in range(5)) and not train.skipped
    np.testing.assert_array_equal(train.images, pictures[:5])
    np.testing.assert_array_equal(val.images, pictures[5:])
    assert open_dataset(config_of(f"{tmp_path}/train-*1.tar"), "train").captions == (("number 3",), ("number 4",))


def test_keys_end_at_the_first_dot(tmp_path):
    make_tar(
        tmp_path / "x.tar",
        {
            # Two views share a caption.
            "a/000.left.png": png("red"), "a/000.right.png": png("lime"), "a/000.txt": "two views",
            # One of another key in a folder of the same name, with two captions in two members.
            "a/001.png": png("blue"), "a/001.0.txt": "first", "a/001.1.txt": "second",
            # Of a picture and its mask, the caption belongs to the picture.
            "a/002.jpg.png": png("white"), "a/002.mask.png": png("red"), "a/002.jpg.txt": "white",
            # Names with dots as in a folder: each text belongs to its own picture.
            "b/v1.0.png": png("red"), "b/v1.0.txt": "version one", "b/v1.1.png": png("lime"), "b/v1.1.txt": "and a bit",
            # Captions in JSON, and classes.
            "c.png": png("blue"), "c.json": json.dumps({"caption": "from json"}),
            "d.0.png": png("blue"), "d.json": json.dumps({"caption": "shared json"}),
            "e.png": png("white"), "e.cls": "7", "f.png": png("white"), "f.cls": b"8", "f.json": '{"caption": "said"}',
            "README.txt": "not a caption of anything", "g.png": png("red"),
        },
    )  # fmt: skip
    dataset = open_dataset(config_of(tmp_path / "x.tar"), "train")
    records, _ = Archive(config_of(tmp_path / "x.tar"), [tmp_path / "x.tar"]).records(None)
    by_file = {record.file: record.captions for record in records}
    assert by_file == {
        "a/000.left.png": ("two views",), "a/000.right.png": ("two views",), "a/001.png": ("first", "second"),
        "a/002.jpg.png": ("white",), "b/v1.0.png": ("version one",), "b/v1.1.png": ("and a bit",),
        "c.png": ("from json",), "d.0.png": ("shared json",), "e.png": ("a picture of 7",), "f.png": ("said",),
    }  # fmt: skip
    assert {r.file: r.attributes for r in records if r.attributes} == {"e.png": {"label": "7"}}
    assert set(skipped(dataset)) == {"a/002.mask.png", "g.png"}
    assert colours_of(dataset)["and a bit"] == COLOURS["lime"]


def test_the_layout_of_img2dataset(tmp_path):
    # `output_format=webdataset`: 00000.tar, and beside each 00000.parquet and 00000_stats.json.
    for shard, colours in enumerate((("red", "lime"), ("blue",))):
        members = {}
        for i, colour in enumerate(colours):
            key = f"{shard:05d}{i:04d}"
            facts = {"caption": f"all {colour}", "url": "https://nowhere", "key": key, "status": "success"}
            members |= {f"{key}.jpg": png(colour), f"{key}.txt": f"all {colour}", f"{key}.json": json.dumps(facts)}
        make_tar(tmp_path / f"{shard:05d}.tar", members)
        (tmp_path / f"{shard:05d}.parquet").write_bytes(b"not looked at")
        (tmp_path / f"{shard:05d}_stats.json").write_text("{}")
    dataset = open_dataset(config_of(tmp_path), "train")
    assert colours_of(dataset) == {f"all {c}": COLOURS[c] for c in ("red", "lime", "blue")}
    assert list_splits(config_of(tmp_path)) == ("train",)
    field = open_dataset(config_of(tmp_path, caption_field="key"), "train")
    assert field.captions == (("000000000",), ("000000001",), ("000010000",))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_folder_in_a_zip(tmp_path, method):
    rows = [{"file_name": "1.png", "text": ["a red one", "red"]}, {"file_name": "deep/2.png", "text": "lime"}]
    make_zip(
        tmp_path / "x.zip",
        {
            "set/train/metadata.jsonl": "\n".join(map(json.dumps, rows)),
            "set/train/1.png": png("red"), "set/train/deep/2.png": png("lime"),
            "set/test/3.png": png("blue"), "set/test/3.txt": "a blue one",
            "__MACOSX/set/train/._1.png": b"x", "set/.DS_Store": b"x",
        },
        method,
    )  # fmt: skip
    config = config_of(tmp_path / "x.zip")
    assert list_splits(config) == ("train", "test")
    train = open_dataset(config, "train")
    assert train.captions == (("a red one", "red"), ("lime",)) and not train.skipped
    assert colours_of(train) == {"a red one": COLOURS["red"], "lime": COLOURS["lime"]}
    assert colours_of(open_dataset(config, "test")) == {"a blue one": COLOURS["blue"]}
    assert open_dataset(config_of(tmp_path / "x.zip", captions="first"), "train").captions[0] == ("a red one",)


def test_classes_in_a_tar(tmp_path):
    make_tar(tmp_path / "x.tar", {"x/red_cats/1.png": png("red"), "x/dogs/1.png": png("blue")})
    dataset = open_dataset(config_of(tmp_path / "x.tar"), "train")
    assert dataset.captions == (("a picture of dogs",), ("a picture of red cats",))
    assert dataset.attributes == ({"label": "dogs"}, {"label": "red cats"})


PACKERS = {".tar.gz": gzip.compress, ".tgz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_tars_are_unpacked_once(tmp_path, suffix):
    plain = make_tar(tmp_path / "x.tar", pairs("red", "blue"))
    path = tmp_path / f"y{suffix}"
    path.write_bytes(PACKERS[suffix](plain.read_bytes()))
    config = config_of(path, cache_dir=str(tmp_path / "cache"))
    (first, _), (second, _) = Archive(config, [path]).records(None), Archive(config, [path]).records(None)
    assert [record.captions for record in first] == [("all blue",), ("all red",)]
    assert [record.image.read() for record in first] == [png("blue"), png("red")]
    unpacked = list((tmp_path / "cache" / "unpacked").iterdir())
    assert [file.read_bytes() for file in unpacked] == [plain.read_bytes()] and first == second
    # Unpacked anew, the places say the same of themselves; of another archive, they do not.
    unpacked[0].unlink()
    again, _ = Archive(config, [path]).records(None)
    assert [r.image.stamp for r in again] == [r.image.stamp for r in first]
    os.utime(path, ns=(1, 1))
    assert Archive(config, [path]).records(None)[0][0].image.stamp != first[0].image.stamp


def test_suffixes_do_not_matter(tmp_path):
    make_zip(tmp_path / "really_zip.tar", pairs("red"))
    plain = make_tar(tmp_path / "plain.tar", pairs("lime"))
    (tmp_path / "really_gzip.tar").write_bytes(gzip.compress(plain.read_bytes()))
    for name, caption in (("really_zip.tar", "all red"), ("really_gzip.tar", "all lime")):
        assert open_dataset(config_of(tmp_path / name), "train").captions == ((caption,),)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(tmp_path, format):
    folder = "a" * 90
    name = f"{folder}/{'ü' * 40}" if format != tarfile.USTAR_FORMAT else f"{folder}/{'u' * 90}"
    make_tar(tmp_path / "x.tar", {f"./{name}.png": png("red"), f"{name}.txt": "long"}, format)
    records, lost = Archive(config_of(tmp_path / "x.tar"), [tmp_path / "x.tar"]).records(None)
    assert [record.file for record in records] == [f"{name}.png"] and not lost


def test_joined_tars_are_read_to_the_end(tmp_path):
    parts = [make_tar(tmp_path / f"{c}.tar", pairs(c)).read_bytes() for c in ("red", "lime", "blue")]
    path = tmp_path / "all"
    path.mkdir()
    (path / "x.tar").write_bytes(b"".join(parts))
    dataset = open_dataset(config_of(path), "train")
    assert len(dataset) == 3 and not dataset.skipped


def test_splits_by_folder_and_by_name(tmp_path):
    for name, colour in (("train/0.tar", "red"), ("train/1.tar", "lime"), ("validation/0.tar", "blue")):
        make_tar(tmp_path / name, pairs(colour))
    config = config_of(tmp_path, test_split="validation")
    assert list_splits(config) == ("train", "validation")
    assert open_dataset(config, "validation").captions == (("all blue",),)
    files = sorted(tmp_path.glob("*/*.tar"))
    assert [r.file for r in Archive(config, files).records("train")[0]] == [
        "train/0.tar/red.png",
        "train/1.tar/lime.png",
    ]
    # One archive is all there is, whatever it is called.
    assert open_dataset(config_of(tmp_path / "validation" / "0.tar"), "train").captions == (("all blue",),)


def test_places_travel_to_other_processes(tmp_path):
    make_zip(tmp_path / "x.zip", pairs("red"))
    make_tar(tmp_path / "x.tar", pairs("red"))
    for file in ("x.zip", "x.tar"):
        (record,), _ = Archive(config_of(tmp_path / file), [tmp_path / file]).records(None)
        assert pickle.loads(pickle.dumps(record.image)).read() == png("red")
        assert len(pickle.dumps(record.image)) < 500  # only the place


def test_zip_of_more_than_four_gigabytes(tmp_path):
    # zip64, as `zipfile` writes it where sizes or places may need more than 32 bits.
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pairs("red").items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert open_dataset(config_of(path), "train").captions == (("all red",),)


def test_many_archives_are_told_apart(tmp_path):
    for i, colour in enumerate(("red", "blue")):
        make_zip(tmp_path / f"{i}.zip", {"a.png": png(colour), "a.txt": colour, "b.png": png(colour)})
    source = Archive(config_of(tmp_path), sorted(tmp_path.glob("*.zip")))
    records, lost = source.records(None)
    assert [record.file for record in records] == ["0.zip/a.png", "1.zip/a.png"]
    assert [one.file for one in lost] == ["0.zip/b.png", "1.zip/b.png"]
    assert source.describe() == "2 archives: 2 pictures with captions" and source.splits() == ()
    alone = Archive(config_of(tmp_path / "0.zip"), [tmp_path / "0.zip"])
    assert alone.describe() == "archive: 1 picture with captions in text files beside them"


def test_a_picture_of_any_kind_in_an_archive(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=95)
    make_zip(tmp_path / "x.zip", {"a.JPG": (tmp_path / "x.jpg").read_bytes(), "A.txt": "cmyk"})
    dataset = open_dataset(config_of(tmp_path / "x.zip"), "train")
    assert dataset.captions == (("cmyk",),) and dataset.images[0, 0, 0, 0] > 200


def test_archives_without_anything(tmp_path):
    make_zip(tmp_path / "x.zip", {})
    make_tar(tmp_path / "x.tar", {})
    for name in ("x.zip", "x.tar"):
        with pytest.raises(UserError, match="there is no picture"):
            open_dataset(config_of(tmp_path / name), "train")
