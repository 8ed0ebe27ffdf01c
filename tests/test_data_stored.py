"""Pictures and texts in files, in parts of files and under names that may lead elsewhere."""

import os

import pytest

from t2igan.data.stored import InFile, inner_name, is_inside, open_regular, read_text


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device"), (tmp_path, "folder|directory")):
        with pytest.raises((ValueError, OSError), match=what):
            open_regular(path)
        with pytest.raises((ValueError, OSError), match=what):
            InFile.of(path)


def test_parts_of_files_are_read_exactly(tmp_path, monkeypatch):
    path = tmp_path / "archive"
    path.write_bytes(bytes(range(100)))
    whole = InFile.of(path)
    assert InFile(str(path), whole.mtime_ns, 10, 20).read() == bytes(range(20, 30))
    with pytest.raises(ValueError, match="ends after 5 of 10 bytes"):
        InFile(str(path), whole.mtime_ns, 10, 95).read()
    monkeypatch.setattr("t2igan.data.stored.MAX_PICTURE_BYTES", 50)
    with pytest.raises(ValueError, match="too big"):
        whole.read()


def test_texts_of_any_encoding(tmp_path):
    path = tmp_path / "x.txt"
    for data, text in (
        (b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        ("café".encode("utf-16"), "café"),
        ("café".encode("utf-16-be"), "\0c\0a\0f\0�"),  # without its mark it is bytes like others
        (b"caf\xe9", "caf�"),
        (b"\xff\xfea", ""),
    ):
        path.write_bytes(data)
        assert read_text(path) == text
    path.write_bytes(b"x" * 100)
    assert read_text(path, max_bytes=10) == "x" * 10


def test_names_stay_inside(tmp_path):
    for name, parent, expected in (
        ("a/b.png", "", "a/b.png"), ("./a//b.png", "x/y", "x/y/a/b.png"), ("../b.png", "x", "b.png"),
        ("..\\b.png", "x", "b.png"), ("../b.png", "", None), ("a/../../b", "", None), ("/etc/passwd", "x", None),
        ("C:\\b.png", "", None), ("\\\\host\\share", "", None), ("a\0b", "", None), ("", "x", "x"), ("..", "x", None),
    ):  # fmt: skip
        assert inner_name(name, parent) == expected, name
    (tmp_path / "root").mkdir()
    (tmp_path / "out").touch()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root" / "loop")
    (tmp_path / "root" / "fine").symlink_to(tmp_path / "root" / "target")
    root = tmp_path / "root"
    assert is_inside(root / "fine", root) and is_inside(root / "none", root)
    assert not is_inside(root / "link", root)
