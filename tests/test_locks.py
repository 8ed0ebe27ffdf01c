"""Disks without locks: a run and the cache of pictures go on without; a full or read-only disk is said in a line."""

import errno
import fcntl
import os

import pytest
from filelock import FileLock

from t2igan.data import cache
from t2igan.errors import UserError
from t2igan.training import train


@pytest.fixture
def failing(monkeypatch):
    """Returns how every lock fails from now on."""

    def fail(number):
        def flock(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return fail


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "EINVAL", "ENOSYS", "EIO"])
def test_a_disk_without_locks_is_used_without(failing, tmp_path, capsys, name):
    failing(getattr(errno, name))
    with train._alone(tmp_path):
        pass
    assert name == "ENOSYS" or "no locks, so take care that no second training runs" in capsys.readouterr().out
    with cache._locked(tmp_path / "pictures.lock"):
        (tmp_path / "decoded").touch()
    assert (tmp_path / "decoded").exists()


@pytest.mark.parametrize("name", ["ENOSPC", "EROFS", "EDQUOT"])
def test_a_disk_that_cannot_be_written_is_refused(failing, tmp_path, name):
    failing(getattr(errno, name))
    with pytest.raises(UserError, match="could not write below"), train._alone(tmp_path):
        pass


def test_a_lock_that_is_held_still_keeps_others_out(tmp_path):
    with (
        FileLock(tmp_path / train.LOCK_NAME),
        pytest.raises(UserError, match="another training goes on in"),
        train._alone(tmp_path),
    ):
        pass
