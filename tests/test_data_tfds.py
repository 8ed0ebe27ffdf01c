"""TFDS without TensorFlow: tiny builders of our own, prepared folders, and the repair of Fashion-MNIST's files."""

import gzip
import io
import json
import pickle
import shutil
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from made_tables import example, write_records
from PIL import Image

from configs.base import get_config
from t2igan.data import list_splits, open_dataset
from t2igan.data.sources.fashion_mnist import FILES, repair_gzip
from t2igan.data.sources.tfds import Tfds
from t2igan.data.sources.tfds_builders import prepared_folder
from t2igan.errors import UserError


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """A folder in which TFDS has prepared `tiny_captions` and `tiny_labels`."""
    import tensorflow_datasets as tfds

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _split_generators(self, dl_manager):  # noqa: ARG002
            return {"train": self._generate_examples(30), "extra": self._generate_examples(2)}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {"image": Image.new("RGB", (9, 9), (i, 0, 0))} | self.text(i)

    class TinyCaptions(Tiny, skip_registration=True):
        name = "tiny_captions"

        def _info(self):
            captions = tfds.features.Sequence({"id": np.int64, "text": tfds.features.Text()})
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "filename": tfds.features.Text(),
                "captions": captions,
                "title": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def text(self, i):
            captions = [{"id": 0, "text": f"number {i}"}, {"id": 1, "text": f"é {i}"}][: i if i < 2 else 2]
            return {"filename": f"{i}.png", "captions": captions, "title": f"title {i}"}

    class TinyLabels(Tiny, skip_registration=True):
        name = "tiny_labels"

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["T-shirt/top", "Ankle boot"]),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def text(self, i):
            return {"label": i % 2}

    class TinyLists(Tiny, skip_registration=True):
        name = "tiny_lists"

        def _info(self):
            features = {"images": tfds.features.Sequence(tfds.features.Image()), "text": tfds.features.Text()}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {"images": [], "text": f"{i}"}

    path = tmp_path_factory.mktemp("tfds")
    for builder in (TinyCaptions, TinyLabels, TinyLists):
        builder(data_dir=path, file_format="array_record").download_and_prepare()
    return str(path)


def config_of(name, tfds_dir, **changes):
    config = get_config().data
    config.update({"source": f"tfds:{name}", "tfds_dir": tfds_dir} | changes)
    return config


def test_captions(tfds_dir):
    config = config_of("tiny_captions", tfds_dir, val_fraction=0.0, test_fraction=0.0)
    assert set(list_splits(config)) == {"train", "extra"}
    dataset = open_dataset(config, "train")
    reds = dataset.images[:, 0, 0, 0].tolist()
    assert sorted(reds) == list(range(1, 30)) and len(dataset.skipped) == 1  # number 0 has no caption
    captions = dict(zip(reds, dataset.captions, strict=True))
    assert captions[1] == ("number 1",) and captions[7] == ("number 7", "é 7")
    config.caption_field = "title"
    assert ("title 0",) in open_dataset(config, "train").captions
    config.caption_field = "captionz"
    with pytest.raises(UserError, match=r"'captionz'.*has no such field"):
        open_dataset(config, "train")
    assert "tensorflow" not in sys.modules


def test_labels_and_a_test_split_of_our_own(tfds_dir):
    config = config_of("tiny_labels", tfds_dir, val_fraction=0.0, test_fraction=0.2)
    assert list_splits(config)[-1] == "test"
    train, test = (open_dataset(config, split) for split in ("train", "test"))
    assert len(train) + len(test) == 30 and len(test) > 0
    assert set(train.captions) == {("a picture of t-shirt or top",), ("a picture of ankle boot",)}
    assert train.attribute_values() == {"label": ["ankle boot", "t-shirt or top"]}
    boots = [a["label"] == "ankle boot" for a in train.attributes]
    assert boots == (train.images[:, 0, 0, 0] % 2 == 1).tolist()


def test_data_that_is_not_there(tfds_dir):
    with pytest.raises(UserError, match="no such data set; did you mean 'fashion_mnist'"):
        list_splits(config_of("fashion_mnistt", tfds_dir))
    with pytest.raises(UserError, match="names no data set"):
        list_splits(config_of("", tfds_dir))
    with pytest.raises(UserError, match="tfds_files_dir='/no/such' is not a folder"):
        list_splits(config_of("fashion_mnist", tfds_dir, tfds_files_dir="/no/such"))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz cannot be read"):
        list_splits(config_of("fashion_mnist", tfds_dir, tfds_files_dir=tfds_dir))


def test_a_builder_that_takes_tensorflow_says_so(tfds_dir, monkeypatch):
    import tensorflow_datasets as tfds

    def fail(*_, **__):
        raise RuntimeError("wrapped") from ModuleNotFoundError("No module named 'x'", name="tensorflow")

    monkeypatch.setattr(tfds, "builder", fail)
    with pytest.raises(UserError, match="pip install tensorflow-cpu"):
        list_splits(config_of("coco_captions", tfds_dir))


def captions_by_red(dataset):
    """Red of the first pixel -> captions: the number of an example, and what it says."""
    return dict(zip(dataset.images[:, 0, 0, 0].tolist(), dataset.captions, strict=True))


@pytest.fixture
def folder(tfds_dir, tmp_path):
    """A copy of the folder in which `tiny_captions` is prepared."""
    return Path(shutil.copytree(Path(tfds_dir, "tiny_captions", "1.0.0"), tmp_path / "data" / "1.0.0"))


def test_a_prepared_folder(tfds_dir, folder):
    named = captions_by_red(
        open_dataset(config_of("tiny_captions", tfds_dir, val_fraction=0.0, test_fraction=0.0), "train")
    )
    for source in (folder, f"tfds:{folder}", f"tfds:{folder.parent}"):
        config = config_of("", "", source=str(source), val_fraction=0.0, test_fraction=0.0)
        assert set(list_splits(config)) == {"train", "extra"}
        assert captions_by_red(open_dataset(config, "train")) == named
    source = Tfds(config_of(folder, ""))
    assert "TFDS tiny_captions/1.0.0, pictures in 'image', captions from 'captions/text'" in source.describe()
    # The pictures stay where they are until they are asked for, from any process.
    record = source.records("train")[0][0]
    assert len(pickle.dumps(record.image)) < 500
    assert pickle.loads(pickle.dumps(record.image)).read()[:4] == b"\x89PNG"
    shutil.copytree(folder, folder.parent / "2.0.0")
    with pytest.raises(UserError, match=r"several prepared data sets or versions: 1\.0\.0, 2\.0\.0"):
        prepared_folder(folder.parent)


def as_tfrecord(folder):
    """Rewrites a prepared folder as TFDS prepares it by default, with TensorFlow."""
    from array_record.python.array_record_module import ArrayRecordReader

    for file in folder.glob("*.array_record*"):
        records = ArrayRecordReader(str(file)).read_all()
        write_records(str(file).replace("array_record", "tfrecord"), records)
        file.unlink()
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    return folder


def test_tfrecord_takes_no_tensorflow(tfds_dir, folder):
    # Once compared with what TensorFlow 2.21.0 and TFDS 4.9.10 prepared of the same pictures: the same.
    config = config_of(as_tfrecord(folder), "", val_fraction=0.0, test_fraction=0.0)
    named = captions_by_red(
        open_dataset(config_of("tiny_captions", tfds_dir, val_fraction=0.0, test_fraction=0.0), "train")
    )
    assert captions_by_red(open_dataset(config, "train")) == named
    assert "tensorflow" not in sys.modules


def test_slices(tfds_dir):
    config = config_of("tiny_labels", tfds_dir, train_split="train[20%:]", test_split="train[:20%]", val_fraction=0.0)
    train, test = (open_dataset(config, split) for split in (config.train_split, config.test_split))
    assert (len(train), len(test)) == (24, 6)
    reds = [sorted(dataset.images[:, 0, 0, 0].tolist()) for dataset in (train, test)]
    assert sorted(reds[0] + reds[1]) == list(range(30))
    config.test_split = "train[:25%]"
    with pytest.raises(UserError, match=r"'train\[20%:\]' and .*'train\[:25%\]' share 2 pictures"):
        list_splits(config)
    config.update(train_split="train", test_split="train[:10%]")
    with pytest.raises(UserError, match="share 3 pictures"):
        list_splits(config)
    config.update(train_split="train[20%:]", val_split="train[10%:30%]", test_split="train[:10%]")
    with pytest.raises(UserError, match=r"train_split='train\[20%:\]' and .*val_split=.* share 3 pictures"):
        list_splits(config)
    for wrong in ("train[:x]", "trian[:10%]", "train[50:]"):
        config.update(train_split=wrong, val_split="val", test_split="extra")
        with pytest.raises(UserError, match=r"There are: .*slices such as") as error:
            list_splits(config)
        assert repr(wrong) in str(error.value)


def test_pictures_in_lists_are_refused(tfds_dir):
    with pytest.raises(UserError, match=r"lists of pictures only \(images\)"):
        open_dataset(config_of("tiny_lists", tfds_dir), "train")


def rewrite(path, change):
    path.write_text(change(path.read_text()))


SHARD = "tiny_captions-train.array_record-00000-of-00001"
TEXT_CLASS = "tensorflow_datasets.core.features.text_feature.Text"
FOLDERS = {
    "features.json is not JSON": (lambda f: rewrite(f / "features.json", lambda _: "{"), "features.json: not JSON"),
    "features without end": (lambda f: rewrite(f / "features.json", lambda _: "[" * 10**6), "not JSON"),
    "features without classes": (lambda f: rewrite(f / "features.json", lambda _: "{}"), "TFDS says"),
    "code that data names": (
        lambda f: rewrite(f / "features.json", lambda text: text.replace(TEXT_CLASS, "antigravity.Text")),
        "class 'antigravity.Text', which is not TFDS's own",
    ),
    "dataset_info.json is not JSON": (lambda f: rewrite(f / "dataset_info.json", lambda _: "nonsense"), "TFDS says"),
    "dataset_info.json is gone": (lambda f: (f / "dataset_info.json").unlink(), "dataset_info.json"),
    "no splits": (lambda f: rewrite(f / "dataset_info.json", lambda t: t.replace('"splits"', '"x"')), "says"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_prepared_folders_that_cannot_be_read(folder, name):
    make, expected = FOLDERS[name]
    make(folder)
    with pytest.raises(UserError) as error:
        list_splits(config_of(folder, ""))
    assert expected in str(error.value)
    assert "antigravity" not in sys.modules


def renamed(text, name):
    """dataset_info.json with another template for the names of files."""
    info = json.loads(text)
    info["splits"] = [split | {"filepathTemplate": name} for split in info["splits"]]
    return json.dumps(info)


SHARDS = {
    "gone": (lambda f: (f / SHARD).unlink(), "there is no such file"),
    "empty": (lambda f: (f / SHARD).write_bytes(b""), "no records"),
    "cut short": (lambda f: (f / SHARD).write_bytes((f / SHARD).read_bytes()[:70_000]), "no records"),
    "of one example": (lambda f: write_records((f / SHARD), [example(x=1)]), "29 of 30 examples are missing"),
    "a link to a device": (lambda f: ((f / SHARD).unlink(), (f / SHARD).symlink_to("/dev/zero")), "not inside"),
    "outside": (
        lambda f: rewrite(f / "dataset_info.json", lambda text: renamed(text, "../../{SPLIT}-{SHARD_X_OF_Y}")),
        "not inside the folder",
    ),
}


@pytest.mark.parametrize("name", SHARDS)
def test_shards_that_cannot_be_read(folder, name):
    make, expected = SHARDS[name]
    make(folder)
    records, lost = Tfds(config_of(folder, "")).records("train")
    assert not records and expected in lost[-1].reason


def test_without_a_network_it_says_so_at_once(tfds_dir, monkeypatch):
    import tensorflow_datasets as tfds

    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/images.gz"
        infos = {url: tfds.download.checksums.UrlInfo(size=1, checksum="0", filename="images.gz")}
        monkeypatch.setattr(tfds.image_classification.FashionMNIST, "url_infos", infos)
        start = time.monotonic()
        with pytest.raises(UserError, match=r"is not prepared yet, and http://127.* cannot be reached"):
            list_splits(config_of("fashion_mnist", tfds_dir))
    assert time.monotonic() - start < 40


def test_gzip_header_is_repaired():
    name, mtime_s = "train-labels-idx1-ubyte.gz", FILES["train-labels-idx1-ubyte.gz"][1]
    stream = io.BytesIO()
    with gzip.GzipFile(name.removesuffix(".gz"), "wb", mtime=mtime_s, fileobj=stream) as file:
        file.write(b"labels" * 100)
    original = stream.getvalue()
    name_bytes = len(name.removesuffix(".gz")) + 1
    stripped = original[:3] + b"\0" + struct.pack("<I", 1) + original[8:10] + original[10 + name_bytes :]
    assert gzip.decompress(stripped) == b"labels" * 100
    assert repair_gzip(stripped, name, mtime_s) == original
    assert repair_gzip(original, name, mtime_s) == original
    assert repair_gzip(b"short", name, mtime_s) == b"short"
