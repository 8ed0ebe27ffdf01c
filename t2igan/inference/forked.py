"""Whether this process can compute: one that was forked from a process which has already computed cannot.

JAX computes with threads, and a fork copies the memory of a process but not its threads: what waits for one of them
waits for ever. Forks are what `multiprocessing` makes on Linux before Python 3.14.
"""

from __future__ import annotations

import os

from t2igan.errors import UserError

_computes: list[int] = []  # the process that has computed first, of this one and those that it was forked from


def check_not_forked() -> None:
    """Notes that this process computes with JAX from now on; to be called before it does.

    Raises:
      UserError: it was forked from one that had done so, and would wait for ever.
    """
    if not _computes:
        _computes.append(os.getpid())
    elif _computes[0] != os.getpid():
        raise UserError(
            f"process {os.getpid()} was forked from process {_computes[0]}, which had used a model before: JAX would "
            "wait in it for ever.\n"
            'Start it by multiprocessing.get_context("spawn"), or let no model be loaded or trained before the fork.'
        )
