"""How much a client may ask for in a minute: token buckets, and the headers in which OpenAI's API says so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from t2igan.inference.serving.answers import ApiError

_MOST_CLIENTS = 10_000  # that are remembered; those who have their whole minute again are forgotten first


class Allowance(NamedTuple):
    """What a client has after it has asked."""

    limit: int  # a minute
    remaining: int
    reset_s: float  # until it has the whole minute's again
    wait_s: float  # until it may have what it asked for; 0 = it has it

    def headers(self, what: str) -> dict[str, str]:
        """Returns the headers of OpenAI's API, for "requests" or "images"."""
        return {
            f"x-ratelimit-limit-{what}": str(self.limit),
            f"x-ratelimit-remaining-{what}": str(self.remaining),
            f"x-ratelimit-reset-{what}": _duration(self.reset_s),
        }

    def check(self, what: str) -> None:
        """Raises `ApiError` 429 where the client has to wait."""
        if self.wait_s:
            message = f"You may ask for {self.limit:,} {what} a minute; come again in {_duration(self.wait_s)}."
            error = ApiError(429, message, None, "rate_limit_exceeded", retry_after_s=math.ceil(self.wait_s))
            error.headers |= self.headers(what)
            raise error


class Rate:
    """A bucket a client: it holds a minute's worth, which may be had at once, and is refilled evenly."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic):
        """Makes full buckets of `per_minute`; `clock` returns seconds."""
        self._limit, self._clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by client: what it had, and when

    def take(self, client: str, cost: int = 1) -> Allowance:
        """Takes from a client's bucket, if it has enough; what costs more than a minute's worth costs that."""
        now, limit = self._clock(), self._limit
        cost = min(cost, limit)
        have = self._level(client, now)
        wait_s = max((cost - have) * 60 / limit, 0.0)
        if not wait_s:
            have -= cost
            if len(self._buckets) >= _MOST_CLIENTS and client not in self._buckets:
                self._forget(now)
            self._buckets[client] = (have, now)
        return Allowance(limit, int(have), (limit - have) * 60 / limit, wait_s)

    def give_back(self, client: str, cost: int) -> None:
        """Returns what was taken for what was refused elsewhere."""
        now = self._clock()
        self._buckets[client] = (min(self._level(client, now) + cost, self._limit), now)

    def _level(self, client: str, now: float) -> float:
        had, when = self._buckets.get(client, (float(self._limit), now))
        return min(had + (now - when) * self._limit / 60, float(self._limit))

    def _forget(self, now: float) -> None:
        for client in [client for client in self._buckets if self._level(client, now) >= self._limit]:
            del self._buckets[client]
        while len(self._buckets) >= _MOST_CLIENTS:  # all of them busy: the one that came first
            del self._buckets[next(iter(self._buckets))]


def _duration(seconds: float) -> str:
    """A time as OpenAI's headers have it: "120ms", "1s", "1m5s"."""
    if seconds < 1:
        return f"{math.ceil(1000 * seconds)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
