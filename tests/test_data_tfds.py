"""TFDS without TensorFlow: a tiny builder of our own, and the repair of Fashion-MNIST's files."""

import gzip
import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data import list_splits, open_dataset
from t2igan.data.fashion_mnist import FILES, repair_gzip
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

    path = tmp_path_factory.mktemp("tfds")
    for builder in (TinyCaptions, TinyLabels):
        builder(data_dir=path, file_format="array_record").download_and_prepare()
    return str(path)


def config_of(name, tfds_dir, **changes):
    config = get_config().data
    config.update({"source": f"tfds:{name}", "tfds_dir": tfds_dir} | changes)
    return config


def test_captions(tfds_dir):
    config = config_of("tiny_captions", tfds_dir, test_fraction=0.0)
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
    config = config_of("tiny_labels", tfds_dir, test_fraction=0.2)
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
