"""What stands before every route: who may ask, how much and how slowly; request ids; headers; the line in the log.

It is pure ASGI. Starlette's `BaseHTTPMiddleware` would hide from a route that its client has left.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.keys import owner_of
from t2igan.inference.serving.logs import log
from t2igan.inference.serving.metrics import Metrics
from t2igan.inference.serving.rates import Rate
from t2igan.inference.serving.settings import Settings

# Paths that are answered without a key: the page itself, probes, and pictures whose address is signed.
OPEN_PATHS = re.compile(r"/|/healthz|/readyz|/favicon\.ico|/studio/.*|/v1/images/files/[^/]+")
_PROBES = ("/healthz", "/readyz")  # asked by address, not by name, and harmless
_COUNTED_PATHS = re.compile(r"/(?:v1|hf|sdapi)(?:/.*)?")  # of `requests_per_minute`, where something is sent
_PICTURES = "/v1/images/files/"  # and these, which are drawn anew
_QUIET_PATHS = ("/healthz", "/readyz", "/metrics")  # asked every few seconds: counted, not logged
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
CLIENT_LEFT = 499  # as nginx calls it; nobody reads it
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """Wraps an app; see the module."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics):
        """Wraps `app`."""
        self._app, self._settings, self._metrics = app, settings, metrics
        self._hosts = frozenset(settings.hosts)
        self._rate = Rate(settings.requests_per_minute) if settings.requests_per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has the app answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._settings)
        try:
            self._check(exchange)
            self._count(exchange)
            await self._app(scope, exchange.receive, exchange.send)
        except ApiError as error:
            exchange.facts["code"] = error.code
            await exchange.answer(error)
        except ClientDisconnect:  # while it sent the body
            exchange.status = CLIENT_LEFT
        except Exception as error:  # a fault of ours: the client gets its shape, the log the traceback
            log("fault", logging.ERROR, error, id=exchange.id, path=scope["path"])
            exchange.facts["code"] = "server_error"
            await exchange.answer(exchange.fault())
        finally:
            self._note(exchange)
            scope.pop("t2igan", None)  # or the answer's memory waits for the garbage collector: each has the other

    def _check(self, exchange: Exchange) -> None:
        """Raises `ApiError` for a host, an origin or a key that is none of ours."""
        headers, hosts = exchange.headers, self._hosts
        host = headers.get("host", "").lower()
        if hosts and _without_port(host) not in hosts and exchange.scope["path"] not in _PROBES:
            raise ApiError(
                403, f"This server is not called {host[:100]!r}; --allowed_hosts names what it is.", None, "wrong_host"
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self._settings.cors_origins and not self._own(origin, host):
            raise ApiError(
                403,
                f"Pages of {origin[:100]!r} may not call this server; --cors_origins says which may.",
                None,
                "origin",
            )
        open_metrics = self._settings.open_metrics and exchange.scope["path"] == "/metrics"
        if not self._settings.keys or open_metrics or OPEN_PATHS.fullmatch(exchange.scope["path"]):
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        name = owner_of(key.strip(), self._settings.keys) if scheme.lower() == "bearer" else None
        if name is None:
            raise ApiError(
                401,
                "This server wants a key: `Authorization: Bearer KEY`. Ask whoever runs it.",
                None,
                "invalid_api_key",
            )
        exchange.client = exchange.facts["key"] = name

    def _count(self, exchange: Exchange) -> None:
        """Raises `ApiError` for a client that asks too often."""
        path = exchange.scope["path"]
        sends = exchange.scope["method"] == "POST" and _COUNTED_PATHS.fullmatch(path)
        if self._rate is not None and (sends or path.startswith(_PICTURES)):
            allowance = self._rate.take(exchange.client)
            exchange.more_headers |= allowance.headers("requests")
            allowance.check("requests")

    def _own(self, origin: str, host: str) -> bool:
        """Whether a page of this server asks. Behind a proxy that ends TLS the scheme is not ours to see."""
        own = origin.lower().partition("://")[2]
        return own != "" and own in (host, urlsplit(self._settings.public_url).netloc.lower())

    def _note(self, exchange: Exchange) -> None:
        route = getattr(exchange.scope.get("route"), "path", "none")
        seconds = time.perf_counter() - exchange.begun_s
        self._metrics.answered(route, exchange.status, seconds)
        if "code" in exchange.facts:
            self._metrics.refused.labels(exchange.facts["code"]).inc()
        if exchange.scope["path"] not in _QUIET_PATHS:
            path = f"{_PICTURES}..." if route.startswith(_PICTURES) else exchange.scope["path"]
            log(
                "request",
                id=exchange.id,
                method=exchange.scope["method"],
                path=path[:200],
                status=exchange.status,
                ms=round(1e3 * seconds, 2),
                client=exchange.address,
                **exchange.facts,
            )


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings):
        self.scope, self._receive, self._send, self._settings = scope, receive, send, settings
        self.headers = Headers(scope=scope)
        given = self.headers.get("x-request-id", "")
        self.id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
        self.address = scope["client"][0] if scope.get("client") else "local"
        self.client = self.address  # for fair shares: who holds the key or, without keys, the address
        self.facts: dict[str, Any] = {}  # for the log
        self.more_headers: dict[str, str] = {}  # of the answer
        self.begun_s = time.perf_counter()
        self.status = 0
        self._body_bytes = 0
        self._body_until_s: float | None = None
        self._body_ended = False
        scope["t2igan"] = self

    async def receive(self) -> Message:
        """The next part of the body. Raises `ApiError` where it is too long or too slow."""
        if self._body_ended:
            return await self._receive()
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._settings.body_bytes:
            raise self._too_long()
        loop = asyncio.get_running_loop()
        if self._body_until_s is None:
            self._body_until_s = loop.time() + self._settings.body_s
        try:
            async with asyncio.timeout_at(self._body_until_s):
                message = await self._receive()
        except TimeoutError as error:
            seconds = self._settings.body_s
            raise ApiError(408, f"The body did not come in within {seconds:g} s.", None, "slow_body") from error
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > self._settings.body_bytes:
            raise self._too_long()
        self._body_ended = not message.get("more_body", False)
        return message

    async def body(self) -> bytes:
        """The whole body. Raises `ApiError` as `receive`, and `ClientDisconnect`."""
        parts = []
        while not self._body_ended:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
        return b"".join(parts)

    async def send(self, message: Message) -> None:
        """Sends a part of the answer, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(name.encode(), value.encode()) for name, value in self.more_headers.items()]
            given = {name for name, _ in message["headers"]}
            added = [(name, value) for name, value in (*_HEADERS, *own) if name not in given]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id.encode()), *added]
        await self._send(message)

    async def answer(self, error: ApiError) -> None:
        """Sends a refusal, if no answer has begun."""
        if not self.status:
            await error.response()(self.scope, self._receive, self.send)

    def fault(self) -> ApiError:
        """Returns what is said where the server failed."""
        return ApiError(500, f"The server failed; its log has request {self.id}.", None, "fault")

    def _too_long(self) -> ApiError:
        most = self._settings.body_bytes
        return ApiError(413, f"The body is too long; this server takes {most:,} bytes.", None, "body_too_long")


def exchange_of(scope: Scope) -> Exchange:
    """Returns what the guard knows of a request: `id`, `client`, `facts` for the log, `more_headers` of the answer."""
    return scope["t2igan"]


def _without_port(host: str) -> str:
    """The name in a `Host` header, which may be "[::1]:8000"."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
