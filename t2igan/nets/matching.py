"""Where pictures and captions meet: the heads that the text phase learns with, thrown away or kept as a judge."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.layers import dense, leaky_relu


class Matched(NamedTuple):
    """What the heads say of a batch of picture features and sentences."""

    images: Float[Array, "B E"]  # embedding of the picture, not normalised
    sentences: Float[Array, "B E"]  # embedding of the sentence, not normalised
    inverse_temperature: Float[Array, ""]
    sketch: Float[Array, "B H W C"]  # the mean picture that the sentence lets one expect, in [-1, 1]


class MatchingHeads(nn.Module):
    """Projects picture features and sentences to one space, and sketches the picture from the sentence."""

    embedding_dim: int
    sketch_px: int
    image_channels: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "B F"], sentence: Float[Array, "B D"]) -> Matched:
        log_inverse_temperature = self.param("log_inverse_temperature", nn.initializers.constant(jnp.log(10.0)), ())
        h = leaky_relu(dense(2 * sentence.shape[-1], dtype=self.dtype, name="sketch_hidden")(sentence))
        sketch = dense(self.sketch_px**2 * self.image_channels, dtype=self.dtype, name="sketch")(h)
        return Matched(
            images=dense(self.embedding_dim, dtype=jnp.float32, name="images")(features),
            sentences=dense(self.embedding_dim, dtype=jnp.float32, name="sentences")(sentence),
            inverse_temperature=jnp.exp(log_inverse_temperature),
            sketch=sketch.astype(jnp.float32).reshape(-1, self.sketch_px, self.sketch_px, self.image_channels),
        )
