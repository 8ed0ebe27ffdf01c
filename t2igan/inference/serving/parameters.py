"""The parameters of `/v1/images/generations`: OpenAI's, of both families of its models, and ours."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from t2igan.errors import UserError, nearest
from t2igan.inference.arguments import check_number
from t2igan.inference.prompts import parse
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.encoding import shown_px
from t2igan.inference.serving.guard import exchange_of
from t2igan.inference.serving.links import Recipe
from t2igan.inference.serving.models import Catalogue, ServedModel
from t2igan.inference.serving.queueing import Group
from t2igan.inference.serving.settings import Settings

LARGEST_SEED = 2**32 - 1
LONGEST_CAPTION = 32_000  # characters of one that is cut: OpenAI's own limit
Body = TypeVar("Body", bound=BaseModel)


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # 1 or 0 to pydantic
        raise ValueError("a number is wanted, not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth)]
Seed = Annotated[Whole, Field(ge=0, le=LARGEST_SEED)]


class RequestBody(BaseModel):
    """What all requests take. `null` is as if it were left out; numbers may come as text, as in forms."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="As in /v1/models; OpenAI's names mean the first model.")
    user: str | None = Field(None, description="Has no effect.")


class AnswerBody(RequestBody):
    """What is said of the pictures that are to come back."""

    size: str | None = Field(None, description="Such as 512x512, square; auto = as drawn, enlarged to 128 px.")
    response_format: Literal["url", "b64_json"] | None = Field(None, description="Without it, both.")
    output_format: Literal["png", "jpeg", "webp"] | None = Field(None, description="png; edits read recipes of PNGs.")
    output_compression: Whole | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp; 90.")
    stream: bool | None = Field(None, description="Server-sent events, one a picture.")
    quality: str | None = Field(None, description="How long edits are worked at: low, medium, high.")


class PictureBody(AnswerBody):
    """What requests for `n` pictures take besides."""

    n: Whole | None = Field(None, ge=1, description="How many pictures; 1.")
    partial_images: Whole | None = Field(None, ge=0, le=3, description="No partial pictures: a GAN draws in one pass.")
    background: Literal["auto", "opaque"] | None = Field(None, description="Pictures are opaque.")
    seed: Seed | None = Field(None, description="Of the first picture; the others count up. Without it, at random.")
    style: str | None = Field(None, description="Has no effect.")
    moderation: str | None = Field(None, description="Has no effect.")
    safety_identifier: str | None = Field(None, description="Has no effect.")


class GenerationBody(PictureBody):
    """The body of `/v1/images/generations`."""

    prompt: str = Field(description="A caption in the style of the training captions, or one with weights.")
    seeds: list[Seed] | None = Field(None, description="One a picture, instead of `seed`.")
    truncation: Real | None = Field(None, description="Scales the noise: 1; less = more typical pictures.")
    guidance: Real | None = Field(None, description="Above 1 leans towards the caption, if the model can; 1.")
    negative_prompt: str | None = Field(None, description="What is not wanted, phrases between commas.")
    cut_long: bool | None = Field(None, description="Take the prompt for a caption: cut it where it is too long.")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to come back: the pictures of these seeds, in this form."""

    served: ServedModel
    seeds: tuple[int, ...]
    px: int
    forms: tuple[str, ...]  # of "b64_json", "url"
    output_format: str
    file_quality: int
    stream: bool


@dataclasses.dataclass(frozen=True)
class Generation:
    """A checked request for pictures of a prompt."""

    wanted: Wanted
    prompt: str  # as it was sent
    drawn: str  # what is drawn: the caption that the prompt means or, where it means several, the prompt
    negative: str
    as_caption: bool  # whether the prompt was to be cut where it is too long
    group: Group  # with which other pictures these are drawn
    warnings: Sequence[dict[str, Any]]  # as `ServedModel.warnings` returns them

    def recipe(self, seed: int) -> Recipe:
        """Returns all that the picture of a seed depends on."""
        group, wanted = self.group, self.wanted
        how = (group.truncation, group.guidance, wanted.px, wanted.output_format, wanted.file_quality)
        return Recipe(wanted.served.model.digest, self.prompt, seed, *how, self.negative, self.as_caption)


async def read_fields(request: Request) -> dict[str, Any]:
    """Returns the fields of a body, JSON or a form, without files. Raises `ApiError` where it is neither."""
    if is_form(request):
        return (await read_form(request))[0]
    try:
        fields = json.loads(await exchange_of(request.scope).body())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not JSON: {str(error)[:200]}", None, "invalid_json") from error
    if not isinstance(fields, dict):
        raise ApiError(400, 'The body must be a JSON object, such as {"prompt": "..."}.', None, "invalid_json")
    return fields


async def read_form(request: Request) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """Returns fields and files of a form, by name ("image[]" is "image"); in brackets or given twice, they are lists.

    Raises:
      ApiError: it cannot be read.
    """
    try:
        form = await request.form(max_files=20, max_fields=256)
    except (HTTPException, FormParserError) as error:  # old versions of Starlette let the parser's own through
        why = error.detail if isinstance(error, HTTPException) else error
        raise ApiError(400, f"The form cannot be read: {why}", None, "invalid_form") from error
    texts: dict[str, list[str]] = {}
    lists: set[str] = set()
    files: dict[str, list[bytes]] = {}
    for given, value in form.multi_items():
        name = given.removesuffix("[]")
        if not isinstance(value, str):
            files.setdefault(name, []).append(await value.read())
            continue
        texts.setdefault(name, []).append(value)
        if name != given:
            lists.add(name)
    await form.close()
    fields = {name: found if name in lists or len(found) > 1 else found[0] for name, found in texts.items()}
    return fields, files


def is_form(request: Request) -> bool:
    """Whether a body says that it is a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("multipart/form-data", "application/x-www-form-urlencoded")


def checked(fields: dict[str, Any], catalogue: Catalogue, settings: Settings) -> Generation:
    """Returns the request that fields describe. Raises `ApiError`, which names the parameter that is wrong."""
    body = typed(fields, GenerationBody)
    served = catalogue.find(body.model)
    truncation, guidance = _noise(body, served)
    negative = body.negative_prompt or ""
    as_caption = bool(body.cut_long) and not negative
    caption = check_prompt(body.prompt, negative, served, settings, as_caption)
    group = group_of(served, truncation, guidance, negative, caption)
    wanted = wanted_of(body, served, _seeds(body, settings), settings)
    drawn = body.prompt if caption is None else caption
    warnings = () if as_caption else served.warnings(body.prompt, negative)
    return Generation(wanted, body.prompt, drawn, negative, as_caption, group, warnings)


def group_of(served: ServedModel, truncation: float, guidance: float, negative: str, caption: str | None) -> Group:
    """Returns with which other pictures those of a checked prompt are drawn; `caption` as `check_prompt` returns it."""
    if caption is None:
        return Group(served.id, truncation, guidance, negative)
    return Group(served.id, truncation, guidance, as_caption=True)  # it has been read and measured: once is enough


def wanted_of(body: AnswerBody, served: ServedModel, seeds: tuple[int, ...], settings: Settings) -> Wanted:
    """Returns what is to come back. Raises `ApiError` for a size that there is not."""
    quality = 90 if body.output_compression is None else body.output_compression
    forms = (body.response_format,) if body.response_format else ("b64_json", "url")
    px = _px(body.size, served, settings)
    return Wanted(served, seeds, px, forms, body.output_format or "png", quality, bool(body.stream))


def typed(fields: dict[str, Any], kind: type[Body]) -> Body:
    """Returns a body with its types checked. Raises `ApiError`, which names the first parameter that is wrong."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            message = f"There is no parameter {name[:100]!r}{nearest(name[:100], kind.model_fields)}"
            raise ApiError(400, message, name[:100], "unknown_parameter") from error
        if first["type"] == "missing" or (name == "prompt" and fields.get("prompt") is None):
            raise ApiError(400, f"{name} is missing: say in words what to draw.", name, "missing") from error
        value = repr(first["input"])[:80]
        raise ApiError(400, f"{name}={value}: {first['msg'].removeprefix('Value error, ').lower()}.", name) from error


def check_prompt(
    prompt: str, negative: str, served: ServedModel, settings: Settings, as_caption: bool = False, param: str = "prompt"
) -> str | None:
    """Returns the caption that a prompt means, None for several. Raises `ApiError` for one that cannot be drawn."""
    for name, text in ((param, prompt), ("negative_prompt", negative)):
        most = LONGEST_CAPTION if as_caption else settings.prompt_characters
        if len(text) > most:
            raise ApiError(400, f"{name} has {len(text):,} characters; at most {most:,} are taken.", name)
    caption: str | None = prompt
    captions: tuple[str, ...] = (prompt,)
    if not (as_caption and prompt.strip()):
        try:
            meant = served.understood(prompt, negative)
            caption, captions = meant.caption, parse(prompt).captions
            if caption is None:
                served.model.check_styled("a prompt with weights, AND or a negative")
        except UserError as error:
            raise ApiError(400, str(error).replace("prompt 1 of 1", param), param) from error
    try:
        settings.rules.check(captions)  # of what is drawn: weights stand between the words of a prompt
    except UserError as error:
        raise ApiError(400, f"{param}: {error}", param, "prompt_refused") from error
    return caption


def _seeds(body: GenerationBody, settings: Settings) -> tuple[int, ...]:
    if body.seeds is None:
        return seeds_from(body, settings)
    most = settings.request_images
    if body.seed is not None:
        raise ApiError(400, "seed and seeds exclude each other; give one of them.", "seeds")
    if not 1 <= len(body.seeds) <= most or (body.n or len(body.seeds)) != len(body.seeds):
        raise ApiError(400, f"seeds has {len(body.seeds)} of them; give one a picture, at most {most}.", "seeds")
    return tuple(body.seeds)


def seeds_from(body: PictureBody, settings: Settings) -> tuple[int, ...]:
    """Returns `n` seeds that count up from `seed`, or from a random one. Raises `ApiError` where they are too many."""
    num = body.n or 1
    if num > settings.request_images:
        most = settings.request_images
        raise ApiError(400, f"n={num} must lie between 1 and {most}; send several requests for more.", "n")
    first = secrets.randbelow(2**32 - num) if body.seed is None else body.seed
    if first + num - 1 > LARGEST_SEED:
        raise ApiError(400, f"seed={first} is too large for n={num}: the last would be above {LARGEST_SEED}.", "seed")
    return tuple(range(first, first + num))


def truncation_of(given: float | None) -> float:
    """Returns what scales the noise, 1 where nothing is given. Raises `ApiError` where it is out of range."""
    truncation = 1.0 if given is None else given
    try:
        check_number("truncation", truncation, 2, "1 is the noise of training")
    except UserError as error:
        raise ApiError(400, str(error), "truncation") from error
    return truncation


def _noise(body: GenerationBody, served: ServedModel) -> tuple[float, float]:
    truncation = truncation_of(body.truncation)
    guidance = 1.0 if body.guidance is None else body.guidance
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
