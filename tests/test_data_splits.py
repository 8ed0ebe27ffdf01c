"""Which pictures are trained, validated and tested on: splits of the data's own, and those a hash holds out."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data import check_all_usable, list_splits, open_dataset, open_datasets, split_names
from t2igan.data.alike import SIGNATURE_BYTES, same_picture, signature
from t2igan.data.decode import Decoding, decode
from t2igan.data.sources.avatars import Avatars
from t2igan.data.splits import Held, divide, find_splits, parts
from t2igan.data.spread import evenly_spread
from t2igan.errors import UserError


def config_of(source="pixel_avatars", **changes):
    config = get_config().data
    config.update({"source": str(source)} | changes)
    return config


def open_for_training(config):
    """The three splits as a training opens them."""
    splits = open_datasets(config, split_names(config))
    check_all_usable(splits, config)
    return splits


def scene(number: int, size_px: int = 64) -> Image.Image:
    """A picture unlike all others: waves of colour and a disc."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    waves = [np.sin(random.uniform(3, 15) * (x if c else y) + random.uniform(0, 6)) for c in range(3)]
    pixels = 128 + 60 * np.stack(waves, -1) + random.normal(0, 6, (size_px, size_px, 3))
    cy, cx = random.uniform(0.3, 0.7, 2)
    pixels[(y - cy) ** 2 + (x - cx) ** 2 < 0.04] = random.integers(0, 256, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def folder_of(path, num, kinds=("PNG",), first=0):
    path.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + num):
        for kind in kinds:
            (path / f"{i}_{kind}.{kind.lower()}").write_bytes(encoded(scene(i), kind))
            (path / f"{i}_{kind}.txt").write_text(f"scene {i}")
    return path


def distinct(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes and signatures of pictures that are all different."""
    random = np.random.default_rng(0)
    shapes = (num, 16), (num, SIGNATURE_BYTES)
    return tuple(random.integers(0, 256, shape, np.uint8) for shape in shapes)


# What a hash holds out


def test_held_out_pictures_stay_held_out():
    content, signatures = distinct(4000)
    held = Held(val=0.05, test=0.1, least=32)
    chosen = parts(content, signatures, held)
    counts = {name: int((chosen == name).sum()) for name in ("train", "val", "test")}
    assert 140 < counts["val"] < 260 and 320 < counts["test"] < 480 and sum(counts.values()) == 4000
    np.testing.assert_array_equal(parts(content[::-1], signatures[::-1], held), chosen[::-1])
    np.testing.assert_array_equal(parts(content[500:], signatures[500:], held), chosen[500:])  # others do not matter
    more = parts(content, signatures, Held(val=0.2, test=0.3, least=32))
    assert (more[chosen == "val"] == "val").all() and (more[chosen == "test"] == "test").all()
    alone = parts(content, signatures, Held(test=0.1, least=32))  # one does not depend on the other
    np.testing.assert_array_equal(alone == "test", chosen == "test")
    assert set(alone) == {"train", "test"} and set(parts(content, signatures, Held())) == {"train"}


@pytest.mark.parametrize(
    "num, expected",
    # of 10,000: 5 % each; then at least 32; then an eighth each, rounded up; then one each, as long as there are any
    [(10_000, None), (640, (32, 32)), (400, (32, 32)), (100, (13, 13)), (30, (4, 4)), (9, (2, 2)), (5, (1, 1))]
    + [(3, (1, 1)), (2, (0, 1)), (1, (0, 0)), (0, (0, 0))],
)
def test_few_pictures_leave_enough_on_every_side(num, expected):
    ranks = np.linspace(0, 1, num, endpoint=False) if num != 10_000 else np.random.default_rng(0).random(num)
    if num < 10_000:
        ranks = 0.3 + 0.4 * ranks  # by the shares alone nothing would be held out
    part = divide(ranks, Held(val=0.05, test=0.05, least=32))
    counts = int((part == "val").sum()), int((part == "test").sum())
    assert counts == expected if expected else all(420 < count < 580 for count in counts)
    assert num < 1 or (part == "train").any()


def test_too_large_shares_leave_one_of_each():
    for num in (3, 10, 100):
        part = divide(np.random.default_rng(num).random(num), Held(val=0.9, test=0.9, least=1))
        assert {"train", "val", "test"} == set(part)


# One picture in several files


def test_one_picture_in_several_formats_is_one_picture():
    how = Decoding(32)
    files = [encoded(scene(i), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP") for i in range(40)]
    signatures = np.stack([signature(decode(file, how)[0]) for file in files])
    content = np.stack([np.frombuffer(hashlib.sha256(file).digest()[:16], np.uint8) for file in files])
    np.testing.assert_array_equal(same_picture(content, signatures), np.tile(np.arange(40), 4))
    chosen = parts(content, signatures, Held(val=0.1, test=0.1)).reshape(4, 40)
    assert (chosen == chosen[:1]).all() and len(set(chosen[0])) == 3
    grey = np.stack([signature(decode(file, Decoding(32, 1))[0]) for file in files])
    np.testing.assert_array_equal(same_picture(content, grey), np.tile(np.arange(40), 4))


def test_pictures_that_differ_a_little_are_two():
    ground = np.full((32, 32, 3), 250, np.uint8)
    lines = []
    for i in range(20):  # thin short lines on white: what differs is little, and all that there is
        one = ground.copy()
        one[4 * (i % 8) + 1, 10 * (i // 8) : 10 * (i // 8) + 8] = 200
        lines.append(one)
    flat = [np.full((32, 32, 3), (120 + 4 * i, 90, 60), np.uint8) for i in range(20)]
    for pictures in (lines, flat):
        signatures = np.stack([signature(pixels) for pixels in pictures])
        content = distinct(20)[0]
        np.testing.assert_array_equal(same_picture(content, signatures), np.arange(20))
    content[7] = content[3]  # unless they are the same byte by byte
    assert same_picture(content, signatures)[7] == 3


def test_a_folder_with_every_picture_in_three_formats(tmp_path):
    config = config_of(folder_of(tmp_path / "a", 30, ("PNG", "JPEG", "WEBP")), image_size_px=32)
    splits = open_for_training(config)
    scenes = [{captions[0] for captions in split.captions} for split in splits]
    assert [len(split) for split in splits] == [66, 12, 12] and sum(map(len, scenes)) == 30
    again = open_for_training(config_of(tmp_path / "a", image_size_px=32))
    assert [a.fingerprint() for a in again] == [b.fingerprint() for b in splits]


# Splits of the data's own


@pytest.mark.parametrize(
    "own, changes, expected",
    [
        ((), {}, ("train", "val", "test", "both")),
        (("train",), {}, ("train", "val", "test", "both")),
        (("train", "test"), {}, ("train", "val", "test", "val")),
        (("train", "validation", "test"), {}, ("train", "validation", "test", "")),
        (("train", "val"), {}, ("train", "val", "test", "test")),
        (("train", "dev", "testing"), {}, ("train", "dev", "testing", "")),
        (("train", "test", "unseen"), {}, ("train", "val", "test", "val")),
        (("train", "val"), {"val_split": "minival", "test_split": "val"}, ("train", "minival", "val", "val")),
        (("train", "dev"), {"val_split": "minival", "test_split": "val"}, ("train", "minival", "dev", "val")),
        (("a", "b"), {"train_split": "a", "val_split": "b", "test_split": "b2"}, ("a", "b", "b2", "")),
        (("train",), {"val_split": "train", "test_split": "train"}, ("train", "train", "train", "")),
        (("train",), {"val_fraction": 0.0}, ("train", "val", "test", "test")),
        (("train", "test"), {"val_split": "held"}, ("train", "held", "test", "")),
    ],
)  # fmt: skip
def test_what_is_held_out_is_what_the_data_lacks(own, changes, expected):
    splits = find_splits(own, config_of(**changes))
    held = {(False, False): "", (True, False): "val", (False, True): "test", (True, True): "both"}
    assert (splits.train, splits.val, splits.test) == expected[:3]
    assert held[bool(splits.held.val), bool(splits.held.test)] == expected[3]


def test_one_split_cannot_steer_and_judge():
    with pytest.raises(UserError, match=r"are both 'val'(.|\n)*val_split=\"?minival"):
        find_splits(("train", "val"), config_of(test_split="val"))


def test_the_embedded_data_keeps_its_splits_and_gives_a_validation_split():
    config = config_of()
    assert list_splits(config) == ("train", "test", "unseen", "unseen_pairs", "val")
    train, val, test = open_for_training(config)
    assert (len(train) + len(val), len(test)) == (6227, 425) and 250 < len(val) < 400
    whole = config_of(val_fraction=0.0)
    assert len(open_dataset(whole, "train")) == 6227
    assert not {row.tobytes() for row in train.content} & {row.tobytes() for row in val.content}
    with pytest.raises(UserError, match=r"no split 'val'(.|\n)*val_fraction above 0(.|\n)*val_split=train"):
        open_dataset(whole, "val")


def test_unseen_pairs_are_those_that_captions_name():
    records = {split: Avatars().records(split)[0] for split in Avatars().splits()}
    named = records["unseen_pairs"]
    assert (len(records["unseen"]), len(named)) == (1348, 856)
    in_train = {(r.attributes.get("hairColor"), r.attributes["clothingColor"]) for r in records["train"]}
    for record in named:
        hair, top = record.attributes["hairColor"], record.attributes["clothingColor"]
        assert hair in record.captions[0] and top in record.captions[0] and (hair, top) not in in_train
    left = {r.file for r in records["unseen"]} - {r.file for r in named}
    assert all("hairColor" not in r.attributes for r in records["unseen"] if r.file in left)
    trained = {r.captions[0] for r in records["train"]}
    assert not any(r.captions[0] in trained for r in named)
    assert len(open_dataset(config_of(), "unseen_pairs")) == 856


# Too little data


@pytest.mark.parametrize("num", [1, 2])
def test_too_few_pictures_say_how_many_and_what_else_can_be_done(tmp_path, num):
    source = folder_of(tmp_path, num)
    with pytest.raises(UserError) as error:
        open_for_training(config_of(source))
    for words in (f"{num} picture", "too few", "three different ones", "val_split=train", "test_split=train"):
        assert words in str(error.value)
    same = config_of(source, val_split="train", test_split="train")
    assert [len(split) for split in open_for_training(same)] == [num] * 3


def test_too_few_that_can_be_used_say_why(tmp_path):
    folder_of(tmp_path, 4)
    for i in range(1, 4):
        (tmp_path / f"{i}_PNG.txt").unlink()
    with pytest.raises(UserError, match=r"1 picture is too few \(1 of 4 can be used: no caption.*\(3\)\)"):
        open_for_training(config_of(tmp_path))


def test_three_and_five_pictures_make_three_splits(tmp_path):
    for num in (3, 5):
        splits = open_for_training(config_of(folder_of(tmp_path / str(num), num)))
        assert [len(split) for split in splits] == [num - 2, 1, 1]


def test_what_a_training_refuses_is_refused_for_every_split_once(tmp_path):
    folder_of(tmp_path, 12)
    for i in range(8):
        (tmp_path / f"{i}_PNG.txt").unlink()
    config = config_of(tmp_path)
    with pytest.raises(UserError, match=r"only 2 of 10 pictures can be used(.|\n)*min_usable=0.5"):
        open_for_training(config)
    config.min_usable = 0.0
    assert [len(split) for split in open_for_training(config)] == [2, 1, 1]
    check_all_usable(open_datasets(config, ["val", "test"]), config_of())


# Rows that stand for a split


@pytest.mark.parametrize(
    ("total", "num", "rows"),
    [(0, 3, []), (1, 3, [0]), (10, 1, [0]), (10, 2, [0, 9]), (10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2])],
)
def test_rows_are_spread_evenly(total, num, rows):
    assert evenly_spread(total, num).tolist() == rows


def test_rows_that_stand_for_a_split_have_different_captions():
    data = open_dataset(config_of(), "test").take(slice(40))
    few = tuple((f"a picture of a {'cat' if row < 30 else 'dog' if row < 39 else 'frog'}",) for row in range(40))
    classes = type(data)("classes", "test", data.images, few)
    assert classes.spread(8).tolist() == [0, 30, 39] and classes.spread(2).tolist() == [0, 39]
    rows = data.spread(8)
    captions = [data.captions[row][0] for row in rows]
    assert len(set(captions)) == 8 and rows[0] == 0 and (np.diff(rows) > 2).all()
