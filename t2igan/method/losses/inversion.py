"""From a picture back to the noise that draws it: what the inverter and the generator minimise together.

The inverter E sees a picture, or what is left visible of it, and says which noise z would have drawn it: a normal
distribution. The generator draws that noise, and the two are taught to reproduce the whole picture:

    mean |x - G(z)|^2 + perceptual_weight * distance(F(x), F(G(z))) + prior_weight * KL(E(x) || N(0, 1)) / Z

which is a variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) whose decoder is the generator. The last
term keeps z where the noise of training lies, so that the generator can be asked for both.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.method.losses import angular_distance
from t2igan.nets import Networks, Text
from t2igan.nets.inverter import Inverted


@dataclasses.dataclass(frozen=True)
class InversionWeights:
    """The weights of the terms beside the squared error, which has 1."""

    perceptual: float  # of the distance in the features of the text phase's image tower
    prior: float  # of the divergence from N(0, 1), per dimension of z

    @classmethod
    def of(cls, config) -> InversionWeights:
        """Reads `config.inverter`."""
        return cls(perceptual=config.inverter.perceptual_weight, prior=config.inverter.prior_weight)


def inversion_loss(
    networks: Networks,
    params: dict[str, Any],
    images: Float[Array, "B H W C"],
    visible: Float[Array, "B H W 1"],
    text: Text,
    key: jax.Array,
    weights: InversionWeights,
) -> tuple[Float[Array, " B"], dict[str, Float[Array, " B"]]]:
    """Returns the loss of reproducing pictures from what is visible of them, and its terms; per picture.

    Args:
      networks: of which generator, inverter and, where `params` has an "image", the image tower are used.
      params: by network.
      images: in [-1, 1].
      visible: 1 where the inverter may look, 0 elsewhere; the whole picture is to be reproduced.
      text: the encoded captions.
      key: of the noise by which z is drawn from its distribution.
      weights: of the terms.
    """
    inverted = networks.inverter.apply(params["inverter"], images, visible)
    noise = jax.random.normal(key, inverted.mean.shape)
    drawn = networks.generator.apply(params["generator"], inverted.mean + jnp.exp(inverted.log_std) * noise, text)
    terms = {
        "loss/reconstruction": ((drawn - images) ** 2).mean((1, 2, 3)),
        "loss/prior": divergence_from_normal(inverted),
    }
    loss = terms["loss/reconstruction"] + weights.prior * terms["loss/prior"]
    if weights.perceptual and "image" in params:
        features = lambda x: networks.image_encoder.apply(params["image"], x)
        terms["loss/perceptual"] = angular_distance(features(images), features(drawn))
        loss = loss + weights.perceptual * terms["loss/perceptual"]
    return loss, terms


def divergence_from_normal(inverted: Inverted) -> Float[Array, " B"]:
    """KL(N(mean, std^2) || N(0, 1)) in nats, the mean over the dimensions of z."""
    variance = jnp.exp(2 * inverted.log_std)
    return ((inverted.mean**2 + variance - 1) / 2 - inverted.log_std).mean(-1)


def complete(
    networks: Networks,
    params: dict[str, Any],
    images: Float[Array, "B H W C"],
    visible: Float[Array, "B H W 1"],
    text: Text,
    keep_visible: bool = True,
) -> Float[Array, "B H W C"]:
    """Returns pictures whose hidden places are drawn anew from what is visible and said; visible places are kept,
    or, without `keep_visible`, drawn too.

    The noise is the middle of what the inverter thinks likely, so that the same input gives the same picture.
    """
    z = networks.inverter.apply(params["inverter"], images, visible).mean
    drawn = networks.generator.apply(params["generator"], z, text)
    return visible * images + (1 - visible) * drawn if keep_visible else drawn
