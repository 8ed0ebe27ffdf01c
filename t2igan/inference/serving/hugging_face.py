"""The route that Hugging Face's `InferenceClient(model=".../hf").text_to_image(...)` calls: a picture as bytes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.encoding import MEDIA_TYPES
from t2igan.inference.serving.images import service_of
from t2igan.inference.serving.parameters import checked, read_fields

ROUTER = APIRouter()
_OURS = {"seed": "seed", "guidance_scale": "guidance", "negative_prompt": "negative_prompt", "truncation": "truncation"}
_SCHEMA = {"type": "object", "properties": {"inputs": {"type": "string"}, "parameters": {"type": "object"}}}
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}
_WITHOUT_EFFECT = ("num_inference_steps", "scheduler")  # a GAN draws in one pass


@ROUTER.post("/hf", openapi_extra=_BODY, response_class=Response)
@ROUTER.post("/hf/{model:path}", openapi_extra=_BODY, response_class=Response)
async def text_to_image(request: Request, model: str = "") -> Response:
    """Draws one picture; the answer is a PNG."""
    service = service_of(request)
    asked = checked(_fields(await read_fields(request), model), service.catalogue, service.settings)
    images = await service.drawn(request, asked.group, asked.drawn, asked.wanted.seeds)
    (file,) = await service.encoded(images, [asked.recipe(asked.wanted.seeds[0])])
    return Response(file, media_type=MEDIA_TYPES["png"])


def _fields(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Returns the parameters of `/v1/images/generations` that Hugging Face's mean. Raises `ApiError` for others."""
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ApiError(400, "parameters must be an object.", "parameters")
    fields: dict[str, Any] = {"prompt": body.get("inputs"), "model": model or None}
    for name, value in parameters.items():
        if name in _OURS:
            fields[_OURS[name]] = value
        elif name not in (*_WITHOUT_EFFECT, "width", "height"):
            raise ApiError(400, f"There is no parameter {name[:100]!r}.", name[:100], "unknown_parameter")
    width, height = parameters.get("width"), parameters.get("height")
    if width is not None or height is not None:
        fields["size"] = f"{width or height}x{height or width}"
    return fields
