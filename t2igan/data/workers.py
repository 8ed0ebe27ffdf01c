"""Processes that work for this one: they outlive signals that are meant for it, and do not outlive it.

Ctrl-C in a terminal, and what schedulers send before they end a job, reach every process of a group. It is the parent's
to answer: it finishes its step and saves, for which it needs its workers. So they ignore these signals. In turn they
must notice by themselves that the parent is gone, however it ended: each holds one end of a pipe whose other end the
parent has, and closes with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection

LOOK_EVERY_S = 1.0  # whether the parent is there, where another process holds its end of the pipe, too


class Workers:
    """A pool of processes, started when there is work."""

    def __init__(self, num: int):
        # Spawned: a fork of a process with JAX's threads may hang.
        context = multiprocessing.get_context("spawn")
        theirs, self._ours = context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(num, context, initializer=_begin, initargs=(theirs, os.getpid()))

    def end(self) -> None:
        """Ends the processes at once, whatever they are doing."""
        self._ours.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


def _begin(parents: Connection, parent: int) -> None:
    """Runs first in each process."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parents, parent), daemon=True).start()


def _end_with(parents: Connection, parent: int) -> None:
    """Ends this process when nobody holds the other end of the pipe, or the parent is another by now."""
    while os.getppid() == parent:
        try:
            if parents.poll(LOOK_EVERY_S):  # nothing is ever sent: it was closed
                break
        except (OSError, EOFError):
            break
    os._exit(1)
