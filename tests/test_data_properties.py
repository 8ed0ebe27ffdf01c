"""What holds for any folder and any list: what was written is read back, and damage costs no more than it concerns."""

import csv
import io
import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.base import get_config
from t2igan.data.sources.captions import MAX_CAPTION_CHARACTERS, clean_text
from t2igan.data.sources.found import Files
from t2igan.data.sources.metadata import read_rows
from t2igan.data.sources.pairing import pair
from t2igan.data.stored import InMemory
from t2igan.errors import UserError

repeated = settings(deadline=None)  # how long one example takes depends on what else runs

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES = st.text("abc/. \\\n\0é", min_size=1, max_size=12).map(lambda name: name + ".png")


@repeated
@given(st.lists(st.tuples(st.sampled_from(["a.png", "b/c.png"]), TEXT), max_size=8), st.sampled_from([",", ";", "\t"]))
def test_what_csv_wrote_is_read_back(rows, delimiter):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([("file_name", "text"), *rows])
    read = list(read_rows("x.csv", io.BytesIO(stream.getvalue().encode()), get_config().data))
    assert [(row.file, row.captions) for row in read] == [
        (name, (clean_text(text),) if clean_text(text) else ()) for name, text in rows
    ]


@repeated
@given(st.lists(st.fixed_dictionaries({"file_name": NAMES, "text": TEXT | st.lists(TEXT, max_size=3)}), max_size=8))
def test_what_json_wrote_is_read_back_and_stays_inside(rows):
    data = "\n".join(map(json.dumps, rows)).encode()
    for row, values in zip(read_rows("x.jsonl", io.BytesIO(data), get_config().data), rows, strict=True):
        texts = values["text"] if isinstance(values["text"], list) else [values["text"]]
        assert row.file is None or list(row.captions) == list(dict.fromkeys(filter(None, map(clean_text, texts))))
        if row.file is not None:
            assert os.path.normpath(Path("/root", row.file)).startswith("/root/")
            assert ".." not in row.file.split("/") and "\0" not in row.file


HEADS = [b"", b"file_name,text\n", b"\xff\xfe", b'{"file_name": "a.png", "text": "x"}\n', b"PAR1"]
SUFFIXES = ["x.csv", "x.tsv", "x.jsonl", "x.parquet"]


@repeated
@given(st.sampled_from(SUFFIXES), st.sampled_from(HEADS), st.binary(max_size=300) | TEXT.map(str.encode))
def test_any_bytes_are_rows_or_a_reason(name, head, data):
    try:
        rows = list(read_rows(name, io.BytesIO(head + data), get_config().data))
    except ValueError as error:
        assert str(error)
        return
    for row in rows:
        assert row.captions or row.problem
        assert all(caption and len(caption) <= MAX_CAPTION_CHARACTERS for caption in row.captions)


@repeated
@given(st.data())
def test_any_damage_to_metadata_costs_no_more_than_it(data):
    stream = io.BytesIO()
    table = pyarrow.table({"file_name": [f"{i}.png" for i in range(30)], "text": [f"picture {i}" for i in range(30)]})
    pyarrow.parquet.write_table(table, stream)
    texts = ["file_name,text", *(f'{i}.png,"picture {i}"' for i in range(30))]
    whole = {"x.parquet": stream.getvalue(), "x.csv": "\n".join(texts).encode()}
    name = data.draw(st.sampled_from(sorted(whole)))
    damaged = bytearray(whole[name])
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        rows = list(read_rows(name, io.BytesIO(damaged), get_config().data))
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(row.captions or row.problem for row in rows)


@repeated
@given(st.lists(st.text("aA./\\\n\0\udce9é", min_size=1, max_size=8), max_size=12), st.sampled_from(["", "de"]))
def test_any_names_are_paired_or_left_out(stems, language):
    suffixes = (".png", ".txt", ".json", ".svg", "/metadata.csv", "/metadata.jsonl", "/train/b.jpg")
    names = sorted({stem + suffix for stem in stems for suffix in suffixes})
    config = get_config().data
    config.language = language
    text = b"de.utf8=x\nfile_name,text\nb.png,x"
    files = Files("x", names, lambda _: io.BytesIO(text), lambda name: InMemory(repr(name).encode()))
    try:
        found = pair(files, config)
    except UserError as error:
        assert len(str(error).splitlines()) == 2
        return
    assert all(record.captions and record.file.isprintable() for _, record in found.records)
    assert all(skipped.reason and skipped.file.isprintable() for _, skipped in found.skipped)
