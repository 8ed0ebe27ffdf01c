"""Processes that work for this one: they outlive signals that are meant for it, and do not outlive it.

Ctrl-C in a terminal, and what schedulers send before they end a job, reach every process of a group. It is the parent's
to answer: it finishes its step and saves, for which it needs its workers. So they ignore these signals. In turn they
must notice by themselves that the parent is gone, however it ended: each holds one end of a pipe whose other end the
parent has, and closes with it.

A process that is just starting cannot ignore anything yet. It inherits a mask that blocks these signals, and drops
those that came in the meantime when it begins to ignore them (POSIX, `sigaction`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

THE_PARENTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
LOOK_EVERY_S = 1.0  # whether the parent is there, where another process holds its end of the pipe, too


def usable_cores() -> int:
    """Returns the cores that this process may use, which `taskset` or a container may have made fewer."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """A pool of processes, started when there is work."""

    def __init__(self, num: int):
        # Spawned: a fork of a process with JAX's threads may hang.
        context = multiprocessing.get_context("spawn")
        theirs, self._ours = context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(num, context, initializer=_begin, initargs=(theirs, os.getpid()))

    def map(self, function: Callable, *arguments: Iterable) -> Iterator[Any]:
        """Returns the results of a function that can be pickled, in order, as `ProcessPoolExecutor.map`."""
        with _blocked():  # it is the submission that starts processes
            return self.pool.map(function, *arguments)

    def end(self) -> None:
        """Ends the processes at once, whatever they are doing."""
        self._ours.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _blocked() -> Iterator[None]:
    """Blocks the parent's signals in this thread; another one of this process takes them, or this one afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, THE_PARENTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parents: Connection, parent: int) -> None:
    """Runs first in each process."""
    for number in THE_PARENTS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, THE_PARENTS)
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
