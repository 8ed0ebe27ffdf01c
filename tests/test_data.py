"""Dataset, the embedded avatars and the batches of a step."""

import subprocess
import sys

import numpy as np
import pytest

from configs.base import get_config
from t2igan.data import Batches, Dataset, list_splits, open_dataset, prefetched
from t2igan.data.sources.avatars import Avatars
from t2igan.data.sources.captions import label_captions, readable_label
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError


@pytest.fixture(scope="module")
def avatars() -> Dataset:
    return open_dataset(get_config().data, "test")


def small_dataset(num_images: int, captions_each: int = 1) -> Dataset:
    images = np.arange(num_images, dtype=np.uint8).repeat(4 * 4 * 3).reshape(-1, 4, 4, 3)
    captions = tuple(tuple(f"picture {i} phrase {j}" for j in range(captions_each)) for i in range(num_images))
    return Dataset("small", "train", images, captions)


# The embedded avatars


def test_avatars_have_their_splits_and_attributes(avatars):
    config = get_config().data
    assert list_splits(config) == ("train", "test", "unseen", "unseen_pairs", "val")
    assert avatars.images.shape == (425, 16, 16, 3) and avatars.images.dtype == np.uint8
    assert not avatars.skipped and all(len(captions) == 1 for captions in avatars.captions)
    assert avatars.attribute_names() == (
        "beard", "clothingColor", "glasses", "hair", "hairColor", "hat", "hatColor", "skinColor",
    )  # fmt: skip
    assert avatars.attribute_values()["hat"] == ["cap", "hat", "none", "striped hat"]
    assert "none" not in avatars.attribute_values()["skinColor"]


def test_unseen_pairs_never_occur_in_train():
    pairs = {}
    for split in ("train", "unseen"):
        attributes = [record.attributes for record in Avatars().records(split)[0]]
        pairs[split] = {(a["hairColor"], a["clothingColor"]) for a in attributes if "hairColor" in a}
    assert len(pairs["unseen"]) == 6 and not pairs["train"] & pairs["unseen"]


def test_avatars_scale_by_whole_pixels(avatars):
    config = get_config().data
    config.image_size_px = 32
    np.testing.assert_array_equal(
        open_dataset(config, "test").images, avatars.images.repeat(2, axis=1).repeat(2, axis=2)
    )
    config.image_size_px = 8
    mean = avatars.images.reshape(-1, 8, 2, 8, 2, 3).astype(float).mean((2, 4))
    assert np.abs(open_dataset(config, "test").images - mean).max() <= 1


def test_what_cannot_be_opened_is_said():
    config = get_config().data
    with pytest.raises(UserError, match=r"no split 'tset'; did you mean 'test'\?\nThere are: train, test"):
        open_dataset(config, "tset")
    config.source = "pixel_avatar"
    with pytest.raises(UserError, match=r"'pixel_avatar' does not exist; did you mean 'pixel_avatars'"):
        open_dataset(config, "train")
    config.source = "/no/such/folder"
    with pytest.raises(UserError, match='Accepted: "pixel_avatars"'):
        list_splits(config)
    config.source = "pixel_avatars"
    for key, bad in (
        ("channels", 2),
        ("image_size_px", 0),
        ("test_fraction", 1.0),
        ("background", (1, 2, 300)),
    ):
        config = get_config().data
        config[key] = bad
        with pytest.raises(UserError, match=f"config.data.{key}="):
            open_dataset(config, "train")


def test_importing_is_light():
    code = (
        "import sys, t2igan.data, t2igan.data.tokenizer;"
        "print([m for m in ('jax', 'grain', 'pyarrow', 'tensorflow_datasets') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# Dataset


def test_attribute_labels_against_a_vocabulary():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    attributes = ({"hat": "cap"}, {"hat": "crown", "beard": "beard"}, {})
    dataset = Dataset("x", "test", images, (("a",),) * 3, attributes)
    assert dataset.attribute_values() == {"beard": ["beard", "none"], "hat": ["cap", "crown", "none"]}
    assert dataset.attribute_labels().tolist() == [[1, 0], [0, 1], [1, 2]]
    assert dataset.attribute_labels({"hat": ["none", "cap"]}).tolist() == [[1], [-1], [0]]
    bare = Dataset("x", "test", images, (("a",),) * 3)
    assert bare.attribute_names() == () and bare.attribute_labels().shape == (3, 0)


def test_fingerprint_follows_pixels_captions_and_order():
    dataset = small_dataset(4)
    pixels = dataset.images.copy()
    pixels[3, 0, 0, 0] ^= 1
    prints = {
        dataset.fingerprint(),
        Dataset("x", "train", pixels, dataset.captions).fingerprint(),
        Dataset("x", "train", dataset.images, dataset.captions[::-1]).fingerprint(),
        Dataset("x", "train", dataset.images[::-1], dataset.captions).fingerprint(),
    }
    assert len(prints) == 4
    assert small_dataset(4).fingerprint() == dataset.fingerprint()


def test_rows_of_a_split_are_a_split(avatars):
    rows = [7, 3, 3]
    for taken in (avatars.take(rows), avatars.take(slice(20)).take(np.array(rows))):
        np.testing.assert_array_equal(taken.images, avatars.images[rows])
        assert taken.captions == tuple(avatars.captions[row] for row in rows)
        assert taken.attributes == tuple(avatars.attributes[row] for row in rows)
        assert taken.fingerprint() != avatars.fingerprint() and taken.images.base is not avatars.images
    assert avatars.take(np.arange(425) < 3).fingerprint() == avatars.take(slice(3)).fingerprint()
    plain = small_dataset(5).take([4])
    assert plain.attributes is plain.content is plain.sizes is None and plain.images[0, 0, 0, 0] == 4
    with pytest.raises(IndexError):
        avatars.take([425])


def test_labels_become_captions():
    assert readable_label("T-shirt/top") == "t-shirt or top"
    assert label_captions("Ankle_boot", ("a picture of {label}", "{label}")) == (
        "a picture of ankle boot", "ankle boot",
    )  # fmt: skip
    with pytest.raises(UserError, match="'a picture'"):
        label_captions("x", ("a picture",))


# Batches


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["picture 0123456789 phrase"], 300, 24, True)


def test_a_batch_depends_on_seed_and_step_only(tokenizer):
    dataset = small_dataset(50, captions_each=3)
    first = Batches(dataset, tokenizer, seed=1, batch_images=16)
    again = Batches(dataset, tokenizer, seed=1, batch_images=16)
    for step in (7, 0, 1000):  # in any order
        one, other = first[step], again[step]
        np.testing.assert_array_equal(one["images"], other["images"])
        np.testing.assert_array_equal(one["tokens"], other["tokens"])
    assert one["images"].shape == (16, 4, 4, 3) and one["images"].dtype == np.uint8
    assert one["tokens"].shape == (16, 12) and one["tokens"].dtype == np.int32
    assert (first[0]["images"] != first[1]["images"]).any()
    assert (first[0]["images"] != Batches(dataset, tokenizer, seed=2, batch_images=16)[0]["images"]).any()


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_the_batch_of_one(tokenizer, process_count):
    dataset = small_dataset(50, captions_each=3)
    whole = Batches(dataset, tokenizer, seed=1, batch_images=16)
    parts = [
        Batches(
            dataset, tokenizer, seed=1, batch_images=16, process_index=i, process_count=process_count
        )
        for i in range(process_count)
    ]  # fmt: skip
    for step in (0, 5):
        for key in ("images", "tokens"):
            np.testing.assert_array_equal(whole[step][key], np.concatenate([p[step][key] for p in parts]))


def test_captions_belong_to_their_pictures_and_all_are_used(tokenizer):
    dataset = small_dataset(10, captions_each=3)
    batches = Batches(dataset, tokenizer, seed=0, batch_images=20)
    seen = set()
    for step in range(10):
        batch = batches[step]
        for image, ids in zip(batch["images"], batch["tokens"], strict=True):
            caption = tokenizer.decode(ids)
            assert caption.startswith(f"picture {image[0, 0, 0]} ")
            seen.add(caption)
    assert len(seen) == 30


def test_every_epoch_has_every_picture_and_small_data_makes_big_batches(tokenizer):
    batches = Batches(small_dataset(12), tokenizer, seed=3, batch_images=4)
    epochs = [np.concatenate([batches[step]["images"][:, 0, 0, 0] for step in range(3 * e, 3 * e + 3)]) for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0].tolist() != epochs[1].tolist()
    assert len(Batches(small_dataset(3), tokenizer, seed=3, batch_images=8)[5]["images"]) == 8


def test_batches_that_cannot_be(tokenizer):
    with pytest.raises(UserError, match="choose a multiple of 3"):
        Batches(small_dataset(4), tokenizer, seed=0, batch_images=16, process_count=3)
    with pytest.raises(UserError, match="no picture"):
        Batches(small_dataset(0), tokenizer, seed=0, batch_images=16)


def test_prefetched_batches_are_those_of_a_plain_loop():
    def batch_of(step):
        if step == 7:
            raise UserError("the disk is gone")
        return {"step": np.array(step)}

    ahead = prefetched(batch_of, 2, 100, depth=3)
    assert [int(next(ahead)["step"]) for _ in range(5)] == [2, 3, 4, 5, 6]
    with pytest.raises(UserError, match="the disk is gone"):  # where its batch would have been
        next(ahead)
    assert [int(batch["step"]) for batch in prefetched(batch_of, 8, 12)] == [8, 9, 10, 11]
    assert list(prefetched(batch_of, 3, 3)) == []
