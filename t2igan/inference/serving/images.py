"""OpenAI's Images API: `/v1/images/generations`, the addresses of pictures, and `/v1/models`."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from t2igan.data.alpha import ALPHA_CHANNELS
from t2igan.inference.serving import links
from t2igan.inference.serving.answers import ApiError, json_response, pictures_response
from t2igan.inference.serving.encoding import MEDIA_TYPES
from t2igan.inference.serving.guard import exchange_of
from t2igan.inference.serving.parameters import GenerationBody, Wanted, check_prompt, checked, group_of, read_fields
from t2igan.inference.serving.service import Service

ROUTER = APIRouter()
_TEXT, _TEXT_OR_NONE = {"type": "string"}, {"type": ["string", "null"]}
_WORDS_SCHEMA = {
    "type": "object",
    "properties": {"prompt": _TEXT, "before": _TEXT_OR_NONE, "model": _TEXT_OR_NONE},
}
_WORDS = {"required": True, "content": {"application/json": {"schema": _WORDS_SCHEMA}}}
_BODY = {"required": True, "content": {"application/json": {"schema": GenerationBody.model_json_schema()}}}

# What OpenAPI says of answers with pictures: those to `stream` are server-sent events.
PICTURES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def service_of(request: Request) -> Service:
    """Returns the server's state."""
    return request.app.state.service


@ROUTER.post("/v1/images/generations", openapi_extra={"requestBody": _BODY}, responses=PICTURES)
async def generations(request: Request) -> Response:
    """Draws pictures from a caption."""
    service = service_of(request)
    asked = checked(await read_fields(request), service.catalogue, service.settings)
    seeds = asked.wanted.seeds
    images = await service.drawn(request, asked.group, asked.drawn, seeds)
    recipes = [asked.recipe(seed) for seed in seeds]
    files = await service.encoded(images, recipes)
    addresses = lambda: [service.link(request, recipe) for recipe in recipes]
    return answer(asked.wanted, asked.prompt, files, addresses, "image_generation", asked.warnings)


def answer(
    wanted: Wanted,
    prompt: str,
    files: Sequence[bytes],
    addresses: Callable[[], list[str]],
    event: str,
    warnings: Sequence[dict[str, Any]],
    of_each: Sequence[dict[str, Any]] = (),
    more: dict[str, Any] | None = None,
) -> Response:
    """Returns pictures as OpenAI's clients read them.

    Args:
      wanted: the form of the answer.
      prompt: of all pictures.
      files: of the pictures.
      addresses: makes an address for each.
      event: where the answer is a stream, what its events are called.
      warnings: as `ServedModel.warnings` returns them.
      of_each: what is said of each picture besides, where it is not its seed.
      more: what is said of all.
    """
    facts = _facts(wanted, prompt) | {"warnings": list(warnings)} | (more or {})
    data: list[dict[str, Any]] = [dict(one) for one in of_each or [{"seed": seed} for seed in wanted.seeds]]
    if wanted.stream:
        return StreamingResponse(_events(facts, data, files, event), media_type="text/event-stream")
    if "url" in wanted.forms:
        for item, address in zip(data, addresses(), strict=True):
            item["url"] = address
    facts["created"] = int(time.time())
    return (
        pictures_response(facts, data, files) if "b64_json" in wanted.forms else json_response(facts | {"data": data})
    )


def _facts(wanted: Wanted, prompt: str) -> dict[str, Any]:
    """What OpenAI's newer models say of a picture besides. A GAN has no quality levels and spends no image tokens."""
    tokens = wanted.served.tokens(prompt)
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
        "output_tokens": 0,
        "total_tokens": tokens,
    }
    size = f"{wanted.px}x{wanted.px}"
    background = "transparent" if int(wanted.served.model.config["data"]["channels"]) == ALPHA_CHANNELS else "opaque"
    return {"background": background, "output_format": wanted.output_format, "size": size, "usage": usage}


async def _events(
    facts: dict[str, Any], data: Sequence[dict[str, Any]], files: Sequence[bytes], kind: str
) -> AsyncIterator[bytes]:
    """One `completed` a picture: there are no partial ones, which OpenAI's API leaves open."""
    for of_one, file in zip(data, files, strict=True):
        event = (
            facts
            | of_one
            | {
                "type": f"{kind}.completed",
                "b64_json": base64.b64encode(file).decode(),
                "created_at": int(time.time()),
                "quality": "auto",
            }
        )
        yield f"event: {kind}.completed\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


@ROUTER.get("/v1/images/files/{name}", response_class=Response)
async def file(name: str, request: Request) -> Response:
    """Draws the picture of a signed address again."""
    service = service_of(request)
    token, _, form = name.rpartition(".")
    kept = service.kept.get(name)
    if kept is not None:
        return _file(kept[0], form, token[:8], kept[1])
    recipe, expires_s = links.read(token, service.settings.link_secret)
    served = service.catalogue.of_digest(recipe.model)
    if served is None or form != recipe.form:
        raise ApiError(404, "The model that drew this picture is not here any more.", None, "model_not_found")
    caption = check_prompt(recipe.prompt, recipe.negative, served, service.settings, recipe.as_caption)
    group = group_of(served, recipe.truncation, recipe.guidance, recipe.negative, caption)
    images = await service.drawn(request, group, caption or recipe.prompt, [recipe.seed])
    (data,) = await service.encoded(images, [recipe])
    return _file(data, form, f"seed{recipe.seed}", max(expires_s - int(time.time()), 0))


def _file(data: bytes, form: str, name: str, seconds: int) -> Response:
    headers = {
        "cache-control": f"private, max-age={seconds}, immutable",
        "content-disposition": f'inline; filename="{name}.{form}"',
        "cross-origin-resource-policy": "cross-origin",  # the address is the right to see it, from any page
    }
    return Response(data, media_type=MEDIA_TYPES[form], headers=headers)


@ROUTER.get("/t2igan/v1/progress/{request_id}")
async def progress(request_id: str, request: Request) -> Response:
    """Says how far a request of this client is; "unknown" before it has come in whole, and when it is over."""
    found = service_of(request).how_far(request_id, exchange_of(request.scope).client)
    return json_response(found or {"state": "unknown"})


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


@ROUTER.post("/t2igan/v1/words", openapi_extra={"requestBody": _WORDS})
async def words(request: Request) -> Response:
    """Returns the words of a prompt that the model has not learned, whether that is certain, and words to go on with.

    The latter follow the text `before`, which is the whole prompt unless it is given.
    """
    service = service_of(request)
    fields = await read_fields(request)
    prompt, before, name = fields.get("prompt"), fields.get("before"), fields.get("model")
    if not isinstance(prompt, str) or not isinstance(before, str | None) or not isinstance(name, str | None):
        raise ApiError(400, "prompt, before and model must be texts.", "prompt")
    model, most = service.catalogue.find(name), service.settings.prompt_characters
    following = model.vocabulary.following((prompt if before is None else before)[-most:])
    return json_response(model.new_words(prompt[:most]) | {"following": following})
