"""Extractor `inception`: the features of the Fréchet Inception distance, from a file of weights."""

from __future__ import annotations

import hashlib
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from t2igan.config import expanded
from t2igan.errors import UserError
from t2igan.evaluation.extractors.extractor import in_batches, to_unit
from t2igan.nets import inception

BATCH_IMAGES = 16


class Inception:
    """Inception-v3's last pooling, 2,048 features; with the weights of pytorch-fid, those of published FIDs.

    Pictures are resized to 299 px by bilinear interpolation, as pytorch-fid does; grey ones get three channels.
    """

    name = "inception"

    def __init__(self, path: str | Path):
        """Reads nothing yet. UserError where there is no such file."""
        self.path = expanded(path, "config.evaluate.inception_weights")
        if not self.path.is_file():
            raise UserError(
                f"config.evaluate.inception_weights={str(path)!r} is not a file; give a .safetensors file with the "
                f'weights of pytorch-fid (docs/metrics.md says how to make one), or "" to do without'
            )
        self._params: Any = None

    @cached_property
    def key(self) -> str:
        """16 hex digits of the weights file."""
        return file_hash(self.path)

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N D"]:
        """Returns float32 [N, 2048]; UserError where the file does not hold these weights."""
        if self._params is None:
            self._params = self._read()
        (features,) = in_batches(partial(_features, inception.Inception()), self._params, images, size=BATCH_IMAGES)
        return features

    def verify(self) -> None:
        """Reads the weights and lets them go; UserError where the file does not hold them."""
        self._read()

    def _read(self) -> Any:
        return read_weights(self.path, "config.evaluate.inception_weights", inception.params_of_torch)


def read_weights(path: Path, key: str, convert: Any) -> Any:
    """Reads a .safetensors file and converts its tensors; UserError where it is damaged or holds something else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return convert(load_file(path))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{key}: {path} is not a whole .safetensors file ({error}); copy or convert it again"
        ) from error
    except ValueError as error:
        raise UserError(f"{key}: {path} holds other weights than expected: {error} (docs/metrics.md)") from error


def file_hash(path: Path) -> str:
    """Returns 16 hex digits that change with any byte of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@partial(jax.jit, static_argnums=0)
def _features(network: inception.Inception, params: Any, images: Array) -> tuple[Array]:
    return (network.apply(params, to_unit(images)),)
