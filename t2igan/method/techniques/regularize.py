"""What keeps two players in balance: bounded weights, worst-case pictures, blurred and dropped captions.

All pure functions; each is the identity at its default. Losses and gradient penalties are in `t2igan.method.losses`,
random changes of pictures in `t2igan.method.techniques.augment`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.registry import Registry
from t2igan.nets import Text

Params = Any

# The discriminator's parameters -> the parameters with which it is applied.
NORMALISATIONS: Registry[Callable[[Params], Params]] = Registry("normalisation", key="discriminator.normalisation")
NORMALISATIONS.register("none", lambda params: params)

POWER_ITERATIONS = 16  # of W^T W, from a fixed start: within some 2 % of the norm for kernels as they occur here


@NORMALISATIONS.register("spectral")
def spectral_norm(params: Params) -> Params:
    """Divides each kernel by its spectral norm where that is above 1, so that no layer stretches anything.

    After Miyato et al. 2018, arXiv:1802.05957, with two differences. The power iteration starts anew at each call from
    a fixed vector, so that there is no state and the result is a function of the parameters alone; as in the paper its
    vectors count as constants in the gradient. And kernels that are below 1 stay as they are: here the last
    convolution of a residual block starts at zero.
    """
    return jax.tree_util.tree_map_with_path(lambda path, w: _bounded(w, spectral) if _is_kernel(path) else w, params)


@NORMALISATIONS.register("weight")
def weight_norm(params: Params) -> Params:
    """Scales the weights into each unit to length 1 where they are longer, after Salimans & Kingma 2016, 1602.07868."""
    return jax.tree_util.tree_map_with_path(lambda path, w: _bounded(w, lengths) if _is_kernel(path) else w, params)


def spectral(weights: Float[Array, "fan_in units"]) -> Float[Array, ""]:
    """Returns the largest singular value by power iteration."""
    fixed = jax.lax.stop_gradient(weights)
    start = jnp.cos(jnp.arange(weights.shape[1], dtype=weights.dtype))  # no singular vector is orthogonal to it

    def iterate(_, v):
        v = fixed.T @ (fixed @ v)
        return v * jax.lax.rsqrt((v**2).sum() + 1e-30)

    v = jax.lax.fori_loop(0, POWER_ITERATIONS, iterate, start)
    return jnp.sqrt(((weights @ v) ** 2).sum() + 1e-30)


def lengths(weights: Float[Array, "fan_in units"]) -> Float[Array, " units"]:
    """Returns the length of each column."""
    return jnp.sqrt((weights**2).sum(0) + 1e-30)


def attack(
    critic: Callable, loss: Callable, real, fake, text: Text, size: float, steps: int
) -> tuple[Float[Array, "B H W C"], Float[Array, "B H W C"]]:
    """Moves each picture within `size` of itself, a pixel's value at most, to where the discriminator errs most.

    One step is the fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572), several are projected gradient
    ascent (Madry et al. 2018, arXiv:1706.06083) with steps of 2 size / steps. No gradient flows through the search.

    Args:
      critic: (images, text) -> logits [B].
      loss: the discriminator's adversarial loss of (real, fake) logits, per sample.
      real: pictures in [-1, 1].
      fake: generated pictures of the same captions.
      text: their encoded captions.
      size: largest change of a value, in units of [-1, 1]; 2/255 is one level of 8 bits.
      steps: gradients to climb; 1 or more.
    """
    first = real, fake
    worst = jax.grad(lambda pictures: loss(critic(pictures[0], text), critic(pictures[1], text)).sum())

    stride, pictures = size if steps == 1 else 2 * size / steps, first
    for _ in range(steps):  # not a loop of XLA's, in which convolutions are many times slower on a CPU
        moved = jax.tree.map(lambda x, g: x + stride * jnp.sign(g), pictures, worst(pictures))
        pictures = jax.tree.map(lambda x, x0: jnp.clip(x, x0 - size, x0 + size), moved, first)
    return jax.lax.stop_gradient(pictures)


def blur_captions(key: jax.Array, text: Text, noise: float) -> Text:
    """Adds normal noise of a standard deviation to sentence vectors, which have unit variance.

    The generator then fills the space between the captions (after the conditioning augmentation of StackGAN, Zhang et
    al. 2017, arXiv:1612.03242).
    """
    if not noise:
        return text
    return text.replace(sentence=text.sentence + noise * jax.random.normal(key, text.sentence.shape))


def drop_captions(key: jax.Array, text: Text, probability: float, captioned: jax.Array | None = None) -> Text:
    """Replaces each caption by `no_caption` with a probability, so that one network also learns to draw without.

    `captioned` is 0 for texts that are no captions at all, which are replaced too; None = there are no such texts.
    """
    if captioned is not None:
        text = _without(text, captioned == 0)
    if not probability:
        return text
    return _without(text, jax.random.bernoulli(key, probability, (len(text.sentence),)))


def _without(text: Text, dropped: jax.Array) -> Text:
    pick = lambda x, y: jnp.where(dropped.reshape(-1, *[1] * (x.ndim - 1)), y, x)
    return jax.tree.map(pick, text, no_caption(text))


def no_caption(text: Text) -> Text:
    """Returns what stands for no caption, in the shapes of `text`: a sentence and one word of zeros."""
    first = jnp.broadcast_to(jnp.arange(text.mask.shape[1]) == 0, text.mask.shape)
    return Text(jnp.zeros_like(text.sentence), jnp.zeros_like(text.words), first)


def has_caption(text: Text) -> Float[Array, " B"]:
    """Returns 1 for a caption and 0 for `no_caption`."""
    return (text.sentence != 0).any(-1).astype(jnp.float32)


def _is_kernel(path) -> bool:
    return getattr(path[-1], "key", None) == "kernel"


def _bounded(weights, norm: Callable):
    """Weights of any rank, the units last, divided by `norm` of them as a matrix where that is above 1."""
    return weights / jnp.maximum(norm(weights.reshape(-1, weights.shape[-1])), 1.0)
