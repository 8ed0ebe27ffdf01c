"""OpenAI's Images API: `/v1/images/generations`, the addresses of pictures, and `/v1/models`."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from t2igan.inference.serving import links
from t2igan.inference.serving.answers import ApiError, json_response
from t2igan.inference.serving.encoding import MEDIA_TYPES
from t2igan.inference.serving.guard import CLIENT_LEFT
from t2igan.inference.serving.links import Recipe
from t2igan.inference.serving.parameters import Generation, GenerationBody, checked, read_fields
from t2igan.inference.serving.queueing import Group
from t2igan.inference.serving.service import ClientLeft, Service

ROUTER = APIRouter()
_BODY = {"required": True, "content": {"application/json": {"schema": GenerationBody.model_json_schema()}}}


def service_of(request: Request) -> Service:
    """Returns the server's state."""
    return request.app.state.service


@ROUTER.post("/v1/images/generations", openapi_extra={"requestBody": _BODY})
async def generations(request: Request) -> Response:
    """Draws pictures from a caption."""
    service = service_of(request)
    wanted = checked(await read_fields(request), service.catalogue, service.settings)
    try:
        images = await service.drawn(request, wanted.group, wanted.prompt, wanted.seeds)
    except ClientLeft:
        return Response(status_code=CLIENT_LEFT)
    recipes = [wanted.recipe(seed) for seed in wanted.seeds]
    files = await service.encoded(images, recipes)
    if wanted.stream:
        return StreamingResponse(_events(wanted, files), media_type="text/event-stream")
    data = [_item(service, request, wanted, recipe, file) for recipe, file in zip(recipes, files, strict=True)]
    return json_response(_facts(wanted) | {"created": int(time.time()), "data": data})


def _facts(wanted: Generation) -> dict[str, Any]:
    """What OpenAI's newer models say of a picture besides. A GAN has no quality levels and spends no image tokens."""
    tokens = min(
        int(wanted.served.model.tokenizer.lengths([wanted.prompt])[0]), wanted.served.model.tokenizer.max_tokens
    )
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
        "output_tokens": 0,
        "total_tokens": tokens,
    }
    size = f"{wanted.px}x{wanted.px}"
    return {"background": "opaque", "output_format": wanted.output_format, "size": size, "usage": usage}


def _item(service: Service, request: Request, wanted: Generation, recipe: Recipe, file: bytes) -> dict[str, Any]:
    item: dict[str, Any] = {"seed": recipe.seed}
    if "b64_json" in wanted.forms:
        item["b64_json"] = base64.b64encode(file).decode()
    if "url" in wanted.forms:
        item["url"] = service.link(request, recipe)
    return item


async def _events(wanted: Generation, files: Sequence[bytes]) -> AsyncIterator[bytes]:
    """One `image_generation.completed` a picture: there are no partial ones, which OpenAI's API leaves open."""
    for seed, file in zip(wanted.seeds, files, strict=True):
        event = _facts(wanted) | {
            "type": "image_generation.completed",
            "b64_json": base64.b64encode(file).decode(),
            "created_at": int(time.time()),
            "quality": "auto",
            "seed": seed,
        }
        text = json.dumps(event, separators=(",", ":"))
        yield f"event: image_generation.completed\ndata: {text}\n\n".encode()


@ROUTER.get("/v1/images/files/{name}")
async def file(name: str, request: Request) -> Response:
    """Draws the picture of a signed address again."""
    service = service_of(request)
    token, _, form = name.rpartition(".")
    recipe, expires_s = links.read(token, service.settings.link_secret)
    served = service.catalogue.of_digest(recipe.model)
    if served is None or form != recipe.form:
        raise ApiError(404, "The model that drew this picture is not here any more.", None, "model_not_found")
    try:
        group = Group(served.id, recipe.truncation, recipe.guidance)
        images = await service.drawn(request, group, recipe.prompt, [recipe.seed])
    except ClientLeft:
        return Response(status_code=CLIENT_LEFT)
    (data,) = await service.encoded(images, [recipe])
    headers = {
        "cache-control": f"private, max-age={max(expires_s - int(time.time()), 0)}, immutable",
        "content-disposition": f'inline; filename="seed{recipe.seed}.{form}"',
        "cross-origin-resource-policy": "cross-origin",  # the address is the right to see it, from any page
    }
    return Response(data, media_type=MEDIA_TYPES[form], headers=headers)


@ROUTER.post("/v1/images/edits")
@ROUTER.post("/v1/images/variations")
async def not_offered(request: Request) -> Response:
    """Says that edits and variations are not offered, in a way that clients show."""
    what = request.scope["path"].rpartition("/")[2]
    async for _ in request.stream():  # the body is read, so that the connection can go on
        continue
    raise ApiError(
        400,
        f"Image {what} are not offered by this model yet; /v1/images/generations is.",
        None,
        "unsupported_operation",
    )


@ROUTER.get("/v1/models")
async def models(request: Request) -> Response:
    """Lists the models."""
    listed = [served.summary() for served in service_of(request).catalogue.values()]
    return json_response({"object": "list", "data": listed})


@ROUTER.get("/v1/models/{name:path}")
async def model(name: str, request: Request) -> Response:
    """Returns one model."""
    return json_response(service_of(request).catalogue.find(name).summary())


@ROUTER.get("/t2igan/v1/models/{name:path}")
async def description(name: str, request: Request) -> Response:
    """Returns what the page wants to know of a model: its words, example captions, its card, and the limits."""
    service = service_of(request)
    limits = {"images": service.settings.request_images, "largest_px": service.settings.largest_px}
    return json_response(service.catalogue.find(name).description() | {"limits": limits})


@ROUTER.post("/t2igan/v1/words")
async def words(request: Request) -> Response:
    """Returns the words of a prompt that the model has not learned, and whether that is certain."""
    service = service_of(request)
    fields = await read_fields(request)
    prompt, name = fields.get("prompt"), fields.get("model")
    if not isinstance(prompt, str) or not isinstance(name, str | None):
        raise ApiError(400, "prompt and model must be texts.", "prompt")
    vocabulary = service.catalogue.find(name).vocabulary
    return json_response({"unseen": vocabulary.unseen(prompt[:2000]), "certain": vocabulary.complete})
