"""Progressive growing: small pictures first, then twice as large, each new size faded in (Karras et al. 2018).

Both networks have their parameters for all sizes from the start. In a stage only the levels up to its size are
computed: the generator's picture is the sum of what each level adds, enlarged to full size, and the discriminator looks
at any picture reduced to the stage's size. So losses, penalties and data are those of full-sized pictures. A new level
of the generator adds nothing at first, so that the whole generator draws at any time what its levels have learned.

Karras et al. 2018 is arXiv:1710.10196; the sum over levels is StyleGAN2's (Karras et al. 2020, arXiv:1912.04958).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Growth:
    """When each stage begins, in steps, and for how many steps its size fades in. No stage: pictures never grow."""

    starts: tuple[int, ...] = ()
    fade_steps: int = 1

    @classmethod
    def create(cls, levels: int, total_steps: int, share: float, fade_share: float) -> Growth:
        """Stages of equal length up to `share` of all steps, then the last; `fade_share` of each fades in."""
        if not share or levels < 2:
            return cls()
        length = max(round(share * total_steps / (levels - 1)), 1)
        return cls(tuple(length * stage for stage in range(levels)), max(round(fade_share * length), 1))

    @classmethod
    def of(cls, config, total_steps: int) -> Growth:
        """Reads `config.train` for an adversarial phase of `total_steps` steps."""
        levels = len(config.generator.channels)
        return cls.create(levels, total_steps, config.train.grow_share, config.train.fade_share)

    @property
    def whole_from(self) -> int:
        """The number of steps after which full size has faded in."""
        return self.starts[-1] + self.fade_steps if self.starts else 0

    def stage(self, step: jax.Array) -> jax.Array:
        """Returns the number of the stage, int32 []: 0 draws the smallest pictures."""
        return (jnp.asarray(self.starts) <= step).sum() - 1

    def fade(self, stage: int, step: jax.Array) -> jax.Array:
        """Returns how far the stage's size has faded in, from above 0 to 1."""
        if not stage:
            return jnp.float32(1)
        return jnp.clip((step + 1 - self.starts[stage]) / self.fade_steps, 0, 1).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Grown:
    """A network that has grown to a stage, to be applied like the network itself."""

    network: Any
    stage: int
    fade: jax.Array

    def apply(self, params: Any, first: jax.Array, text: Any, **settings: Any) -> jax.Array:
        """As `network.apply`, up to the stage."""
        return self.network.apply(params, first, text, grown=(self.stage, self.fade), **settings)


def by_stage(step_function: Callable, method: Any, state: Any, batch: dict, stage: int | None = None) -> Any:
    """Runs `step_function(method, state, batch)` with networks grown to a stage.

    Where it is not said which, it is that of `state.step`: all are in one compiled program then, of which one runs.
    The optimizers begin anew with each stage: what has had no gradient before would otherwise take far too large steps.
    """

    def at(stage: int) -> Callable:
        def run(state, batch):
            fade = method.growth.fade(stage, state.step)
            if stage:
                begins = state.step == method.growth.starts[stage]
                fresh = {name: method.optimizer(0.0, 0).init(state.params[name]) for name in state.opt_state}
                opt_state = jax.tree.map(lambda new, old: jnp.where(begins, new, old), fresh, state.opt_state)
                state = state.replace(opt_state=opt_state)
            networks = method.networks
            grown = networks._replace(
                generator=Grown(networks.generator, stage, fade),
                discriminator=Grown(networks.discriminator, stage, fade),
            )
            return step_function(dataclasses.replace(method, networks=grown), state, batch)

        return run

    if stage is not None:
        return at(stage)(state, batch)
    stages = range(len(method.growth.starts))
    return jax.lax.switch(method.growth.stage(state.step), [at(stage) for stage in stages], state, batch)
