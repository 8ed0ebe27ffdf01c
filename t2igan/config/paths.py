"""Paths that users give, on the command line, in a configuration or in Python: one way to read them all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from t2igan.errors import UserError


def expanded(path: str | os.PathLike[str], name: str) -> Path:
    """Returns a path that the user gave, with `~` and `~user` replaced by the home folder, also where no shell did it.

    Args:
      path: text or a `pathlib.Path`.
      name: of the flag, key or argument, for the message: "--out", "config.init_from".

    Raises:
      UserError: it is neither, it is empty, or nobody knows the home folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"{name}={path!r} must be a path: text such as 'runs/base', or a pathlib.Path")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise UserError(f"{name}={text!r} is no path; give text such as 'runs/base', or a pathlib.Path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no HOME, and the user is not in the system's list, as in some containers
        raise UserError(f"{name}={text!r}: the home folder is not known; give the whole path, or set HOME") from error


def cache_folder() -> Path:
    """Returns the folder of t2igan in the user's cache; in the folder for temporary files where there is no home."""
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return expanded(caches, "XDG_CACHE_HOME") / "t2igan"
    try:
        return Path.home() / ".cache" / "t2igan"
    except RuntimeError:
        user = os.getuid() if hasattr(os, "getuid") else "cache"
        return Path(tempfile.gettempdir()) / f"t2igan-{user}"
