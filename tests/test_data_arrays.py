"""NumPy's .npz as numpy.savez and savez_compressed write it, and broken ones."""

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_archives import config_of, skipped

from t2igan.data import list_splits, open_dataset
from t2igan.data.sources.arrays import Arrays
from t2igan.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
PIXELS[0, 0, 0] = (0, 255, 128)
CAPTIONS = np.array([f"number {i}, schön" for i in range(6)])
SAVERS = (np.savez, np.savez_compressed)


def save(path, saver=np.savez, **arrays):
    saver(path, **arrays)
    return path


def read_all(path, **changes):
    """The pictures as they are read, and captions."""
    records, lost = Arrays(config_of(path, **changes), path).records(None)
    assert not lost
    return [record.image.read() for record in records], [record.captions for record in records]


@pytest.mark.parametrize("saver", SAVERS)
def test_pictures_and_captions(tmp_path, saver):
    path = save(tmp_path / "x.npz", saver, images=PIXELS, captions=CAPTIONS)
    dataset = open_dataset(config_of(path), "train")
    np.testing.assert_array_equal(dataset.images, PIXELS)
    assert dataset.captions == tuple((caption,) for caption in CAPTIONS.tolist()) and not dataset.skipped
    source = Arrays(config_of(path), path)
    assert source.describe() == "NumPy: images uint8 [6, 8, 8, 3] with captions <U15 [6]" and source.splits() == ()
    records, _ = source.records(None)
    assert records[3].file == "images[3]"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(records[3].image)).read(), PIXELS[3])
    assert len({record.image.stamp for record in records}) == 6


def test_several_captions_and_bytes(tmp_path):
    texts = np.array([["a", "b"], ["c", ""], ["", ""]])
    path = save(tmp_path / "x.npz", x=PIXELS[:3], texts=np.char.encode(texts, "utf-8"))
    dataset = open_dataset(config_of(path), "train")
    assert dataset.captions == (("a", "b"), ("c",)) and skipped(dataset) == {"x[2]": "no caption in texts |S1 [3, 2]"}
    assert open_dataset(config_of(path, captions="first"), "train").captions == (("a",), ("c",))


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")],
)
def test_splits_and_labels_as_keras_and_medmnist_name_them(tmp_path, names):
    grey = PIXELS[..., 0]
    arrays = dict(
        zip(names, (grey[:4], np.array([[0], [1], [1], [7]], np.uint8), grey[4:], np.array([[1], [0]])), strict=True)
    )
    path = save(tmp_path / "x.npz", label_names=np.array(["a_cat", "dog/wolf"]), **arrays)
    config = config_of(path, channels=1)
    assert list_splits(config) == ("train", "test")
    train, test = open_dataset(config, "train"), open_dataset(config, "test")
    np.testing.assert_array_equal(train.images[..., 0], grey[:4])
    np.testing.assert_array_equal(test.images[..., 0], grey[4:])
    assert [c[0] for c in train.captions] == ["a picture of a cat", *["a picture of dog or wolf"] * 2, "a picture of 7"]
    assert test.attributes == ({"label": "dog or wolf"}, {"label": "a cat"})


def test_arrays_without_names_of_their_own(tmp_path):
    np.savez(tmp_path / "x.npz", PIXELS, CAPTIONS)
    assert open_dataset(config_of(tmp_path / "x.npz"), "train").captions[5] == (CAPTIONS[5],)


def test_names_of_ones_own(tmp_path):
    path = save(tmp_path / "x.npz", images=PIXELS, en=CAPTIONS, de=CAPTIONS[::-1], kind=np.arange(6))
    assert read_all(path, caption_field="de")[1][0] == (CAPTIONS[5],)
    assert read_all(path, label_field="kind")[1][2] == ("a picture of 2",)
    with pytest.raises(UserError, match="Name the text 'fr'"):
        read_all(path, caption_field="fr")


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (PIXELS[..., :1], PIXELS[..., :1]),
        (np.concatenate([PIXELS, PIXELS[..., :1]], -1), np.concatenate([PIXELS, PIXELS[..., :1]], -1)),
        (np.moveaxis(PIXELS, -1, 1), PIXELS),
        ((PIXELS / 255).astype(np.float32), PIXELS),
        ((PIXELS / 255).astype(">f8"), PIXELS),
        (PIXELS.astype(np.float32), PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(">u2"), PIXELS),
        (PIXELS[..., 0] > 127, np.where(PIXELS[..., 0] > 127, 255, 0)),
    ],
    ids=[
        "grey",
        "alpha",
        "channels first",
        "0 to 1",
        "big-endian",
        "0. to 255.",
        "integers",
        "16 bits",
        "true and false",
    ],
)
def test_all_kinds_of_numbers(tmp_path, saver, stored, expected):
    pictures, _ = read_all(save(tmp_path / "x.npz", saver, images=stored, captions=CAPTIONS))
    assert all(picture.dtype == np.uint8 for picture in pictures)
    np.testing.assert_array_equal(pictures, expected)


def test_memory_is_that_of_one_picture(tmp_path):
    images = np.zeros((400, 128, 128, 3), np.uint8)
    captions = np.array(["the same"] * 400)
    for saver in SAVERS:
        path = save(tmp_path / f"{saver.__name__}.npz", saver, images=images, captions=captions)
        source = Arrays(config_of(path), path)
        tracemalloc.start()
        for record in source.records(None)[0]:
            record.image.read()
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < images.nbytes / 4


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def with_header(header, data=b""):
    """An array of which the header says what it may not."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data


def with_shape(shape):
    return with_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}", bytes(100))


NAN = np.where(np.arange(6)[:, None, None, None] == 2, np.nan, PIXELS / 255)
SAID = {"captions": CAPTIONS}

# Arrays (or bytes in their place), and what is said of them.
REFUSED = {
    "no array": ({}, "no array of pictures but no array at all"),
    "no pictures": ({"a": np.arange(3), "b": CAPTIONS}, r"but a int64 \[3\], b <U15 \[6\]"),
    "no captions": ({"images": PIXELS}, "nothing says what is in it"),
    "pictures that lie flat": ({"images": PIXELS.reshape(6, -1), "captions": CAPTIONS}, "holds no pictures"),
    "pictures of two channels": ({"images": PIXELS[..., :2], "captions": CAPTIONS}, "holds no pictures"),
    "pictures of no pixels": ({"images": PIXELS[:, :0], "captions": CAPTIONS}, "holds no pictures"),
    "complex numbers": ({"images": PIXELS * 1j, "captions": CAPTIONS}, "holds no pictures"),
    "pictures that are text": ({"images": CAPTIONS, "captions": CAPTIONS}, "holds no pictures"),
    "pictures that are objects": ({"images": np.array([PIXELS, None], object), "captions": CAPTIONS}, "Python objects"),
    "captions that are objects": ({"images": PIXELS, "captions": CAPTIONS.astype(object)}, "Python objects"),
    "captions that are numbers": ({"images": PIXELS, "captions": np.arange(6)}, "is not text"),
    "too few captions": ({"images": PIXELS, "captions": CAPTIONS[:5]}, "is not for 6 pictures"),
    "labels that are fractions": ({"images": PIXELS, "labels": np.linspace(0, 1, 6)}, "is not text and no integers"),
    "several labels a picture": ({"images": PIXELS, "labels": np.eye(6, dtype=int)}, "several labels a picture"),
    "columns first": ({"images": np.asfortranarray(PIXELS), "captions": CAPTIONS}, "column by column"),
    "from -1 to 1": ({"images": PIXELS / 127.5 - 1, "captions": CAPTIONS}, "go from -1 to 1"),
    "16 bits": ({"images": PIXELS.astype(np.uint16) * 257, "captions": CAPTIONS}, "go from 0 to 65535"),
    "infinite": ({"images": PIXELS / 255 + np.float64(1e30), "captions": CAPTIONS}, "go from 1e[+]30"),
    "a shape that is a lie": ({"images": with_shape("(1000, 8, 8, 3)"), **SAID}, "are not those of uint8"),
    "a shape that is negative": ({"images": with_shape("(-6, 8, 8, 3)"), **SAID}, "its shape is"),
    "a shape without end": ({"images": with_shape("(9**9**9,)"), **SAID}, "malformed"),
    "a header that is code": ({"images": with_header("__import__('os').system('exit')"), **SAID}, "malformed"),
    "a header cut off": ({"images": npy(PIXELS)[:20], **SAID}, "expected"),
    "another version": ({"images": b"\x93NUMPY\x09\0" + npy(PIXELS)[8:], **SAID}, "version 9.0"),
    "a pickle": ({"images": pickle.dumps(PIXELS), **SAID}, "magic string"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said(tmp_path, case):
    arrays, reason = REFUSED[case]
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", array if isinstance(array, bytes) else npy(array))
    with pytest.raises(UserError, match=rf"x\.npz cannot be read as NumPy's \.npz: (?s:.*){reason}"):
        read_all(path)
    # What is wrong with one split does not stop the other.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images_train.npy", npy(PIXELS))
        archive.writestr("captions_train.npy", npy(CAPTIONS))
    records, _ = Arrays(config_of(path), path).records("train")
    assert len(records) == 6


def test_numbers_that_are_none_cost_their_picture(tmp_path):
    path = save(tmp_path / "x.npz", images=NAN, captions=CAPTIONS)
    dataset = open_dataset(config_of(path), "train")
    assert len(dataset) == 5 and "not a number" in skipped(dataset)["images[2]"]


@pytest.mark.parametrize("saver", SAVERS)
def test_damage(tmp_path, saver):
    path = save(tmp_path / "x.npz", saver, captions=CAPTIONS, images=PIXELS)
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(UserError, match="not a zip archive"):
        read_all(path)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.getinfo("captions.npy").header_offset + 100
    path.write_bytes(data[:at] + bytes(80) + data[at + 80 :])
    with pytest.raises(UserError, match=r"x\.npz cannot be read"):
        read_all(path)


def test_a_file_that_shrinks_afterwards(tmp_path):
    path = save(tmp_path / "x.npz", images=PIXELS, captions=CAPTIONS)
    records, _ = Arrays(config_of(path), path).records(None)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ValueError, match="the file ends after"):
        records[5].image.read()


STORED = io.BytesIO()
np.savez(STORED, images=PIXELS[:2], captions=CAPTIONS[:2])
COMPRESSED = io.BytesIO()
np.savez_compressed(COMPRESSED, x=PIXELS[:2] / 255, y=np.arange(2))


@settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
)
def test_any_change_of_a_good_file(tmp_path, stored, changes):
    data = bytearray((STORED if stored else COMPRESSED).getvalue())
    for at, value in changes:
        data[at % len(data) : at % len(data) + len(value)] = value
    path = tmp_path / "x.npz"
    path.write_bytes(bytes(data))
    try:
        records, _ = Arrays(config_of(path, cache_dir=str(tmp_path / "cache")), path).records(None)
    except UserError:
        return
    for record in records:
        try:
            assert record.image.read().dtype == np.uint8
        except ValueError as error:
            assert str(error)
