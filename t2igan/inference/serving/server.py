"""The server process: uvicorn with a limit for slow headers, and an end that loses no answer."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from t2igan.errors import UserError
from t2igan.inference.serving.logs import log, set_up
from t2igan.inference.serving.settings import Settings

KEEP_ALIVE_S = 75  # longer than nginx keeps idle connections (60), so that it never sends into one that we close
LONGEST_DRAIN_S = 30


def bound_socket(settings: Settings) -> socket.socket:
    """Returns a socket at the settings' host and port. Raises `UserError` where that is taken or not this machine's."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise UserError(
            f"--host={settings.host} --port={settings.port} cannot be had: {error.strerror}; give another --port, or "
            f"--port=0 for one that is free"
        ) from error
    return made


class Server(uvicorn.Server):
    """Runs an app until SIGTERM or Ctrl-C.

    The first signal makes the server unready; for `drain_s` it still takes requests, since load balancers learn of it
    late. Then it takes no more, answers those that it has, and ends. A second signal ends it at once.
    """

    def __init__(self, app: FastAPI, settings: Settings, started: Callable[[], None] = lambda: None):
        """Makes a server; `started` is called when it takes requests."""
        set_up(settings.log_format)
        proxies = list(settings.trusted_proxies)
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(settings.header_s, settings.body_s),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies or None,
                limit_concurrency=settings.connections,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=LONGEST_DRAIN_S,
            )
        )
        self._app, self._settings, self._started = app, settings, started
        self._loop: asyncio.AbstractEventLoop | None = None
        self.signal: int | None = None  # that ended it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to take requests."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signals come with one
        """Begins the end; the second time, ends at once."""
        if self.signal is not None:
            self.should_exit = self.force_exit = True
            return
        self.signal = sig
        self.drain(0 if sig == signal.SIGINT else self._settings.drain_s)

    def drain(self, seconds: float | int) -> None:
        """Makes the server unready and ends it in so many seconds; may be called on any thread."""
        self._app.state.service.draining = True
        log("draining", seconds=seconds)
        if self._loop is None:
            self.should_exit = True
            return
        loop = self._loop
        loop.call_soon_threadsafe(lambda: loop.call_later(seconds, setattr, self, "should_exit", True))


def _protocol(header_s: float, read_s: float) -> type[asyncio.Protocol]:
    """Returns uvicorn's protocol, which closes connections whose next request does not get through its headers.

    It also cuts those of clients that read nothing of a long answer for `read_s`; they would hold it in memory.
    """

    class Impatient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        _limit: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._limit = self.loop.call_later(header_s, self._close_if_idle)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._busy():
                self._forget()
            elif self._limit is None and self.timeout_keep_alive_task is None:
                self._limit = self.loop.call_later(header_s, self._close_if_idle)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            self._is_read()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._wait_for_reader()

        def resume_writing(self) -> None:
            self._is_read()
            super().resume_writing()

        def _wait_for_reader(self) -> None:
            self._unread = self.loop.call_later(read_s, self._cut_if_unread, self.transport.get_write_buffer_size())

        def _cut_if_unread(self, before: int) -> None:
            if self.transport.get_write_buffer_size() >= before:
                self.transport.abort()
            else:
                self._wait_for_reader()

        def _is_read(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def _busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _forget(self) -> None:
            if self._limit is not None:
                self._limit.cancel()
                self._limit = None

        def _close_if_idle(self) -> None:
            self._limit = None
            if not self._busy() and not self.transport.is_closing():
                self.transport.close()

    return Impatient
