"""A part of AUTOMATIC1111's API, `/sdapi/v1`, for programs that know that one alone; only where `--a1111` says so.

Their clients send dozens of settings of diffusion models with every request, so those that mean nothing to a GAN
(`steps`, `sampler_name`, `cfg_scale`, ...) are taken without effect here, and so are others that are not known.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from t2igan.inference.serving.answers import ApiError, json_response
from t2igan.inference.serving.edits import EditBody, VariationBody, edited, varied
from t2igan.inference.serving.guard import exchange_of
from t2igan.inference.serving.images import service_of
from t2igan.inference.serving.parameters import Wanted, checked, read_fields, typed
from t2igan.inference.serving.uploads import picture_of

ROUTER = APIRouter(prefix="/sdapi/v1")
SAMPLER = "GAN"  # the only one: a picture is drawn in one pass
_JSON = {"type": "object", "additionalProperties": True}
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _JSON}}}}


@ROUTER.post("/txt2img", openapi_extra=_BODY)
async def txt2img(request: Request) -> Response:
    """Draws pictures from a caption."""
    service = service_of(request)
    sent = await read_fields(request)
    fields = _common(sent) | {name: sent.get(name) for name in ("truncation", "guidance")}
    asked = checked(fields | {"negative_prompt": sent.get("negative_prompt")}, service.catalogue, service.settings)
    images = await service.drawn(request, asked.group, asked.drawn, asked.wanted.seeds)
    files = await service.encoded(images, [asked.recipe(seed) for seed in asked.wanted.seeds])
    return _answer(sent, asked.wanted, asked.prompt, files)


@ROUTER.post("/img2img", openapi_extra=_BODY)
async def img2img(request: Request) -> Response:
    """Varies a picture by `denoising_strength`; with a mask, what is white in it is drawn anew."""
    service = service_of(request)
    sent = await read_fields(request)
    pictures = sent.get("init_images")
    if not isinstance(pictures, list) or len(pictures) != 1:
        raise ApiError(400, "init_images must be a list of one picture, in base64.", "init_images")
    files = {"image": [picture_of(pictures[0], "init_images")]}
    fields = _common(sent) | {"quality": sent.get("quality")}
    if sent.get("mask"):
        if sent.get("inpainting_mask_invert"):
            message = "inpainting_mask_invert=1 is not taken: send the mask white where the picture is drawn anew."
            raise ApiError(400, message, "inpainting_mask_invert", "unsupported_value")
        files["mask"] = [picture_of(sent["mask"], "mask")]
        done = await edited(request, service, typed(fields, EditBody), files)
    else:
        strength = sent.get("denoising_strength")
        fields["strength"] = 0.75 if strength is None else strength
        fields["caption"] = fields.pop("prompt") or None
        done = await varied(request, service, typed(fields, VariationBody), files)
    return _answer(sent, done.wanted, done.prompt, done.files)


@ROUTER.get("/sd-models")
async def models(request: Request) -> Response:
    """Lists the models."""
    return json_response(
        [
            {"title": served.id, "model_name": served.id, "hash": served.model.digest, "sha256": None}
            | {"filename": f"{served.id}.safetensors", "config": None}
            for served in service_of(request).catalogue.values()
        ]
    )


@ROUTER.get("/samplers")
async def samplers() -> Response:
    """Lists the one way to draw."""
    return json_response([{"name": SAMPLER, "aliases": [], "options": {}}])


@ROUTER.get("/scripts")
async def scripts() -> Response:
    """Lists scripts: there are none."""
    return json_response({"txt2img": [], "img2img": []})


@ROUTER.get("/options")
async def options(request: Request) -> Response:
    """Returns the settings that clients look at."""
    return json_response({"sd_model_checkpoint": service_of(request).catalogue.default.id, "samples_format": "png"})


@ROUTER.post("/options", openapi_extra=_BODY)
async def set_options(request: Request) -> Response:
    """Takes settings without effect, but no other model: a server has many clients."""
    catalogue = service_of(request).catalogue
    name = (await read_fields(request)).get("sd_model_checkpoint")
    if name is not None and (not isinstance(name, str) or catalogue.find(name) is not catalogue.default):
        message = "The model is not changed for all: name it in override_settings.sd_model_checkpoint of a request."
        raise ApiError(400, message, "sd_model_checkpoint", "unsupported_value")
    return json_response({})


@ROUTER.get("/progress")
async def progress(request: Request) -> Response:
    """Says how far the client's last request is."""
    found = service_of(request).progress_of(exchange_of(request.scope).client)
    state = {"skipped": False, "interrupted": False, "job": "", "job_count": int(found is not None), "job_no": 0}
    state |= {"job_timestamp": "", "sampling_step": 0, "sampling_steps": 0}
    return json_response(
        {"progress": found or 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None}
    )


def _common(sent: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of our own routes that A1111's mean. Raises `ApiError` for what cannot be meant."""
    fields: dict[str, Any] = {"prompt": sent.get("prompt", ""), "response_format": "b64_json"}
    seed = sent.get("seed")
    fields["seed"] = None if seed == -1 else seed
    numbers = [1 if sent.get(name) is None else sent[name] for name in ("batch_size", "n_iter")]
    if not all(type(number) is int and 1 <= number <= 1024 for number in numbers):
        raise ApiError(400, "batch_size and n_iter must be whole numbers of 1 or more.", "batch_size")
    fields["n"] = numbers[0] * numbers[1]
    width, height = sent.get("width"), sent.get("height")
    if width is not None or height is not None:
        fields["size"] = f"{width or height}x{height or width}"
    override = sent.get("override_settings") or {}
    if not isinstance(override, dict):
        raise ApiError(400, "override_settings must be an object.", "override_settings")
    fields["model"] = override.get("sd_model_checkpoint")
    return fields


def _answer(sent: dict[str, Any], wanted: Wanted, prompt: str, files: list[bytes]) -> Response:
    about = {"prompt": prompt, "negative_prompt": sent.get("negative_prompt") or "", "sampler_name": SAMPLER}
    about |= {"seed": wanted.seeds[0], "all_seeds": list(wanted.seeds), "all_prompts": [prompt] * len(files)}
    about |= {"width": wanted.px, "height": wanted.px, "sd_model_name": wanted.served.id}
    about |= {"sd_model_hash": wanted.served.model.digest, "steps": 1, "batch_size": len(files), "infotexts": []}
    images = [base64.b64encode(file).decode() for file in files]
    parameters = {name: value for name, value in sent.items() if name not in ("init_images", "mask")}
    return json_response({"images": images, "parameters": parameters, "info": json.dumps(about)})
