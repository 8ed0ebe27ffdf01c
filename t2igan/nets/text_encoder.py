"""Captions to vectors: a small Transformer over token ids, or a bag of pairs of neighbours.

A text encoder is applied as `apply(params, tokens)` with tokens int32 [B, T], 0 = padding, and returns a
`t2igan.nets.layers.Text` whose sentence has `config.text_encoder.sentence_dim` numbers.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from t2igan.config.constraints import require_positive
from t2igan.errors import UserError
from t2igan.nets.kinds import TEXT_ENCODERS, Common, NetworkKind
from t2igan.nets.layers import Text, dense

PADDING = 0


class TextEncoder(nn.Module):
    """A pre-norm Transformer encoder whose sentence vector is pooled by learned queries.

    Several queries, because one average of the words mixes up which colour belongs to which thing.
    """

    vocab_size: int
    max_tokens: int
    width: int
    layers: int
    heads: int
    sentence_dim: int
    pooling_queries: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Text:
        mask = tokens != PADDING  # [B, T]
        x = nn.Embed(self.vocab_size, self.width, embedding_init=nn.initializers.normal(0.5), name="tokens")(tokens)
        x = x + self.param("positions", nn.initializers.normal(0.1), (self.max_tokens, self.width))[: tokens.shape[1]]
        x = x.astype(self.dtype)
        for _ in range(self.layers):
            x = x + SelfAttention(self.heads, self.dtype)(self._norm()(x), mask)
            h = dense(4 * self.width, dtype=self.dtype)(self._norm()(x))
            x = x + dense(self.width, scale=0.5, dtype=self.dtype)(jax.nn.gelu(h))
        words = self._norm()(x)  # [B, T, width]

        queries = dense(self.pooling_queries, dtype=self.dtype, name="pooling")(words)  # [B, T, Q]
        queries = jnp.where(mask[..., None], queries, -1e9)
        pooled = jnp.einsum("btq,btw->bqw", jax.nn.softmax(queries, axis=1), words)
        pooled = pooled.reshape(
            tokens.shape[0], -1
        )  # [B, Q * width]; `len` wants a number, and in an export there is none
        sentence = dense(self.sentence_dim, dtype=self.dtype, name="sentence")(pooled)
        # A frozen encoder has to hand the generator unit-variance input whatever its training left behind.
        sentence = nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32)(sentence)
        return Text(sentence, words.astype(jnp.float32), mask)

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(dtype=self.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention over the tokens that are not padding."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B T W"], mask) -> Float[Array, "B T W"]:
        batch, length, width = x.shape
        qkv = dense(3 * width, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.split(qkv.reshape(batch, length, self.heads, -1), 3, axis=-1)
        attended = jax.nn.dot_product_attention(query, key, value, mask=mask[:, None, None, :])
        return dense(width, scale=0.5, dtype=self.dtype, name="out")(attended.reshape(batch, length, width))


class BagOfPairs(nn.Module):
    """A bag of pairs of neighbouring tokens: of use as it is drawn at random, where captions are all that may be read.

    Each pair (token before, token) has a random direction of its own, and the sentence is their sum over the caption,
    so that captions differ by the pairs that they do not share.
    """

    vocab_size: int
    width: int
    sentence_dim: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Text:
        mask = tokens != PADDING  # [B, T]
        x = nn.Embed(self.vocab_size, self.width, embedding_init=nn.initializers.normal(1.0), name="tokens")(tokens)
        x = x.astype(self.dtype)
        before = jnp.pad(x, [(0, 0), (1, 0), (0, 0)])[:, :-1]
        words = jnp.tanh(dense(self.width, dtype=self.dtype, name="pairs")(jnp.concatenate([before, x], axis=-1)))
        words = jnp.where(mask[..., None], words, 0)
        sentence = dense(self.sentence_dim, dtype=self.dtype, name="sentence")(words.sum(1))
        sentence = nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32)(sentence)
        return Text(sentence, words.astype(jnp.float32), mask)


def _build_bag(section: Any, common: Common) -> BagOfPairs:
    return BagOfPairs(common.vocab_size, section.width, section.sentence_dim, common.dtype)


def _check_bag(config: Any, section: str) -> None:
    require_positive(config, f"{section}.width", f"{section}.sentence_dim")


def _build(section: Any, common: Common) -> TextEncoder:
    return TextEncoder(
        vocab_size=common.vocab_size,
        max_tokens=common.max_tokens,
        width=section.width,
        layers=section.layers,
        heads=section.heads,
        sentence_dim=section.sentence_dim,
        pooling_queries=section.pooling_queries,
        dtype=common.dtype,
    )


def _check(config: Any, section: str) -> None:
    keys = ("width", "layers", "heads", "pooling_queries", "sentence_dim")
    require_positive(config, *(f"{section}.{key}" for key in keys))
    width, heads = config[section].width, config[section].heads
    if width % heads:
        raise UserError(f"config.{section}.width={width} must be divisible by config.{section}.heads={heads}")


TEXT_ENCODERS.register("transformer", NetworkKind(_build, _check))
TEXT_ENCODERS.register("bag", NetworkKind(_build_bag, _check_bag))
