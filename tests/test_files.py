"""Files are whole or not there, whoever writes them at the same time."""

import os
from pathlib import Path

import numpy as np
import pytest

from t2igan.errors import UserError
from t2igan.inference.files import whole, write_bytes, write_secret
from t2igan.inference.pictures import save_png


def test_no_two_writers_have_the_same_place(tmp_path):
    path = tmp_path / "codes.npz"
    with whole(path) as one, whole(path) as other:
        assert one != other
        one.write_bytes(b"one")
        other.write_bytes(b"other")
        assert not path.exists()
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]


def test_what_is_durable_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    path, done, fsync, replace = tmp_path / "privacy.json", [], os.fsync, os.replace

    def synced(descriptor):
        of_folder = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        done.append("folder" if of_folder else f"file of {os.fstat(descriptor).st_size}")
        fsync(descriptor)

    monkeypatch.setattr("t2igan.inference.files.os.fsync", synced)
    monkeypatch.setattr("t2igan.inference.files.os.replace", lambda *args: done.append("name") or replace(*args))
    write_bytes(path, b"spent", durable=True)
    assert done == ["file of 5", "name", "folder"] and path.read_bytes() == b"spent"
    write_bytes(path, b"other")
    assert done[3:] == ["name"]


def full(self, content):
    with self.open("wb") as file:
        file.write(content[:3])
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "me.png"
    write_bytes(path, b"before")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write_bytes(path, b"after")
    with pytest.raises(UserError, match=r"could not write .*me\.png: No space left"):
        save_png(path, np.zeros((2, 2, 3), np.uint8))
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_half_a_secret_is_not_kept(tmp_path, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, raw):  # noqa: ARG002
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("t2igan.inference.files.os.fdopen", lambda *_: Full())
    with pytest.raises(UserError, match="No space left"):
        write_secret(tmp_path / "mine.key", b"secret")
    assert not list(tmp_path.iterdir())
