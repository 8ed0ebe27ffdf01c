"""Tables and record files that lie, are broken or mean harm: what cannot be used is said, what can is used."""

import io
import json
import os
import pickle
import struct
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_archives import config_of, png, skipped
from made_tables import example, marked, picture, save_to_disk, tfrecord, write_parquet, zeroed

from t2igan.data import list_splits, open_dataset
from t2igan.data.sources.array_record import ArrayRecords
from t2igan.data.sources.arrow import Saved
from t2igan.data.sources.table import Table
from t2igan.errors import UserError

GOOD = {"image": [picture("red")], "text": ["good"]}
DEEP = "[" * 200_000


def is_said(reasons, expected):
    """Whether one of the reasons has the expected words."""
    return any(expected in reason for reason in reasons)


# One bad row beside a good one: what is in it, and what is said of it.
ROWS = {
    "no picture": ({"image": None}, "no picture in this row"),
    "no bytes, no path": ({"image": {"bytes": None, "path": None}}, "no picture in this row"),
    "empty bytes": ({"image": {"bytes": b"", "path": None}}, "no picture in this row"),
    "text for a picture": ({"image": {"bytes": b"hello", "path": None}}, "not a picture"),
    "half a picture": ({"image": {"bytes": png("red")[:40], "path": None}}, "picture"),
    "a pickle for a picture": ({"image": {"bytes": pickle.dumps(print), "path": None}}, "not a picture"),
    "no caption": ({"text": None}, "no caption in 'text'"),
    "a blank caption": ({"text": " \r\n\t\0 "}, "no caption in 'text'"),
    "a path above the root": ({"image": {"bytes": None, "path": "../../etc/passwd"}}, "not inside the folder"),
    "an absolute path": ({"image": {"bytes": None, "path": "/etc/passwd"}}, "not inside the folder"),
    "a drive": ({"image": {"bytes": None, "path": "C:\\Windows\\x.png"}}, "not inside the folder"),
    "a share": ({"image": {"bytes": None, "path": "\\\\server\\x.png"}}, "not inside the folder"),
    "NUL in a path": ({"image": {"bytes": None, "path": "a\0b.png"}}, "not inside the folder"),
    "an endless path": ({"image": {"bytes": None, "path": "x" * 100_000}}, "file name too long"),
    "a missing file": ({"image": {"bytes": None, "path": "none.png"}}, "no such file"),
    "a folder": ({"image": {"bytes": None, "path": "folder.png"}}, "not a regular file but a folder"),
    "a pipe": ({"image": {"bytes": None, "path": "pipe.png"}}, "not a regular file but a pipe"),
    "a link to a device": ({"image": {"bytes": None, "path": "zero.png"}}, "a link that leads out of the folder"),
    "a link out": ({"image": {"bytes": None, "path": "out.png"}}, "a link that leads out of the folder"),
    "a loop of links": ({"image": {"bytes": None, "path": "loop.png"}}, "folder"),
    "an address": ({"image": {"bytes": None, "path": "http://x/y.png"}}, "pictures are not downloaded"),
    "attributes without end": ({"attributes": '{"a":' + DEEP}, "attributes that are nested too deep"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_beside_a_good_one(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    outside = tmp_path.parent / f"{tmp_path.name}.png"
    outside.write_bytes(png("red"))
    (tmp_path / "out.png").symlink_to(outside)
    change, expected = ROWS[name]
    row = {"image": picture("red"), "text": "good", "attributes": None}
    kinds = {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "text": pa.string(),
        "attributes": pa.string(),
    }
    path = write_parquet(tmp_path / "x.parquet", pa.Table.from_pylist([row | change, row], pa.schema(kinds)))
    dataset = open_dataset(config_of(path), "train")
    assert dataset.captions == (("good",),)
    assert len(dataset.skipped) == 1 and is_said(skipped(dataset).values(), expected)
    # The same rows as `datasets` saves them.
    save_to_disk(tmp_path / "saved", [pa.Table.from_pylist([row | change, row], pa.schema(kinds))])
    saved = open_dataset(config_of(f"hf:{tmp_path / 'saved'}"), "train")
    assert saved.captions == (("good",),) and len(saved.skipped) == 1


def test_text_that_is_not_utf8(tmp_path):
    texts = pa.array([b"good", b"\xff\xfe bad"]).view(pa.string())  # nothing checks this
    path = write_parquet(tmp_path / "x.parquet", image=[png("red")] * 2, text=texts)
    dataset = open_dataset(config_of(path), "train")
    assert dataset.captions == (("good",),) and is_said(skipped(dataset).values(), "not UTF-8")


def footer_of(data, footer):
    return data + footer + struct.pack("<I", len(footer)) + b"PAR1"


def whole():
    """The bytes of a good Parquet file."""
    stream = io.BytesIO()
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [picture("blue")] * 50, "text": [f"number {i}" for i in range(50)]}), stream)
    return stream.getvalue()


# Files that are no tables, or no tables of ours: how they are made, and what is said of them.
FILES = {
    "empty": (lambda p: p.write_bytes(b""), "cannot be read as Parquet"),
    "garbage": (lambda p: p.write_bytes(b"nonsense" * 100), "cannot be read as Parquet"),
    "only the magic bytes": (lambda p: p.write_bytes(b"PAR1PAR1"), "cannot be read as Parquet"),
    "encrypted": (lambda p: p.write_bytes(whole()[:-4] + b"PARE"), "cannot be read as Parquet"),
    "cut short": (lambda p: p.write_bytes(whole()[:-30]), "cannot be read as Parquet"),
    "a footer larger than the file": (
        lambda p: p.write_bytes(whole()[:-8] + b"\xff\xff\xff\x7fPAR1"),
        "cannot be read",
    ),
    "an empty footer": (lambda p: p.write_bytes(footer_of(b"PAR1", b"")), "cannot be read as Parquet"),
    "a footer of zeros": (lambda p: p.write_bytes(footer_of(b"PAR1", bytes(500))), "cannot be read as Parquet"),
    "a folder": (lambda p: p.mkdir(), "not a regular file but a folder"),
    "a pipe": (os.mkfifo, "not a regular file but a pipe"),
    "a link to a device": (lambda p: p.symlink_to("/dev/zero"), "a link that leads out of the folder"),
    "a loop of links": (lambda p: p.symlink_to(p.name), "folder"),
    "a link to nothing": (lambda p: p.symlink_to("nothing"), "no such file"),
    "no columns": (lambda p: write_parquet(p, pa.table({})), "no column of pictures"),
    "numbers only": (lambda p: write_parquet(p, a=[1], b=[2.5]), "no column of pictures; it has 'a', 'b'"),
    "lists of pictures": (lambda p: write_parquet(p, images=[[picture("red")]], text=["x"]), "one picture a row"),
    "two columns of bytes": (lambda p: write_parquet(p, a=[b"x"], b=[b"y"], text=["x"]), "columns 'a', 'b' hold bytes"),
    "two columns of one name": (
        lambda p: write_parquet(p, pa.table([[b"x"], ["a"], ["b"]], ["image", "text", "text"])),
        "2 columns are named 'text'",
    ),
    "no captions": (lambda p: write_parquet(p, image=[b"x"], width=[1]), "no column of captions or labels"),
    "captions that are numbers": (
        lambda p: write_parquet(p, image=[b"x"], text=[1]),
        "no column of captions or labels",
    ),
    "labels that are lists": (lambda p: write_parquet(p, image=[b"x"], label=[[1]]), "no column of captions or labels"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_alone_and_beside_a_good_one(tmp_path, name):
    make, expected = FILES[name]
    bad = tmp_path / "bad" / "x.parquet"
    bad.parent.mkdir()
    make(bad)
    with pytest.raises(UserError, match=r"x\.parquet: ") as error:
        Table(config_of(bad.parent), [bad, bad]).splits()
    assert expected in str(error.value)
    good = write_parquet(tmp_path / "bad" / "y.parquet", **GOOD)
    records, lost = Table(config_of(bad.parent), [bad, good]).records(None)
    assert [record.captions for record in records] == [("good",)]
    assert [s.file for s in lost] == ["x.parquet"] and expected in lost[0].reason


def test_a_column_that_is_not_there(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", **GOOD)
    with pytest.raises(UserError, match=r"no column of texts 'captionz'.*it has 'image', 'text'"):
        list_splits(config_of(path, caption_field="captionz"))


def test_damage_in_the_middle_costs_what_lies_behind_it(tmp_path):
    rows = {"image": [png("red")] * 40, "text": [f"number {i}" for i in range(40)]}
    path = write_parquet(tmp_path / "x.parquet", **rows, _row_group_size=20, _compression="none", _use_dictionary=False)
    data = path.read_bytes()
    at = data.index(b"number 30") - 30
    path.write_bytes(zeroed(data, at, 20))
    records, lost = Table(config_of(path), [path]).records(None)
    assert 20 <= len(records) < 40 and records[19].captions == ("number 19",)
    assert [s.file for s in lost] == ["x.parquet"] and "cannot be read as Parquet" in lost[0].reason


def test_a_damaged_page_costs_its_pictures_only(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", image=[png("red")] * 40, text=["x"] * 40, _row_group_size=20)
    first = path.read_bytes().index(b"PNG")
    path.write_bytes(zeroed(path.read_bytes(), first - 25, 20))
    records, _ = Table(config_of(path), [path]).records(None)
    assert len(records) == 40
    with pytest.raises(ValueError, match="damaged"):
        records[0].image.read()
    assert records[39].image.read() == png("red")


def saved(folder, tables=None, **options):
    return save_to_disk(folder, tables or [pa.table(GOOD)], **options)


def with_state(folder, text):
    (saved(folder) / "state.json").write_text(text)


def with_data(folder, change):
    file = saved(folder) / "data-00000-of-00001.arrow"
    file.write_bytes(change(file.read_bytes()))


def in_place_of_data(folder, make):
    file = saved(folder) / "data-00000-of-00001.arrow"
    file.unlink()
    make(file)


def as_arrow_file(folder):
    table = pa.table(GOOD)
    with pa.ipc.new_file(saved(folder) / "data-00000-of-00001.arrow", table.schema) as out:
        out.write_table(table)


def with_wild_offsets(data):
    """Cells that begin and end far outside of the file."""
    at = data.rindex(struct.pack("<ii", 0, len(png("red"))))  # in the batch itself, not in what describes it
    return data[:at] + struct.pack("<ii", 1 << 20, 1 << 30) + data[at + 8 :]


ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")
DICTIONARY = pa.table({"image": [picture("red")], "text": pa.array(["good"]).dictionary_encode()})
SAVED = {
    "no state.json": (lambda f: (saved(f) / "state.json").unlink(), "no such file"),
    "state.json is not JSON": (lambda f: with_state(f, "{'a': 1}"), "not JSON"),
    "state.json without end": (lambda f: with_state(f, DEEP), "not JSON"),
    "state.json is a list": (lambda f: with_state(f, "[]"), "not a JSON object"),
    "state.json names nothing": (lambda f: with_state(f, "{}"), "no list of _data_files"),
    "state.json names numbers": (lambda f: with_state(f, '{"_data_files": [1, null]}'), "no list of _data_files"),
    "a file outside": (
        lambda f: with_state(f, '{"_data_files": [{"filename": "../x.arrow"}]}'),
        "outside of its folder",
    ),
    "an absolute file": (lambda f: with_state(f, '{"_data_files": [{"filename": "/dev/zero"}]}'), "outside of its"),
    "a missing file": (lambda f: with_state(f, '{"_data_files": [{"filename": "x.arrow"}]}'), "no such file"),
    "a selection": (
        lambda f: with_state(f, '{"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]}'),
        "flatten_indices",
    ),
    "a split outside": (
        lambda f: (saved(f) / "dataset_dict.json").write_text('{"splits": ["../x", "..", 1]}'),
        "there are no splits in it",
    ),
    "splits of no folder": (lambda f: (saved(f) / "dataset_dict.json").write_text('{"splits": ["x"]}'), "no such file"),
    "dataset_dict.json is not JSON": (lambda f: (saved(f) / "dataset_dict.json").write_text("\0"), "not JSON"),
    "an empty file": (lambda f: with_data(f, lambda _: b""), "cannot be read as an Arrow stream"),
    "garbage": (lambda f: with_data(f, lambda _: b"nonsense" * 99), "cannot be read as an Arrow stream"),
    "a size without end": (lambda f: with_data(f, lambda d: d[:4] + b"\xff\xff\xff\x7f" + d[8:]), "cannot be read as"),
    "offsets outside": (lambda f: with_data(f, with_wild_offsets), "In column 0"),
    "a pipe": (lambda f: in_place_of_data(f, os.mkfifo), "not a regular file but a pipe"),
    "a folder": (lambda f: in_place_of_data(f, Path.mkdir), "not a regular file but a folder"),
    "a link out": (lambda f: in_place_of_data(f, lambda p: p.symlink_to("/dev/zero")), "a link that leads out"),
    "another format of Arrow": (as_arrow_file, "Arrow stream"),
    "compressed": (lambda f: saved(f, options=ZSTD), "compressed, which save_to_disk does not do"),
    "dictionaries": (lambda f: saved(f, [DICTIONARY]), "dictionary"),
    "no pictures": (lambda f: saved(f, [pa.table({"text": ["x"]})]), "no column of pictures"),
}


@pytest.mark.parametrize("name", SAVED)
def test_save_to_disk_that_cannot_be_used(tmp_path, name):
    make, expected = SAVED[name]
    make(tmp_path / "x")
    with pytest.raises(UserError) as error:
        records, lost = Saved(config_of(f"hf:{tmp_path}/x"), tmp_path / "x").records(None)
        raise UserError(f"{records} {lost}" if records else " ".join(s.reason for s in lost))
    assert expected in str(error.value)


def test_a_broken_shard_beside_a_good_one(tmp_path):
    folder = saved(tmp_path / "x", [pa.table(GOOD), marked(pa.table(GOOD))])
    first = folder / "data-00000-of-00002.arrow"
    first.write_bytes(first.read_bytes()[:-100])
    records, lost = Saved(config_of(f"hf:{folder}"), folder).records(None)
    assert len(records) == 1 and [s.file for s in lost] == [first.name]


def mutated(data):
    """Bytes with some of them changed, perhaps cut short."""
    positions = st.integers(0, len(data) - 1)
    changes = st.lists(st.tuples(positions, st.sampled_from([0, 1, 127, 128, 255])), max_size=8)

    def apply(drawn):
        made = bytearray(data[: drawn[1]] if drawn[1] else data)
        for at, value in drawn[0]:
            if at < len(made):
                made[at] = value
        return bytes(made)

    return st.tuples(changes, st.one_of(st.none(), positions)).map(apply)


def arrow_stream():
    sink = io.BytesIO()
    table = marked(pa.table(GOOD))
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


WRITTEN = {
    "x.parquet": whole(),
    "data.arrow": arrow_stream(),
    "x.tfrecord": tfrecord(example(image=png("red"), text=b"good")) * 3,
}


@pytest.mark.parametrize("name", WRITTEN)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_the_bytes_are(tmp_path, name, data):
    folder = tmp_path / "fuzz"
    folder.mkdir(exist_ok=True)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    file = folder / name
    file.write_bytes(data.draw(st.one_of(mutated(WRITTEN[name]), st.binary(max_size=200))))
    config = config_of(folder)
    source = {"x.parquet": Table, "x.tfrecord": ArrayRecords}.get(name, Saved)
    try:
        records, lost = source(config, folder if source is Saved else [file]).records(None)
    except UserError:
        return
    assert all(s.reason and s.reason.isprintable() for s in lost)
    for record in records:
        try:
            assert isinstance(record.image.read(), bytes)
        except (OSError, ValueError) as error:
            assert str(error)  # any other exception fails
