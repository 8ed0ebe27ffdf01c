"""The parameters of `/v1/images/generations`: OpenAI's, of both families of its models, and ours."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from t2igan.errors import UserError, nearest
from t2igan.inference.sample import check_number
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.encoding import shown_px
from t2igan.inference.serving.links import Recipe
from t2igan.inference.serving.models import Catalogue, ServedModel
from t2igan.inference.serving.queueing import Group
from t2igan.inference.serving.settings import Settings

LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class GenerationBody(BaseModel):
    """What a client sends. `null` is as if it were left out; numbers may come as text, as they do in forms."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(description="A caption in the style of the model's training captions.")
    model: str | None = Field(None, description="As in /v1/models; OpenAI's names mean the first model.")
    n: int | None = Field(None, ge=1, description="How many pictures; 1.")
    size: str | None = Field(None, description="Such as 512x512, square; auto = as drawn, enlarged to 128 px.")
    response_format: Literal["url", "b64_json"] | None = Field(None, description="Without it, both.")
    output_format: Literal["png", "jpeg", "webp"] | None = Field(None, description="png; it alone holds the recipe.")
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp; 90.")
    stream: bool | None = Field(None, description="Server-sent events, one a picture.")
    partial_images: int | None = Field(None, ge=0, le=3, description="No partial pictures: a GAN draws in one pass.")
    background: Literal["auto", "opaque"] | None = Field(None, description="Pictures are opaque.")
    seed: Seed | None = Field(None, description="Of the first picture; the others count up. Without it, at random.")
    seeds: list[Seed] | None = Field(None, description="One for each picture, instead of `seed`.")
    truncation: float | None = Field(None, description="Scales the noise: 1; less = more typical pictures.")
    guidance: float | None = Field(None, description="Above 1 leans towards the caption, if the model can; 1.")
    cut_long: bool | None = Field(None, description="Cut a prompt that is too long instead of refusing it.")
    quality: str | None = Field(None, description="Has no effect.")
    style: str | None = Field(None, description="Has no effect.")
    moderation: str | None = Field(None, description="Has no effect.")
    safety_identifier: str | None = Field(None, description="Has no effect.")
    user: str | None = Field(None, description="Has no effect.")


@dataclasses.dataclass(frozen=True)
class Generation:
    """A checked request."""

    served: ServedModel
    prompt: str
    seeds: tuple[int, ...]
    truncation: float
    guidance: float
    px: int
    forms: tuple[str, ...]  # of "b64_json", "url"
    output_format: str
    quality: int
    stream: bool

    @property
    def group(self) -> Group:
        """With which other pictures these are drawn."""
        return Group(self.served.id, self.truncation, self.guidance)

    def recipe(self, seed: int) -> Recipe:
        """Returns all that the picture of a seed depends on."""
        how = (self.truncation, self.guidance, self.px, self.output_format, self.quality)
        return Recipe(self.served.model.digest, self.prompt, seed, *how)


async def read_fields(request: Request) -> dict[str, Any]:
    """Returns the fields of a body, JSON or a form. Raises `ApiError` where it is neither."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        from starlette.exceptions import HTTPException

        try:
            form = await request.form(max_files=16, max_fields=64)
        except HTTPException as error:
            raise ApiError(400, f"The form cannot be read: {error.detail}", None, "invalid_form") from error
        return {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not JSON: {str(error)[:200]}", None, "invalid_json") from error
    if not isinstance(fields, dict):
        raise ApiError(400, 'The body must be a JSON object, such as {"prompt": "..."}.', None, "invalid_json")
    return fields


def checked(fields: dict[str, Any], catalogue: Catalogue, settings: Settings) -> Generation:
    """Returns the request that fields describe. Raises `ApiError`, which names the parameter that is wrong."""
    body = _typed(fields)
    served = catalogue.find(body.model)
    truncation, guidance = _noise(body, served)
    forms = (body.response_format,) if body.response_format else ("b64_json", "url")
    return Generation(
        served,
        _prompt(body, served, settings),
        _seeds(body, settings),
        truncation,
        guidance,
        _px(body.size, served, settings),
        forms,
        body.output_format or "png",
        90 if body.output_compression is None else body.output_compression,
        bool(body.stream),
    )


def _typed(fields: dict[str, Any]) -> GenerationBody:
    try:
        return GenerationBody.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            known = nearest(name, GenerationBody.model_fields)
            message = f"There is no parameter {name[:100]!r}{known}"
            raise ApiError(400, message, name[:100], "unknown_parameter") from error
        if first["type"] == "missing" or (name == "prompt" and fields.get("prompt") is None):
            raise ApiError(400, "prompt is missing: say in words what to draw.", "prompt", "missing") from error
        value = repr(first["input"])[:80]
        raise ApiError(400, f"{name}={value}: {first['msg'].lower()}.", name) from error


def _prompt(body: GenerationBody, served: ServedModel, settings: Settings) -> str:
    if len(body.prompt) > settings.prompt_characters:
        most = settings.prompt_characters
        raise ApiError(400, f"prompt has {len(body.prompt):,} characters; at most {most:,} are taken.", "prompt")
    try:
        if not (body.cut_long and body.prompt.strip()):
            served.model.tokenizer.check_prompts([body.prompt])
    except UserError as error:
        raise ApiError(400, str(error).replace("prompt 1 of 1", "prompt"), "prompt") from error
    return body.prompt


def _seeds(body: GenerationBody, settings: Settings) -> tuple[int, ...]:
    most = settings.request_images
    if body.seeds is not None:
        if body.seed is not None:
            raise ApiError(400, "seed and seeds exclude each other; give one of them.", "seeds")
        if not 1 <= len(body.seeds) <= most or (body.n or len(body.seeds)) != len(body.seeds):
            raise ApiError(400, f"seeds has {len(body.seeds)} of them; give one a picture, at most {most}.", "seeds")
        return tuple(body.seeds)
    num = body.n or 1
    if num > most:
        raise ApiError(400, f"n={num} must lie between 1 and {most}; send several requests for more.", "n")
    first = secrets.randbelow(2**32 - num) if body.seed is None else body.seed
    if first + num - 1 > LARGEST_SEED:
        raise ApiError(400, f"seed={first} is too large for n={num}: the last would be above {LARGEST_SEED}.", "seed")
    return tuple(range(first, first + num))


def _noise(body: GenerationBody, served: ServedModel) -> tuple[float, float]:
    truncation = 1.0 if body.truncation is None else body.truncation
    guidance = 1.0 if body.guidance is None else body.guidance
    try:
        check_number("truncation", truncation, 2, "1 is the noise of training")
    except UserError as error:
        raise ApiError(400, str(error), "truncation") from error
    try:
        check_number("guidance", guidance, 10, "1 is the caption as it is")
    except UserError as error:
        raise ApiError(400, str(error), "guidance") from error
    if guidance != 1 and not served.takes_guidance:
        message = (
            f"guidance={guidance:g}: {served.id} cannot draw without a caption, which guidance wants; leave it at 1."
        )
        raise ApiError(400, message, "guidance", "unsupported_value")
    return truncation, guidance


def _px(size: str | None, served: ServedModel, settings: Settings) -> int:
    if size in (None, "", "auto"):
        return shown_px(served.native_px)
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(size))
    width, height = map(int, found.groups()) if found else (0, 0)
    if not found or width != height or not 1 <= width <= settings.largest_px:
        raise ApiError(
            400,
            f"size={str(size)[:40]!r}: this model draws squares; give a size such as 512x512, at most "
            f"{settings.largest_px}x{settings.largest_px}, or auto.",
            "size",
        )
    return width
