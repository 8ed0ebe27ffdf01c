"""CLIP (Radford et al. 2021, arXiv:2103.00020): a picture tower and a text tower with one space.

Vision transformer and text transformer as Hugging Face's `CLIPModel` has them; sizes come from its `config.json`.
Modules have the names of the weights file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


@dataclasses.dataclass(frozen=True)
class TowerSizes:
    """The sizes of one transformer."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: str
    epsilon: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> TowerSizes:
        """Reads "text_config" or "vision_config"; ValueError for an activation that is not known."""
        activation = config.get("hidden_act", "quick_gelu")
        if activation not in ACTIVATIONS:
            raise ValueError(f"hidden_act={activation!r} is none of {', '.join(ACTIVATIONS)}")
        return cls(
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            mlp_width=config["intermediate_size"],
            activation=activation,
            epsilon=config.get("layer_norm_eps", 1e-5),
        )


class Attention(nn.Module):
    """Multi-head self-attention."""

    sizes: TowerSizes

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "T T"] | None) -> Float[Array, "B T D"]:
        s = self.sizes
        split = lambda y: y.reshape(*y.shape[:2], s.heads, s.width // s.heads)
        q, k, v = (split(nn.Dense(s.width, name=name)(x)) for name in ("q_proj", "k_proj", "v_proj"))
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) / (s.width // s.heads) ** 0.5
        if mask is not None:
            logits = jnp.where(mask[None, None], logits, -jnp.inf)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)
        return nn.Dense(s.width, name="out_proj")(mixed.reshape(x.shape))


class Layer(nn.Module):
    """Attention and MLP, each behind a normalisation and beside a shortcut."""

    sizes: TowerSizes

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "T T"] | None) -> Float[Array, "B T D"]:
        s = self.sizes
        x = x + Attention(s, name="self_attn")(nn.LayerNorm(s.epsilon, name="layer_norm1")(x), mask)
        y = nn.LayerNorm(s.epsilon, name="layer_norm2")(x)
        y = ACTIVATIONS[s.activation](nn.Dense(s.mlp_width, name="mlp_fc1")(y))
        return x + nn.Dense(s.width, name="mlp_fc2")(y)


class ImageTower(nn.Module):
    """Pictures of `size_px`, normalised as CLIP wants them, to their embedding, not of length one."""

    sizes: TowerSizes
    size_px: int
    patch_px: int
    embedding_dim: int

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B E"]:
        s, p = self.sizes, self.patch_px
        x = nn.Conv(s.width, (p, p), (p, p), padding="VALID", use_bias=False, name="patch_embedding")(images)
        x = x.reshape(len(x), -1, s.width)  # [B, patches, D]
        of_class = self.param("class_embedding", nn.initializers.normal(), (s.width,))
        x = jnp.concatenate([jnp.broadcast_to(of_class, (len(x), 1, s.width)), x], axis=1)
        x = x + self.param("position_embedding", nn.initializers.normal(), (x.shape[1], s.width))[None]
        x = nn.LayerNorm(s.epsilon, name="pre_layrnorm")(x)
        for i in range(s.layers):
            x = Layer(s, name=f"layers_{i}")(x, None)
        x = nn.LayerNorm(s.epsilon, name="post_layernorm")(x[:, 0])
        return nn.Dense(self.embedding_dim, use_bias=False, name="projection")(x)


class TextTower(nn.Module):
    """Token ids to the embedding of the caption, not of length one; what follows the first end token plays no part."""

    sizes: TowerSizes
    vocab_size: int
    max_tokens: int
    end_id: int
    embedding_dim: int

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B E"]:
        x = _text_layers(self, self.sizes, self.vocab_size, self.max_tokens, tokens)
        end = (tokens == self.end_id).argmax(1)
        x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
        return nn.Dense(self.embedding_dim, use_bias=False, name="projection")(x)


class TextWords(nn.Module):
    """The text tower without its projection: token ids to a vector a token; padding plays no part in what is before."""

    sizes: TowerSizes
    vocab_size: int
    max_tokens: int
    dtype: Any = jnp.float32  # for the interface; CLIP's layers compute in float32

    @nn.compact
    def __call__(self, ids: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, "B T W"]:  # noqa: ARG002
        return _text_layers(self, self.sizes, self.vocab_size, self.max_tokens, ids)


def _text_layers(module: nn.Module, s: TowerSizes, vocab_size: int, max_tokens: int, tokens: Array) -> Array:
    length = tokens.shape[1]
    table = module.param("token_embedding", nn.initializers.normal(), (vocab_size, s.width))
    positions = module.param("position_embedding", nn.initializers.normal(), (max_tokens, s.width))
    x = table[tokens] + positions[None, :length]
    causal = jnp.tril(jnp.ones((length, length), bool))
    for i in range(s.layers):
        x = Layer(s, name=f"layers_{i}")(x, causal)
    return nn.LayerNorm(s.epsilon, name="final_layer_norm")(x)


def build_clip(config: Mapping[str, Any], end_id: int) -> tuple[ImageTower, TextTower]:
    """Returns the towers that Hugging Face's `config.json` describes; ValueError for something that is missing."""
    try:
        text, vision = config["text_config"], config["vision_config"]
        image_tower = ImageTower(
            TowerSizes.of(vision), vision["image_size"], vision["patch_size"], config["projection_dim"]
        )
        text_tower = TextTower(
            TowerSizes.of(text), text["vocab_size"], text["max_position_embeddings"], end_id, config["projection_dim"]
        )
    except KeyError as error:
        raise ValueError(f"there is no {error.args[0]!r}") from error
    return image_tower, text_tower


def params_of_hugging_face(
    weights: Mapping[str, np.ndarray], image_tower: ImageTower, text_tower: TextTower
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the parameters of both towers from the tensors of `model.safetensors`; ValueError for missing ones."""
    images = jnp.zeros((1, image_tower.size_px, image_tower.size_px, 3), jnp.float32)
    of_images = jax.eval_shape(image_tower.init, jax.random.key(0), images)["params"]
    of_text = jax.eval_shape(text_tower.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    return (
        {"params": _fill(weights, of_images, "vision_model", "visual_projection")},
        {"params": _fill(weights, of_text, "text_model", "text_projection")},
    )


def words_of_hugging_face(weights: Mapping[str, np.ndarray], network: TextWords) -> dict[str, Any]:
    """Returns the parameters of a text tower from a whole CLIP's tensors or its own; ValueError for missing ones."""
    ones = jnp.ones((1, 2), jnp.int32)
    like = jax.eval_shape(network.init, jax.random.key(0), ones, ones > 0)["params"]
    if "embeddings.token_embedding.weight" in weights:
        weights = {f"text_model.{name}": array for name, array in weights.items()}
    return {"params": _fill(weights, like, "text_model", "")}


def _fill(weights: Mapping[str, np.ndarray], shapes: Mapping, tower: str, projection: str) -> dict[str, Any]:
    def name_of(path: tuple[str, ...]) -> str:
        module, leaf = path[0], path[-1]
        if module == "projection":
            return f"{projection}.weight"
        if module == "class_embedding":
            return f"{tower}.embeddings.class_embedding"
        if module in ("patch_embedding", "token_embedding", "position_embedding"):
            return f"{tower}.embeddings.{module}.weight"
        parts = ".".join(path[:-1]).replace("layers_", "encoder.layers.").replace("mlp_fc", "mlp.fc")
        return f"{tower}.{parts}.{'bias' if leaf == 'bias' else 'weight'}"

    def fill(tree: Mapping, path: tuple[str, ...]) -> dict[str, Any]:
        filled = {}
        for key, value in tree.items():
            if isinstance(value, Mapping):
                filled[key] = fill(value, (*path, key))
                continue
            name = name_of((*path, key))
            if name not in weights:
                raise ValueError(f"there is no {name!r}")
            array = np.asarray(weights[name], np.float32)
            if key == "kernel":  # torch has outputs first
                array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
            if array.shape != value.shape:
                raise ValueError(f"{name!r} has shape {array.shape}, not {value.shape}")
            filled[key] = array
        return filled

    return fill(shapes, ())
