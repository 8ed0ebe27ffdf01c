"""What the page needs to describe pictures: the weights of image tower and captioner, and what it is told of them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from t2igan.inference.editing.describing import describe, has_captioner
from t2igan.inference.editing.given import decoding_of
from t2igan.inference.export.source import Source
from t2igan.nets.autoencoder import MIN_STD, Autoencoder, PatchComponents
from t2igan.nets.captioner import Captioner, covariance
from t2igan.nets.image_encoder import ImageEncoder

EXACT = "captioner/white/kernel"  # whose rounding to 8 bits would show: it enlarges what hardly ever changes


def knows(source: Source) -> bool:
    """Whether the page can describe with a model: it has an image tower and a captioner, none of one's own."""
    networks = source.model.networks
    known = type(networks.captioner) is Captioner and type(networks.image_encoder) is ImageEncoder
    return has_captioner(source.model) and known


def weights(source: Source) -> dict[str, Any]:
    """Returns the parameters by the names that `web/seeing.js` asks for."""
    params = source.snapshot.params
    captioner = dict(params["captioner"]["params"])
    mean, second = captioner.pop("reference_mean"), captioner.pop("reference_second")
    values, vectors = np.linalg.eigh(np.asarray(covariance(jnp.asarray(mean), jnp.asarray(second)), np.float64))
    captioner |= {"mean": mean, "white": {"kernel": (vectors / np.sqrt(values)).astype(np.float32)}}
    names = {"image": params["image"]["params"], "captioner": captioner}
    space = source.model.networks.space
    if isinstance(space, PatchComponents):
        of = params["space"]["params"]
        kernel = of["basis"] / of["scale"]
        names["space"] = {"analysis": {"kernel": kernel, "bias": -of["mean"] @ kernel}}
    elif isinstance(space, Autoencoder):
        names["space"] = {"encoder": _with_unit_codes(params["space"], f"Dense_{len(space.encoder_widths) - 1}")}
    return names


def _with_unit_codes(space: dict[str, Any], last: str) -> dict[str, Any]:
    """The encoder's parameters with the normalisation of its codes in the last of its layers."""
    encoder, of = dict(space["params"]["encoder"]), space["statistics"]
    deviation = np.sqrt(np.maximum(of["mean_square"] - of["mean"] ** 2, 0) + MIN_STD**2)
    kernel, bias = encoder[last]["kernel"], encoder[last]["bias"]
    return encoder | {last: {"kernel": kernel / deviation, "bias": (bias - of["mean"]) / deviation}}


def about(source: Source) -> dict[str, Any]:
    """Returns what the page is told: of the networks, and of how a picture is brought to the model's size."""
    networks = source.model.networks
    captioner, image, space = networks.captioner, networks.image_encoder, networks.space
    told: dict[str, Any] = {key: getattr(captioner, key) for key in ("width", "layers", "heads", "max_tokens")}
    told["image"] = {key: getattr(image, key) for key in ("patch_px", "channels", "blocks")}
    how = decoding_of(source.snapshot.config)
    decoding = {key: getattr(how, key) for key in ("size_px", "channels", "background", "resize", "resample")}
    in_space: dict[str, Any] = {} if space is None else {"channels": space.channels}
    if isinstance(space, Autoencoder):
        in_space["encoder"] = space.encoder_widths
    return {"captioner": told, "decoding": decoding, "space": in_space}


def compared(name: str, found: list[dict[str, Any]], source: Source, images: np.ndarray) -> str:
    """Returns a line that says how many captions of pictures are those of `describe`."""
    expected = describe(source.model, images)
    same = sum(mine["caption"] == theirs.caption for mine, theirs in zip(found, expected, strict=True))
    apart = max(abs(mine["confidence"] - theirs.confidence) for mine, theirs in zip(found, expected, strict=True))
    return f"{name}: {same} of {len(found)} pictures are described in the same words, by {apart:.2g} surer or less sure"
