"""The interface of all extractors, and how they look at pictures: shrunk, in batches of one compiled size."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

MAX_PX = 32  # larger pictures are shrunk to this
INFERENCE_IMAGES = 256  # one compiled shape for every use
READ_IMAGES = 2048  # pictures of a split in memory at once


@runtime_checkable
class Extractor(Protocol):
    """Pictures to vectors."""

    name: str  # behind every figure made of its features

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N D"]:
        """Returns a vector a picture, the same whatever pictures it is asked for with."""
        ...


@runtime_checkable
class Matcher(Extractor, Protocol):
    """An extractor that reads captions too."""

    def features_and_embedding(
        self, images: UInt8[np.ndarray, "N H W C"]
    ) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N E"]]:
        """Returns `features`, and a unit vector a picture in the space of the captions."""
        ...

    def embed_captions(self, captions: Sequence[str]) -> Float[np.ndarray, "N E"]:
        """Returns a unit vector a caption; what is too long is cut."""
        ...

    def identities(self, captions: Sequence[str]) -> list[Hashable]:
        """Returns for each caption what is equal for captions that it cannot tell apart."""
        ...


def extractor_px(image_px: int) -> int:
    """Returns the size at which extractors look at pictures of `image_px`: a multiple of 4 from 8 to 32."""
    return int(np.clip(4 * round(image_px / 4), 8, MAX_PX))


def shrink(images: UInt8[np.ndarray, "N H W C"], size_px: int) -> UInt8[np.ndarray, "N s s C"]:
    """Resizes square pictures to `size_px`, each new pixel the mean over its area of the old ones."""
    if images.shape[1] == size_px:
        return images
    weights = _area_weights(images.shape[1], size_px)
    (shrunk,) = in_batches(lambda weights, x: (_area_mean(weights, x),), weights, images)
    return shrunk


def read_shrunk(images: Any, rows: np.ndarray, size_px: int) -> UInt8[np.ndarray, "N s s C"]:
    """Returns some pictures of a split at `size_px`; only a few are in memory at their own size."""
    return np.concatenate([shrink(images[part], size_px) for part in in_parts(rows)])


def in_parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields as many rows at a time as may be in memory."""
    for start in range(0, len(rows), READ_IMAGES):
        yield rows[start : start + READ_IMAGES]


def in_batches(function: Callable, params: Any, *arrays: np.ndarray, size: int = INFERENCE_IMAGES) -> list[np.ndarray]:
    """Maps `function(params, *arrays) -> several arrays` in batches of one size, the last one padded."""
    parts = []
    for start in range(0, len(arrays[0]), size):
        batch = [array[start : start + size] for array in arrays]
        length = len(batch[0])
        padded = [np.pad(x, [(0, size - length)] + [(0, 0)] * (x.ndim - 1), mode="edge") for x in batch]
        parts.append([np.asarray(x)[:length] for x in function(params, *padded)])
    return [np.concatenate(of_one) for of_one in zip(*parts, strict=True)]


def to_unit(images: UInt8[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Pixels 0..255 to -1..1."""
    return images.astype(jnp.float32) / 127.5 - 1


def _area_weights(from_px: int, to_px: int) -> Float[np.ndarray, "to from"]:
    """Row i: the share that each old pixel has in the new pixel i."""
    edges = np.arange(to_px + 1) * from_px / to_px
    old = np.arange(from_px)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    overlap = np.maximum(overlap, 0)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)


@jax.jit
def _area_mean(weights: Float[Array, "s H"], images: UInt8[Array, "N H W C"]) -> UInt8[Array, "N s s C"]:
    x = images.astype(jnp.float32)
    x = jnp.einsum("ih,nhwc,jw->nijc", weights, x, weights, precision="highest")
    return jnp.round(x).astype(jnp.uint8)
