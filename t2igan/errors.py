"""What the user did, said in one or two lines."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in a setting, a path or a file that the user can mend.

    The message names what is wrong with its value, where, what is accepted and what to do. `run.py` prints it without
    a traceback and exits with code 2.
    """


def nearest(name: str, known: Iterable) -> str:
    """Returns "; did you mean 'x'?" for the known name nearest to `name`, or "." when none is near."""
    near = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."


def lacks_locks(error: Exception) -> bool:
    """Whether taking a file's lock failed because the disk has none, as many network disks.

    Not because it is held (`filelock.Timeout`), nor for want of room or of the right to write there.
    """
    about_writing = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR)
    if isinstance(error, NotImplementedError):
        return True
    return isinstance(error, OSError) and not isinstance(error, TimeoutError) and error.errno not in about_writing
