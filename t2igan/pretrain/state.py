"""The state of a phase that trains some networks and uses others."""

from __future__ import annotations

import zlib
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from t2igan.nets import Networks
from t2igan.nets.init import init_network
from t2igan.step import Params


@flax.struct.dataclass
class PhaseState:
    """All that the future of the phase depends on; `params` and `frozen` are keyed by network."""

    step: Any  # int32 []
    params: Any  # of the networks that the phase trains
    opt_state: Any
    frozen: Any  # of the others that there are: used, or only kept for later phases


def init_phase_state(
    networks: Networks,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    batch: dict,
    given: dict[str, Params] | None,
    trained: tuple[str, ...],
    used: tuple[str, ...] = (),
) -> PhaseState:
    """Returns the first state: networks in `given` as they are there, of the rest the needed ones fresh.

    Args:
      networks: the networks.
      optimizer: of all trained networks together.
      key: of fresh parameters.
      batch: a batch, or its shapes.
      given: parameters by network, as earlier phases left them.
      trained: names of the networks that the phase trains.
      used: names of those that it only uses.
    """
    params = dict(given or {})
    for name in (*trained, *used):
        if name not in params:
            params[name] = init_network(networks, name, jax.random.fold_in(key, zlib.crc32(name.encode())), batch)
    moving = {name: params.pop(name) for name in trained}
    return PhaseState(jnp.zeros((), jnp.int32), moving, optimizer.init(moving), params)
