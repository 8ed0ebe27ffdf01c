"""Whether a snapshot's weights are those of the networks that its configuration describes, before they are read."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from t2igan import config as config_lib
from t2igan import nets
from t2igan.config.untrusted import check_untrusted
from t2igan.data.seen import Seen
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.files import first_line
from t2igan.inference.pretrained.captions import ModelReader
from t2igan.inference.pretrained.opening import WEIGHTS, reader_of_snapshot
from t2igan.inference.pretrained.strangers import check_description
from t2igan.inference.snapshot import Snapshot
from t2igan.nets.init import NETWORKS, init_network

Shapes = dict[str, tuple[tuple[int, ...], str]]  # "generator/params/base/bias" -> shape, name of the type


def networks_of_stranger(snapshot: Snapshot, beside: Path | None, where: str) -> tuple[nets.Networks, Tokenizer]:
    """Returns the networks of a snapshot and what its text encoder reads with; nothing that it says is believed.

    Args:
      snapshot: the snapshot; of its weights only shapes and types are looked at.
      beside: the folder that it lies in, where a pretrained text encoder that it does not hold is looked for.
      where: what messages call it.

    Raises:
      UserError: its configuration, tokenizer or weights are none of t2igan, or do not fit each other.
    """
    check_untrusted(snapshot.config, where)
    config = config_lib.from_dict(snapshot.config)
    check_kinds(config)
    try:
        if snapshot.pretrained:
            check_description(snapshot.pretrained)
        Seen.from_json(snapshot.seen)
        tokenizer = reader_of_snapshot(snapshot, config.tokenizer.max_tokens, beside)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: what it says of captions cannot be read: {first_line(error)}") from error
    if tokenizer.max_tokens != config.tokenizer.max_tokens:
        raise UserError(
            f"{where}: its tokenizer makes {tokenizer.max_tokens:,} tokens of a caption, and its configuration says "
            f"config.tokenizer.max_tokens={config.tokenizer.max_tokens:,}"
        )
    for role in ("text", "generator"):
        nets.kind_of(config, role).check(config, nets.ROLES[role][0])
    try:
        networks = nets.build(config, tokenizer.vocab_size, tokenizer.pretrained)
        others = tuple(sorted(set(snapshot.params) & set(NETWORKS) - {"text", "generator", "space"}))
        expected, drawn = _expected(networks, tokenizer.row_shape, str(tokenizer.row_dtype), others)
        if isinstance(tokenizer, ModelReader) and WEIGHTS in snapshot.params:
            expected = expected | _of_language_model(tokenizer)
    except UserError:
        raise
    except Exception as error:  # of whatever kind Flax and JAX give to sizes that contradict each other
        raise UserError(
            f"{where}: its configuration describes no networks that can be built: {first_line(error)}"
        ) from error
    size_px, channels = config.data.image_size_px, config.data.channels
    if drawn != (size_px, size_px, channels):
        raise UserError(
            f"{where}: its generator draws {drawn}, and its configuration says {(size_px, size_px, channels)} "
            f"(height, width, channels)"
        )
    _compare(_shapes(snapshot.params), expected, where)
    return networks, tokenizer


def check_kinds(config: Any) -> None:
    """Raises `UserError`, with what to do about it, where a kind of network is not registered here."""
    for role in nets.ROLES:
        try:
            nets.kind_of(config, role)
        except UserError as error:
            raise UserError(
                f"{error}\nOne of your own is known once its file has run: --plugin=FILE on the command line, or an "
                f"import in Python"
            ) from error


@functools.lru_cache(maxsize=8)
def _expected(
    networks: nets.Networks, row_shape: tuple[int, ...], row_dtype: str, others: tuple[str, ...]
) -> tuple[Shapes, tuple[int, ...]]:
    """The shapes of all that draws, and of a picture; nothing is computed. Remembered for the latest few models."""

    def init(key: jax.Array) -> tuple[dict[str, Any], jax.Array]:
        tokens = jnp.ones((2, *row_shape), row_dtype)
        params: dict[str, Any] = {}
        text, params["text"] = networks.text_encoder.init_with_output(key, tokens)
        x, params["generator"] = networks.generator.init_with_output(key, jnp.zeros((2, networks.z_dim)), text)
        batch = {"tokens": tokens, "images": x, "text": text}
        for name in others + (("space",) if networks.space is not None else ()):
            params[name] = init_network(networks, name, key, batch)
        return params, networks.to_pixels(params, x)

    params, images = jax.eval_shape(init, jax.random.key(0))
    return _shapes(params), tuple(images.shape[1:])


def _of_language_model(reader: ModelReader) -> Shapes:
    """The shapes of a frozen language model's weights, which a snapshot holds as float16."""
    tokens = jax.ShapeDtypeStruct((2, reader.max_tokens), jnp.int32)
    mask = jax.ShapeDtypeStruct(tokens.shape, jnp.bool_)
    params = jax.eval_shape(reader.model.network.init, jax.random.key(0), tokens, mask)
    return {name: (shape, "float16") for name, (shape, _) in _shapes({WEIGHTS: params}).items()}


def _shapes(params: Mapping[str, Any]) -> Shapes:
    return {name: (tuple(x.shape), str(x.dtype)) for name, x in flatten_dict(params, sep="/").items()}


def _compare(found: Shapes, expected: Shapes, where: str) -> None:
    """Raises `UserError` that names the first array which is missing, too many, or of another shape or type."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise UserError(f"{where}: its configuration wants the weights {name!r}, which are missing")
        if name not in expected:
            raise UserError(f"{where}: it has weights {name[:80]!r}, which nothing in its configuration uses")
        (shape, dtype), (right_shape, right_dtype) = found[name], expected[name]
        if shape != right_shape or dtype not in (
            right_dtype,
            "float16",
        ):  # small snapshots are stored in half precision
            raise UserError(
                f"{where}: the weights {name!r} are {dtype} {list(shape)}, and its configuration wants {right_dtype} "
                f"{list(right_shape)}"
            )
