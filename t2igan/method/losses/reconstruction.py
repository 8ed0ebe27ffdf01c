"""How well a decoded picture reproduces the original: the loss of the phase `autoencoder`, per picture.

    mean |e| + gradient_weight * (mean |e_{y+1} - e_y| + mean |e_{x+1} - e_x|)
             + squared_weight * mean e^2
             + perceptual_weight * mean over layers |F(x) - F(x')|^2,   e = x' - x

The second term is the L1 norm of the error's finite differences: flat areas stay flat and edges sharp, where squared
errors alone blur them. The third counts what is far off for more than its share of pixels, such as a mouth that is six
pixels wide. The fourth wants features F of a network that knows pictures; without one it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

# Pictures in [-1, 1] -> maps of features, [B, h, w, F] each; whoever has a network that knows pictures gives one.
Features = Callable[[Float[Array, "B H W C"]], Sequence[Float[Array, "B _ _ _"]]]


def reconstruction_loss(
    images: Float[Array, "B H W C"],
    decoded: Float[Array, "B H W C"],
    gradient_weight: float,
    features: Features | None = None,
    perceptual_weight: float = 0.0,
    squared_weight: float = 0.0,
) -> tuple[Float[Array, " B"], dict[str, Float[Array, " B"]]]:
    """Returns the loss of each picture, and its terms by name.

    Args:
      images: originals, in [-1, 1].
      decoded: what they became.
      gradient_weight: of the finite differences.
      features: of the perceptual term; None leaves it out.
      perceptual_weight: of that term; 0 leaves it out.
      squared_weight: of the squared error; 0 leaves it out.
    """
    error = decoded - images
    terms = {"loss/l1": jnp.abs(error).mean((1, 2, 3)), "loss/gradient": gradient_l1(error)}
    loss = terms["loss/l1"] + gradient_weight * terms["loss/gradient"]
    if squared_weight:
        terms["loss/squared"] = (error**2).mean((1, 2, 3))
        loss = loss + squared_weight * terms["loss/squared"]
    if features is not None and perceptual_weight:
        terms["loss/perceptual"] = feature_distance(features(images), features(decoded))
        loss = loss + perceptual_weight * terms["loss/perceptual"]
    return loss, terms


def gradient_l1(error: Float[Array, "B H W C"]) -> Float[Array, " B"]:
    """Mean absolute difference of neighbours, below each other and beside each other, added."""
    down = jnp.abs(error[:, 1:] - error[:, :-1]).mean((1, 2, 3))
    across = jnp.abs(error[:, :, 1:] - error[:, :, :-1]).mean((1, 2, 3))
    return down + across


def feature_distance(a: Sequence[Float[Array, "B _ _ _"]], b: Sequence[Float[Array, "B _ _ _"]]) -> Float[Array, " B"]:
    """Mean squared distance of feature maps whose vectors have length one, averaged over the maps (LPIPS without its
    learned weights: Zhang et al. 2018, arXiv:1801.03924)."""

    def unit(x):
        return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-8)

    distances = [((unit(x) - unit(y)) ** 2).sum(-1).mean((1, 2)) for x, y in zip(a, b, strict=True)]
    return sum(distances) / len(distances)


def psnr(images: Float[Array, "B H W C"], decoded: Float[Array, "B H W C"]) -> Float[Array, ""]:
    """Peak signal-to-noise ratio of a set of pictures in [-1, 1], in dB: 10 log10(4 / mean squared error)."""
    return 10 * jnp.log10(4 / jnp.maximum(((jnp.clip(decoded, -1, 1) - images) ** 2).mean(), 1e-12))
