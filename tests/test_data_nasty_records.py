"""ArrayRecord and TFRecord files that lie, are broken or mean harm."""

import gzip
import os
import pickle

import pytest
from made_archives import config_of, png
from made_tables import example, tfrecord, write_records, zeroed

from t2igan.data.sources.array_record import ArrayRecords
from t2igan.errors import UserError

GOOD_EXAMPLE = example(image=png("red"), text=b"good")
# One bad record beside a good one, in either format.
RECORDS = {
    "empty": (b"", "not a tf.train.Example"),
    "garbage": (b"\xff" * 50, "not a tf.train.Example"),
    "msgpack": (b"\x82\xa5image\xc4\x01x\xa4text\xa1x", "not a tf.train.Example"),
    "a pickle": (pickle.dumps({"image": 1}), "not a tf.train.Example"),
    "no features": (example(), "not a tf.train.Example"),
    "cut short": (GOOD_EXAMPLE[:-20], "not a tf.train.Example"),
    "no picture": (example(text=b"x"), "no picture"),
    "an empty picture": (example(image=b"", text=b"x"), "no picture in 'image'"),
    "a number for a picture": (example(image=3, text=b"x"), "no picture in 'image'"),
    "two pictures": (example(image=[b"a", b"b"], text=b"x"), "2 pictures in 'image'"),
    "no caption": (example(image=png("red"), id=1), "no caption: its example has 'id', 'image'"),
    "a blank caption": (example(image=png("red"), text=b" \n"), "no caption"),
    "a number for a caption": (example(image=png("red"), text=5), "no caption"),
}


@pytest.mark.parametrize("suffix", ["array_record", "tfrecord"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_bad_record_beside_a_good_one(tmp_path, name, suffix):
    record, expected = RECORDS[name]
    path = write_records(tmp_path / f"x.{suffix}", [record, GOOD_EXAMPLE])
    records, lost = ArrayRecords(config_of(path), [path]).records(None)
    assert [r.captions for r in records] == [("good",)] and records[0].image.read() == png("red")
    assert [s.file for s in lost] == [f"x.{suffix}:1"] and expected in lost[0].reason


def damaged_array_record(path):
    """An ArrayRecord file with zeros in its records."""
    write_records(path, [GOOD_EXAMPLE] * 3)
    data = path.read_bytes()
    path.write_bytes(zeroed(data, data.index(b"PNG"), 30))


RECORD_FILES = {
    "x.array_record": {
        "empty": (lambda p: p.write_bytes(b""), "not an ArrayRecord file"),
        "garbage": (lambda p: p.write_bytes(b"nonsense" * 9999), "not an ArrayRecord file"),
        "cut short": (lambda p: (write_records(p, [GOOD_EXAMPLE]), os.truncate(p, 70_000)), "cut short"),
        "a pipe": (os.mkfifo, "not a regular file but a pipe"),
        "pickles": (lambda p: write_records(p, [pickle.dumps(i) for i in range(300)]), "pickles, msgpack and others"),
    },
    "x.tfrecord": {
        "empty": (lambda p: p.write_bytes(b""), "not a TFRecord file"),
        "garbage": (lambda p: p.write_bytes(b"nonsense" * 99), "not a TFRecord file"),
        "compressed": (lambda p: p.write_bytes(gzip.compress(tfrecord(GOOD_EXAMPLE))), "compressed or not a TFRecord"),
        "a length without end": (lambda p: p.write_bytes(tfrecord(GOOD_EXAMPLE, 1 << 62)), "not a TFRecord file"),
        "a link to a device": (lambda p: p.symlink_to("/dev/zero"), "a device"),
        "text": (lambda p: write_records(p, [b"x"] * 300), "no tf.train.Examples"),
    },
}


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, cases in RECORD_FILES.items() for name in cases])
def test_record_files_that_cannot_be_used(tmp_path, file, name):
    make, expected = RECORD_FILES[file][name]
    make(tmp_path / file)
    with pytest.raises(UserError) as error:
        ArrayRecords(config_of(tmp_path / file), [tmp_path / file]).splits()
    assert expected in str(error.value)


def test_damaged_records_cost_themselves_only(tmp_path):
    damaged_array_record(tmp_path / "x.array_record")
    records, lost = ArrayRecords(config_of(tmp_path), [tmp_path / "x.array_record"]).records(None)
    assert len(records) == 2 and len(lost) == 1 and "damaged" in lost[0].reason
    # Of TFRecord, what lies behind a wrong length is lost, and said once.
    path = tmp_path / "x.tfrecord"
    path.write_bytes(tfrecord(GOOD_EXAMPLE) * 2 + b"\1" + tfrecord(GOOD_EXAMPLE))
    records, lost = ArrayRecords(config_of(path), [path]).records(None)
    assert len(records) == 2 and [s.file for s in lost] == ["x.tfrecord"] and "at byte" in lost[0].reason
