"""Where pictures and captions meet: the heads that the text phase learns with, thrown away or kept to compare them."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.layers import dense


class Matched(NamedTuple):
    """What the heads say of a batch of picture features and sentences."""

    images: Float[Array, "B E"]  # embedding of the picture, not normalised
    sentences: Float[Array, "B E"]  # embedding of the sentence, not normalised
    inverse_temperature: Float[Array, ""]  # learned, kept at 100 at most


class MatchingHeads(nn.Module):
    """Projects picture features and sentences to one space, where matching ones are near."""

    embedding_dim: int

    @nn.compact
    def __call__(self, features: Float[Array, "B F"], sentence: Float[Array, "B D"]) -> Matched:
        log_inverse_temperature = self.param("log_inverse_temperature", nn.initializers.constant(jnp.log(10.0)), ())
        return Matched(
            images=dense(self.embedding_dim, dtype=jnp.float32, name="images")(features),
            sentences=dense(self.embedding_dim, dtype=jnp.float32, name="sentences")(sentence),
            inverse_temperature=jnp.minimum(jnp.exp(log_inverse_temperature), 100.0),
        )
