"""Phase "text": text encoder and image tower learn which caption of a batch belongs to which picture.

By the contrastive loss of CLIP (Radford et al. 2021, arXiv:2103.00020) with a learned temperature.

A text encoder that comes with a trained generator which nothing will train any more (`config.init_from`, with phases
such as "text" and "caption") stays as it is, because that generator reads it: the image tower alone learns to match it,
as in LiT (Zhai et al. 2022, arXiv:2111.07991).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from t2igan.method import losses
from t2igan.method.optim.optimizers import slowed_adam
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, descend
from t2igan.nets import Networks
from t2igan.nets.init import init_network
from t2igan.nets.pretrained_text import LANGUAGE_MODEL, TUNED
from t2igan.step import Metrics, Params, stream

SECTION = "pretrain_text"
TRAINED = ("text", "image", "matching")


@dataclasses.dataclass(frozen=True)
class TextMethod(PhaseMethod):
    """What the text phase's step needs to know and never changes. Made by `TextMethod.create`."""

    keeps_text: bool = False  # whether the text encoder stays as it is given

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int, keeps_text: bool = False) -> TextMethod:
        """Reads `config.pretrain_text` (checked by `t2igan.config`)."""
        t = config.text_encoder
        tuned = t.get("pretrained") and t.pretrained_mode == TUNED  # the probe's configuration has no such key
        # At the rate of fresh layers a pretrained language model forgets what it knew.
        optimizer = functools.partial(slowed_adam, shares={LANGUAGE_MODEL: t.pretrained_rate}) if tuned else optax.adam
        return cls.of(config, config[SECTION], networks, total_steps, optimizer=optimizer, keeps_text=keeps_text)


@flax.struct.dataclass
class TextState:
    """All that the future of the text phase depends on; params are keyed by "text", "image" and "matching"."""

    step: Any  # int32 []
    params: Any
    opt_state: Any


def init_text_state(method: TextMethod, batch: dict, given: dict[str, Params] | None = None) -> TextState:
    """Returns parameters, those in `given` as they are there, and optimizer state; of `batch` only the shapes count."""
    key, given = stream(method.seed, "text init", 0), given or {}
    params = {
        name: given[name] if name in given else init_network(method.networks, name, jax.random.fold_in(key, i), batch)
        for i, name in enumerate(TRAINED)
    }
    return TextState(jnp.zeros((), jnp.int32), params, method.optimizer.init(params))


def text_step(method: TextMethod, state: TextState, batch: dict[str, jax.Array]) -> tuple[TextState, Metrics]:
    """One step of text encoder, image tower and heads on a batch; returns the next state and float32 scalars."""
    networks = method.networks
    images = networks.to_network({}, batch["images"])

    def loss_fn(params):
        own = jax.lax.stop_gradient(params["text"]) if method.keeps_text else params["text"]
        sentence = networks.text_encoder.apply(own, batch["tokens"]).sentence
        matched = networks.matching.apply(
            params["matching"], networks.image_encoder.apply(params["image"], images), sentence
        )
        loss = losses.contrastive(matched.images, matched.sentences, matched.inverse_temperature).mean()
        return loss, {"loss/contrastive": loss, "inverse_temperature": matched.inverse_temperature}

    return descend(method, state, loss_fn, ("text",))


def is_read(config: Any, given: Mapping[str, Params]) -> bool:
    """Whether a given generator reads the given text encoder, and later phases, of which there are some, train neither.

    Where "text" is the last phase the encoder learns, for another run to begin with.
    """
    later = config.phases[config.phases.index("text") + 1 :]
    trained = {name for phase in later for name in PHASES[phase].trains(config)}
    return {"text", "generator"} <= given.keys() and bool(later) and not {"text", "generator"} & trained


def build(run: Any, given: Mapping[str, Params]) -> Phase:
    """Returns the phase of a run."""
    total_steps = KIND.total_steps(run)
    keeps_text = is_read(run.config, given)
    if keeps_text:
        run.say("phase text: the generator reads the text encoder, which stays as it is; the image tower learns")
    elif {"text", "generator"} <= given.keys() and run.config.phases[-1] == "text":
        run.say("phase text: the text encoder moves away from the generator that reads it; train the game after it")
    method = TextMethod.create(run.config, run.gathered_networks, total_steps, keeps_text)
    return Phase(
        name="text",
        init=functools.partial(init_text_state, method, run.batch_shapes),
        step=functools.partial(text_step, method),
        total_steps=total_steps,
        step_images=run.config[SECTION].batch_images,
        shown=("loss/contrastive",),
    )


KIND = PhaseKind(SECTION, build, after=("autoencoder",), trains=lambda config: TRAINED)  # noqa: ARG005
PHASES.register("text", KIND)
