"""What the routes share: models, the batcher, and how a request waits for its pictures."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from starlette.requests import ClientDisconnect, Request

from t2igan.errors import UserError
from t2igan.inference.drawing import drawing_threads
from t2igan.inference.serving import links
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.batcher import Batcher
from t2igan.inference.serving.encoding import Encoder
from t2igan.inference.serving.guard import exchange_of
from t2igan.inference.serving.links import Recipe
from t2igan.inference.serving.metrics import Metrics
from t2igan.inference.serving.models import Catalogue
from t2igan.inference.serving.parameters import Wanted
from t2igan.inference.serving.queueing import Full, Group, Job, Progress
from t2igan.inference.serving.rates import Rate
from t2igan.inference.serving.settings import Settings
from t2igan.inference.watermark import check_size

# More are encoded on a thread: the event loop has others to serve. Others than PNG take longer a pixel.
_INLINE_PIXELS, _INLINE_PNG_PIXELS = 2 * 256 * 256, 4 * 256 * 256
UNWATCHED_S = 0.1  # until then nobody looks whether a client has left
COMPILING_RETRY_S = 5  # what was compiled by then is kept, however often somebody comes again
LONGEST_RETRY_S = 30  # OpenAI's Python client takes no advice to wait above 120 s, its Node client any


class Service:
    """A server's state."""

    def __init__(self, catalogue: Catalogue, settings: Settings):
        """Makes it; `batcher.start` sets it going. Raises `UserError` for models too small for a watermark."""
        for served in catalogue.values() if settings.watermark else ():
            check_size(served.native_px, f"the model {served.id}")
        self.catalogue, self.settings = catalogue, settings
        self.metrics = Metrics()
        self.encoder = Encoder(settings.watermark, settings.signer)
        self.batcher = Batcher(
            catalogue.draw,
            catalogue.groups_to_warm(),
            settings.batch_images,
            settings.queue_images,
            self.metrics.drawn,
            catalogue.compile,
            settings.drawing_threads or drawing_threads(),
        )
        self.kept = links.Kept()
        self.working: dict[tuple[str, str], Job] = {}  # what waits or is drawn, by client and id of the request
        self._rate = Rate(settings.images_per_minute) if settings.images_per_minute else None
        self.draining = False
        self.metrics.gauges(lambda: float(self.batcher.waiting_images), lambda: not self.why_unready())

    def why_unready(self) -> str:
        """Returns why no requests should come here, "" where they may."""
        if self.draining:
            return "draining"
        if not self.batcher.healthy:
            return "the device fails"
        return "" if self.batcher.warm else "compiling"

    async def drawn(self, request: Request, group: Group, prompt: str, seeds: Sequence[int]) -> list[np.ndarray]:
        """Returns a picture a seed, uint8 [H, W, C] each.

        Raises:
          ApiError: 429 the queue is full, 503 it took too long, 500 the device failed.
          ClientDisconnect: nobody waits any more.
        """
        job = await self._done(request, group, prompt, seeds, len(seeds))
        return [job.images[i] for i in range(len(seeds))]

    async def worked(self, request: Request, model: str, work: Callable[[Progress], Any], images: int = 1) -> Any:
        """Returns what a function does on the drawing thread, in its turn; see `Batcher`.

        Args:
          request: who asks.
          model: the name of the model.
          work: the function.
          images: how many pictures it counts for.

        Raises:
          ApiError: as `drawn`; 400 where the function raises `UserError`.
          ClientDisconnect: nobody waits any more.
        """
        return (await self._done(request, Group(model, work=work), "", [0], images)).images[0]

    async def _done(self, request: Request, group: Group, prompt: str, seeds: Sequence[int], images: int) -> Job:
        exchange = exchange_of(request.scope)
        if self._rate is not None:
            allowance = self._rate.take(exchange.client, images)
            exchange.more_headers |= allowance.headers("images")
            allowance.check("images")
        try:
            job = self.batcher.submit(group, prompt, seeds, exchange.client)
        except Full as full:
            if self._rate is not None:
                self._rate.give_back(exchange.client, images)
            raise self._refusal(full) from full
        self.working[exchange.client, exchange.id] = job
        try:
            await _waited(job.future, request, self.settings.timeout_s)
        except _Late:
            raise self._late(job) from None
        except ClientDisconnect:
            self.metrics.left.inc()
            raise
        except UserError as error:
            raise ApiError(400, str(error), None) from error
        except Exception as error:
            raise ApiError(500, "The device failed to draw this batch.", None, "device_error") from error
        finally:
            self.working.pop((exchange.client, exchange.id), None)
            exchange.facts |= self._facts(job, prompt)
        return job

    async def encoded(self, images: Sequence[np.ndarray], recipes: Sequence[Recipe]) -> list[bytes]:
        """Returns pictures as files; what takes long is encoded on a thread."""

        def all_of_them() -> list[bytes]:
            return [self.encoder.drawn(image, recipe) for image, recipe in zip(images, recipes, strict=True)]

        most = _INLINE_PNG_PIXELS if all(recipe.form == "png" for recipe in recipes) else _INLINE_PIXELS
        if self.encoder.signer is None and sum(recipe.px**2 for recipe in recipes) <= most:
            return all_of_them()
        return await asyncio.to_thread(all_of_them)

    async def files(
        self, images: Sequence[np.ndarray], wanted: Wanted, facts: dict[str, Any], of_each: Sequence[dict[str, Any]]
    ) -> list[bytes]:
        """Returns pictures that no recipe makes again as files; `facts` are in all of them, `of_each` in one."""
        common = {"model": wanted.served.model.digest} | {name: value for name, value in facts.items() if value != ""}

        def all_of_them() -> list[bytes]:
            how = (wanted.px, wanted.output_format, wanted.file_quality)
            each = zip(images, of_each, strict=True)
            return [self.encoder.file(image, *how, common | one) for image, one in each]

        return await asyncio.to_thread(all_of_them)

    def progress_of(self, client: str) -> float | None:
        """Returns how far a client's last request is, from 0 to 1, None where nothing of it waits for the device."""
        jobs = [job for (whose, _), job in self.working.items() if whose == client]
        return jobs[-1].progress if jobs else None

    def how_far(self, request_id: str, client: str) -> dict[str, Any] | None:
        """Returns how far a client's request is, None where it has none of that id that waits for the device."""
        job = self.working.get((client, request_id))
        if job is None:
            return None
        if job.begun_s is None:
            return {"state": "waiting"}
        return {"state": "drawing", "progress": round(job.progress, 3)}

    def link(self, request: Request, recipe: Recipe) -> str:
        """Returns an address under which a picture is drawn again; it is good for `link_s`."""
        token = links.sign(recipe, self.settings.link_secret, int(time.time()) + self.settings.link_s)
        return self._address(request, f"{token}.{recipe.form}")

    def kept_link(self, request: Request, file: bytes, form: str) -> str:
        """Returns an address of a file that no recipe makes again; it is kept in memory for `link_s` at most."""
        return self._address(request, self.kept.keep(file, form, self.settings.link_s))

    def _address(self, request: Request, name: str) -> str:
        base = self.settings.public_url.rstrip("/")
        if not base:
            base = f"{request.scope.get('scheme', 'http')}://{request.headers.get('host', 'localhost')}"
        return f"{base}/v1/images/files/{name}"

    def _late(self, job: Job) -> ApiError:
        """What is said of a request whose time is over; where its program is being compiled, that it may come again."""
        late = f"No picture within {self.settings.timeout_s:g} s:"
        warmed = job.group.work is None and job.group.as_caption  # compiled at the start
        begun_late = job.begun_s is not None and time.monotonic() - job.begun_s < self.settings.timeout_s / 2
        if job.begun_s is None or begun_late or job.progress or warmed:
            return ApiError(503, f"{late} the server has too much to do.", None, "deadline_exceeded", retry=False)
        message = (
            f"{late} it was begun, and nothing of it is there yet. The first edit of a kind, and the first prompt with "
            "weights, are compiled before they are drawn, which goes on; send the same request again."
        )
        return ApiError(503, message, None, "compiling", retry_after_s=COMPILING_RETRY_S)

    def _refusal(self, full: Full) -> ApiError:
        wait_s = min(max(math.ceil(self.batcher.seconds_to_go), 1), LONGEST_RETRY_S)
        if full.whole:
            message = "The server has as many pictures waiting as it takes; try again shortly."
            return ApiError(429, message, None, "queue_full", retry_after_s=wait_s)
        message = "You have as many pictures waiting as one client may; wait for some of them."
        return ApiError(429, message, None, "share_full", retry_after_s=wait_s)

    def _facts(self, job: Job, prompt: str) -> dict[str, object]:
        facts: dict[str, object] = {"model": job.group.model, "images": len(job.seeds)}
        if job.begun_s is not None:
            facts["queue_ms"] = round(1e3 * (job.begun_s - job.arrived_s), 2)
            facts["batch_images"] = job.batch_images
        if self.settings.log_prompts and prompt:
            facts["prompt"] = prompt
        return facts


class _Late(Exception):
    """The time of a request is over."""


async def _waited(future: asyncio.Future[Any], request: Request, seconds: float) -> None:
    """Returns when a future has its result; what it does not have by then never comes.

    Raises:
      _Late: it took longer.
      ClientDisconnect: the client has left.
      Exception: what the future has.
    """
    loop = asyncio.get_running_loop()
    begun: list[asyncio.TimerHandle | asyncio.Task[None]] = []

    def give_up(error: Exception) -> None:
        if not future.done():
            future.set_exception(error)

    def watch() -> None:
        left = loop.create_task(_disconnected(request))
        left.add_done_callback(lambda _: give_up(ClientDisconnect()))
        begun.extend((left, loop.call_later(seconds - unwatched_s, give_up, _Late())))

    # Most pictures come sooner than it takes to look whether somebody still waits for them.
    unwatched_s = min(UNWATCHED_S, seconds)
    begun.append(loop.call_later(unwatched_s, watch))
    try:
        await future
    finally:
        for one in begun:
            one.cancel()


async def _disconnected(request: Request) -> None:
    """Returns when the client closes its connection; the body has been read before."""
    with contextlib.suppress(ApiError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
