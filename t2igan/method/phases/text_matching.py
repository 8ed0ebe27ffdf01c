"""Phase "text_matching": the text encoder learns from what the generator makes of its captions.

Generator, discriminator and image tower stand still. The text encoder T moves so that the picture drawn from a caption
is recognised as that caption's:

    cycle_weight       * contrastive(tower(G(z, T(c))), T0(c))      text -> picture -> text, T0 = T as the phase began
    adversarial_weight * L_G(D(G(z, T(c)), T0(c)))                  the discriminator finds picture and caption matching
    anchor_weight      * contrastive(tower(x), T(c))                on real pairs, as in the text phase

The last term is the anchor: by the generator's loss alone a text encoder forgets its captions (docs/method.md). Whoever
judges reads the caption by T0, so that T cannot please by saying less.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from t2igan.method import losses
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, descend, init_phase_state
from t2igan.method.techniques.regularize import NORMALISATIONS
from t2igan.nets import Networks
from t2igan.step import Metrics, Params, stream

SECTION = "text_matching"
USED = ("generator", "discriminator", "image", "matching")
BEFORE = "text_before"  # T0, among the frozen parameters; not handed on


@dataclasses.dataclass(frozen=True)
class TextMatchingMethod(PhaseMethod):
    """What the phase's step needs to know and never changes. Made by `TextMatchingMethod.create`."""

    adversarial: losses.Adversarial
    normalise: Callable[[Params], Params]  # the discriminator's parameters, as they are used
    cycle_weight: float
    adversarial_weight: float
    anchor_weight: float

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> TextMatchingMethod:
        """Reads `config.text_matching` (checked by `t2igan.config`)."""
        p, adversarial = config[SECTION], losses.ADVERSARIAL[config.loss.adversarial]
        weights = {name: p[name] for name in ("cycle_weight", "adversarial_weight", "anchor_weight")}
        normalise = NORMALISATIONS[config.discriminator.normalisation]
        return cls.of(config, p, networks, total_steps, adversarial=adversarial, normalise=normalise, **weights)


def init_text_matching_state(
    method: TextMatchingMethod, batch: dict, given: dict[str, Params] | None = None
) -> PhaseState:
    """Returns the first state; all networks come from `given`, where earlier phases left them."""
    key = stream(method.seed, "text matching init", 0)
    state = init_phase_state(method.networks, method.optimizer, key, batch, given, ("text",), USED)
    # A copy: donated buffers must not appear twice.
    return state.replace(frozen=state.frozen | {BEFORE: jax.tree.map(jnp.copy, state.params["text"])})


def text_matching_step(
    method: TextMatchingMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of the text encoder on a batch; returns the next state and float32 scalars."""
    networks, params, tokens = method.networks, state.frozen, batch["tokens"]
    real = networks.to_network(params, batch["images"])
    key = stream(method.seed, "text matching", state.step)
    z = jax.random.normal(key, (len(real), networks.z_dim))
    before = networks.text_encoder.apply(params[BEFORE], tokens)
    critic_params = method.normalise(params["discriminator"])

    def match(images, sentence):
        features = networks.image_encoder.apply(params["image"], images)
        return losses.contrastive(*networks.matching.apply(params["matching"], features, sentence))

    def critic(images):
        return networks.discriminator.apply(critic_params, networks.judged(params, images), before)

    def loss_fn(trained):
        text = networks.text_encoder.apply(trained["text"], tokens)
        fake = networks.generator.apply(params["generator"], z, text)
        terms = {"loss/cycle": match(fake, before.sentence), "loss/anchor": match(real, text.sentence)}
        loss = method.cycle_weight * terms["loss/cycle"] + method.anchor_weight * terms["loss/anchor"]
        if method.adversarial_weight:
            terms["loss/generator"] = method.adversarial.generator(critic(real), critic(fake))
            loss = loss + method.adversarial_weight * terms["loss/generator"]
        return loss.mean(), terms

    return descend(method, state, loss_fn, ("text",))


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run."""
    total_steps = KIND.total_steps(run)
    method = TextMatchingMethod.create(run.config, run.gathered_networks, total_steps)
    return Phase(
        name="text_matching",
        init=functools.partial(init_text_matching_state, method, run.batch_shapes),
        step=functools.partial(text_matching_step, method),
        total_steps=total_steps,
        step_images=run.config[SECTION].batch_images,
        shown=("loss/cycle", "loss/anchor"),
        evaluates="at_end",
        sheet_prefix="text_matching_",
    )


KIND = PhaseKind(
    SECTION,
    build,
    after=("adversarial",),
    trains=lambda config: ("text",),  # noqa: ARG005
    needs=lambda config: ("text", *USED),  # noqa: ARG005
)
PHASES.register("text_matching", KIND)
