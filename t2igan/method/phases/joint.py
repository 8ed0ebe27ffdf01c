"""Phase "joint": generator, discriminator and text encoder move together, by one vector field.

What is meant by minimising L = L_G + lambda L_D over all three cannot be taken by the letter. Generator and
discriminator want opposite things, so there is no common minimum to go down to: each descends its own loss, and what is
looked for is a point where both gradients vanish. Only the text encoder, which both read, has a gradient of the sum:

    generator      - grad_G  L_G
    discriminator  - grad_D  L_D
    text encoder   - grad_T (L_G + lambda L_D + anchor_weight * contrastive(tower(x), T(c)))

All three are computed at the same point, then all move: simultaneous, not alternating, descent. Under Adam a factor
before a player's whole loss changes nothing, which is why lambda stands nowhere else. L_D does not reach the text
encoder through the generated pictures, only through the caption that the discriminator reads: through the pictures it
would be the opposite of L_G. The anchor keeps real captions apart, as in `t2igan.method.phases.text_matching`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from t2igan import step
from t2igan.config.auto import WEIGHTS
from t2igan.method import losses
from t2igan.method.game import Method
from t2igan.method.optim import optimizers
from t2igan.method.phases import adversarial
from t2igan.method.phases.base import PHASES, Phase, PhaseKind
from t2igan.step import Metrics, Params, State, stream

SECTION = "joint"


@dataclasses.dataclass(frozen=True)
class JointMethod:
    """What the joint phase's step needs to know and never changes. Made by `JointMethod.create`."""

    game: Method  # losses, rates and optimizers of the three players
    discriminator_weight: float  # lambda
    anchor_weight: float

    @classmethod
    def create(cls, config, networks, total_steps: int) -> JointMethod:
        """Reads `config.joint`, and what that leaves open from `config.train` (checked by `t2igan.config`)."""
        joint, settings = config[SECTION], adversarial.gone_on_with(config, SECTION)
        settings.train.tune_text = True
        return cls(
            game=Method.create(settings, networks, total_steps),
            discriminator_weight=joint.discriminator_weight,
            anchor_weight=joint.anchor_weight,
        )


def joint_step(
    method: JointMethod, state: State, batch: dict[str, jax.Array], *, penalty_due: bool | None = None
) -> tuple[State, Metrics]:
    """One step of all three on a batch; returns the next state and float32 scalars.

    The state is that of the adversarial phase with a text encoder that is tuned (`step.init_state(method.game, ...)`).
    Where `state.frozen` has no image tower with its matching, there is no anchor. `penalty_due` is as in
    `step.train_step`.
    """
    game, everyone = dataclasses.replace(method.game, penalty_due=penalty_due), state.frozen | state.params
    networks, images = game.networks, batch["images"]
    real = networks.to_network(everyone, images)
    others = {"shared": batch["shared"]} if "shared" in batch else {}
    batch = {"real": real, "tokens": batch["tokens"], "judged": networks.judged(everyone, real, images)} | others

    def gradients(loss, names, key_name):
        """The gradients of a loss by some networks, and its metrics."""
        loss_fn = lambda trained, part, key: loss(everyone | trained, key=key, **part)
        key = stream(game.seed, key_name, state.step)
        return optimizers.gradients(loss_fn, {n: state.params[n] for n in names}, batch, key, game.microbatches)

    def discriminator_loss(params, real, tokens, judged, key, shared=None):  # noqa: ARG001
        return step.discriminator_loss(game, params, state.step, judged, tokens, key, control=state.control)

    def generator_loss(params, real, tokens, judged, key, shared=None):
        others = {"control": state.control, "judged": judged, "shared": shared}
        return step.generator_loss(game, params, state.step, real, tokens, key, **others)

    def anchor_loss(params, real, tokens, judged, key, shared=None):  # noqa: ARG001
        features = game.networks.image_encoder.apply(params["image"], real)
        sentence = step.encode(game, params, tokens).sentence
        anchor = losses.contrastive(*game.networks.matching.apply(params["matching"], features, sentence))
        return anchor.mean(), {"loss/anchor": anchor}

    rates = game.generator_rates()
    of_generator, g_metrics = gradients(generator_loss, rates, "joint generator")
    of_discriminator, d_metrics = gradients(discriminator_loss, ("discriminator", "text"), "joint discriminator")
    add = lambda weight, other: jax.tree.map(lambda a, b: a + weight * b, of_generator["text"], other["text"])
    of_generator["text"] = add(method.discriminator_weight, of_discriminator)
    metrics = g_metrics | d_metrics
    if method.anchor_weight and {"image", "matching"} <= everyone.keys():
        of_anchor, anchor_metrics = gradients(anchor_loss, ("text",), "joint anchor")
        of_generator["text"] = add(method.anchor_weight, of_anchor)
        metrics |= anchor_metrics
    field = of_generator | {"discriminator": of_discriminator["discriminator"]}
    state, of_move = step.move(game, state, rates | {"discriminator": game.discriminator_rate}, field)
    return step.advance(game, state, metrics), metrics | of_move


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run."""
    method = JointMethod.create(run.config, run.gathered_networks, KIND.total_steps(run))
    return adversarial.phase_of_game(run, "joint", KIND, method.game, joint_step, method)


KIND = PhaseKind(
    SECTION,
    build,
    after=("text_matching",),
    trains=lambda config: (*adversarial.players(config), "text"),
    uses=lambda config: adversarial.read(config)[1:],  # but for the text encoder
    needs=adversarial.teachers,
    auto=WEIGHTS,
    game=True,
)
PHASES.register("joint", KIND)
