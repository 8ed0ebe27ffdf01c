"""What the user did, said in one or two lines."""


class UserError(Exception):
    """A mistake in a setting, a path or a file that the user can mend.

    The message names what is wrong with its value, where, what is accepted and what to do. `run.py` prints it without
    a traceback and exits with code 2.
    """


def nearest(name: str, known, count: int = 1) -> str:
    """Returns ", did you mean 'x'?" for the known name nearest to `name`, or "" when none is near."""
    import difflib

    near = difflib.get_close_matches(name, [str(k) for k in known], n=count, cutoff=0.5)
    return f", did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
