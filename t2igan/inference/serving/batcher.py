"""Threads that draw: whatever waits, up to the largest batch; nobody waits so that a batch fills.

A picture does not depend on its neighbours (`Model.sample`), so requests of all clients share batches. Batches are
padded to powers of two; where that costs more than two calls would, as on a CPU, 40 that wait are drawn as 32 and 8.
An accelerator has one thread. A CPU has several, since one call leaves cores idle (docs/serving.md): what waits is
divided among those that have nothing to do. One of them at a time does long work, so that the others go on drawing.

Clients whose pictures were drawn together ask again together, one after the other. So a thread that has drawn takes a
few that wait no sooner than the event loop has answered and read what came meanwhile.

At the start each size is compiled, the small ones first, and drawn once by the first thread; until then the largest of
these is the largest batch, so that nobody waits for a compilation. Two threads compile: while one size is traced, which
is work of Python, the other one is compiled or read from the cache. A size that the device has no memory for is left
out. When all are there, each is timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.drawing import BATCH_SIZES
from t2igan.inference.serving.batch_sizes import Durations, part
from t2igan.inference.serving.queueing import FairQueue, Full, Group, Job, Picture

FAILURES_UNTIL_UNREADY = 3  # draws in a row
_GATHERED_IMAGES = 32  # wait for no others: a larger batch takes no less time a picture
_GATHERING_TURNS = 3  # of the event loop: answers are sent, requests that follow are read, and are submitted
_COMPILING_THREADS = 2  # tracing holds Python's lock, so that more gain nothing


# Draws prompts and seeds, as many of each: uint8 [N, H, W, C]; on several threads at a time.
Draw = Callable[[Group, Sequence[str], Sequence[int]], np.ndarray]
# Is told of each batch, on a drawing thread: group, pictures, seconds, whether it failed.
OnBatch = Callable[[Group, int, float, bool], None]
# Compiles what draws so many pictures of a group, on a thread of its own.
Compile = Callable[[Group, int], None]


class NobodyWaits(Exception):
    """Raised within a long work whose client has left."""


class Batcher:
    """Draws for many clients at once, for one event loop.

    A job whose group has `work` is not drawn from its prompt: its one "picture" is what `work` returns, called on a
    drawing thread, one at a time, with a `Progress`, which it calls now and then.
    """

    def __init__(
        self,
        draw: Draw,
        warm: Sequence[Group],
        largest_images: int,
        queue_images: int,
        on_batch: OnBatch,
        compiles: Compile = lambda *_: None,
        threads: int = 1,
    ):
        """Makes a batcher that does nothing until `start`.

        Args:
          draw: called on the drawing threads only.
          warm: what to compile, each in all sizes up to `largest_images`.
          largest_images: the largest batch, a power of two.
          queue_images: pictures that may wait.
          on_batch: told of each batch.
          compiles: called before a size of a group is drawn for the first time; where it fails, so will that draw.
          threads: that draw at the same time.
        """
        self._draw, self._on_batch, self._compile = draw, on_batch, compiles
        self._largest = largest_images
        self._queue = FairQueue(queue_images)
        self._condition = threading.Condition()
        self._closing = False
        self._to_warm = [(size, group) for size in BATCH_SIZES if size <= largest_images for group in warm]
        self._compiled: set[tuple[int, Group]] = set()  # of these
        self._to_time = list(self._to_warm)  # then, when nobody waits: the first call of a program says little
        self._warming_s = self._drawn_s = 0.0  # how long the last size took to warm; drawing since
        self._images_per_s = 0.0  # of recent batches, a thread
        self._durations = Durations()
        self._failures = 0
        self._gathering = False  # whether a few pictures are left to wait for more
        self._waking = False  # whether the event loop is about to end that
        self._under_way: list[list[Picture]] = []  # batches that threads have
        self._at_work = False  # whether one of these is a long work
        self._threads = [
            threading.Thread(target=self._run, args=(i == 0,), name=f"t2igan-device-{i}", daemon=True)
            for i in range(threads)
        ]
        self._compilers = ThreadPoolExecutor(_COMPILING_THREADS, "t2igan-compiler")
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the drawing threads; answers are handed to this loop."""
        self._loop = loop
        for one in self._to_warm:
            self._compilers.submit(self._compile_one, *one)
        self._compilers.shutdown(wait=False)  # no more will come
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Draws what waits, takes no more, and ends the threads; returns when they have ended."""
        with self._condition:
            self._closing = True
            self._to_warm, self._to_time = [], []
            self._condition.notify_all()
        self._compilers.shutdown(cancel_futures=True)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def warm(self) -> bool:
        """Whether every size is compiled."""
        return not self._to_warm

    @property
    def healthy(self) -> bool:
        """Whether the device draws: not so after several failures in a row, until one succeeds."""
        return self._failures < FAILURES_UNTIL_UNREADY

    @property
    def waiting_images(self) -> int:
        """Pictures in the queue."""
        return self._queue.images

    @property
    def seconds_to_go(self) -> float:
        """How long the queue will take at the pace of recent batches; 1 where there was none."""
        pace = self._images_per_s * len(self._threads)
        return self._queue.images / pace if pace else 1.0

    def submit(self, group: Group, prompt: str, seeds: Sequence[int], client: str) -> Job:
        """Queues a picture a seed; `job.future` gets True when `job.images` has all of them.

        A client that leaves cancels the future: what has not been drawn for it by then never is.

        Raises:
          Full: there is no room, or the batcher is closing.
        """
        assert self._loop is not None, "start() comes first"
        job = Job(group, prompt, seeds, client, self._loop.create_future())
        with self._condition:
            if self._closing:
                raise Full(whole=True)
            self._queue.put(job)
        self._wake_soon(1)
        return job

    def _wake_soon(self, turns: int) -> None:
        """Wakes a thread after so many turns of the event loop, once for all that comes; called on the event loop."""
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake, turns)

    def _wake(self, turns: int) -> None:
        if turns > 1:
            asyncio.get_running_loop().call_soon(self._wake, turns - 1)
            return
        self._waking = False
        with self._condition:
            self._gathering = False
            self._condition.notify(1 if self.warm else len(self._threads))  # until then the first one alone may draw

    def _run(self, first: bool) -> None:
        """Draws until the end; the first thread compiles and times sizes besides."""
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: (
                        self._may_take(first)
                        or (self._closing and not self._queue.images)
                        or (first and (self._next_to_warm() or self._may_time()))
                    )
                )
                if self._closing and not self._queue.images:
                    return
                batch = self._take() if self._may_take(first) else []
            if batch:
                self._draw_batch(batch)
                self._end(batch)
            # Those who wait come first, but however many they are, a size is warmed after as long a time of drawing.
            to_warm = self._next_to_warm() if first else None
            if to_warm and (not self._queue.images or self._drawn_s >= self._warming_s):
                self._warm_one(*to_warm)
            to_time = self._to_time  # `close` puts another list in its place
            if first and self._may_time() and to_time:
                self._time_one(*to_time.pop(0))

    def _may_take(self, first: bool) -> bool:
        """Whether something waits that a thread may draw: all but the first have to wait until all is compiled."""
        if self._gathering and self.warm and not self._closing and self._queue.images < _GATHERED_IMAGES:
            return False
        return (first or self.warm) and self._queue.any(works=not self._at_work)

    def _may_time(self) -> bool:
        """Whether a size is to be timed, and nothing else goes on."""
        return self.warm and bool(self._to_time) and not self._queue.images and not self._under_way

    def _take(self) -> list[Picture]:
        """What the thread that asks draws next: a part of what waits, if others could draw another one."""
        idle = len(self._threads) - len(self._under_way) if self.warm else 1  # this one, too
        worth = lambda group, images: self._durations.worth(group, part(images, idle))
        batch = self._queue.take(self._largest_compiled(), worth, works=not self._at_work)
        if batch:
            self._under_way.append(batch)
            self._at_work |= batch[0].job.group.work is not None
            if self._queue.images or self._closing:  # for others to draw, or the end
                self._condition.notify_all()
        return batch

    def _end(self, batch: list[Picture]) -> None:
        with self._condition:
            self._under_way.remove(batch)
            self._at_work &= batch[0].job.group.work is None
            if self._to_time or self._queue.images:
                self._condition.notify_all()

    def _next_to_warm(self) -> tuple[int, Group] | None:
        """The next size of a group, where it is compiled."""
        to_warm = self._to_warm  # which `close` may empty at any time
        return to_warm[0] if to_warm and to_warm[0] in self._compiled else None

    def _compile_one(self, size: int, group: Group) -> None:
        if size <= self._largest:
            with contextlib.suppress(Exception):  # the first draw fails too, and there it is counted
                self._compile(group, size)
        with self._condition:
            self._compiled.add((size, group))
            self._condition.notify_all()

    def _largest_compiled(self) -> int:
        if not self._to_warm:
            return self._largest
        return max(self._to_warm[0][0] // 2, 1)

    def _warm_one(self, size: int, group: Group) -> None:
        begun_s = time.monotonic()
        try:
            self._draw(group, ["a"] * size, list(range(size)))
            self._failures = 0
            self._to_warm = self._to_warm[1:]
        except Exception:  # too large for the device's memory, as a rule
            self._on_batch(group, size, 0.0, True)
            if size == 1:
                self._failures = FAILURES_UNTIL_UNREADY
            self._largest = max(size // 2, 1)
            self._to_warm = [one for one in self._to_warm[1:] if one[0] <= self._largest]
        self._warming_s, self._drawn_s = time.monotonic() - begun_s, 0.0
        with self._condition:
            self._condition.notify_all()  # the other threads, when this was the last size

    def _time_one(self, size: int, group: Group) -> None:
        begun_s = time.monotonic()
        with contextlib.suppress(Exception):  # those who ask hear of it
            if size <= self._largest:
                self._draw(group, ["a"] * size, list(range(size)))
                self._durations.note(group, size, time.monotonic() - begun_s)

    def _draw_batch(self, batch: list[Picture]) -> None:
        group, begun_s = batch[0].job.group, time.monotonic()
        for job, _ in batch:
            job.begun_s = job.begun_s or begun_s
            job.batch_images = len(batch)
        images: Sequence[Any] | np.ndarray | None = None
        error: Exception | None = None
        try:
            if group.work is not None:
                images = [group.work(functools.partial(_goes_on, batch[0].job))]
            else:
                images = self._draw(group, [job.prompt for job, _ in batch], [job.seeds[i] for job, i in batch])
            self._failures = 0
        except (UserError, NobodyWaits) as refusal:
            error = refusal
        except Exception as failure:  # whatever the device or XLA raises fails this batch and no other
            error = failure
            self._failures += 1
        seconds = time.monotonic() - begun_s
        self._drawn_s += seconds
        if error is None and group.work is None:
            self._durations.note(group, len(batch), seconds)
            pace = len(batch) / max(seconds, 1e-6)
            self._images_per_s = 0.8 * (self._images_per_s or pace) + 0.2 * pace
        if not isinstance(error, UserError | NobodyWaits):
            self._on_batch(group, len(batch), seconds, error is not None)
        with self._condition:
            gathers = self._others_ask(batch[0].job)
            if gathers:
                self._gathering = True  # until what is handed over wakes a thread
        self._call(lambda: self._hand_over(batch, images, error, gathers))

    def _others_ask(self, job: Job) -> bool:
        """Whether there are other jobs than this one: only these have clients that may ask again."""
        drawn = (picture.job for batch in self._under_way for picture in batch)
        return any(other is not job for jobs in (drawn, self._queue.jobs()) for other in jobs)

    def _hand_over(
        self, batch: list[Picture], images: Sequence[Any] | np.ndarray | None, error: Exception | None, gathers: bool
    ) -> None:
        _deliver(batch, images, error)
        if gathers:
            self._wake_soon(_GATHERING_TURNS)

    def _call(self, function: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _goes_on(job: Job, done: int, total: int) -> None:
    """Takes note of how far a long work is."""
    if job.future.done():
        raise NobodyWaits
    job.progress = done / max(total, 1)


def _deliver(batch: list[Picture], images: Sequence[Any] | np.ndarray | None, error: Exception | None) -> None:
    """Hands pictures, or what went wrong, to those who wait; on the event loop."""
    for place, (job, number) in enumerate(batch):
        if job.future.done():
            continue
        if error is not None or images is None:
            job.future.set_exception(error or RuntimeError("nothing was drawn"))
            continue
        job.images[number] = images[place]
        if len(job.images) == len(job.seeds):
            job.future.set_result(True)
