"""Pictures to captions, by the run's own image tower and captioner: beam search, how sure, and how unlike."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import nets
from t2igan.data.tokenizer import BEGIN, END, PAD
from t2igan.errors import UserError
from t2igan.inference.forked import check_not_forked
from t2igan.inference.sample import Model
from t2igan.nets.captioner import strangeness

AT_ONCE = 64  # pictures times beams; one size is compiled
UNLIKE = 4.0  # of `strangeness`, which is 1 for pictures as those of the training


@dataclasses.dataclass(frozen=True)
class Description:
    """What is said of a picture.

    Attributes:
      caption: the likeliest that beam search found.
      confidence: the mean probability of its tokens (geometric), from 0 to 1.
      strangeness: of the picture; 1 = as those of the training.
    """

    caption: str
    confidence: float
    strangeness: float

    @property
    def unlike(self) -> bool:
        """Whether the picture is unlike those of the training, so that what is said of it means little."""
        return self.strangeness > UNLIKE


def has_captioner(model: Model) -> bool:
    """Whether a snapshot has what `describe` needs."""
    return {"captioner", "image"} <= model.params.keys()


def check_captioner(model: Model, what: str = "`describe`") -> None:
    """Raises `UserError` where a snapshot has no captioner."""
    if not has_captioner(model):
        raise UserError(
            f"{what} needs a captioner, and this model has none; add the phase 'caption' to config.phases, as in "
            f"--config.phases=\"('text', 'adversarial', 'caption')\", and train again"
        )


def describe(model: Model, images: np.ndarray, beams: int = 4) -> list[Description]:
    """Returns a caption for each picture.

    Args:
      model: its snapshot has "image" and "captioner", which the phase "caption" leaves.
      images: uint8 [N, S, S, C], of the model's size.
      beams: captions that are followed at a time; 1 = the likeliest token each time.

    Raises:
      UserError: there is no captioner, pictures of another size, or no number of beams from 1 to 64.
    """
    check_not_forked()
    check_captioner(model)
    if not 1 <= beams <= AT_ONCE:
        raise UserError(f"beams={beams} must lie between 1 and {AT_ONCE}")
    data = model.config["data"]
    shape = (data["image_size_px"], data["image_size_px"], data["channels"])
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise UserError(f"pictures are {images.dtype} {images.shape}, and this model's are uint8 [N, {shape[0]}, ...]")
    each, found = AT_ONCE // beams, []
    for start in range(0, len(images), each):
        piece = images[start : start + each]
        filled = np.pad(piece, ((0, each - len(piece)), (0, 0), (0, 0), (0, 0)), mode="edge")
        features, strange = _seen(model.networks, model.params, jnp.asarray(filled))
        rows, scores = search(model, np.asarray(features), beams)
        for row, score, value in zip(rows[: len(piece)], scores, np.asarray(strange), strict=False):
            length = int((row[1:] != PAD).sum())
            caption = model.tokenizer.own.decode(row[row != PAD])
            found.append(Description(caption, math.exp(score / max(length, 1)), float(value)))
    return found


@functools.partial(jax.jit, static_argnums=0)
def _seen(networks: nets.Networks, params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    features = networks.image_encoder.apply(params["image"], networks.to_network(params, images))
    return features, strangeness(params["captioner"], features)


@functools.partial(jax.jit, static_argnums=0)
def _next(networks: nets.Networks, params: Any, features: jax.Array, tokens: jax.Array, place) -> jax.Array:
    """Log-probabilities [B, V] of the token behind `place`; padding and the mark of the beginning have none."""
    captioner: Any = networks.captioner
    logits = captioner.apply(params["captioner"], features, tokens)
    logits = jax.lax.dynamic_index_in_dim(logits, place, axis=1, keepdims=False)
    return jax.nn.log_softmax(logits.at[:, jnp.array([PAD, BEGIN])].set(-jnp.inf), axis=-1)


def search(model: Model, features: np.ndarray, beams: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the likeliest rows of tokens int32 [N, T] that beam search finds, and their log-probabilities [N].

    A caption is over with its mark of the end, or when the row is full.
    """
    num, length = len(features), int(model.networks.captioner.max_tokens)  # type: ignore[union-attr]
    rows = np.full((num, beams, length), PAD, np.int32)
    rows[:, :, 0] = BEGIN
    scores = np.full((num, beams), -np.inf)
    scores[:, 0] = 0.0  # all beams begin alike: only one may go on
    repeated = jnp.asarray(np.repeat(features, beams, axis=0))
    over = np.zeros((num, beams), bool)
    for place in range(length - 1):
        tokens = jnp.asarray(rows.reshape(num * beams, length))
        logs = np.asarray(_next(model.networks, model.params, repeated, tokens, place), np.float64)
        logs = logs.reshape(num, beams, -1)
        still = np.full(logs.shape[-1], -np.inf)
        still[PAD] = 0.0  # what is over goes on with padding, and costs nothing
        logs = np.where(over[..., None], still, logs)
        total = (scores[..., None] + logs).reshape(num, -1)
        best = np.argsort(-total, axis=1, kind="stable")[:, :beams]
        scores = np.take_along_axis(total, best, axis=1)
        of, token = np.divmod(best, logs.shape[-1])
        rows = np.take_along_axis(rows, of[..., None], axis=1)
        rows[:, :, place + 1] = token
        over = np.take_along_axis(over, of, axis=1) | (token == END)
        if over.all():
            break
    return rows[:, 0], scores[:, 0]
