"""Folders, texts, rows and lists that are broken or meant to do harm: each costs what it concerns, and no more.

In every case a good picture lies beside what is bad, and is still used.
"""

import csv
import io
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from configs.base import get_config
from t2igan.data import open_dataset
from t2igan.data.encoding import UNCLEAR
from t2igan.data.sources import row_files
from t2igan.data.sources.captions import MAX_CAPTION_CHARACTERS, clean_text
from t2igan.data.sources.folder import Folder
from t2igan.data.sources.found import Files
from t2igan.data.sources.listing import Listing
from t2igan.data.sources.metadata import read_rows
from t2igan.data.sources.pairing import pair
from t2igan.data.sources.walk import holds_pictures, walk
from t2igan.data.stored import InMemory
from t2igan.errors import UserError

NO_TEXT = "no caption: no text of its name beside it"
LEADS_OUT = "a link that leads out of the folder"
NO_FILE = "there is no such file"
NOT_INSIDE = "is not inside the folder"
with tempfile.NamedTemporaryFile() as _file:
    os.chmod(_file.name, 0)  # noqa: PTH101
    AS_ROOT = os.access(_file.name, os.R_OK)  # whom permissions do not concern


@pytest.fixture
def root(tmp_path):
    """A folder with one good picture, beside secrets that lie outside of it."""
    folder = tmp_path / "root"
    picture(folder / "good.png")
    (folder / "good.txt").write_text("good")
    picture(tmp_path / "outside" / "secret.png")
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    return folder


def picture(path, caption=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "lime").save(path, "PNG")
    if caption:
        path.with_suffix(".txt").write_text(caption)


def source_of(path, **changes):
    config = get_config().data
    config.update({"source": str(path), "val_fraction": 0.0, "test_fraction": 0.0} | changes)
    return (Folder if path.is_dir() else Listing)(config, path)


def found_in(path, **changes):
    """Returns file -> captions of what can be used besides good.png, and file -> reason of what cannot."""
    records, skipped = source_of(path, **changes).records(None)
    assert len({one.file for one in skipped} | {record.file for record in records}) == len(skipped) + len(records)
    captions = {record.file: record.captions for record in records}
    assert captions.pop("good.png") == ("good",)
    return captions, {one.file: one.reason for one in skipped}


def assert_reasons(reasons, expected):
    assert reasons.keys() == expected.keys()
    for file, pattern in expected.items():
        assert re.search(pattern, reasons[file]), (file, reasons[file])


def bind_socket(path):
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:  # the address of a socket is short: reached through the folder
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def write_bytes(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def lock(path, mode=0):
    picture(path, "locked")
    path.chmod(mode)


# What is done to the folder, what is then found besides the good picture, and the reasons for what is left out.
FILES = {
    "a pipe for a picture": (lambda d: os.mkfifo(d / "x.png"), {}, {"x.png": "not a regular file but a pipe"}),
    "a pipe for a caption": (
        lambda d: (picture(d / "x.png"), os.mkfifo(d / "x.txt")),
        {},
        {"x.txt": "not a regular file but a pipe", "x.png": NO_TEXT},
    ),
    "a pipe for metadata": (lambda d: os.mkfifo(d / "metadata.csv"), {}, {"metadata.csv": "but a pipe"}),
    "a pipe for something else": (lambda d: os.mkfifo(d / "queue"), {}, {}),
    "a socket": (lambda d: bind_socket(d / "x.png"), {}, {"x.png": "not a regular file but a socket"}),
    "a link to a device": (lambda d: (d / "x.png").symlink_to("/dev/zero"), {}, {"x.png": LEADS_OUT}),
    "a link to a file outside": (
        lambda d: ((d / "x.png").symlink_to(d.parent / "outside/secret.png"), (d / "x.txt").write_text("x")),
        {},
        {"x.png": LEADS_OUT},
    ),
    "a caption that is a link outside": (
        lambda d: (picture(d / "x.png"), (d / "x.txt").symlink_to("../outside/secret.txt")),
        {},
        {"x.txt": LEADS_OUT, "x.png": NO_TEXT},
    ),
    "metadata that is a link outside": (
        lambda d: (d / "metadata.jsonl").symlink_to("/etc/passwd"),
        {},
        {"metadata.jsonl": LEADS_OUT},
    ),
    "a link to a folder outside": (lambda d: (d / "more").symlink_to("../outside"), {}, {"more": LEADS_OUT}),
    "a link to something else outside": (lambda d: (d / "notes.md").symlink_to("/etc/passwd"), {}, {}),
    "a link to the root of everything": (lambda d: (d / "all").symlink_to("/"), {}, {"all": LEADS_OUT}),
    "a link to itself": (lambda d: (d / "x.png").symlink_to("x.png"), {}, {"x.png": "too many levels of symbolic"}),
    "links to each other": (
        lambda d: ((d / "x.png").symlink_to("y.png"), (d / "y.png").symlink_to("x.png")),
        {},
        {"x.png": "symbolic", "y.png": "symbolic"},
    ),
    "a link to nothing": (lambda d: (d / "x.png").symlink_to("gone.png"), {}, {"x.png": "a link to nothing"}),
    "a folder that holds itself": (lambda d: ((d / "a").mkdir(), (d / "a/b").symlink_to("..")), {}, {}),
    "a link to a file inside": (lambda d: (d / "x.png").symlink_to("good.png"), {}, {"x.png": NO_TEXT}),
    "a folder called like a picture": (lambda d: picture(d / "x.png" / "y.png", "y"), {"x.png/y.png": ("y",)}, {}),
    "a folder called like a caption": (
        lambda d: (picture(d / "x.png"), (d / "x.txt").mkdir()),
        {},
        {"x.png": NO_TEXT},
    ),
    "a folder called like metadata": (lambda d: (d / "metadata.csv").mkdir(), {}, {}),
    "an empty picture": (
        lambda d: (write_bytes(d / "x.png", b""), (d / "x.txt").write_text("x")),
        {},
        {"x.png": "empty"},
    ),
    "hidden files, and what systems leave behind": (
        lambda d: [picture(d / name, "x") for name in (".x.png", ".git/x.png", "__MACOSX/x.png", "@eaDir/a/x.png")],
        {},
        {},
    ),
    "a name that is no UTF-8": (
        lambda d: (picture(d / os.fsdecode(b"caf\xe9.png")), (d / os.fsdecode(b"caf\xe9.txt")).write_text("x")),
        {"caf\\xe9.png": ("x",)},
        {},
    ),
    "a name that clears the screen, in two lines": (
        lambda d: picture(d / "\x1b[2J\nx.png", "x"),
        {"\\x1b[2J\\nx.png": ("x",)},
        {},
    ),
    "a name of 250 bytes": (lambda d: picture(d / ("x" * 246 + ".png"), "x"), {"x" * 246 + ".png": ("x",)}, {}),
    "a suffix that lies": (lambda d: shutil.copy(d / "good.png", d / "good.jpg"), {"good.jpg": ("good",)}, {}),
    "pictures that Pillow does not read": (
        lambda d: [write_bytes(d / name, b"x") for name in ("x.svg", "x.HEIC", "y.eps", "good.svg")],
        {},
        dict.fromkeys(("x.svg", "x.HEIC", "y.eps"), "cannot be read: "),
    ),
    "a file that must not be read": (lambda d: lock(d / "x.png"), {"x.png": ("locked",)}, {}),  # decoding says so
    "a caption that must not be read": pytest.param(
        lambda d: (picture(d / "x.png", "x"), (d / "x.txt").chmod(0)),
        {},
        {"x.png": "no caption: x.txt: cannot be read: permission denied"},
        marks=pytest.mark.skipif(AS_ROOT, reason="root may read everything"),
    ),
    "a folder that must not be listed": pytest.param(
        lambda d: (picture(d / "locked" / "x.png"), (d / "locked").chmod(0)),
        {},
        {"locked": "cannot be read: permission denied"},
        marks=pytest.mark.skipif(AS_ROOT, reason="root may list everything"),
    ),
}

# Bytes of a text beside x.png, and the captions or the reason.
TEXTS = {
    "no bytes": (b"", "no caption: x.txt has none"),
    "blanks": (b" \r\n\t\n", "no caption: x.txt has none"),
    "a byte order mark and nothing": (b"\xef\xbb\xbf", "no caption: x.txt has none"),
    "only a translation": (b"de.utf8=Ein X", "no caption: x.txt has none"),
    "a byte order mark and CRLF": (b"\xef\xbb\xbfone\r\ntwo\r\n", ("one", "two")),
    "mixed line ends": (b"one\rtwo\nthree\r\nfour", ("one", "two", "three", "four")),
    "UTF-16": ("\ufeffschön\nblau".encode("utf-16-le"), ("schön", "blau")),
    "UTF-16, big endian, cut within a character": ("\ufeffschön".encode("utf-16-be") + b"\0", ("schön",)),
    "Latin-1": ("schön".encode("latin-1"), ("schön",)),
    "NULs": (b"a\0cat\0\0", ("a cat",)),
    "only NULs": (b"\0" * 5000, "no caption: x.txt has none"),
    "escape sequences": (b"a \x1b[31mred\x07 cat", ("a [31mred cat",)),
    "a megabyte in one line": (b"cat " * 250_000, ("cat " * (MAX_CAPTION_CHARACTERS // 4 - 1) + "cat",)),
    "a picture for a text": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", f"no caption: x.txt: {UNCLEAR}"),
    "100 MB, most of it never read": (b"a cat\n" + b"\0" * 100_000_000, ("a cat",)),
}

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


def as_params(cases):
    return [
        pytest.param(*case.values, marks=case.marks, id=name)
        if hasattr(case, "marks")
        else pytest.param(*case, id=name)
        for name, case in cases.items()
    ]


@pytest.mark.parametrize(("make", "captions", "reasons"), as_params(FILES))
def test_files(root, make, captions, reasons):
    make(root)
    found, left_out = found_in(root)
    assert found == captions
    assert_reasons(left_out, reasons)


@pytest.mark.parametrize(("data", "expected"), as_params(TEXTS))
def test_texts(root, data, expected):
    picture(root / "x.png")
    write_bytes(root / "x.txt", data)
    found, left_out = found_in(root)
    if isinstance(expected, tuple):
        assert found == {"x.png": expected} and not left_out
    else:
        assert not found and left_out == {"x.png": expected}


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


def nest(root, name, levels):
    """Makes folders in each other and returns a descriptor of the last; a path may be too long to name it."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    return folder


def test_quotation_marks_that_make_reading_slow(root):
    line = "x" * 5000 + '","\n'
    (root / "metadata.csv").write_text("file_name,text\n" + line * 2000)
    start_s = time.process_time()
    _, skipped = source_of(root).records(None)
    assert re.search("too many quotation marks .* read up to row 1[0-9][0-9]$", skipped[-1].reason)
    assert time.process_time() - start_s < 20


def test_folders_deeper_than_calls_may_nest(root):
    os.close(nest(root, "d", 1200))
    deepest = root.joinpath(*["d"] * 1200)
    picture(deepest / "x.png", "deep")
    try:
        assert found_in(root) == ({"d/" * 1200 + "x.png": ("deep",)}, {})
    finally:  # what removes the folder of a test is recursive
        root.joinpath(*["d"] * 600).rename(root / "lower half")


def test_paths_too_long_to_name(root):
    os.close(nest(root, "x" * 250, 20))
    found, left_out = found_in(root)
    ((folder, reason),) = left_out.items()
    assert not found and reason == "cannot be read: file name too long" and len(folder) > 3500


def test_links_are_followed_when_asked_for(root):
    (root / "a").symlink_to("../outside")
    (root / "b").symlink_to("../outside")
    (root.parent / "outside" / "back").symlink_to("../root")
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "file.png").symlink_to("../outside/secret.png")
    (root / "file.txt").symlink_to("../outside/secret.txt")
    found, left_out = found_in(root, follow_links=True)
    assert sorted(found.values()) == [("secret",)] * 2 and "file.png" in found
    assert left_out == {"zero.png": "not a regular file but a device"}


def test_a_root_that_is_a_link_is_followed(root):
    (root.parent / "link").symlink_to("root")
    assert found_in(root.parent / "link") == ({}, {})


@pytest.mark.skipif(AS_ROOT, reason="root may list everything")
def test_a_root_that_must_not_be_listed(root):
    root.chmod(0)
    with pytest.raises(UserError, match="cannot be read: permission denied"):
        walk(root)
    root.chmod(0o700)


def test_a_folder_that_vanishes(root):
    with pytest.raises(UserError, match="there is no such file"):
        walk(root / "gone")
    assert not holds_pictures(root / "gone") and holds_pictures(root)


def test_files_that_vanish_while_they_are_read(root):
    names = ["x.png", "x.txt", "good.png", "good.txt"]
    files = Files("x", names, lambda name: (root / name).open("rb"), lambda name: InMemory((root / name).read_bytes()))
    (root / "good.png").unlink()
    found = pair(files, get_config().data)
    reasons = {skipped.file: skipped.reason for _, skipped in found.skipped}
    assert reasons == {"good.png": NO_FILE, "x.png": f"no caption: x.txt: {NO_FILE}"}


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


def test_everything_at_once(root):
    """What each case of FILES makes, in folders of one data set: opened in the end, decoded, with what can be used."""
    usable = 1
    for number, case in enumerate(FILES.values()):
        make, captions, _ = case.values if hasattr(case, "marks") else case
        folder = root / str(number)
        picture(folder / "good.png", "good")
        if AS_ROOT and hasattr(case, "marks"):
            usable += 1
            continue
        make(folder)
        usable += 1 + len(captions)
    config = get_config().data
    config.update(source=str(root), val_fraction=0.0, test_fraction=0.0)
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_dataset(config, "train")), daemon=True)
    thread.start()
    thread.join(60)  # a pipe that is opened would never return
    (dataset,) = opened
    usable -= not AS_ROOT  # the file that must not be read: only decoding finds out
    assert len(dataset) == usable and (dataset.images == (0, 255, 0)).all()
    assert not any("secret" in caption for captions in dataset.captions for caption in captions)


# Properties

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
