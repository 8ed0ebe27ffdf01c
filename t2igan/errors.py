"""What the user did, said in one or two lines, and how to call what is to be done about it."""

from __future__ import annotations

import difflib
import errno
import shlex
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in a setting, a path or a file that the user can mend.

    The message names what is wrong with its value, where, what is accepted and what to do. The command line prints it
    without a traceback and exits with code 2.
    """


def nearest(name: str, known: Iterable) -> str:
    """Returns "; did you mean 'x'?" for the known name nearest to `name`, or "." when none is near."""
    near = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun: "1 picture", "1,234 pictures"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def lacks_locks(error: Exception) -> bool:
    """Whether taking a file's lock failed because the disk has none, as many network disks.

    Not because it is held (`filelock.Timeout`), nor for want of room or of the right to write there.
    """
    about_writing = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR)
    if isinstance(error, NotImplementedError):
        return True
    return isinstance(error, OSError) and not isinstance(error, TimeoutError) and error.errno not in about_writing


CONSOLE = "t2igan"  # the installed command
# The Python calls that do what a verb does; other verbs have a command line only.
_CALLS = {
    "train": "t2igan.train(config, {workdir!r})",
    "sample": "t2igan.load({workdir!r}).sample({prompt!r})",
    "evaluate": "t2igan.evaluate({workdir!r})",
}
_program = ""


def started_as(program: str) -> None:
    """Notes what the user typed to come here: "t2igan", "python run.py"; "" where Python code called the package."""
    global _program
    _program = program


def program() -> str:
    """Returns the name that messages of the command line begin with: "t2igan", "run.py"."""
    return (_program or CONSOLE).split()[-1]


def command(verb: str, **flags: object) -> str:
    """Returns how the user calls a verb, to be shown: a command line, or Python where Python code came here.

    Args:
      verb: such as "sample".
      **flags: name -> value; "..." stands for what the user knows better.
    """
    if not _program and verb in _CALLS:
        return _CALLS[verb].format_map({"workdir": "...", "prompt": "..."} | {k: str(v) for k, v in flags.items()})
    return " ".join([_program or CONSOLE, verb, *written(**flags)])


def written(**flags: object) -> list[str]:
    """Returns flags as a shell takes them: ["--workdir=runs/base", "--prompt='red hair'"]."""
    return [f"--{name}={value if value == '...' else shlex.quote(str(value))}" for name, value in flags.items()]
