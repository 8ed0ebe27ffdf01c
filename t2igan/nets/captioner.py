"""Pictures to captions: a small decoder on the features of the image tower.

A captioner is applied as `apply(params, features, tokens)` with features float32 [B, F] of the image encoder and tokens
int32 [B, T], and returns logits float32 [B, T, V] of each next token. Its vocabulary is that of the run's tokenizer.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from t2igan.config.constraints import require_positive
from t2igan.errors import UserError
from t2igan.nets.kinds import CAPTIONERS, Common, NetworkKind
from t2igan.nets.layers import dense

RIDGE = 1e-3  # of the features' variances, so that their covariance can be inverted whatever the pictures


class Captioner(nn.Module):
    """A causal pre-norm Transformer; every layer is told the picture's features, which are one vector.

    Beside its weights it keeps "reference_mean" and "reference_second", the moments of the training pictures' features,
    by which `strangeness` tells what is unlike them. No gradient reaches these; the phase "caption" sets them.
    """

    vocab_size: int
    max_tokens: int
    width: int = 96
    layers: int = 2
    heads: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "B F"], tokens: Int[Array, "B T"]) -> Float[Array, "B T V"]:
        size = features.shape[-1]
        self.param("reference_mean", nn.initializers.zeros, (size,))
        self.param("reference_second", lambda _, shape: jnp.eye(*shape), (size, size))
        told = nn.LayerNorm(dtype=self.dtype)(features)
        x = nn.Embed(self.vocab_size, self.width, embedding_init=nn.initializers.normal(0.5), name="tokens")(tokens)
        x = x + self.param("positions", nn.initializers.normal(0.1), (self.max_tokens, self.width))[: tokens.shape[1]]
        x = x.astype(self.dtype)
        for layer in range(self.layers):
            x = x + dense(self.width, dtype=self.dtype, name=f"picture_{layer}")(told)[:, None]
            x = x + CausalAttention(self.heads, self.dtype, name=f"attention_{layer}")(self._norm()(x))
            h = jax.nn.gelu(dense(4 * self.width, dtype=self.dtype, name=f"in_{layer}")(self._norm()(x)))
            x = x + dense(self.width, scale=0.5, dtype=self.dtype, name=f"out_{layer}")(h)
        return dense(self.vocab_size, scale=0.1, dtype=self.dtype, name="logits")(self._norm()(x)).astype(jnp.float32)

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(dtype=self.dtype)


class CausalAttention(nn.Module):
    """Multi-head self-attention in which a token sees itself and those before it."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B T W"]) -> Float[Array, "B T W"]:
        batch, length, width = x.shape
        qkv = dense(3 * width, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.split(qkv.reshape(batch, length, self.heads, -1), 3, axis=-1)
        attended = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return dense(width, scale=0.5, dtype=self.dtype, name="out")(attended.reshape(batch, length, width))


def with_reference(params: Any, features: Float[Array, "B F"], batches: Float[Array, ""] | float) -> Any:
    """Returns a captioner's parameters whose moments count another batch of features.

    Args:
      params: of the captioner.
      features: of the batch.
      batches: how many were counted before.
    """
    own = dict(params["params"])
    toward = lambda old, new: old + (new - old) / (batches + 1)
    own["reference_mean"] = toward(own["reference_mean"], features.mean(0))
    own["reference_second"] = toward(own["reference_second"], features.T @ features / len(features))
    return dict(params) | {"params": own}


def strangeness(params: Any, features: Float[Array, "B F"]) -> Float[Array, " B"]:
    """Returns how unlike the training pictures others are: 1 on the average of these, more for others.

    The square of Mahalanobis' distance (1936) of the features from their mean, a dimension.
    """
    mean, second = params["params"]["reference_mean"], params["params"]["reference_second"]
    away = features - mean
    return (away * jnp.linalg.solve(covariance(mean, second), away.T).T).sum(-1) / len(mean)


def covariance(mean: Float[Array, " F"], second: Float[Array, "F F"]) -> Float[Array, "F F"]:
    """Returns the covariance of features with these moments, and so much on its diagonal that it has an inverse."""
    spread, size = second - jnp.outer(mean, mean), len(mean)
    return spread + RIDGE * jnp.trace(spread) / size * jnp.eye(size)


def _build(section: Any, common: Common) -> Captioner:
    return Captioner(
        vocab_size=common.caption_vocab_size or common.vocab_size,
        max_tokens=common.max_tokens,
        width=section.width,
        layers=section.layers,
        heads=section.heads,
        dtype=common.dtype,
    )


def _check(config: Any, section: str) -> None:
    require_positive(config, *(f"{section}.{key}" for key in ("width", "layers", "heads")))
    width, heads = config[section].width, config[section].heads
    if width % heads:
        raise UserError(f"config.{section}.width={width} must be divisible by config.{section}.heads={heads}")


CAPTIONERS.register("transformer", NetworkKind(_build, _check))
