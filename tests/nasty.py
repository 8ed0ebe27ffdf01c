"""Folders with what is broken or meant to do harm beside one good picture, and what of them is found."""

import os
import re
import socket
import tempfile

import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data.sources.folder import Folder
from t2igan.data.sources.listing import Listing

NO_TEXT = "no caption: no text of its name beside it"
LEADS_OUT = "a link that leads out of the folder"
NO_FILE = "there is no such file"
NOT_INSIDE = "is not inside the folder"
with tempfile.NamedTemporaryFile() as _file:
    os.chmod(_file.name, 0)  # noqa: PTH101
    AS_ROOT = os.access(_file.name, os.R_OK)  # whom permissions do not concern


def with_good_picture(tmp_path):
    """Makes a folder with one good picture, beside secrets that lie outside of it; returns the folder."""
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


def as_params(cases):
    return [
        pytest.param(*case.values, marks=case.marks, id=name)
        if hasattr(case, "marks")
        else pytest.param(*case, id=name)
        for name, case in cases.items()
    ]
