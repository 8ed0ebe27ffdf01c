"""Losses by which pictures and captions that belong together find each other, per pair and float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def contrastive(
    images: Float[Array, "B D"], sentences: Float[Array, "B D"], inverse_temperature: float | Float[Array, ""]
) -> Float[Array, " B"]:
    """The symmetric contrastive loss of matching pairs (CLIP, Radford et al. 2021, arXiv:2103.00020), per pair.

    Each row of `images` matches the same row of `sentences` and no other; both are normalised here.
    """
    logits = inverse_temperature * normalize(images) @ normalize(sentences).T
    matching = jnp.diagonal(logits)
    image_to_text = jax.nn.logsumexp(logits, axis=1) - matching
    text_to_image = jax.nn.logsumexp(logits, axis=0) - matching
    return (image_to_text + text_to_image) / 2


def angular_distance(a: Float[Array, "B F"], b: Float[Array, "B F"]) -> Float[Array, " B"]:
    """One minus the cosine of the angle between two vectors, from 0 to 2; the zero vector is at 1 from all.

    Between the embeddings of a generated picture and of its caption it measures the cycle text -> picture -> text
    (after CycleGAN, Zhu et al. 2017, arXiv:1703.10593); unlike `contrastive` it does not look at other pairs.
    """
    return 1 - (normalize(a) * normalize(b)).sum(-1)


def normalize(x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """Vectors of length one; the zero vector stays zero, with finite gradient."""
    return x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-12)
