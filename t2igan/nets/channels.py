"""Channels of a generator that belong together, so that some of them can be taken away everywhere at once.

A channel is written by some layers and read by others; it is gone when no layer reads it any more. A kind of generator
that can be made narrower registers two functions (`Narrower`): the widths that its section has at a share of what it
had, and the groups of channels of a module that was built from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int

SMALLEST = 12  # widths from here on become multiples of 8, which vectors of processors like
MULTIPLE = 8


@dataclasses.dataclass(frozen=True)
class Use:
    """Where channels lie in an array of parameters.

    Attributes:
      path: of the array below "params", "Conv_0/kernel".
      axis: that the channels are on.
      times: how often all channels come one after another on that axis: once a place of a map, or as scales and shifts.
    """

    path: str
    axis: int
    times: int = 1


@dataclasses.dataclass(frozen=True)
class ChannelGroup:
    """Channels that are taken away together, from all layers that write or read them.

    Attributes:
      name: for messages.
      size: how many there are.
      written: parameters that make the channels.
      read: parameters that use them; without these there is no channel.
      heads: equally many are kept of each head's, which lie one head after another.
      dot: arrays (of `written`) that are scaled so that a product over the channels keeps its size when divided by
        the root of how many there are: queries.
    """

    name: str
    size: int
    written: tuple[Use, ...]
    read: tuple[Use, ...]
    heads: int = 1
    dot: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Narrower:
    """How generators of a kind become narrower.

    Attributes:
      widths: (the section, share of the channels to keep) -> the keys of the section that change, and their values.
      groups: (a module of this kind) -> its groups of channels, in an order that does not depend on widths.
    """

    widths: Callable[[Mapping[str, Any], float], dict[str, Any]]
    groups: Callable[[Any], list[ChannelGroup]]


def output_of(name: str, bias: bool = True, times: int = 1) -> tuple[Use, ...]:
    """Returns where a layer writes its outputs; convolutions too, for channels of outputs are always last."""
    return (Use(f"{name}/kernel", -1, times), *((Use(f"{name}/bias", 0, times),) if bias else ()))


def input_of(name: str) -> Use:
    """Returns where a layer reads its inputs."""
    return Use(f"{name}/kernel", -2)


def narrowed(channels: int, share: float, multiple: int = 1) -> int:
    """Returns a width near to `share` of so many channels: a multiple of `multiple`, and of 8 if not tiny."""
    wanted = share * channels
    step = math.lcm(multiple, MULTIPLE if wanted >= SMALLEST else 2)
    step = step if step <= wanted else multiple
    return min(channels, max(1, round(wanted / step)) * step)


def gated(params: Mapping[str, Any], groups: Sequence[ChannelGroup], gates: Sequence[Float[Array, " _"]]) -> dict:
    """Returns parameters that read each channel times its gate: 1 = as it is, 0 = not at all."""
    flat = _flat(params)
    for group, gate in zip(groups, gates, strict=True):
        for use in group.read:
            array = flat[use.path]
            shape = [1] * array.ndim
            shape[use.axis] = -1
            flat[use.path] = array * jnp.tile(gate, use.times).reshape(shape)
    return _nested(flat)


def chosen(scores: Sequence[np.ndarray], groups: Sequence[ChannelGroup], sizes: Sequence[int]) -> list[np.ndarray]:
    """Returns the channels of each group with the highest scores, in their order; equally many a head."""
    kept = []
    for score, group, size in zip(scores, groups, sizes, strict=True):
        per_head = np.asarray(score).reshape(group.heads, -1)
        best = np.sort(np.argsort(-per_head, axis=1, kind="stable")[:, : size // group.heads], axis=1)
        kept.append((best + per_head.shape[1] * np.arange(group.heads)[:, None]).ravel())
    return kept


def pruned(
    params: Mapping[str, Any], groups: Sequence[ChannelGroup], kept: Sequence[Int[np.ndarray, " _"]]
) -> dict[str, Any]:
    """Returns parameters with the channels `kept` of each group alone."""
    flat = _flat(params)
    for group, channels in zip(groups, kept, strict=True):
        places = lambda times, size=group.size, channels=channels: np.concatenate(
            [size * time + channels for time in range(times)]
        )
        for use in (*group.written, *group.read):
            flat[use.path] = jnp.take(flat[use.path], places(use.times), axis=use.axis)
        for path in group.dot:
            flat[path] = flat[path] * (len(channels) / group.size) ** 0.5
    return _nested(flat)


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    return dict(flatten_dict(params["params"], sep="/"))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {"params": unflatten_dict(dict(flat), sep="/")}
