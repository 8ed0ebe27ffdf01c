"""How a training is asked to stop, where it does so, and what it says is there then.

What has been done is on disk in whole files, and what is under way can be done again. So a training stops at once
wherever it is: while data is opened, codes are computed, feature extractors learn, a model is evaluated, a phase is
built. It finishes only the step that is under way, and saves. Evaluations and sheets that were due after that step are
left to the training that goes on, which begins with them.

Of several processes none stops alone once they take steps: they do after a step, between phases, and before the final
evaluation. Before that, and between a phase's steps and the next one's, Ctrl-C ends one of them, and the others notice.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t2igan.inference.checkpoint import said_of, saved_steps
from t2igan.inference.files import write_json
from t2igan.inference.sample import SNAPSHOT_NAME
from t2igan.training.distributed import processes
from t2igan.training.logs import say

LEFT_NAME = "left_to_do.json"


class Interrupted(KeyboardInterrupt):
    """The user asked to stop, and everything is saved."""


class Interruption:
    """While active, Ctrl-C and SIGTERM raise `Interrupted`, or only ask to stop where that is `deferred`."""

    def __init__(self):
        self.asked = False
        self._deferred = False
        self._before: dict = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in processes.stop_signals():
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def deferred(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which a request is only noted, for the loop to answer; a second one stops at once."""
        return self._as(deferred=True)

    def at_once(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context, within a deferred one, for what takes long and can be done again: stops there at once.

        Raises `Interrupted` on entering too, where a request came before. Of several processes, which wait for each
        other, it changes nothing.
        """
        return self._as(deferred=self._deferred and processes.count() > 1)

    def stops(self) -> bool:
        """Whether to stop after this step; to be called once a step, by all processes alike."""
        return processes.stops(self.asked)

    def check(self) -> None:
        """Raises `Interrupted` where a request came before; to be called by all processes alike, between steps."""
        if processes.stops(self.asked):
            raise Interrupted

    @contextlib.contextmanager
    def _as(self, deferred: bool) -> Iterator[None]:
        before, self._deferred = self._deferred, deferred
        try:
            self._raise_unless(before and deferred)
            yield
            self._raise_unless(deferred)
        finally:
            self._deferred = before

    def _raise_unless(self, deferred: bool) -> None:
        """A request may not have ended what was under way: what is raised in a garbage collection is lost."""
        if self.asked and not deferred and processes.count() == 1:
            raise Interrupted

    def _ask(self, number: int, frame: Any) -> None:  # noqa: ARG002
        before, self.asked = self.asked, True
        if not self._deferred and processes.count() == 1:
            raise Interrupted
        if before or not self._deferred:
            raise KeyboardInterrupt
        say("stopping after this step, and saving; once more stops at once")


def what_there_is(workdir: Path, phases: Sequence[str]) -> str:
    """Returns in a line what a training that stopped has left in its folder."""
    steps = saved_steps(workdir)
    saved = said_of({phase: steps[phase] for phase in phases if phase in steps})
    if not saved:
        return f"no step was saved yet in {workdir}"
    if (workdir / SNAPSHOT_NAME).is_file():
        return f"{saved}; {workdir / SNAPSHOT_NAME} draws with what has learned so far"
    return f"{saved}; there is no snapshot to draw with yet, since no generator has learned"


def leave(workdir: Path, phase: str, step: int) -> None:
    """Notes that what was due after a step of a phase is left to the training that goes on after it."""
    write_json(workdir / LEFT_NAME, {"phase": phase, "step": step})


def is_left(workdir: Path, phase: str, step: int) -> bool:
    """Whether what was due after a step of a phase was left."""
    path = workdir / LEFT_NAME
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")) == {"phase": phase, "step": step}


def nothing_is_left(workdir: Path) -> None:
    """Notes that it was done."""
    (workdir / LEFT_NAME).unlink(missing_ok=True)
