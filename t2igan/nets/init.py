"""Fresh parameters of a network by its name, from the shapes of a batch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from t2igan.nets.layers import Text

# What a network is called in states and snapshots, and in `Networks`.
NETWORKS = {
    "text": "text_encoder",
    "image": "image_encoder",
    "matching": "matching",
    "generator": "generator",
    "discriminator": "discriminator",
    "inverter": "inverter",
    "space": "space",
    "captioner": "captioner",
    "completer": "completer",
}


def init_network(networks: Any, name: str, key: jax.Array, batch: dict) -> Any:
    """Returns the parameters that a network starts with.

    Args:
      networks: a `t2igan.nets.Networks`.
      name: one of `NETWORKS`.
      key: of the initialiser.
      batch: "images" [N, h, w, c] of the game's space and "tokens" [N, ...], or their shapes; values do not count.
        "text" is what the text encoder makes of two captions, where that is at hand.
    """
    tokens = jnp.ones((2, *batch["tokens"].shape[1:]), batch["tokens"].dtype)
    images = jnp.zeros((2, *batch["images"].shape[1:]), jnp.float32)
    text = lambda: batch.get("text") or Text(*_zeros_like(_encode, networks, key, tokens))
    inputs = {
        "text": lambda: (tokens,),
        "image": lambda: (images,),
        "matching": lambda: (*_zeros_like(_see, networks, key, images), text().sentence),
        "generator": lambda: (jnp.zeros((2, networks.z_dim)), text()),
        "discriminator": lambda: (_judged(networks, images), text()),
        "inverter": lambda: (images, images[..., :1]),
        "captioner": lambda: (_zeros_like(_see, networks, key, images)[0], jnp.ones((2, 2), jnp.int32)),
        "completer": lambda: (jnp.zeros((2, networks.z_dim)), images, images[..., :1], text()),
        "space": lambda: (_pictures(networks.space),),
    }
    return getattr(networks, NETWORKS[name]).init(key, *inputs[name]())


def _judged(networks: Any, images: jax.Array) -> jax.Array:
    """What the discriminator sees of maps of the game's space."""
    if not networks.judges_pictures:
        return images
    num, height, width, _ = images.shape
    space = networks.space
    return jnp.zeros((num, height * space.factor, width * space.factor, space.image_channels))


def _pictures(space: Any) -> jax.Array:
    """Pictures as small as a space takes: its parameters do not depend on their size."""
    return jnp.zeros((1, space.factor, space.factor, space.image_channels))


def _encode(networks: Any, key: jax.Array, tokens: jax.Array) -> tuple[jax.Array, ...]:
    text, _ = networks.text_encoder.init_with_output(key, tokens)
    return text.sentence, text.words, text.mask


def _see(networks: Any, key: jax.Array, images: jax.Array) -> tuple[jax.Array, ...]:
    return (networks.image_encoder.init_with_output(key, images)[0],)


def _zeros_like(outputs: Callable, networks: Any, key: jax.Array, inputs: jax.Array) -> list[jax.Array]:
    like = jax.eval_shape(lambda key, inputs: outputs(networks, key, inputs), key, inputs)
    return [jnp.zeros(x.shape, x.dtype) for x in like]
