"""BERT (Devlin et al. 2019, arXiv:1810.04805) and RoBERTa: captions to a vector a token.

As Hugging Face's `BertModel` and `RobertaModel` have them; MiniLM is a small BERT. The two differ in where positions
begin to count. Modules have the names of the weights file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from t2igan.nets.clip import ACTIVATIONS

ROBERTAS = ("roberta", "xlm-roberta", "camembert")
MODEL_TYPES = ("bert", *ROBERTAS)


@dataclasses.dataclass(frozen=True)
class BertSizes:
    """The sizes of a BERT."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    positions: int
    first_position: int  # 0; a RoBERTa's positions begin after that of the padding
    types: int
    activation: str
    epsilon: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BertSizes:
        """Reads Hugging Face's `config.json`; ValueError for what is missing or not known."""
        activation = config.get("hidden_act", "gelu")
        if activation not in ACTIVATIONS:
            raise ValueError(f"hidden_act={activation!r} is none of {', '.join(ACTIVATIONS)}")
        positions = config.get("position_embedding_type", "absolute")
        if positions != "absolute":
            raise ValueError(f"position_embedding_type={positions!r} is not 'absolute'")
        try:
            return cls(
                vocab_size=config["vocab_size"],
                width=config["hidden_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                mlp_width=config["intermediate_size"],
                positions=config["max_position_embeddings"],
                first_position=config.get("pad_token_id", 1) + 1 if config["model_type"] in ROBERTAS else 0,
                types=config.get("type_vocab_size", 2),
                activation=activation,
                epsilon=config.get("layer_norm_eps", 1e-12),
            )
        except KeyError as error:
            raise ValueError(f"there is no {error.args[0]!r}") from error

    @property
    def max_tokens(self) -> int:
        """The longest caption in tokens, marks of begin and end included."""
        return self.positions - self.first_position


class Bert(nn.Module):
    """Token ids of the model's own tokenizer to the last layer's vectors; padding is masked and may hold any id."""

    sizes: BertSizes
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, "B T W"]:
        s = self.sizes

        def table(name: str, rows: int) -> Array:
            return self.param(name, nn.initializers.normal(0.02), (rows, s.width))

        first = s.first_position
        x = table("word_embeddings", s.vocab_size)[ids] + table("token_type_embeddings", s.types)[0]
        x = x + table("position_embeddings", s.positions)[first : first + ids.shape[1]]
        x = self._norm("embeddings_norm")(x).astype(self.dtype)
        for i in range(s.layers):
            x = self._layer(x, mask, i)
        return x.astype(jnp.float32)

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(self.sizes.epsilon, dtype=self.dtype, use_fast_variance=False, name=name)

    def _layer(self, x: Float[Array, "B T W"], mask: Bool[Array, "B T"], i: int) -> Float[Array, "B T W"]:
        s = self.sizes
        dense = lambda width, name: nn.Dense(width, dtype=self.dtype, name=f"layer_{i}_{name}")
        q, k, v = (
            dense(s.width, name)(x).reshape(*x.shape[:2], s.heads, s.width // s.heads)
            for name in ("query", "key", "value")
        )
        attended = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])
        x = self._norm(f"layer_{i}_attention_norm")(x + dense(s.width, "attention_output")(attended.reshape(x.shape)))
        y = ACTIVATIONS[s.activation](dense(s.mlp_width, "intermediate")(x))
        return self._norm(f"layer_{i}_output_norm")(x + dense(s.width, "output")(y))


def params_of_hugging_face(weights: Mapping[str, np.ndarray], network: Bert) -> dict[str, Any]:
    """Returns the parameters from the tensors of `model.safetensors`, whatever head they came with.

    Raises:
      ValueError: a tensor is missing or of another shape.
    """
    ones = jnp.ones((1, 2), jnp.int32)
    like = jax.eval_shape(network.init, jax.random.key(0), ones, ones > 0)["params"]
    word_embeddings = "embeddings.word_embeddings.weight"
    prefix = next((name.removesuffix(word_embeddings) for name in weights if name.endswith(word_embeddings)), "")
    return {
        "params": {
            module: _read(weights, prefix + _name(module), value)
            if not isinstance(value, Mapping)
            else {leaf: _read(weights, f"{prefix}{_name(module)}.{_LEAVES[leaf]}", v) for leaf, v in value.items()}
            for module, value in like.items()
        }
    }


_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_LAYER_NAMES = {
    **{name: f"attention.self.{name}" for name in ("query", "key", "value")},
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def _name(module: str) -> str:
    if module.startswith("layer_"):
        _, number, name = module.split("_", 2)
        return f"encoder.layer.{number}.{_LAYER_NAMES[name]}"
    return "embeddings.LayerNorm" if module == "embeddings_norm" else f"embeddings.{module}.weight"


def _read(weights: Mapping[str, np.ndarray], name: str, like: Any) -> np.ndarray:
    # BERTs of TensorFlow's days say gamma and beta.
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    found = next((candidate for candidate in (name, old) if candidate in weights), None)
    if found is None:
        raise ValueError(f"there is no {name!r}")
    array = np.asarray(weights[found], np.float32)
    if array.ndim == 2 and "embeddings" not in name:  # torch has outputs first
        array = array.T
    if array.shape != like.shape:
        raise ValueError(f"{name!r} has shape {array.shape}, not {like.shape}")
    return array
