"""Pictures are decoded once, kept whole or not at all, and too many of them are decoded when they are asked for."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from coloured import Pictures
from PIL import Image

from configs.base import get_config
from t2igan.data import cache
from t2igan.data.cache import cache_folder, decoded
from t2igan.data.dataset import read
from t2igan.data.decode import Decoding
from t2igan.data.room import make_room
from t2igan.data.rows import Mapped, Streamed
from t2igan.data.splits import Held
from t2igan.data.stored import InFile, InMemory
from t2igan.errors import UserError

HOW = Decoding(8)


@pytest.fixture
def data_config(tmp_path):
    config = get_config().data
    config.cache_dir = str(tmp_path / "cache")
    config.image_size_px = 8
    return config


@pytest.fixture
def places(tmp_path):
    return [InFile.of(file) for file in Pictures(tmp_path / "pictures", 6).files]


def kept(places, how, data_config):
    """What `decoded` gives for places in files, named as those."""
    return decoded(places, [getattr(place, "path", "") for place in places], how, data_config)


def entries(data_config) -> list[Path]:
    return sorted(path for path in (cache_folder(data_config) / "pictures").iterdir() if path.is_dir())


# The cache


def test_pictures_are_decoded_once(places, data_config, monkeypatch):
    first = kept(places, HOW, data_config)
    assert first.images.shape == (6, 8, 8, 3) and (first.images[3] == (3, 6, 0)).all() and not first.failures
    assert first.sizes.tolist() == [[10, 10]] * 6 and len(np.unique(first.content, axis=0)) == 6
    monkeypatch.setattr(cache, "read_picture", None)  # nothing may be decoded any more
    again = kept(places, HOW, data_config)
    assert isinstance(again.images, np.memmap) and not again.images.flags.writeable
    for a, b in ((first.images, again.images), (first.content, again.content), (first.sizes, again.sizes)):
        np.testing.assert_array_equal(a, b)


def test_another_file_setting_or_order_is_another_entry(places, data_config):
    kept(places, HOW, data_config)
    for i, (others, how) in enumerate(
        [
            (places, Decoding(8, resize="pad")),
            (places, Decoding(8, background=(0, 0, 0))),
            (places[::-1], HOW),
            (places[:5], HOW),
        ]
    ):
        kept(others, how, data_config)
        assert len(entries(data_config)) == i + 2
    Image.new("RGB", (10, 10), (200, 0, 0)).save(places[0].path)  # as many bytes as before
    changed = [InFile.of(place.path) for place in places]
    assert (kept(changed, HOW, data_config).images[0] == (200, 0, 0)).all()


def test_what_cannot_be_decoded_is_remembered_too(places, data_config):
    Path(places[2].path).write_bytes(b"no picture")
    Path(places[4].path).unlink()
    places[2] = InFile.of(places[2].path)
    for _ in range(2):
        found = kept(places, HOW, data_config)
        assert found.failures == {2: "not a picture that Pillow can read", 4: "there is no such file"}


@pytest.mark.parametrize("name", ["images.npy", "content.npy", "sizes.npy", "transparent.npy", "failures.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_entry_is_made_anew(places, data_config, name, damage):
    expected = kept(places, HOW, data_config)
    expected = (np.array(expected.images), expected.content)
    file = entries(data_config)[0] / name
    if damage == "gone":
        file.unlink()
    else:
        os.truncate(file, 0 if damage == "empty" else file.stat().st_size - 1)
    again = kept(places, HOW, data_config)
    np.testing.assert_array_equal(again.images, expected[0])
    np.testing.assert_array_equal(again.content, expected[1])


def test_a_process_killed_in_the_middle_leaves_nothing_to_be_taken_for_whole(tmp_path, data_config, places):
    """SIGKILL while pictures are being decoded; the next process decodes them all."""
    code = f"""
        import time
        from configs.base import get_config
        from t2igan.data import cache
        from t2igan.data.decode import Decoding
        from t2igan.data.stored import InFile
        def slow(stored, how):
            open({str(tmp_path / "started")!r}, "w").close()
            time.sleep(60)
        cache.read_picture = slow
        config = get_config().data
        config.cache_dir = {data_config.cache_dir!r}
        files = {[place.path for place in places]!r}
        cache.decoded([InFile.of(p) for p in files], files, Decoding(8), config)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = entries(data_config)
    assert len(left) == 1 and left[0].name.endswith(".unfinished")
    assert (kept(places, HOW, data_config).images[5] == (5, 10, 0)).all()
    assert len(entries(data_config)) == 1 and not entries(data_config)[0].name.endswith(".unfinished")


def _open_slowly(places, config_dict, log):
    from ml_collections import ConfigDict

    original = cache.read_picture

    def counted(stored, how):
        with Path(log).open("a") as file:
            file.write("x")
        time.sleep(0.05)
        return original(stored, how)

    cache.read_picture = counted
    found = kept(places, HOW, ConfigDict(config_dict))
    assert (found.images[5] == (5, 10, 0)).all()


def test_two_processes_at_once_decode_once(tmp_path, data_config, places):
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    processes = [context.Process(target=_open_slowly, args=(places, data_config.to_dict(), str(log))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(log.read_text()) == len(places)


def test_a_full_or_read_only_disk_is_no_reason_to_stop(places, data_config, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert (kept(places, HOW, data_config).images[5] == (5, 10, 0)).all()
    assert "No space left" in caplog.text and "config.data.cache_dir" in caplog.text and not entries(data_config)
    Path(data_config.cache_dir, "file").touch()
    data_config.cache_dir += "/file"
    assert (kept(places, HOW, data_config).images[5] == (5, 10, 0)).all()


def test_what_was_not_used_for_longest_goes_first(places, data_config):
    def use(resample):
        for entry in entries(data_config) if Path(data_config.cache_dir).exists() else ():  # an hour later
            os.utime(entry, (entry.stat().st_mtime - 3600,) * 2)
        return kept(places, Decoding(8, resample=resample), data_config)

    size_bytes = sum(file.stat().st_size for file in use("area").folder.iterdir())
    data_config.cache_gb = 2.5 * size_bytes / 1e9
    unused = use("nearest").folder
    use("area")
    newest = use("lanczos").folder
    assert entries(data_config) == sorted([use("area").folder, newest]) and unused not in entries(data_config)


def test_an_edited_picture_is_read_anew_though_size_and_times_are_as_before(tmp_path, data_config):
    def edit(path, colour):
        status = path.stat()
        Image.new("RGB", (10, 10), colour).save(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)

    def swap(path, other):
        path.rename(tmp_path / "aside")
        other.rename(path)
        (tmp_path / "aside").rename(other)

    files = [tmp_path / name for name in ("a.bmp", "b.ppm", "c.bmp")]
    for number, file in enumerate(files):
        Image.new("RGB", (10, 10), (number, 0, 0)).save(file)
        os.utime(file, ns=(1, 1))

    def reds():
        return kept([InFile.of(file) for file in files], HOW, data_config).images[:, 0, 0, 0].tolist()

    assert reds() == [0, 1, 2]
    time.sleep(0.02)  # the clock of the disk
    edit(files[0], (10, 0, 0))
    edit(files[1], (11, 0, 0))
    assert reds() == [10, 11, 2]
    time.sleep(0.02)
    swap(files[0], files[2])
    assert reds() == [2, 11, 10]


@pytest.mark.parametrize("keep_images", [True, False])
def test_pictures_that_could_not_be_read_are_tried_again(tmp_path, data_config, keep_images):
    files = Pictures(tmp_path / "pictures", 5).files
    places = [InFile.of(file) for file in files]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    places.append(InFile.of(tmp_path / "broken.png"))
    (tmp_path / "pictures").rename(tmp_path / "away")  # a disk that is not there

    def found():
        return decoded(places, [str(i) for i in range(6)], HOW, data_config, keep_images)

    assert set(found().failures) == set(range(6)) and found().unread == {0, 1, 2, 3, 4}
    (tmp_path / "away").rename(tmp_path / "pictures")
    files[4].rename(tmp_path / "aside.png")
    for _ in range(2):
        again = found()
        assert set(again.failures) == {4, 5} and again.unread == {4}
        if keep_images:
            assert again.images[:4, 0, 0, 0].tolist() == [0, 1, 2, 3]
    (tmp_path / "aside.png").rename(files[4])
    assert set(found().failures) == {5} and len(np.unique(found().content[:5], axis=0)) == 5
    assert len(entries(data_config)) == 1


def test_unpacked_files_count_and_stay_while_they_are_used(places, data_config):
    unpacked = Path(data_config.cache_dir) / "unpacked"
    unpacked.mkdir(parents=True)
    for name, used_s in (("old.tar", 1), ("older.tar", 0), ("new.npy", 2)):
        (unpacked / name).write_bytes(bytes(100_000))
        os.utime(unpacked / name, (used_s, used_s))
    code = f"""
        import sys
        from pathlib import Path
        from t2igan.data.room import hold
        hold(Path({str(unpacked / "older.tar")!r}))
        print("held", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        os.utime(unpacked / "older.tar", (0, 0))
        make_room(unpacked.parent, 0, 210_000)
        assert {file.name for file in unpacked.iterdir()} == {"older.tar", "new.npy"}
        make_room(unpacked.parent, 0, 0)
        assert {file.name for file in unpacked.iterdir()} == {"older.tar"}
        data_config.cache_gb = 1.0e-4  # decoded pictures make room, too
        kept(places, HOW, data_config)
        assert (unpacked / "older.tar").exists()
        other.stdin.close()
    os.utime(unpacked / "older.tar", (0, 0))
    kept(places, Decoding(8, resample="area"), data_config)
    assert not list(unpacked.iterdir()) and len(entries(data_config)) >= 1


def test_pictures_at_hand_are_not_kept(data_config, tmp_path):
    place = InMemory(Path(Pictures(tmp_path / "pictures", 1).files[0]).read_bytes())
    assert kept([place], HOW, data_config).images.shape == (1, 8, 8, 3)
    assert not Path(data_config.cache_dir).exists()


# Larger than the cache


def test_streamed_pictures_are_those_of_the_cache(tmp_path, data_config):
    source = Pictures(tmp_path / "pictures", 40)
    source.files[7].write_bytes(b"broken")
    kept = read(source, "", data_config)
    data_config.cache_gb = 0.0
    data_config.workers = 2
    streamed = read(source, "", data_config)
    assert isinstance(streamed.images, Streamed) and not isinstance(kept.images, Streamed)
    assert streamed.captions == kept.captions and streamed.skipped == kept.skipped and len(streamed) == 39
    assert streamed.fingerprint() == kept.fingerprint()
    rows = np.random.default_rng(0).integers(0, 39, 30)
    np.testing.assert_array_equal(streamed.images[rows], kept.images[rows])  # by worker processes
    np.testing.assert_array_equal(streamed.images[rows[:2]], kept.images[rows[:2]])  # by this one
    np.testing.assert_array_equal(np.asarray(streamed.images), kept.images)


def test_ctrl_c_is_left_to_the_training(tmp_path, data_config):
    """A terminal sends it to the processes that decode as well; the step under way still needs them."""
    data_config.cache_gb, data_config.workers = 0.0, 1
    images = read(Pictures(tmp_path / "pictures", 12), "", data_config).images
    rows = np.arange(8)
    first = images[rows]
    (worker,) = images._workers.pool._processes.values()
    os.kill(worker.pid, signal.SIGINT)
    np.testing.assert_array_equal(images[rows], first)
    assert worker.is_alive()


def test_a_streamed_picture_that_vanishes_is_replaced(tmp_path, data_config, caplog):
    source = Pictures(tmp_path / "pictures", 30)
    data_config.cache_gb = 0.0
    images = read(source, "", data_config).images
    source.files[3].unlink()
    assert (images[3] == (4, 8, 0)).all() and (images[[2, 3]][1] == (4, 8, 0)).all()
    assert caplog.text.count("003.png") == 1
    for file in source.files[4:15]:
        file.unlink()
    with pytest.raises(UserError, match="10 pictures in a row"):
        images[3]


def test_held_out_parts_are_rows_of_one_entry(tmp_path, data_config, monkeypatch):
    source = Pictures(tmp_path / "pictures", 60)
    held = Held(test=0.2)
    whole = read(source, "", data_config)
    for limit in (1 << 30, 0):  # copied into memory, and looked up in the mapped file
        monkeypatch.setattr("t2igan.data.dataset.COPIED_BYTES", limit)
        train, test = (read(source, "", data_config, part, part, held) for part in ("train", "test"))
        assert isinstance(train.images, Mapped if limit == 0 else np.ndarray) and (train.split, test.split) == (
            "train",
            "test",
        )
        assert sorted(train.captions + test.captions) == sorted(whole.captions) and len(test) > 0
        for part in (train, test):
            for image, captions in zip(np.asarray(part.images), part.captions, strict=True):
                assert image[0, 0, 0] == int(captions[0].removeprefix("number "))
    assert len(entries(data_config)) == 1


def test_rows_are_indexed_like_an_array():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    rows = np.array([3, 1, 19, 7, 7])
    mapped, plain = Mapped(images, rows), images[rows]
    assert mapped.shape == plain.shape and len(mapped) == 5 and mapped.ndim == 4 and mapped.dtype == np.uint8
    for index in (
        0,
        -1,
        slice(1, 4),
        slice(None, None, -1),
        [4, 0],
        np.array([[0, 1], [2, 3]]),
        plain[:, 0, 0, 0] > 90,
    ):
        np.testing.assert_array_equal(mapped[index], plain[index])
    with pytest.raises(IndexError):
        mapped[5]
