"""Phase "generator": the generator learns to draw before it plays, by completing pictures or by regression.

*Complete*: inverter and generator learn to complete pictures of which a part is hidden. The inverter sees what is
visible and says which noise would draw the picture; the generator draws it, with the caption or, for captions that were
dropped, without. The loss, a variational autoencoder's, is that of `t2igan.method.losses.inversion`. It leaves a
generator that draws blurred but sensible pictures, for the adversarial phase to begin with, and an inverter.

*Regress*: the generator alone learns to draw its caption's picture, by mean (x - G(z, c))^2 with z at random. Where a
caption has one picture, that is all there is to learn; where it has many, it is their mean, and noise counts for
nothing.
"""

from __future__ import annotations

import dataclasses

import jax

from t2igan.method.losses.inversion import InversionWeights, inversion_loss
from t2igan.method.phases.base import PhaseMethod, PhaseState, descend, init_phase_state
from t2igan.method.techniques.masks import random_visible
from t2igan.method.techniques.regularize import drop_captions
from t2igan.nets import Networks
from t2igan.step import Metrics, Params, stream


@dataclasses.dataclass(frozen=True)
class GeneratorMethod(PhaseMethod):
    """What the generator phase's step needs to know and never changes. Made by `GeneratorMethod.create`."""

    inversion: InversionWeights
    masks: tuple[str, ...]  # kinds of `t2igan.method.techniques.masks`, equally often
    caption_dropout: float  # share of pictures that are completed without their caption
    regresses: bool  # captions to pictures, or else completes pictures

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> GeneratorMethod:
        """Reads `config.pretrain_generator` and `config.inverter` (checked by `t2igan.config`; "auto" is settled)."""
        p = config.pretrain_generator
        own = {"masks": tuple(p.masks), "caption_dropout": p.caption_dropout, "regresses": p.task == "regress"}
        own["inversion"] = InversionWeights.of(config)
        return cls.of(config, p, networks, total_steps, **own)

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that learn."""
        return ("generator",) if self.regresses else ("generator", "inverter")


def init_generator_state(method: GeneratorMethod, batch: dict, given: dict[str, Params] | None = None) -> PhaseState:
    """Returns the first state; the text encoder of `given`, or an untrained one, is used and stays as it is."""
    key = stream(method.seed, "generator phase init", 0)
    return init_phase_state(method.networks, method.optimizer, key, batch, given, method.trained, used=("text",))


def generator_step(
    method: GeneratorMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of generator and inverter on a batch; returns the next state and float32 scalars."""
    if method.regresses:
        return _regression_step(method, state, batch)
    networks = method.networks
    images = networks.to_network(state.frozen, batch["images"])
    mask_key, drop_key, noise_key = jax.random.split(stream(method.seed, "generator phase", state.step), 3)
    visible = random_visible(mask_key, *images.shape[:3], method.masks)
    text = networks.text_encoder.apply(state.frozen["text"], batch["tokens"])
    text = drop_captions(drop_key, text, method.caption_dropout)

    def loss_fn(params):
        loss, metrics = inversion_loss(
            networks, state.frozen | params, images, visible, text, noise_key, method.inversion
        )
        return loss.mean(), metrics | {"loss/inversion": loss}

    return descend(method, state, loss_fn, ("generator", "inverter"))


def _regression_step(
    method: GeneratorMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of the generator alone: mean (x - G(z, c))^2."""
    networks = method.networks
    images = networks.to_network(state.frozen, batch["images"])
    text = networks.text_encoder.apply(state.frozen["text"], batch["tokens"])
    z = jax.random.normal(stream(method.seed, "generator phase", state.step), (len(images), networks.z_dim))

    def loss_fn(params):
        drawn = networks.generator.apply(params["generator"], z, text)
        error = ((images - drawn) ** 2).mean((1, 2, 3))
        return error.mean(), {"loss/regression": error}

    return descend(method, state, loss_fn, method.trained)
