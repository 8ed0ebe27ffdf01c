"""What the phases around the game have in common: what their steps know, their state, and its one update."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from t2igan.method.optim.schedules import learning_rate
from t2igan.nets import Networks
from t2igan.nets.init import init_network
from t2igan.step import Metrics, Params


@dataclasses.dataclass(frozen=True)
class PhaseMethod:
    """What every such phase's step needs to know and never changes; each phase adds its own, and a `create`."""

    networks: Networks
    seed: int
    optimizer: optax.GradientTransformation
    rate: Callable  # step -> learning rate

    @classmethod
    def of(
        cls, config, section, networks: Networks, total_steps: int, optimizer: Callable = optax.adam, **own: Any
    ) -> Any:
        """Reads what a phase's section of the configuration has in common with the others'.

        Args:
          config: the whole configuration.
          section: the phase's.
          networks: the networks.
          total_steps: length of the phase.
          optimizer: (learning rate, b2=) -> optimizer.
          **own: the fields that the phase adds.
        """
        rate = learning_rate(section, total_steps)
        return cls(networks=networks, seed=config.seed, optimizer=optimizer(rate, b2=section.beta2), rate=rate, **own)


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


def descend(method: PhaseMethod, state: Any, loss_fn: Callable, of: tuple[str, ...]) -> tuple[Any, Metrics]:
    """One update of all of `state.params` down a loss; returns the next state and float32 scalars.

    Args:
      method: the phase's.
      state: has `step`, `params` and `opt_state`.
      loss_fn: params -> (mean loss, metrics by name, of which the mean is taken).
      of: networks whose gradients' norms are among the metrics; the learning rate goes by the first.
    """
    grads, metrics = jax.grad(loss_fn, has_aux=True)(state.params)
    metrics = {name: value.mean() for name, value in metrics.items()}
    metrics |= {f"gradient_norm/{name}": optax.tree.norm(grads[name]) for name in of}
    metrics[f"learning_rate/{of[0]}"] = jnp.asarray(method.rate(state.step), jnp.float32)
    updates, opt_state = method.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics
