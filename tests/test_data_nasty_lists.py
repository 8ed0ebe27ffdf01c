"""Lists of names and captions that are broken or meant to do harm: each costs what it concerns, and no more."""

import json
import os
import re
import time

import pyarrow
import pyarrow.parquet
import pytest
from nasty import (
    LEADS_OUT,
    NO_FILE,
    NO_TEXT,
    NOT_INSIDE,
    as_params,
    assert_reasons,
    found_in,
    picture,
    source_of,
    with_good_picture,
    write_bytes,
)

from t2igan.data.sources import row_files
from t2igan.errors import UserError


@pytest.fixture
def root(tmp_path):
    return with_good_picture(tmp_path)


# Lines of metadata.jsonl, and the captions of x.png or the reasons.
JSON_LINES = {
    "a name that climbs out": ('{"file_name": "../outside/secret.png", "text": "x"}', {1: NOT_INSIDE}),
    "a name that climbs out later": ('{"file_name": "a/../../outside/secret.png", "text": "x"}', {1: NOT_INSIDE}),
    "a name that climbs with backslashes": (r'{"file_name": "..\\outside\\secret.png", "text": "x"}', {1: NOT_INSIDE}),
    "an absolute name": ('{"file_name": "/etc/passwd", "text": "x"}', {1: NOT_INSIDE}),
    "a drive of Windows": (r'{"file_name": "C:\\x.png", "text": "x"}', {1: NOT_INSIDE}),
    "a share of Windows": (r'{"file_name": "\\\\server\\x.png", "text": "x"}', {1: NOT_INSIDE}),
    "an address": ('{"file_name": "http://localhost/x.png", "text": "x"}', {1: "is an address"}),
    "a name with NUL": (r'{"file_name": "x\u0000.png", "text": "x"}', {1: NOT_INSIDE}),
    "a name that no file can have": (r'{"file_name": "\ud800.png", "text": "x"}', {"\\ud800.png": NO_FILE}),
    "a name of a megabyte": (json.dumps({"file_name": "x" * (1 << 20), "text": "x"}), {"x" * (1 << 20): NO_FILE}),
    "a name that is the folder": ('{"file_name": "./", "text": "x"}', {1: NOT_INSIDE}),
    "a name that is a number": ('{"file_name": 7, "text": "x"}', {1: "no file name: its row has 'file_name', 'text'"}),
    "a name that is null": ('{"file_name": null, "text": "x"}', {1: "no file name"}),
    "a name that is blank": ('{"file_name": " ", "text": "x"}', {1: "no file name"}),
    "no name": ('{"text": "x"}', {1: "no file name: its row has 'text'"}),
    "a hidden file": ('{"file_name": ".x.png", "text": "x"}', {".x.png": NO_FILE}),
    "a file that is missing, twice": ('{"file_name": "y.png", "text": "x"}\n' * 2, {"y.png": NO_FILE}),
    "a file below a file": ('{"file_name": "x.png/y.png", "text": "x"}', {"x.png/y.png": NO_FILE}),
    "a caption that is null": ('{"file_name": "x.png", "text": null}', {"x.png": "no caption: its row has"}),
    "a caption that is a number": ('{"file_name": "x.png", "text": 5}', {"x.png": "no caption: its row has"}),
    "a caption that is not a number": ('{"file_name": "x.png", "text": NaN}', {"x.png": "no caption: its row has"}),
    "a caption that is an object": ('{"file_name": "x.png", "text": {"en": "x"}}', {"x.png": "no caption"}),
    "captions of all kinds": ('{"file_name": "x.png", "text": [null, 1, ["y"], "x", " x "]}', ("x",)),
    "a caption of half a character": (r'{"file_name": "x.png", "text": "a \ud83d"}', ("a ?",)),
    "a bare tab and NUL in a caption": ('{"file_name": "x.png", "text": "a\tb\0"}', ("a b",)),
    "a caption of a megabyte": (json.dumps({"file_name": "x.png", "text": "x" * (1 << 20)}), ("x" * 2000,)),
    "nothing": ("", {}),
    "blank lines": ("\n \n\r\n", {}),
    "no JSON": ("{file_name: x.png}", {1: "not JSON"}),
    "half a line": ('{"file_name": "x.png", "te', {1: "not JSON"}),
    "a line that is no object": ('{"file_name": "x.png", "text": "x"}\n[1]', {2: "not a JSON object"}),
    "nested too deep": ('{"file_name": ' + "[" * 100_000, {1: "nested too deep"}),
    "a number too long": ('{"file_name": "x.png", "n": ' + "9" * 5000 + "}", {1: "not JSON"}),
    "attributes nested too deep": (
        json.dumps({"file_name": "x.png", "text": "x", "attributes": "[" * 100_000}),
        {"x.png": "no caption"},
    ),
    "a name given twice": ('{"file_name": "y.png", "file_name": "x.png", "text": "x"}', ("x",)),
    "a split of another kind": ('{"file_name": "x.png", "text": "x", "split": ["a"], "attributes": 3}', ("x",)),
    "mixed line ends": ('{"text": "1"}\r{"text": "2"}\r\n{"file_name": "x.png", "text": "x"}', {1: "no f", 2: "no f"}),
    "a picture": ("\ufffdPNG\r\n\0\0", {1: "not JSON", 2: "not JSON"}),
}

# metadata.csv, and the captions of x.png or the reasons.
CSV_TEXTS = {
    "a text with a comma": ("file_name,text\nx.png,a cat, sitting\n", {2: "3 cells for 2 columns"}),
    "a comma at the end": ("file_name,text\nx.png,x,\n", ("x",)),
    "too few cells": ("file_name,text\nx.png\n", {"x.png": "no caption"}),
    "blank lines": ("\n\nfile_name,text\n\n,\nx.png,x\n", ("x",)),
    "columns of one name": ("file_name,text,text,file_name\nx.png,one,two,y.png\n", ("one", "two")),
    "a quotation mark that is never closed": ('file_name,text\ny.png,"x\nx.png,x\n', {2: "never closed"}),
    "quotation marks within": ('file_name,text\nx.png,a 5" pipe\n', ('a 5" pipe',)),
    "a text in lines": ('file_name,text\nx.png,"a\r\ncat\rand\na dog"\n', ("a cat and a dog",)),
    "a field too large": (f"file_name,text\ny.png,{'y' * 200_000}\nx.png,x\n", {2: "field larger than field limit"}),
    "a text of too many lines": (
        'file_name,text\ny.png,"' + "\n" * 400 + '"\nx.png,x\n',
        {2: "never closed", 402: "never"},
    ),
    "line ends of old": ("file_name,text\rx.png,x\r", ("x",)),
    "NULs": ("file_name,text\nx.png,a\0cat\n", ("a cat",)),
    "a name that climbs out": ("file_name,text\n../outside/secret.png,x\n", {2: NOT_INSIDE}),
    "a name in capitals with blanks": ("  FILE_NAME , Text\nX.PNG,x\n", ("x",)),
    "numbers for captions": ("file_name,text\nx.png,007\n", ("007",)),
    "nothing": ("", {}),
}
# metadata.csv of which nothing can be read, with the reason.
NO_CSV = {
    "no header": ("x.png,a cat\n", "no column 'file_name'; it has 'x.png', 'a cat'"),
    "a header of one column": ("text\nx\n", "no column 'file_name'; it has 'text'"),
    "a header without end": ('"' + "x" * 200_000, "no column 'file_name'; it has nothing"),
    "a picture": ("\ufffdPNG\r\n\x1a\n", "no column 'file_name'; it has '\ufffdPNG'"),
    "NULs": ("\0" * 1000, "no column 'file_name'"),
}


def assert_rows(root, name, expected):
    """Checks what metadata about x.png leads to; numbers among the reasons are lines of the metadata."""
    found, left_out = found_in(root)
    if isinstance(expected, tuple):
        assert found == {"x.png": expected} and not left_out
        return
    expected = {f"{name}:{key}" if isinstance(key, int) else key: reason for key, reason in expected.items()}
    if not found:
        expected.setdefault("x.png", NO_TEXT)
    assert_reasons(left_out, expected)


@pytest.mark.parametrize(("text", "expected"), as_params(JSON_LINES))
def test_lines_of_json(root, text, expected):
    picture(root / "x.png")
    write_bytes(root / "metadata.jsonl", text.encode("utf-8", "surrogatepass"))
    assert_rows(root, "metadata.jsonl", expected)


@pytest.mark.parametrize(("text", "expected"), as_params(CSV_TEXTS))
def test_csv(root, text, expected):
    picture(root / "x.png")
    write_bytes(root / "metadata.csv", text.encode())
    assert_rows(root, "metadata.csv", expected)


@pytest.mark.parametrize(("text", "expected"), as_params(NO_CSV))
def test_csv_that_is_none(root, text, expected):
    write_bytes(root / "metadata.csv", text.encode())
    _, left_out = found_in(root)
    assert_reasons(left_out, {"metadata.csv": re.escape(expected)})
    (root / "good.txt").unlink()
    with pytest.raises(UserError, match=re.escape(expected)):
        found_in(root)


def test_json_that_is_one_document(root):
    for text in ('[{"file_name": "x.png"}]', '{\n"file_name": "x.png"\n}'):
        (root / "metadata.jsonl").write_text(text)
        assert_reasons(found_in(root)[1], {"metadata.jsonl": "one JSON document"})


@pytest.mark.parametrize("data", [b"", b"PAR1", b"nonsense" * 100, b"PAR1" + bytes(100) + b"\xff\xff\xff\xffPAR1"])
def test_parquet_that_is_none(root, data):
    (root / "metadata.parquet").write_bytes(data)
    assert_reasons(found_in(root)[1], {"metadata.parquet": "not Parquet that can be read"})


def test_parquet_with_text_that_is_no_utf8(root):
    texts = pyarrow.array([b"caf\xe9"]).cast(pyarrow.string(), safe=False)
    pyarrow.parquet.write_table(pyarrow.table({"file_name": ["good.png"], "text": texts}), root / "metadata.parquet")
    assert_reasons(found_in(root)[1], {"metadata.parquet": "not Parquet that can be read: 'utf-8' codec can't decode"})


def test_parquet_with_columns_of_other_kinds(root):
    rows = {"file_name": [1, 2], "text": ["x", "y"], "image": [{"bytes": b"x"}, None]}
    pyarrow.parquet.write_table(pyarrow.table(rows), root / "metadata.parquet")
    assert_reasons(found_in(root)[1], {f"metadata.parquet:{row}": "no file name" for row in (1, 2)})


def test_lines_longer_than_memory_should_hold(root, monkeypatch):
    monkeypatch.setattr(row_files, "MAX_ROW_CHARACTERS", 1000)
    picture(root / "x.png")
    long = json.dumps({"file_name": "x.png", "text": "long " * 500})
    (root / "metadata.jsonl").write_text(f'{long}\n{{"file_name": "x.png", "text": "short"}}\n{long}')
    found, left_out = found_in(root)
    assert found == {"x.png": ("short",)}
    assert_reasons(left_out, {f"metadata.jsonl:{line}": "longer than 1000 characters" for line in (1, 3)})
    (root / "metadata.jsonl").rename(root / "metadata.csv")
    (root / "metadata.csv").write_text(f"file_name,text\nx.png,{'long ' * 500}\nx.png,short\n")
    assert found_in(root)[0] == {"x.png": ("short",)}
    (root / "metadata.csv").write_text("file_name," * 500)
    assert_reasons(found_in(root)[1], {"metadata.csv": "first line is longer", "x.png": NO_TEXT})


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_millions_of_bad_rows_end_early(root, name):
    # Open at its end whether a quotation mark was open before or not: the worst there is for reading again.
    line = 'x","\n' if name.endswith("csv") else "{no JSON\n"
    (root / name).write_text("file_name,text\n" * name.endswith("csv") + line * 300_000)
    start_s = time.process_time()
    records, skipped = source_of(root).records(None)
    assert len(records) == 1 and len(skipped) == row_files.MAX_UNREADABLE_ROWS + 1
    assert re.search(r"10000 rows cannot be read; what follows row 1000[01] is left out", skipped[-1].reason)
    assert time.process_time() - start_s < 20


def test_quotation_marks_that_make_reading_slow(root):
    line = "x" * 5000 + '","\n'
    (root / "metadata.csv").write_text("file_name,text\n" + line * 2000)
    start_s = time.process_time()
    _, skipped = source_of(root).records(None)
    assert re.search("too many quotation marks .* read up to row 1[0-9][0-9]$", skipped[-1].reason)
    assert time.process_time() - start_s < 20


def test_a_list_opens_nothing_outside(root):
    (root / "out.png").symlink_to("../outside/secret.png")
    (root / "more").symlink_to("../outside")
    (root / "inside").symlink_to(".")
    os.mkfifo(root / "pipe.png")
    (root / "empty.png").touch()
    names = [
        "good.png",
        "out.png",
        "more/secret.png",
        "inside/good.png",
        "pipe.png",
        "empty.png",
        "../outside/secret.png",
    ]
    names += ["/etc/passwd", str(root / ".." / "outside" / "secret.png"), "more", "good.png/x"]
    (root / "list.jsonl").write_text("\n".join(json.dumps({"path": name, "caption": "good"}) for name in names))
    found, left_out = found_in(root / "list.jsonl")
    assert found == {"inside/good.png": ("good",)}
    reasons = {
        **{"out.png": LEADS_OUT, "more": LEADS_OUT, "more/secret.png": LEADS_OUT},
        **{"pipe.png": "a pipe", "empty.png": "an empty file", "good.png/x": "not a directory"},
        **{f"list.jsonl:{line}": NOT_INSIDE for line in (7, 8, 9)},
    }
    assert_reasons(left_out, reasons)
    assert "more/secret.png" in found_in(root / "list.jsonl", follow_links=True)[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", None),
        ("a.png\n", "no column 'file_name'; it has 'a.png'"),
        ("path,caption\n" + "x,y,z\n" * 20_000, "10000 rows cannot be read"),
    ],
)
def test_lists_that_are_none(root, text, reason):
    (root / "list.csv").write_text(text)
    if reason is None:
        assert source_of(root / "list.csv").records(None) == ([], [])
    else:
        with pytest.raises(UserError, match=reason):
            source_of(root / "list.csv").records(None)
