"""The first state of a smaller generator: that of the larger one without the channels that its pictures need least."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import config as config_lib
from t2igan import nets
from t2igan.errors import UserError
from t2igan.inference.sample import Model
from t2igan.nets.channels import ChannelGroup, chosen, gated, pruned

SMALLEST_SHARE = 0.1
NUM_LOOKED_AT = 192  # pictures by which channels are judged


class Student(NamedTuple):
    """A smaller generator.

    Attributes:
      module: its linen module.
      params: its parameters.
      changed: keys of the configuration's section "generator" that differ from the larger one's, and their values.
    """

    module: Any
    params: Any
    changed: dict[str, Any]


def check_share(share: float) -> None:
    """Raises `UserError` for a share of channels that nothing can be shrunk to."""
    if not (isinstance(share, int | float) and SMALLEST_SHARE <= share <= 1):
        raise UserError(
            f"shrink={share} must be a number from {SMALLEST_SHARE} to 1: the share of the generator's channels to keep"
        )


def narrower(model: Model, share: float) -> tuple[Any, dict[str, Any]]:
    """Returns the module of a generator with a share of a model's channels, and the keys of its section that changed.

    Raises:
      UserError: its kind of generator cannot be made narrower, or is as narrow as it can be.
    """
    config = config_lib.from_dict(model.config)
    kind = nets.kind_of(config, "generator")
    if kind.narrower is None:
        raise UserError(
            f"a generator of the kind {config.generator.kind!r} cannot be shrunk, for it does not say which channels "
            f"belong together; leave out --shrink, or register it with narrower=... (docs/extending.md)"
        )
    section = config.generator.to_dict()
    widths = kind.narrower.widths(section, share)
    changed = {key: value for key, value in widths.items() if value != _as(section[key], value)}
    if not changed:
        raise UserError(f"shrink={share} takes nothing away from a generator as narrow as this one; leave it out")
    with config.unlocked():
        config.generator.update(changed)
    networks = nets.build(config, model.tokenizer.vocab_size, model.tokenizer.pretrained)
    return networks.generator, changed


def pruned_student(model: Model, share: float, captions: Sequence[str], seed: int = 0) -> Student:
    """Returns a generator with a share of the channels of a model's: those to which its pictures are most sensitive.

    Args:
      model: the larger one.
      share: of its channels.
      captions: those it was trained with, to look at what it draws of them.
      seed: of what is drawn to choose by.
    """
    module, changed = narrower(model, share)
    groups = _groups(model)
    scores = sensitivities(model, groups, captions, seed)
    params = model.params["generator"]
    kept = chosen(scores, groups, [group.size for group in _groups(model, module)])
    return Student(module, pruned(params, groups, kept), changed)


def random_student(model: Model, share: float, seed: int = 0) -> Student:
    """Returns a generator of the same shape that has not learned anything, to compare with."""
    module, changed = narrower(model, share)
    tokens = jnp.asarray(model.tokenizer.encode(["a"] * 2))
    text = model.networks.text_encoder.apply(model.params["text"], tokens)
    z = jnp.zeros((2, model.networks.z_dim))
    return Student(module, jax.jit(module.init)(jax.random.key(seed), z, text), changed)


def sensitivities(
    model: Model, groups: Sequence[ChannelGroup], captions: Sequence[str], seed: int = 0
) -> list[np.ndarray]:
    """Returns how much pictures change, by first order, when a channel is taken away: float [C] of each group.

    With a gate g on whatever reads a channel, that is |dG/dg|^2, the mean over captions and noise. It is the term of
    lowest order in the error of distillation, |G without - G|^2, whose own gradient is zero at the larger model; Taylor
    criteria (Molchanov et al. 2019, arXiv:1906.10771) in the form of Fisher pruning (Theis et al. 2018,
    arXiv:1801.05787). The norm is estimated by random projections of the picture, one of each.
    """
    random = np.random.default_rng(seed)
    tokens = model.tokenizer.encode([captions[i] for i in random.integers(len(captions), size=NUM_LOOKED_AT)])
    keys = jax.random.split(jax.random.key(seed), NUM_LOOKED_AT)
    total = [jnp.zeros(group.size) for group in groups]
    # One picture at a time: gradients of single pictures of a batch would be grouped convolutions, slow on a CPU.
    for row, key in zip(tokens, keys, strict=True):
        total = jax.tree.map(jnp.add, total, _squared(model.networks, tuple(groups), model.params, row, key))
    return [np.asarray(of_group) / NUM_LOOKED_AT for of_group in total]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _squared(
    networks: nets.Networks, groups: tuple[ChannelGroup, ...], params: dict[str, Any], tokens: jax.Array, key: jax.Array
) -> list[jax.Array]:
    """The squares of the gates' gradients, of one caption, one noise and one random projection of the picture."""
    of_z, of_picture = jax.random.split(key)
    text = networks.text_encoder.apply(params["text"], tokens[None])
    z = jax.random.normal(of_z, (1, networks.z_dim))

    def projected(gates: list[jax.Array]) -> jax.Array:
        images = networks.generator.apply(gated(params["generator"], groups, gates), z, text)
        return (images * jax.random.normal(of_picture, images.shape)).sum()

    return jax.tree.map(jnp.square, jax.grad(projected)([jnp.ones(group.size) for group in groups]))


def _groups(model: Model, module: Any = None) -> list[ChannelGroup]:
    kind = nets.kind_of(config_lib.from_dict(model.config), "generator")
    return kind.narrower.groups(model.networks.generator if module is None else module)


def _as(value: Any, like: Any) -> Any:
    return type(like)(value)
