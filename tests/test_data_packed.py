"""The embedded sets of 64 px, and pictures without captions."""

import numpy as np
import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data import open_dataset
from t2igan.data.unlabelled import open_unlabelled, with_unlabelled
from t2igan.errors import UserError

SPLITS = {
    "toon_avatars": {"train": 3_845, "heldout_random": 188, "heldout_combo": 967},
    "noto_emoji": {"train": 3_220, "heldout_combo": 365, "heldout_concept": 90, "ambiguous": 33},
}


def data_of(source, **settings):
    config = get_config()
    with config.unlocked():
        config.data.update(source=source, image_size_px=64, val_fraction=0.0, test_fraction=0.0, **settings)
    return config.data


@pytest.mark.parametrize("source", SPLITS)
def test_an_embedded_set_has_its_pictures_and_a_caption_each(source):
    for split, num in SPLITS[source].items():
        found = open_dataset(data_of(source), split)
        assert len(found) == num and not found.skipped
        assert found.images.shape == (num, 64, 64, 3)
        assert all(len(captions) == 1 and captions[0] for captions in found.captions)


def test_held_out_pairs_of_the_toon_avatars_are_not_in_train():
    pairs = lambda split: {
        (a["clothes"], a["clothesColor"]) for a in open_dataset(data_of("toon_avatars"), split).attributes
    }
    assert not pairs("train") & pairs("heldout_combo")
    assert pairs("heldout_random") <= pairs("train")


def test_a_picture_of_each_set_is_the_one_that_its_caption_names():
    toon = open_dataset(data_of("toon_avatars"), "heldout_random")
    row = next(i for i, a in enumerate(toon.attributes) if a["clothesColor"] == "red")
    red, green, blue = toon.images[row, -2, 32].astype(int)  # the middle of the garment, at the lower edge
    assert red > 2 * max(green, blue) and "red" in toon.captions[row][0]
    emoji = open_dataset(data_of("noto_emoji"), "train")
    row = emoji.captions.index(("green heart",))
    red, green, blue = emoji.images[row, 32, 32].astype(int)
    assert green > 1.3 * max(red, blue)


@pytest.fixture
def folder(tmp_path):
    """Three pictures in a folder and one below it, and a text that belongs to none."""
    (tmp_path / "below").mkdir()
    for i, place in enumerate(("a.png", "b.jpg", "c.webp", "below/d.png")):
        Image.fromarray(np.full((30, 20, 3), 60 * i, np.uint8)).save(tmp_path / place)
    (tmp_path / "notes.txt").write_text("no caption of any picture")
    return tmp_path


def test_a_folder_gives_all_its_pictures_without_a_caption(folder):
    images = open_unlabelled(data_of("toon_avatars", unlabelled_source=str(folder))).images
    assert images.shape == (4, 64, 64, 3) and images.dtype == np.uint8
    assert sorted(int(image.mean().round(-1)) for image in images) == [0, 60, 120, 180]


def test_a_source_with_captions_gives_the_pictures_of_all_splits():
    assert len(open_unlabelled(data_of("pixel_avatars", unlabelled_source="toon_avatars"))) == 5_000


@pytest.mark.parametrize("what", ["empty folder", "nothing there", "only a text"])
def test_a_source_without_pictures_is_said_by_its_name(tmp_path, what):
    path = tmp_path / "pictures"
    if what != "nothing there":
        path.mkdir()
    if what == "only a text":
        (path / "a.txt").write_text("a cat")
    with pytest.raises(UserError, match="pictures"):
        open_unlabelled(data_of("toon_avatars", unlabelled_source=str(path)))


def test_pictures_without_captions_stand_behind_the_others():
    few = open_dataset(data_of("toon_avatars"), "heldout_random")
    more = with_unlabelled(few, np.zeros((3, 64, 64, 3), np.uint8))
    assert len(more) == 191 and more.images[-1].max() == 0 and more.captions[-1] == (" ",)
    np.testing.assert_array_equal(more.images[:188], few.images)
