"""Pictures that requests send: files of a form, or data URLs in JSON. Nothing is fetched from an address."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request

from t2igan.data.decode import Decoding
from t2igan.errors import UserError
from t2igan.inference import editing
from t2igan.inference.editing.given import Given
from t2igan.inference.provenance import read_claims
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.models import ServedModel
from t2igan.inference.serving.parameters import check_prompt, is_form, read_fields, read_form
from t2igan.inference.serving.settings import Settings

_PARAMS = {
    "image": "image",
    "images": "image",
    "mask": "mask",
}  # fields that are pictures, and what they are called here
_MOST_PICTURES = 20


class Source:
    """A picture that was sent, at the model's size, and its recipe, where it holds one."""

    def __init__(self, served: ServedModel, given: Given, how: Decoding, recipe: dict[str, Any]):
        """Takes what `read_sources` has read."""
        self._served, self.given, self.how, self._recipe = served, given, how, recipe
        self.facts = {"pixels": given.digest}

    def caption(self, given: str | None, settings: Settings, param: str = "caption") -> str:
        """Returns what the picture shows; "" where the captioner is to say it. Raises `ApiError` where nobody can."""
        found = given or self._recipe.get("caption" if "verb" in self._recipe else "prompt") or ""
        if self._recipe.get("verb") in ("edit", "complete") and not given:
            found = self._recipe.get("prompt") or ""
        if not isinstance(found, str) or not found:
            if self._served.describes:
                return ""
            message = f"{param} is missing: say what the picture shows, since {self._served.id} has no captioner."
            raise ApiError(400, message, param, "missing")
        check_plain(found, self._served, settings, param)
        return found

    def codes(self, caption: str, quality: str, check: Callable[[int, int], None]) -> editing.Codes:
        """Returns the codes of the picture, by its recipe where that is true and else by inversion; on the device.

        Args:
          caption: as the method `caption` returns it.
          quality: of an inversion.
          check: told (steps done, steps in all).
        """
        said = self.said(caption)
        known = self.drawn_codes(said)
        if known is not None:
            return known
        return editing.invert(self._served.model, self.given.pixels[None], said, quality, progress=check)

    def said(self, caption: str) -> str:
        """Returns the caption, or what the captioner says where that is ""; on the device."""
        return caption or editing.describe(self._served.model, self.given.pixels[None])[0].caption

    def drawn_codes(self, caption: str) -> editing.Codes | None:
        """Returns the codes of a picture that this model drew of that caption and nobody has changed since; or None."""
        recipe, model = self._recipe, self._served.model
        plain = recipe.get("guidance", 1) == 1 and not recipe.get("negative")
        seed: Any = recipe.get("seed")
        truncation: Any = recipe.get("truncation", 1)
        ours = recipe.get("model") == model.digest and "verb" not in recipe
        numbers = type(seed) is int and 0 <= seed < 2**32 and type(truncation) in (int, float) and 0 <= truncation <= 2
        if not (plain and ours and numbers and recipe.get("prompt") == caption):
            return None
        drawn = model.sample(caption, seed, truncation)[0]
        if np.abs(drawn.astype(int) - self.given.pixels).max() > 1:
            return None
        return editing.drawn_codes(model, [caption], seed, truncation)


async def read_parts(request: Request) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """Returns the fields of a form or of JSON, and the pictures among them by parameter: "image", "mask".

    Raises:
      ApiError: it is neither, or has what is no data URL where a picture is to be.
    """
    fields, files = await read_form(request) if is_form(request) else (await read_fields(request), {})
    for name, param in _PARAMS.items():
        if (value := fields.pop(name, None)) is not None:
            listed = value if isinstance(value, list) else [value]
            files.setdefault(param, []).extend(picture_of(one, name) for one in listed[: _MOST_PICTURES + 1])
    return fields, files


def picture_of(value: Any, param: str) -> bytes:
    """Returns the bytes of a data URL, or of OpenAI's object with one. Raises `ApiError` for anything else."""
    text = value.get("image_url") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise ApiError(400, f"{param} must be a data URL, such as data:image/png;base64,...", param, "invalid_image")
    head, comma, data = text.partition(",")
    if not comma and "://" not in text[:20]:
        head, data = "data:;base64", text  # as some clients send it
    if not head.startswith("data:") or not head.endswith(";base64"):
        message = f"{param}={text[:40]!r}: nothing is fetched from addresses; send the file, or a data URL of base64."
        raise ApiError(400, message, param, "invalid_image")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, f"{param} is no base64: {str(error)[:100]}.", param, "invalid_image") from error


async def read_sources(files: dict[str, list[bytes]], served: ServedModel, num: int = 1) -> list[Source]:
    """Returns the pictures called "image". Raises `ApiError` where they are not so many, or cannot be opened."""
    pictures = files.get("image", [])
    if len(pictures) != num:
        wanted = "one picture" if num == 1 else f"{num} pictures"
        there = "there is 1" if len(pictures) == 1 else f"there are {len(pictures)} pictures"
        raise ApiError(400, f"image: {there} in the request; send {wanted}, as files or data URLs.", "image")
    how = editing.decoding_of(served.model.config)
    sources = []
    for data in pictures:
        given = await of_file("image", editing.read_picture, data, how)
        sources.append(Source(served, given, how, await asyncio.to_thread(_recipe, data)))
    return sources


async def of_file(param: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """Reads a file that was sent on a thread, since it may be large. Raises `ApiError` where it is no picture."""
    try:
        return await asyncio.to_thread(read, *arguments)
    except UserError as error:
        raise ApiError(400, f"{param}: {error}", param, "invalid_image") from error


def check_plain(caption: str, served: ServedModel, settings: Settings, param: str) -> None:
    """Raises `ApiError` for a caption that is none, or has weights or AND."""
    if check_prompt(caption, "", served, settings, param=param) is None:
        raise ApiError(400, f"{param} must be a plain caption, without weights or AND.", param)


def _recipe(data: bytes) -> dict[str, Any]:
    try:
        claims = read_claims(io.BytesIO(data))
    except UserError:
        return {}
    return claims.facts if claims.form == "PNG" else {}
