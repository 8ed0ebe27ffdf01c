"""Extractor `clip`: a CLIP from a folder in Hugging Face's layout."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from t2igan.config import expanded
from t2igan.data.tokenizer import PretrainedTokenizer
from t2igan.errors import UserError
from t2igan.evaluation.extractors.extractor import in_batches
from t2igan.evaluation.extractors.inception import file_hash, read_weights
from t2igan.method import losses
from t2igan.nets.clip import ImageTower, TextTower, build_clip, params_of_hugging_face

FILES = ("config.json", "model.safetensors", "tokenizer.json")
BATCH_IMAGES = 32
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's own pictures


class Clip:
    """Pictures and captions as a CLIP sees them; it has seen the world, and perhaps the test split.

    Pictures are resized by bicubic interpolation and normalised with the mean and deviation that the folder's
    `preprocessor_config.json` gives, otherwise with those of the first CLIP; grey ones get three channels.
    """

    name = "clip"

    def __init__(self, folder: str | Path):
        """Reads sizes and tokenizer, no weights yet. UserError where a file is missing or not understood."""
        self.folder = expanded(folder, "config.evaluate.clip_weights")
        missing = [name for name in FILES if not (self.folder / name).is_file()]
        if missing:
            raise UserError(
                f"config.evaluate.clip_weights={str(folder)!r} has no {' and no '.join(missing)}; give the folder of a "
                f'CLIP with {", ".join(FILES)} (docs/metrics.md), or "" to do without'
            )
        try:
            self._tokenizer = PretrainedTokenizer((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            self._image_tower, self._text_tower = build_clip(config, self._tokenizer.end_id)
            self._mean, self._deviation = self._normalisation()
        except (OSError, ValueError) as error:
            raise UserError(f"config.evaluate.clip_weights: {self.folder} is not understood: {error}") from error
        self._params: Any = None

    @cached_property
    def key(self) -> str:
        """16 hex digits of the weights file."""
        return file_hash(self.folder / "model.safetensors")

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N D"]:
        """Returns the projected embedding, not of length one."""
        return self.features_and_embedding(images)[0]

    def features_and_embedding(
        self, images: UInt8[np.ndarray, "N H W C"]
    ) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
        """Returns `features`, and the same at length one."""
        apply = partial(_embed_images, self._image_tower, (self._mean, self._deviation))
        features, embedding = in_batches(apply, self._weights()[0], images, size=BATCH_IMAGES)
        return features, embedding

    def embed_captions(self, captions: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """Returns a unit vector a caption; what is too long is cut."""
        tokens = self._tokenizer.encode(captions, self._text_tower.max_tokens)
        return in_batches(partial(_embed_tokens, self._text_tower), self._weights()[1], tokens, size=BATCH_IMAGES)[0]

    def identities(self, captions: Sequence[str]) -> list[Hashable]:
        """Returns for each caption what is equal for captions of the same tokens."""
        return [row.tobytes() for row in self._tokenizer.encode(captions, self._text_tower.max_tokens)]

    def verify(self) -> None:
        """Reads the weights and lets them go; UserError where the file does not hold them."""
        self._read()

    def _weights(self) -> tuple[Any, Any]:
        if self._params is None:
            self._params = self._read()
        return self._params

    def _read(self) -> tuple[Any, Any]:
        convert = partial(params_of_hugging_face, image_tower=self._image_tower, text_tower=self._text_tower)
        return read_weights(self.folder / "model.safetensors", "config.evaluate.clip_weights", convert)

    def _normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        path = self.folder / "preprocessor_config.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return tuple(found.get("image_mean", MEAN)), tuple(found.get("image_std", DEVIATION))


@partial(jax.jit, static_argnums=(0, 1))
def _embed_images(tower: ImageTower, normalisation: tuple, params: Any, images: Array) -> tuple[Array, Array]:
    x = images.astype(jnp.float32)
    x = jax.image.resize(x, (len(x), tower.size_px, tower.size_px, x.shape[-1]), "cubic", antialias=True)
    x = jnp.round(jnp.clip(x, 0, 255)) / 255  # between the two steps CLIP's own preparation has bytes
    mean, deviation = (jnp.asarray(values, jnp.float32)[None, None, None] for values in normalisation)
    embedding = tower.apply(params, (jnp.broadcast_to(x, (*x.shape[:-1], 3)) - mean) / deviation)
    return embedding, losses.normalize(embedding)


@partial(jax.jit, static_argnums=0)
def _embed_tokens(tower: TextTower, params: Any, tokens: Array) -> tuple[Array]:
    return (losses.normalize(tower.apply(params, tokens)),)
