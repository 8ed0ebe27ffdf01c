"""The app: routes, what stands before them, and the page."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

import t2igan
from t2igan.inference.serving import a1111, describing, edits, hugging_face, images, interpolations, metrics
from t2igan.inference.serving.answers import ERROR, ApiError, json_response
from t2igan.inference.serving.guard import Guard, exchange_of
from t2igan.inference.serving.models import Catalogue
from t2igan.inference.serving.service import Service
from t2igan.inference.serving.settings import Settings

STUDIO = Path(__file__).parent / "studio"
# What Python knows of these depends on the machine.
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
EXPOSED_HEADERS = (
    *("x-request-id", "retry-after", "x-should-retry"),
    *(f"x-ratelimit-{of}-{what}" for of in ("limit", "remaining", "reset") for what in ("requests", "images")),
)
OPERATIONS = APIRouter()


def create_app(catalogue: Catalogue, settings: Settings) -> FastAPI:
    """Returns the ASGI app; drawing starts and ends with its lifespan, so that any ASGI server can run it."""
    service = Service(catalogue, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.batcher.start(asyncio.get_running_loop())
        yield
        await asyncio.to_thread(service.batcher.close)

    # The pages that FastAPI would add for its schema ask other hosts for scripts.
    about: dict[str, Any] = {
        "title": "t2igan",
        "version": t2igan.__version__,
        "responses": {"4XX": ERROR, "5XX": ERROR},
    }
    app = _App(**about, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    routers = [module.ROUTER for module in (images, edits, describing, interpolations, hugging_face)]
    routers += [a1111.ROUTER] if settings.a1111 else []
    routes = [_direct(route) for router in [*routers, OPERATIONS, _studio()] for route in router.routes]
    app.router.routes += routes
    for router in [*routers, OPERATIONS]:  # for /openapi.json
        app.include_router(router)
    app.add_exception_handler(ApiError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_unknown)
    app.add_exception_handler(Exception, _fault)

    def fronted(rest: ASGIApp) -> ASGIApp:
        guarded = Guard(_Exact(routes, rest), settings, service.metrics)
        if not settings.cors_origins:
            return guarded
        return CORSMiddleware(  # the outermost, so that pages can read refusals too
            guarded,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # OpenAI's Node client adds seven of its own
            expose_headers=EXPOSED_HEADERS,
            max_age=3600,
        )

    app.fronted = fronted
    return app


class _App(FastAPI):
    """FastAPI with something before its own layers, of which a request whose path is known whole needs none."""

    fronted: Callable[[ASGIApp], ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI's own would look at every request whether the environment asks for telemetry.
        await (Starlette if scope["type"] == "http" else FastAPI).__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        return self.fronted(super().build_middleware_stack())


class _Direct(Route):
    """A route of Starlette's own: it does not look for dependencies, of which there are none, at every request."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        child["route"] = self  # the guard counts by it
        return match, child


def _direct(route: BaseRoute) -> _Direct:
    """Returns a route whose function takes the request, if it wants it, and texts of its path."""
    assert isinstance(route, Route)
    endpoint, wanted = route.endpoint, list(inspect.signature(route.endpoint).parameters)
    if wanted != ["request"]:

        async def of_path(request: Request) -> Response:
            own = {"request": request} if "request" in wanted else {}
            return await route.endpoint(**own, **request.path_params)

        endpoint = of_path
    return _Direct(route.path, endpoint, methods=route.methods, name=route.name)


class _Exact:
    """Answers what comes to a path without parameters, which one look finds; `rest` gets all else."""

    def __init__(self, routes: list[_Direct], rest: ASGIApp):
        self._rest = rest
        exact = [route for route in routes if not route.param_convertors]
        self._routes = {(method, route.path): route for route in exact for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None or scope.get("root_path"):
            await self._rest(scope, receive, send)
            return
        scope["route"], scope["endpoint"] = route, route.endpoint
        response = await route.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    exchange_of(request.scope).facts["code"] = error.code
    return error.response()


async def _fault(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the guard has it in the log
    return exchange_of(request.scope).fault().response()


async def _refuse_unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"][:100], request.scope["method"]
    if error.status_code == 404:
        refusal = ApiError(404, f"There is nothing at {path}.", None, "unknown_url")
    elif error.status_code == 405:
        refusal = ApiError(405, f"{path} does not take {method}.", None, "method_not_allowed")
    else:
        refusal = ApiError(error.status_code, str(error.detail), None, "http_error")
    refusal.headers |= error.headers or {}
    routes = [
        one for one in request.app.router.routes if isinstance(one, _Direct) and one.path == request.scope["path"]
    ]
    if error.status_code == 405 and routes:  # a path may have a route for each method
        refusal.headers["allow"] = ", ".join(sorted(method for route in routes for method in route.methods or ()))
    return await _refuse(request, refusal)


@OPERATIONS.get("/healthz")
async def healthz() -> Response:
    """Says that the process answers."""
    return json_response({"status": "ok"})


@OPERATIONS.get("/readyz")
async def readyz(request: Request) -> Response:
    """Says whether requests should come here: 503 while compiling, while draining, and where the device fails."""
    why = request.app.state.service.why_unready()
    return json_response({"status": why or "ready"}, 503 if why else 200)


@OPERATIONS.get("/metrics", response_class=Response)
async def prometheus(request: Request) -> Response:
    """Returns what is counted, for Prometheus."""
    return Response(request.app.state.service.metrics.text(), media_type=metrics.MEDIA_TYPE)


def _studio() -> APIRouter:
    """The routes of the page: files of the package, read once."""
    router = APIRouter()
    for path in sorted(STUDIO.rglob("*")):
        if path.is_file():
            address = "/" if path.name == "index.html" else f"/studio/{path.relative_to(STUDIO).as_posix()}"
            _add_file(router, address, path.read_bytes(), path.name)
    return router


def _add_file(router: APIRouter, address: str, data: bytes, name: str) -> None:
    media_type = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "no-cache", "cross-origin-resource-policy": "same-origin"}

    async def file(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media_type, headers=headers)

    router.add_route(address, file, methods=["GET"])  # and HEAD
