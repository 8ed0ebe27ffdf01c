"""OpenAI's `/v1/images/edits` and `/v1/images/variations`, by `t2igan.inference.editing`.

A picture that is edited by another caption wants to be known by its own. It is that of the form ("caption"), or that in
the picture itself, if it is a PNG that this model drew, or what the model's captioner says. With a mask no caption of
the old picture is wanted: what is hidden is drawn anew.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

import t2igan
from t2igan.errors import UserError
from t2igan.inference import editing
from t2igan.inference.editing.given import Given
from t2igan.inference.provenance import read_claims
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.encoding import as_file
from t2igan.inference.serving.guard import CLIENT_LEFT
from t2igan.inference.serving.images import answer, service_of
from t2igan.inference.serving.models import ServedModel
from t2igan.inference.serving.parameters import (
    PictureBody,
    Wanted,
    check_prompt,
    read_form,
    seeds_from,
    typed,
    wanted_of,
)
from t2igan.inference.serving.service import ClientLeft, Service

ROUTER = APIRouter()
# OpenAI's words for how long to work, and ours.
QUALITIES = {"low": "fast", "medium": "good", "standard": "good", "auto": "good", "high": "best", "hd": "best"}
_FORM = {"type": "string", "format": "binary"}


class EditBody(PictureBody):
    """The fields of `/v1/images/edits`, besides the files `image` and `mask`."""

    prompt: str = Field(description="What the whole picture is to show.")
    caption: str | None = Field(None, description="What it shows now; for an edit without a mask.")
    negative_prompt: str | None = Field(None, description="What is not wanted; for an edit without a mask.")
    input_fidelity: str | None = Field(None, description="Has no effect: what is not edited stays, to the byte.")


class VariationBody(PictureBody):
    """The fields of `/v1/images/variations`, besides the file `image`."""

    caption: str | None = Field(None, description="What the picture shows.")
    strength: float | None = Field(None, ge=0, le=1, description="0 = the picture itself, 1 = any of its caption; 0.5.")


def _schema(body: type[PictureBody], *files: str) -> dict[str, Any]:
    schema = body.model_json_schema()
    schema["properties"] |= dict.fromkeys(files, _FORM)
    schema["required"] = [*schema.get("required", []), "image"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@ROUTER.post("/v1/images/edits", openapi_extra=_schema(EditBody, "image", "mask"))
async def edits(request: Request) -> Response:
    """Changes a picture so that another caption holds, or draws what a mask hides anew."""
    service = service_of(request)
    fields, files = await read_form(request)
    body = typed(fields, EditBody)
    served = _editable(service, body)
    source = await _source(files, served)
    negative = body.negative_prompt or ""
    check_prompt(body.prompt, negative, served, service.settings)
    wanted = wanted_of(body, served, seeds_from(body, service.settings), service.settings)
    facts = {"verb": "edit", "prompt": body.prompt}
    if files.get("mask"):
        if negative:
            message = "negative_prompt goes with an edit without a mask; leave one of the two out."
            raise ApiError(400, message, "negative_prompt")
        hidden = await _of_file("mask", editing.read_mask, files["mask"][0], source.given, source.how)
        work = _completing(served, source, hidden, body, wanted)
        facts["verb"] = "complete"
    else:
        if len(wanted.seeds) > 1:
            raise ApiError(400, f"n={body.n}: an edit without a mask has one answer; leave n at 1.", "n")
        work = _editing(served, source, source.caption(body.caption, served, service), body, wanted)
    return await _worked(request, service, wanted, body.prompt, work, facts | source.facts, "image_edit")


@ROUTER.post("/v1/images/variations", openapi_extra=_schema(VariationBody, "image"))
async def variations(request: Request) -> Response:
    """Draws pictures like one that is given."""
    service = service_of(request)
    fields, files = await read_form(request)
    body = typed(fields, VariationBody)
    served = _editable(service, body)
    source = await _source(files, served)
    caption = source.caption(body.caption, served, service)
    strength = 0.5 if body.strength is None else body.strength
    wanted = wanted_of(body, served, seeds_from(body, service.settings), service.settings)
    quality = _quality(body)

    def work(check: Callable[[], None]) -> np.ndarray:
        said = caption or _described(served, source)
        codes = source.drawn_codes(served, said)
        if codes is None:
            pixels = source.given.pixels[None]
            codes = editing.invert(served.model, pixels, said, quality, progress=lambda *_: check())
        return editing.vary(served.model, codes, strength, num=len(wanted.seeds), seed=wanted.seeds[0])

    facts = {"verb": "vary", "strength": strength, "caption": caption}
    return await _worked(request, service, wanted, caption, work, facts | source.facts, "image_variation")


class _Source:
    """The picture that was sent, at the model's size, and its recipe, where it holds one."""

    def __init__(self, given: Given, how: Any, recipe: dict[str, Any]):
        self.given, self.how, self.recipe = given, how, recipe
        self.facts = {"pixels": given.digest}

    def drawn_codes(self, served: ServedModel, caption: str) -> editing.Codes | None:
        """The codes of a picture that this model drew of that caption, and that nobody has changed since; else None."""
        recipe = self.recipe
        plain = recipe.get("truncation", 1) == 1 and recipe.get("guidance", 1) == 1 and not recipe.get("negative")
        seed = recipe.get("seed")
        ours = recipe.get("model") == served.model.digest and "verb" not in recipe
        if not (plain and ours and recipe.get("prompt") == caption and type(seed) is int and 0 <= seed < 2**32):
            return None
        drawn = served.model.sample(caption, seed)[0]
        if np.abs(drawn.astype(int) - self.given.pixels).max() > 1:
            return None
        return editing.drawn_codes(served.model, [caption], seed)

    def caption(self, given: str | None, served: ServedModel, service: Service) -> str:
        """What the picture shows; "" where the captioner is to say it. Raises `ApiError` where nobody can."""
        found = given or self.recipe.get("caption" if "verb" in self.recipe else "prompt") or ""
        if self.recipe.get("verb") in ("edit", "complete") and not given:
            found = self.recipe.get("prompt") or ""
        if not isinstance(found, str) or not found:
            if editing.has_captioner(served.model):
                return ""
            message = f"caption is missing: say what the picture shows, since {served.id} has no captioner to do so."
            raise ApiError(400, message, "caption", "missing")
        if check_prompt(found, "", served, service.settings, param="caption") is None:
            raise ApiError(400, "caption must be a plain one, without weights or AND.", "caption")
        return found


def _editable(service: Service, body: PictureBody) -> ServedModel:
    served = service.catalogue.find(body.model)
    try:
        served.model.check_styled("editing")
    except UserError as error:
        raise ApiError(400, str(error), "model", "unsupported_operation") from error
    _quality(body)
    return served


def _quality(body: PictureBody) -> str:
    word = body.quality or "auto"
    if word not in QUALITIES and word not in QUALITIES.values():
        raise ApiError(400, f"quality={word[:40]!r} is none of {', '.join(QUALITIES)}.", "quality")
    return QUALITIES.get(word, word)


async def _source(files: dict[str, list[bytes]], served: ServedModel) -> _Source:
    pictures = files.get("image", [])
    if len(pictures) != 1:
        raise ApiError(400, f"image: there are {len(pictures)} pictures in the form; send one, as a file.", "image")
    how = editing.decoding_of(served.model.config)
    given = await _of_file("image", editing.read_picture, pictures[0], how)
    return _Source(given, how, await asyncio.to_thread(_recipe, pictures[0]))


async def _of_file(param: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """Reads a file that was sent on a thread, since it may be large."""
    try:
        return await asyncio.to_thread(read, *arguments)
    except UserError as error:
        raise ApiError(400, f"{param}: {error}", param, "invalid_image") from error


def _recipe(data: bytes) -> dict[str, Any]:
    try:
        claims = read_claims(io.BytesIO(data))
    except UserError:
        return {}
    return claims.facts if claims.form == "PNG" else {}


def _described(served: ServedModel, source: _Source) -> str:
    return editing.describe(served.model, source.given.pixels[None])[0].caption


def _completing(served: ServedModel, source: _Source, hidden: np.ndarray, body: EditBody, wanted: Wanted) -> Any:
    quality = _quality(body)

    def work(check: Callable[[], None]) -> np.ndarray:
        pixels, num, seed = source.given.pixels, len(wanted.seeds), wanted.seeds[0]
        how: dict[str, Any] = {"num": num, "seed": seed, "quality": quality, "progress": lambda *_: check()}
        return editing.complete(served.model, pixels, hidden, body.prompt, **how)

    return work


def _editing(served: ServedModel, source: _Source, caption: str, body: EditBody, wanted: Wanted) -> Any:
    quality = _quality(body)

    def work(check: Callable[[], None]) -> np.ndarray:
        said = caption or _described(served, source)
        codes = source.drawn_codes(served, said)
        how: dict[str, Any] = {
            "caption": said,
            "negative": body.negative_prompt or "",
            "codes": codes,
            "quality": quality,
        }
        how |= {"seed": wanted.seeds[0], "progress": lambda *_: check()}
        return editing.edit(served.model, source.given.pixels, body.prompt, **how).image[None]

    return work


async def _worked(
    request: Request, service: Service, wanted: Wanted, prompt: str, work: Any, facts: dict[str, Any], event: str
) -> Response:
    """Has it done in its turn, and answers."""
    try:
        images = await service.worked(request, wanted.served.id, work)
    except ClientLeft:
        return Response(status_code=CLIENT_LEFT)
    common = {"model": wanted.served.model.digest, "t2igan": t2igan.__version__}
    common |= {name: value for name, value in facts.items() if value != ""}

    def encoded() -> list[bytes]:
        how = (wanted.px, wanted.output_format, wanted.file_quality)
        return [as_file(image, *how, common | {"seed": s}) for image, s in zip(images, wanted.seeds, strict=True)]

    files = await asyncio.to_thread(encoded)
    addresses = lambda: [service.kept_link(request, file, wanted.output_format) for file in files]
    return answer(wanted, prompt, files, addresses, event)
