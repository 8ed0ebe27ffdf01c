"""`/v1/interpolations`: pictures from one prompt or picture to another, or a GIF of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from t2igan.inference import editing
from t2igan.inference.pictures import gif_bytes
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.edits import editable, quality_of, with_pictures
from t2igan.inference.serving.encoding import resized
from t2igan.inference.serving.images import PICTURES, answer, service_of
from t2igan.inference.serving.models import ServedModel
from t2igan.inference.serving.parameters import AnswerBody, Real, Seed, Whole, truncation_of, typed, wanted_of
from t2igan.inference.serving.queueing import Progress
from t2igan.inference.serving.settings import Settings
from t2igan.inference.serving.uploads import Source, check_plain, read_parts, read_sources

ROUTER = APIRouter()
FRAMES = 8
_MOST_FRAMES = 64
_MOST_PIXELS = 2**26  # of all frames together, as they are handed out
_Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class InterpolationBody(AnswerBody):
    """The fields of `/v1/interpolations`, besides the two pictures `image`, where they are not prompts."""

    prompts: _Pair | None = Field(None, description="Two plain captions: the first picture and the last.")
    seeds: Annotated[list[Seed], Field(min_length=2, max_length=2)] | None = Field(None, description="Of each.")
    seed: Seed | None = Field(None, description="Of both, instead of `seeds`. Without either, at random.")
    truncation: Real | None = Field(None, description="Scales the noise of both: 1.")
    captions: _Pair | None = Field(None, description="Of two pictures: what each shows.")
    frames: Whole | None = Field(None, ge=2, le=_MOST_FRAMES, description="Pictures, first and last included; 8.")
    frame_ms: Whole | None = Field(None, ge=20, le=10_000, description="How long a frame of a GIF is shown; 120 ms.")
    output_format: Literal["png", "jpeg", "webp", "gif"] | None = Field(  # type: ignore[assignment]
        None, description="A picture a frame, or gif: all of them, there and back."
    )


_PICTURES_OR_PROMPTS = with_pictures(InterpolationBody, "image", required=False)


@ROUTER.post("/v1/interpolations", openapi_extra=_PICTURES_OR_PROMPTS, responses=PICTURES)
async def interpolations(request: Request) -> Response:
    """Draws what lies between two prompts or two pictures."""
    service = service_of(request)
    fields, files = await read_parts(request)
    body = typed(fields, InterpolationBody)
    served = editable(service, body.model)
    frames = body.frames or FRAMES
    if bool(body.prompts) == bool(files.get("image")):
        raise ApiError(400, "prompts: give two of them, or two pictures called image, and not both.", "prompts")
    seeds = _seeds(body)
    wanted = wanted_of(body, served, tuple(range(1 if body.output_format == "gif" else frames)), service.settings)
    if frames * wanted.px**2 > _MOST_PIXELS:
        most = int((_MOST_PIXELS / frames) ** 0.5)
        raise ApiError(
            400, f"size={wanted.px}x{wanted.px} is too large for {frames} frames: {most} px at most.", "size"
        )
    truncation = truncation_of(body.truncation)
    facts: dict[str, Any] = {"verb": "mix"}
    if body.prompts:
        work = _between_prompts(served, body.prompts, seeds, truncation, frames, service.settings)
        facts |= {"seeds": seeds, "truncation": truncation}
    else:
        sources = await read_sources(files, served, num=2)
        work = _between_pictures(served, sources, body, frames, service.settings)
        facts |= {"images": [source.facts for source in sources]}
    images, captions = await service.worked(request, served.id, work, frames)
    facts |= {"captions": list(captions), "frames": frames}
    shares = [round(number / (frames - 1), 4) for number in range(frames)]

    def moving() -> bytes:
        frames = [resized(image, wanted.px) for image in service.encoder.marked(images)]
        return gif_bytes(np.stack(frames), body.frame_ms or 120)

    if wanted.output_format == "gif":
        data = [await asyncio.to_thread(moving)]
    else:
        data = await service.files(images, wanted, facts, [{"share": share} for share in shares])
    addresses = lambda: [service.kept_link(request, file, wanted.output_format) for file in data]
    warnings = [one for caption in dict.fromkeys(captions) for one in served.warnings(caption)]
    said: list[dict[str, Any]] = [{"share": share} for share in shares]
    if wanted.output_format == "gif":
        said = [{"frames": frames}]
    more = {"captions": list(captions)} | ({"seeds": seeds} if body.prompts else {})
    return answer(wanted, captions[0], data, addresses, "interpolation", warnings, said, more)


def _seeds(body: InterpolationBody) -> list[int]:
    if body.seeds is not None and body.seed is not None:
        raise ApiError(400, "seed and seeds exclude each other; give one of them.", "seeds")
    if body.seeds is not None:
        return body.seeds
    return [secrets.randbelow(2**32) for _ in range(2)] if body.seed is None else [body.seed] * 2


def _between_prompts(
    served: ServedModel, prompts: list[str], seeds: list[int], truncation: float, frames: int, settings: Settings
) -> Any:
    for prompt in prompts:
        check_plain(prompt, served, settings, "prompts")

    def work(_check: Progress) -> tuple[np.ndarray, list[str]]:
        codes = editing.drawn_codes(served.model, prompts, seeds, truncation)
        return editing.mix(served.model, codes[:1], codes[1:], frames), prompts

    return work


def _between_pictures(
    served: ServedModel, sources: list[Source], body: InterpolationBody, frames: int, settings: Settings
) -> Any:
    given: Sequence[str | None] = body.captions or (None, None)
    captions = [source.caption(one, settings, "captions") for source, one in zip(sources, given, strict=True)]
    quality = quality_of(body.quality)

    def work(check: Progress) -> tuple[np.ndarray, list[str]]:
        one = sources[0].codes(captions[0], quality, lambda done, total: check(done, 2 * total))
        other = sources[1].codes(captions[1], quality, lambda done, total: check(total + done, 2 * total))
        return editing.mix(served.model, one, other, frames), [one.captions[0], other.captions[0]]

    return work
