"""`/v1/describe`: what a picture shows, by a model's captioner."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from t2igan.errors import UserError
from t2igan.inference import editing
from t2igan.inference.editing.describing import check_captioner
from t2igan.inference.serving.answers import ApiError, json_response
from t2igan.inference.serving.edits import with_pictures
from t2igan.inference.serving.images import service_of
from t2igan.inference.serving.parameters import RequestBody, Whole, typed
from t2igan.inference.serving.queueing import Progress
from t2igan.inference.serving.uploads import read_parts, read_sources

ROUTER = APIRouter()


class DescriptionBody(RequestBody):
    """The fields of `/v1/describe`, besides the picture `image`."""

    beams: Whole | None = Field(None, ge=1, le=16, description="Captions that are followed at a time; 4.")


@ROUTER.post("/v1/describe", openapi_extra=with_pictures(DescriptionBody, "image"))
async def describe(request: Request) -> Response:
    """Says what a picture shows, how sure that is, and how unlike the pictures of the training it is."""
    service = service_of(request)
    fields, files = await read_parts(request)
    body = typed(fields, DescriptionBody)
    served = service.catalogue.find(body.model)
    try:
        check_captioner(served.model, "describing")
    except UserError as error:
        raise ApiError(400, str(error), "model", "unsupported_operation") from error
    (source,) = await read_sources(files, served)

    def work(_check: Progress) -> Any:
        return editing.describe(served.model, source.given.pixels[None], body.beams or 4)[0]

    found = await service.worked(request, served.id, work)
    values = {"caption": found.caption, "confidence": round(found.confidence, 4)}
    return json_response(
        {"model": served.id} | values | {"strangeness": round(found.strangeness, 3), "unlike": found.unlike}
    )
