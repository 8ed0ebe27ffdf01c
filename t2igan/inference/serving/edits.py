"""OpenAI's `/v1/images/edits` and `/v1/images/variations`, by `t2igan.inference.editing`.

A picture that is edited by another caption wants to be known by its own. It is that of the form ("caption"), or that in
the picture itself, if it is a PNG that this model drew, or what the model's captioner says. With a mask no caption of
the old picture is wanted: what is hidden is drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from t2igan.errors import UserError
from t2igan.inference import editing
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.images import PICTURES, answer, service_of
from t2igan.inference.serving.models import ServedModel
from t2igan.inference.serving.parameters import PictureBody, Real, Wanted, check_prompt, seeds_from, typed, wanted_of
from t2igan.inference.serving.queueing import Progress
from t2igan.inference.serving.service import Service
from t2igan.inference.serving.uploads import Source, of_file, read_parts, read_sources

ROUTER = APIRouter()
# OpenAI's words for how long to work, and ours.
QUALITIES = {"low": "fast", "medium": "good", "standard": "good", "auto": "good", "high": "best", "hd": "best"}
_FILE = {"type": "string", "format": "binary"}
_URL = {"type": "string", "description": "A data URL."}


class EditBody(PictureBody):
    """The fields of `/v1/images/edits`, besides the pictures `image` and `mask`."""

    prompt: str = Field(description="What the whole picture is to show.")
    caption: str | None = Field(None, description="What it shows now; for an edit without a mask.")
    negative_prompt: str | None = Field(None, description="What is not wanted; for an edit without a mask.")
    input_fidelity: str | None = Field(None, description="Has no effect: what is not edited stays, to the byte.")


class VariationBody(PictureBody):
    """The fields of `/v1/images/variations`, besides the picture `image`."""

    caption: str | None = Field(None, description="What the picture shows.")
    strength: Real | None = Field(None, ge=0, le=1, description="0 = the picture itself, 1 = any of its caption; 0.5.")


def with_pictures(body: type[BaseModel], *names: str, required: bool = True) -> dict[str, Any]:
    """Returns what OpenAPI says of a route that takes pictures as files or data URLs besides the fields of a body."""
    content = {}
    for media_type, kind in (("multipart/form-data", _FILE), ("application/json", _URL)):
        schema = body.model_json_schema()
        schema["properties"] |= dict.fromkeys(names, kind)
        schema["required"] = [*schema.get("required", []), *([names[0]] if required else [])]
        content[media_type] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}


@ROUTER.post("/v1/images/edits", openapi_extra=with_pictures(EditBody, "image", "mask"), responses=PICTURES)
async def edits(request: Request) -> Response:
    """Changes a picture so that another caption holds, or draws what a mask hides anew."""
    service = service_of(request)
    fields, files = await read_parts(request)
    return _answer(request, service, await edited(request, service, typed(fields, EditBody), files), "image_edit")


class Result(NamedTuple):
    """Pictures that were made of one that was sent."""

    wanted: Wanted
    prompt: str
    files: list[bytes]
    warnings: Sequence[dict[str, Any]]


async def edited(request: Request, service: Service, body: EditBody, files: dict[str, list[bytes]]) -> Result:
    """Does an edit that has been read. Raises `ApiError` where it cannot be done."""
    served = editable(service, body.model)
    quality = quality_of(body.quality)
    (source,) = await read_sources(files, served)
    negative = body.negative_prompt or ""
    check_prompt(body.prompt, negative, served, service.settings)
    wanted = wanted_of(body, served, seeds_from(body, service.settings), service.settings)
    facts = {"verb": "edit", "prompt": body.prompt}
    if files.get("mask"):
        if negative:
            message = "negative_prompt goes with an edit without a mask; leave one of the two out."
            raise ApiError(400, message, "negative_prompt")
        hidden = await of_file("mask", editing.read_mask, files["mask"][0], source.given, source.how)
        work = _completing(source, hidden, body.prompt, quality, wanted)
        facts["verb"] = "complete"
    else:
        if len(wanted.seeds) > 1:
            raise ApiError(400, f"n={body.n}: an edit without a mask has one answer; leave n at 1.", "n")
        caption = source.caption(body.caption, service.settings)
        work = _editing(source, caption, body.prompt, negative, quality, wanted)
    done = await _worked(request, service, wanted, work, facts | source.facts)
    return Result(wanted, body.prompt, done, served.warnings(body.prompt, negative))


@ROUTER.post("/v1/images/variations", openapi_extra=with_pictures(VariationBody, "image"), responses=PICTURES)
async def variations(request: Request) -> Response:
    """Draws pictures like one that is given."""
    service = service_of(request)
    fields, files = await read_parts(request)
    result = await varied(request, service, typed(fields, VariationBody), files)
    return _answer(request, service, result, "image_variation")


async def varied(request: Request, service: Service, body: VariationBody, files: dict[str, list[bytes]]) -> Result:
    """Does variations that have been read. Raises `ApiError` where they cannot be done."""
    served = editable(service, body.model)
    quality = quality_of(body.quality)
    (source,) = await read_sources(files, served)
    caption = source.caption(body.caption, service.settings)
    strength = 0.5 if body.strength is None else body.strength
    wanted = wanted_of(body, served, seeds_from(body, service.settings), service.settings)

    def work(check: Progress) -> np.ndarray:
        codes = source.codes(caption, quality, check)
        return editing.vary(served.model, codes, strength, num=len(wanted.seeds), seed=wanted.seeds[0])

    facts = {"verb": "vary", "strength": strength, "caption": caption}
    done = await _worked(request, service, wanted, work, facts | source.facts)
    return Result(wanted, caption, done, served.warnings(caption) if caption else ())


def editable(service: Service, name: str | None) -> ServedModel:
    """Returns a model that can edit. Raises `ApiError` for one that there is not, or that cannot."""
    served = service.catalogue.find(name)
    try:
        served.model.check_styled("editing")
    except UserError as error:
        raise ApiError(400, str(error), "model", "unsupported_operation") from error
    return served


def quality_of(word: str | None) -> str:
    """Returns the quality of inversions that OpenAI's word, or ours, means. Raises `ApiError` for another one."""
    word = word or "auto"
    if word not in QUALITIES and word not in QUALITIES.values():
        raise ApiError(400, f"quality={word[:40]!r} is none of {', '.join(QUALITIES)}.", "quality")
    return QUALITIES.get(word, word)


def _completing(source: Source, hidden: np.ndarray, prompt: str, quality: str, wanted: Wanted) -> Any:
    def work(check: Progress) -> np.ndarray:
        pixels, num, seed = source.given.pixels, len(wanted.seeds), wanted.seeds[0]
        how: dict[str, Any] = {"num": num, "seed": seed, "quality": quality, "progress": check}
        return editing.complete(wanted.served.model, pixels, hidden, prompt, **how)

    return work


def _editing(source: Source, caption: str, prompt: str, negative: str, quality: str, wanted: Wanted) -> Any:
    def work(check: Progress) -> np.ndarray:
        said = source.said(caption)
        how: dict[str, Any] = {"caption": said, "negative": negative, "codes": source.drawn_codes(said)}
        how |= {"quality": quality, "seed": wanted.seeds[0], "progress": check}
        return editing.edit(wanted.served.model, source.given.pixels, prompt, **how).image[None]

    return work


async def _worked(request: Request, service: Service, wanted: Wanted, work: Any, facts: dict[str, Any]) -> list[bytes]:
    """Has work done on the device, in its turn, and returns its pictures as files."""
    images = await service.worked(request, wanted.served.id, work, len(wanted.seeds))
    return await service.files(images, wanted, facts, [{"seed": seed} for seed in wanted.seeds])


def _answer(request: Request, service: Service, result: Result, event: str) -> Response:
    wanted, prompt, files, warnings = result
    addresses = lambda: [service.kept_link(request, file, wanted.output_format) for file in files]
    return answer(wanted, prompt, files, addresses, event, warnings)
