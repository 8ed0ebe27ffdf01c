"""Extractor `efficientnet`: 1,280 features of a small network that learned to name things in photographs."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from t2igan.evaluation.extractors.extractor import in_batches, to_unit
from t2igan.evaluation.extractors.inception import file_hash
from t2igan.inference.pretrained.features import efficientnet_file, efficientnet_params
from t2igan.nets.efficientnet import EfficientNet
from t2igan.nets.projected import resized

KEY = "config.evaluate.efficientnet_weights"
SEEN_PX = 128
BATCH_IMAGES = 32
NETWORK = EfficientNet(with_vector=True)


class EfficientNetFeatures:
    """The mean of EfficientNet-lite0's last features over the picture, which is resized to 128 px before.

    It sees texture and shape at four times the size at which the extractors that are learned here look. It learned from
    ImageNet, perhaps from pictures like those of the test split. A run must not be measured by it whose discriminator
    learned on it (`config.discriminator.features_from`).
    """

    name = "efficientnet"

    def __init__(self, weights: str):
        """`weights` is "efficientnet_lite0", from its package, or a file. UserError where there is none."""
        self.path = efficientnet_file(weights, KEY)
        self._weights = weights
        self._params: Any = None

    @cached_property
    def key(self) -> str:
        """16 hex digits of the weights file, and the size at which it looks."""
        return f"{file_hash(self.path)} {SEEN_PX}"

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N D"]:
        """Returns float32 [N, 1280]; UserError where the file does not hold these weights."""
        if self._params is None:
            self._params = efficientnet_params(self._weights, KEY, NETWORK)
        return in_batches(partial(_features, NETWORK), self._params, images, size=BATCH_IMAGES)[0]

    def verify(self) -> None:
        """Reads the weights and lets them go; UserError where the file does not hold them."""
        efficientnet_params(self._weights, KEY, NETWORK)


@partial(jax.jit, static_argnums=0)
def _features(network: EfficientNet, params: Any, images: Array) -> tuple[Array]:
    return (network.apply(params, resized(to_unit(images), SEEN_PX))[1],)
