"""Refusals in the shape that OpenAI's clients turn into exceptions."""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# What OpenAPI says of refusals.
_TEXT, _TEXT_OR_NONE = {"type": "string"}, {"type": ["string", "null"]}
_FIELDS = {"message": _TEXT, "type": _TEXT, "param": _TEXT_OR_NONE, "code": _TEXT}
_OBJECT = {"type": "object", "properties": _FIELDS, "required": list(_FIELDS)}
ERROR: dict[str, Any] = {
    "description": "A refusal.",
    "content": {"application/json": {"schema": {"type": "object", "properties": {"error": _OBJECT}}}},
}


class ApiError(Exception):
    """A request that is refused.

    Args:
      status: of HTTP.
      message: in one or two lines: what is wrong with its value, and what is accepted.
      param: the parameter that it is about, None for none.
      code: a word for programs, such as "model_not_found".
      retry_after_s: when to come again, None = not said.
      retry: False keeps OpenAI's clients from trying again twice, as they do by themselves after 408, 409, 429 and 5xx.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str = "invalid_value",
        retry_after_s: int | None = None,
        retry: bool | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers: dict[str, str] = {}
        if retry_after_s is not None:
            self.headers["retry-after"] = str(retry_after_s)
        if retry is not None:
            self.headers["x-should-retry"] = "true" if retry else "false"
        if status in (408, 413):
            self.headers["connection"] = "close"  # the rest of the body is not read

    @property
    def body(self) -> dict[str, Any]:
        """What is answered."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The answer as Starlette sends it."""
        return json_response(self.body, self.status, self.headers)


def pictures_response(said: dict[str, Any], data: Sequence[dict[str, Any]], files: Sequence[bytes]) -> Response:
    """Returns an answer with "data", to each of which a file is added as "b64_json".

    Files are put in as they are, since a writer of JSON would look at each of their letters.

    Args:
      said: of all.
      data: of each file; not empty.
      files: as many.
    """
    each = [
        b"%b,%b%b%b" % (_json(of_one)[:-1], b'"b64_json":"', binascii.b2a_base64(file, newline=False), b'"}')
        for of_one, file in zip(data, files, strict=True)
    ]
    body = b'%b,"data":[%b]}' % (_json(said)[:-1], b",".join(each))
    return Response(body, media_type="application/json")


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns an answer in JSON; text stays as it is written, not escaped."""
    return Response(_json(body), status, headers=headers, media_type="application/json")


def _json(body: Any) -> bytes:
    return _COMPACT.encode(body).encode("utf-8", "replace")
