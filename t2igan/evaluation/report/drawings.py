"""What a report draws anew: captions, ways between two of them, and where the model reads which word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8, UInt32

from t2igan.inference.drawing import noise, to_bytes
from t2igan.inference.sample import Model
from t2igan.nets import Networks, Text


class Attention(NamedTuple):
    """A picture, and how much each of its places reads each word of its caption."""

    image: UInt8[np.ndarray, "H W C"]
    words: tuple[str, ...]
    weights: Float[np.ndarray, "W h w"]  # over the words and the marks of begin and end they sum to 1 at each place


def between_seeds(model: Model, caption: str, seeds: tuple[int, int], steps: int) -> UInt8[np.ndarray, "S H W C"]:
    """Returns pictures of one caption while the noise goes from one seed's to the other's, both ends included.

    The way is the great circle (Shoemake 1985), on which noise of many dimensions keeps its usual length.
    """
    shares = np.linspace(0, 1, steps, dtype=np.float32)
    tokens = model.tokenizer.encode([caption])
    ends = np.asarray(seeds, np.uint32)
    return np.asarray(_draw_between_seeds(model.networks, model.params, ends, tokens, shares))


def between_captions(model: Model, captions: tuple[str, str], seed: int, steps: int) -> UInt8[np.ndarray, "S H W C"]:
    """Returns pictures of one seed while the text goes from one caption's to the other's, both ends included."""
    shares = np.linspace(0, 1, steps, dtype=np.float32)
    tokens = model.tokenizer.encode(list(captions))
    seeds = np.asarray([seed], np.uint32)
    return np.asarray(_draw_between_captions(model.networks, model.params, seeds, tokens, shares))


def slerp(a: Float[Array, " Z"], b: Float[Array, " Z"], shares: Float[Array, " S"]) -> Float[Array, "S Z"]:
    """Returns the points of the great circle from `a` (share 0) to `b` (share 1); of a line where it has no length."""
    cosine = (a @ b) / jnp.maximum(jnp.linalg.norm(a) * jnp.linalg.norm(b), 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    sine = jnp.sin(angle)
    straight = sine < 1e-4
    sine = jnp.where(straight, 1.0, sine)
    of_a = jnp.where(straight, 1 - shares, jnp.sin((1 - shares) * angle) / sine)
    of_b = jnp.where(straight, shares, jnp.sin(shares * angle) / sine)
    return of_a[:, None] * a[None] + of_b[:, None] * b[None]


def mix_texts(first: Text, second: Text, shares: Float[Array, " S"]) -> Text:
    """Returns the texts on the way from `first` (share 0) to `second` (share 1), which they equal exactly.

    Sentence and words go along straight lines, word by word in order. Where one caption has no more words, the other's
    stand alone.
    """
    words_of_first = jnp.where(first.mask[..., None], first.words, second.words)
    words_of_second = jnp.where(second.mask[..., None], second.words, first.words)
    share = shares[:, None]
    masks = jnp.where(share == 0, first.mask, jnp.where(share == 1, second.mask, first.mask | second.mask))
    return Text(
        sentence=(1 - share) * first.sentence + share * second.sentence,
        words=(1 - share[..., None]) * words_of_first + share[..., None] * words_of_second,
        mask=masks,
    )


def attend(model: Model, caption: str, seed: int) -> Attention | None:
    """Returns where the model reads which word of a caption; None for one that reads the sentence only.

    The weights are the mean over the heads and layers of the largest map that reads words. Tokens of one word are
    added up.
    """
    tokens = model.tokenizer.encode([caption])
    seeds = np.asarray([seed], np.uint32)
    image, maps = _draw_attention(model.networks, model.params, seeds, tokens)
    if not maps:
        return None
    largest_px = max(weights.shape[1] for weights in maps)
    weights = np.mean([weights[0] for weights in maps if weights.shape[1] == largest_px], axis=0)
    words = model.tokenizer.words(caption)
    of_words = [weights[..., list(word.positions)].sum(-1) for word in words]
    return Attention(np.asarray(image[0]), tuple(word.text for word in words), np.stack(of_words))


def pictures_of(model: Model, captions: Sequence[str], seeds: Sequence[int]) -> UInt8[np.ndarray, "N H W C"]:
    """Returns a picture a caption and seed; no caption gives no picture, and long ones are cut, as in training."""
    if not captions:
        size, channels = model.config["data"]["image_size_px"], model.config["data"]["channels"]
        return np.zeros((0, size, size, channels), np.uint8)
    return model.sample(list(captions), list(seeds), cut_long=True)


@partial(jax.jit, static_argnums=0)
def _draw_between_seeds(
    networks: Networks,
    params: Any,
    seeds: UInt32[Array, " 2"],
    tokens: Shaped[Array, "1 ..."],
    shares: Float[Array, " S"],
) -> UInt8[Array, "S H W C"]:
    first, second = noise(seeds, networks.z_dim)
    text = networks.text_encoder.apply(params["text"], tokens)
    text = jax.tree.map(lambda x: jnp.repeat(x, len(shares), axis=0), text)
    drawn = networks.generator.apply(params["generator"], slerp(first, second, shares), text)
    return to_bytes(networks.to_pixels(params, drawn))


@partial(jax.jit, static_argnums=0)
def _draw_between_captions(
    networks: Networks,
    params: Any,
    seeds: UInt32[Array, " 1"],
    tokens: Shaped[Array, "2 ..."],
    shares: Float[Array, " S"],
) -> UInt8[Array, "S H W C"]:
    z = jnp.repeat(noise(seeds, networks.z_dim), len(shares), axis=0)
    both = networks.text_encoder.apply(params["text"], tokens)
    first, second = (jax.tree.map(lambda x, i=i: jnp.repeat(x[i][None], len(shares), axis=0), both) for i in (0, 1))
    drawn = networks.generator.apply(params["generator"], z, mix_texts(first, second, shares))
    return to_bytes(networks.to_pixels(params, drawn))


@partial(jax.jit, static_argnums=0)
def _draw_attention(networks: Networks, params: Any, seeds: UInt32[Array, " 1"], tokens: Shaped[Array, "1 ..."]):
    text = networks.text_encoder.apply(params["text"], tokens)
    z = noise(seeds, networks.z_dim)
    image, noted = networks.generator.apply(params["generator"], z, text, mutable="intermediates")
    # Linen returns nested dictionaries of tuples: a leaf is [1, h, w, T].
    return to_bytes(networks.to_pixels(params, image)), jax.tree.leaves(noted)
