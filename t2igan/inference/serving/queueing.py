"""Pictures that wait to be drawn: bounded, and fair among clients.

Whoever has been drawn least comes first (start-time fair queueing, Goyal et al. 1996, with a picture as the unit of
work), so that a client with a thousand pictures waiting does not hold up one that wants a single picture.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

# Is told (steps done, steps in all) of a long work now and then; raises once nobody waits for it any more.
Progress = Callable[[int, int], None]


class Group(NamedTuple):
    """What pictures have in common that are drawn in one call."""

    model: str
    truncation: float = 1.0
    guidance: float = 1.0
    negative: str = ""
    as_caption: bool = False  # cut where it is too long, and not read as a prompt with weights
    work: Callable[[Progress], Any] | None = None  # instead of drawing from prompts: see `Batcher`


@dataclasses.dataclass(eq=False)
class Job:
    """The pictures of one request, one a seed."""

    group: Group
    prompt: str
    seeds: Sequence[int]
    client: str
    future: asyncio.Future[Any]
    arrived_s: float = dataclasses.field(default_factory=time.monotonic)
    images: dict[int, Any] = dataclasses.field(default_factory=dict)
    taken: int = 0  # pictures that have been handed to the device
    begun_s: float | None = None
    progress: float = 0.0  # of a long work, from 0 to 1
    batch_images: int = 0  # pictures in the last batch that it was part of

    @property
    def waiting(self) -> int:
        """Pictures that are still in the queue."""
        return len(self.seeds) - self.taken


class Picture(NamedTuple):
    """One picture of a job."""

    job: Job
    number: int


class Full(Exception):
    """The queue takes no more: `whole` says whether it is full as a whole or only this client's share of it."""

    def __init__(self, whole: bool):
        super().__init__("the queue is full" if whole else "a client's share of the queue is full")
        self.whole = whole


class FairQueue:
    """Jobs by client; not safe for several threads by itself."""

    def __init__(self, most_images: int):
        """Makes an empty queue of at most so many pictures; a client's share is half of it, or one request."""
        self._most = most_images
        self._share = max(most_images // 2, 1)
        self._jobs: dict[str, deque[Job]] = {}
        self._drawn: dict[str, float] = {}  # by client that waits: the virtual time at which its next picture starts
        self._now = 0.0
        self.images = 0  # that wait; those of clients that have left are counted until `take` or `put` meets them

    def put(self, job: Job) -> None:
        """Adds a job. Raises `Full` where there is no room for it, or it would be above its client's share."""
        if self.images + job.waiting > self._most:
            self._forget_those_that_left()
        if self.images + job.waiting > self._most:
            raise Full(whole=True)
        own = 0
        if self.images + job.waiting > self._share:  # or nobody can be above it
            own = sum(other.waiting for other in self._jobs.get(job.client, ()) if not other.future.done())
        if own and own + job.waiting > self._share:
            raise Full(whole=False)
        if job.client not in self._jobs:
            self._jobs[job.client] = deque()
            self._drawn[job.client] = self._now
        self._jobs[job.client].append(job)
        self.images += job.waiting

    def take(
        self, most: int, worth: Callable[[Group, int], int] = lambda _, images: images, works: bool = True
    ) -> list[Picture]:
        """Takes pictures of one group: that of the client whose turn it is, and others' of the same.

        Args:
          most: pictures that it takes.
          worth: returns how many of so many to take that wait and are not too many, 1 or more.
          works: whether the turn of a client that waits for a long work has come, too.
        """
        self._forget_those_that_left()
        first = min(self._next(works), key=self._drawn.__getitem__, default=None)
        if first is None:
            return []
        group = self._jobs[first][0].group
        most = worth(group, min(most, sum(job.waiting for job in self.jobs() if job.group == group)))
        turns = [(self._drawn[client], i, client) for i, client in enumerate(self._jobs)]
        heapq.heapify(turns)
        waiting = {client: self._of_group(client, group) for client in self._jobs}
        batch: list[Picture] = []
        while turns and len(batch) < most:
            when, i, client = turns[0]
            picture = next(waiting[client], None)
            if picture is None:
                heapq.heappop(turns)
                continue
            batch.append(picture)
            self._now = max(self._now, when)
            self._drawn[client] = when + 1
            heapq.heapreplace(turns, (when + 1, i, client))
        self.images -= len(batch)
        self._keep(lambda job: job.waiting > 0)
        return batch

    def any(self, works: bool) -> bool:
        """Whether there is something to take; `works` as in `take`."""
        return next(self._next(works), None) is not None

    def _next(self, works: bool) -> Iterator[str]:
        """The clients whose next job may be taken."""
        return (client for client, jobs in self._jobs.items() if works or jobs[0].group.work is None)

    def jobs(self) -> Iterator[Job]:
        """All jobs of which pictures wait."""
        for jobs in self._jobs.values():
            yield from jobs

    def _of_group(self, client: str, group: Group) -> Iterator[Picture]:
        for job in self._jobs[client]:
            while job.group == group and job.waiting:
                job.taken += 1
                yield Picture(job, job.taken - 1)

    def _forget_those_that_left(self) -> None:
        self._keep(lambda job: not job.future.done())
        self.images = sum(job.waiting for job in self.jobs())

    def _keep(self, wanted: Any) -> None:
        for client in list(self._jobs):
            kept = deque(job for job in self._jobs[client] if wanted(job))
            if kept:
                self._jobs[client] = kept
            else:
                del self._jobs[client], self._drawn[client]
