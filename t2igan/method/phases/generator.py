"""Phase "generator": inverter and generator learn to complete pictures of which a part is hidden.

The inverter sees what is visible and says which noise would draw the picture; the generator draws it, with the caption
or, for captions that were dropped, without. The loss, a variational autoencoder's, is that of
`t2igan.method.losses.inversion`. It leaves a generator that draws blurred but sensible pictures, for the adversarial
phase to begin with, and an inverter.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

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
    caption_dropout: float  # share of pictures that are drawn without their caption

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> GeneratorMethod:
        """Reads `config.pretrain_generator` and `config.inverter` (checked by `t2igan.config`)."""
        p = config.pretrain_generator
        own = {"masks": tuple(p.masks), "caption_dropout": p.caption_dropout}
        return cls.of(config, p, networks, total_steps, inversion=InversionWeights.of(config), **own)


def init_generator_state(method: GeneratorMethod, batch: dict, given: dict[str, Params] | None = None) -> PhaseState:
    """Returns the first state; the text encoder of `given`, or an untrained one, is used and stays as it is."""
    key = stream(method.seed, "generator phase init", 0)
    trained = ("generator", "inverter")
    return init_phase_state(method.networks, method.optimizer, key, batch, given, trained, used=("text",))


def generator_step(
    method: GeneratorMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of generator and inverter on a batch; returns the next state and float32 scalars."""
    networks = method.networks
    images = batch["images"].astype(jnp.float32) / 127.5 - 1
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
