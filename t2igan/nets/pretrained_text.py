"""Text encoders on a pretrained language model: captions to `Text`, as `TextEncoder` makes it of token ids.

"frozen": the language model's vectors are made once, outside, and only a small head is trained; "tuned": the model is
part of the network, and all of it is trained. Both end in the same head.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from t2igan.errors import UserError
from t2igan.nets.kinds import TEXT_ENCODERS, Common, NetworkKind
from t2igan.nets.layers import Text, dense

FROZEN, TUNED = "frozen", "tuned"
POOLINGS = ("mean", "first", "last")  # over all words; the mark of begin; the mark of end
HIDDEN = 256  # of the sentence's nonlinear part
LANGUAGE_MODEL = "language_model"  # the pretrained part of `TunedText`'s parameters


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A pretrained network as a text encoder takes it: (ids [B, T], mask [B, T]) -> vectors [B, T, W]."""

    network: nn.Module
    pooling: str  # one of `POOLINGS`: how its sentence vector was learned
    mode: str  # "frozen" or "tuned"


class TextHead(nn.Module):
    """A language model's vectors to words of `width` and a sentence of unit variance.

    The sentence is a linear and a small nonlinear function of the model's own sentence vector, and learned queries over
    the words, which keep apart what belongs to which thing.
    """

    width: int
    sentence_dim: int
    pooling_queries: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, sentence: Float[Array, "B W"], words: Float[Array, "B T W"], mask: Bool[Array, "B T"]) -> Text:
        layer = lambda features, name: dense(features, dtype=self.dtype, name=name)
        sentence, words = sentence.astype(self.dtype), words.astype(self.dtype)
        words = nn.LayerNorm(dtype=self.dtype, name="words_norm")(layer(self.width, "words")(words))
        queries = jnp.where(mask[..., None], layer(self.pooling_queries, "pooling")(words), -1e9)  # [B, T, Q]
        pooled = jnp.einsum("btq,btw->bqw", jax.nn.softmax(queries, axis=1), words).reshape(words.shape[0], -1)
        hidden = jax.nn.gelu(layer(HIDDEN, "hidden")(sentence))
        parts = {"of_sentence": sentence, "of_hidden": hidden, "of_words": pooled}
        y = sum(layer(self.sentence_dim, name)(x) for name, x in parts.items())
        y = nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32)(y)
        return Text(y, words.astype(jnp.float32), mask)


class FrozenText(nn.Module):
    """A caption's vectors, made before, to `Text`.

    They are one array a caption, float16 [1 + T, W]: the sentence vector, then the words; zeros where there is none.
    """

    width: int
    sentence_dim: int
    pooling_queries: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, vectors: Float[Array, "B R W"]) -> Text:
        sentence, words = vectors[:, 0], vectors[:, 1:]
        head = TextHead(self.width, self.sentence_dim, self.pooling_queries, self.dtype, name="head")
        return head(sentence, words, (words != 0).any(-1))


class TunedText(nn.Module):
    """Token ids, of the language model's own tokenizer plus one (0 is padding), to `Text`."""

    model: LanguageModel
    width: int
    sentence_dim: int
    pooling_queries: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Text:
        mask = tokens > 0
        network = self.model.network.clone(dtype=self.dtype, name=LANGUAGE_MODEL, parent=self)
        words = network(jnp.maximum(tokens - 1, 0), mask)
        sentence = pool(words, mask, self.model.pooling)
        head = TextHead(self.width, self.sentence_dim, self.pooling_queries, self.dtype, name="head")
        return head(sentence, words, mask)


def pool(words: Float[Array, "B T W"], mask: Bool[Array, "B T"], pooling: str) -> Float[Array, "B W"]:
    """Returns a language model's sentence vector, scaled to a mean square of one, from its words."""
    if pooling == "mean":
        sentence = jnp.where(mask[..., None], words, 0).sum(1) / jnp.maximum(mask.sum(1, keepdims=True), 1)
    elif pooling == "first":
        sentence = words[:, 0]
    else:
        last = jnp.maximum(mask.sum(1) - 1, 0)
        sentence = jnp.take_along_axis(words, last[:, None, None], axis=1)[:, 0]
    return sentence * jax.lax.rsqrt((sentence**2).mean(-1, keepdims=True) + 1e-12)


def _build(section: Any, common: Common) -> FrozenText | TunedText:
    sizes = (section.width, section.sentence_dim, section.pooling_queries, common.dtype)
    return FrozenText(*sizes) if common.pretrained.mode == FROZEN else TunedText(common.pretrained, *sizes)


def _check(config: Any, section: str) -> None:
    if not config[section].pretrained:
        raise UserError(
            f"config.{section}.kind='pretrained' is what config.{section}.pretrained brings about; set that to "
            f"a model, such as 'minilm' (docs/pretrained.md), and leave the kind as it is"
        )


TEXT_ENCODERS.register("pretrained", NetworkKind(_build, _check))
