"""Phase "completion": after the game, a copy of the generator learns to complete pictures of which a part is hidden.

The completer C (`t2igan.nets.completer`) begins as the run's generator, and sees the visible part of a picture besides
noise and caption (co-modulation; Zhao et al. 2021, arXiv:2103.10428). It plays the run's game on: with m = 1 where a
picture x is visible, what the discriminator judges is the drawing where x is hidden, and x where it is not.

    y = C(z, m x, m, c),   fake = m x + (1 - m) y
    discriminator    L_D(D(x, c), D(fake, c)) + penalty
    completer        L_G(D(x, c), D(fake, c))
                     + visible_weight  mean over visible places of |y - x| + (y - x)^2
                     + hidden_weight   the same over hidden places

The discriminator is a copy of the run's, where there is one, and is let go at the end; the run's own networks stay as
they are. Pictures are hidden in the space of the game: of codes, places of the map.

Figures of the validation split at its end, mean squared errors at hidden places, in that space: "completion/held_out",
and "completion/random_z", of what the generator draws of the caption without looking.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t2igan import step
from t2igan.config.auto import WEIGHTS
from t2igan.errors import UserError
from t2igan.method.game import Method
from t2igan.method.phases import adversarial
from t2igan.method.phases.base import PHASES, Phase, PhaseKind
from t2igan.method.techniques.masks import MASKS, random_visible, visible_distance
from t2igan.nets import Networks, Text
from t2igan.nets.init import init_network
from t2igan.step import Metrics, Params, State, stream

SECTION = "completion"
CRITIC = "critic"  # the copy of the discriminator; the name of no network, so that it is not handed on


@dataclasses.dataclass(frozen=True)
class CompletionMethod:
    """What the completion phase's step needs to know and never changes. Made by `CompletionMethod.create`."""

    game: Method  # losses, rates and optimizers of both players
    masks: tuple[str, ...]
    visible_weight: float
    hidden_weight: float

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> CompletionMethod:
        """Reads `config.completion`, and what that leaves open from `config.train` (checked by `t2igan.config`)."""
        own, settings = config[SECTION], adversarial.gone_on_with(config, SECTION)
        settings.train.update(tune_text=False, microbatches=1, ema_tracks=())
        game = Method.create(settings, networks, total_steps)
        return cls(game, tuple(own.masks), own.visible_weight, own.hidden_weight)


def init_completion_state(method: CompletionMethod, batch: dict, given: dict[str, Params] | None = None) -> State:
    """Returns the first state: a completer made of the generator in `given`, or the completer that is there."""
    networks, given = method.game.networks, dict(given or {})
    key = stream(method.game.seed, "completion init", 0)
    fresh = lambda name, number: init_network(networks, name, jax.random.fold_in(key, number), batch)
    for number, name in enumerate(("generator", "text")):
        given.setdefault(name, fresh(name, number))
    completer = given.pop("completer", None)
    if completer is None:
        completer = {"params": fresh("completer", 2)["params"] | {"generator": given["generator"]["params"]}}
    critic = given["discriminator"] if "discriminator" in given else fresh("discriminator", 3)
    copied = lambda tree: jax.tree.map(jnp.copy, tree)  # donated buffers must not appear twice
    params = {"completer": copied(completer), CRITIC: copied(critic)}
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema={"completer": copied(completer)},
        opt_state={name: method.game.optimizer(0.0, 0).init(params[name]) for name in params},
        frozen=given,
        control=method.game.first_control(),
    )


def completion_step(
    method: CompletionMethod, state: State, batch: dict[str, jax.Array], *, penalty_due: bool | None = None
) -> tuple[State, Metrics]:
    """One step of the discriminator and one of the completer on a batch; the next state and float32 scalars.

    `penalty_due` is as in `step.train_step`.
    """
    game = dataclasses.replace(method.game, penalty_due=penalty_due)
    real, tokens = game.networks.to_network(state.frozen, batch["images"]), batch["tokens"]

    def hidden(name: str) -> tuple[dict[str, jax.Array], jax.Array]:
        """A batch of which parts are hidden, and a key for the rest."""
        z_key, mask_key, key = jax.random.split(stream(game.seed, f"completion {name}", state.step), 3)
        visible = random_visible(mask_key, *real.shape[:3], method.masks)
        return {"real": real, "tokens": tokens, "visible": visible, "z": step.noise(game, z_key, len(real))}, key

    def discriminator_loss(params, real, tokens, visible, z, key):
        generator = Filling(game.networks.completer, real, visible)
        against = dataclasses.replace(game, networks=game.networks._replace(generator=generator))
        players = params | {"generator": params["completer"], "discriminator": params[CRITIC]}
        return step.discriminator_loss(against, players, state.step, real, tokens, key, z, state.control)

    def completer_loss(params, real, tokens, visible, z, key):
        text, read = step.read(game, params, tokens, key)
        drawn = game.networks.completer.apply(params["completer"], z, real, visible, read)
        critic = step.make_critic(game, params[CRITIC], state.step, key, len(real), state.control)
        terms = {
            "loss/completer": game.adversarial.generator(
                critic(real, text), critic(put_over(drawn, real, visible), text)
            ),
            "loss/visible": visible_distance(drawn - real, visible),
            "loss/hidden": visible_distance(drawn - real, 1 - visible),
        }
        loss = terms["loss/completer"] + method.visible_weight * terms["loss/visible"]
        return (loss + method.hidden_weight * terms["loss/hidden"]).mean(), terms

    state, d_metrics = step.descend(
        game, state, {CRITIC: game.discriminator_rate}, discriminator_loss, *hidden("discriminator")
    )
    state, c_metrics = step.descend(
        game, state, {"completer": game.generator_rate}, completer_loss, *hidden("completer")
    )
    return step.advance(game, state, d_metrics), d_metrics | c_metrics


class Filling(NamedTuple):
    """A completer in the place of the game's generator: it fills what is hidden of these pictures."""

    completer: Any
    images: jax.Array
    visible: jax.Array

    def apply(self, params: Params, z: jax.Array, text: Text) -> jax.Array:
        """Returns the pictures with what is drawn of noise and caption where they are hidden."""
        return put_over(self.completer.apply(params, z, *self[1:], text), *self[1:])


def put_over(drawn: jax.Array, images: jax.Array, visible: jax.Array) -> jax.Array:
    """Returns `images` where they are visible, and what was drawn elsewhere."""
    return visible * images + (1 - visible) * drawn


def check(config: Any) -> None:
    """Raises `UserError` for masks that there are not, or that hide nothing."""
    masks = tuple(config[SECTION].masks)
    MASKS.check(masks, f"{SECTION}.masks")
    if not set(masks) - {"whole"}:
        raise UserError(
            f"config.{SECTION}.masks={masks} hides nothing; give one or more of "
            f"{', '.join(repr(name) for name in MASKS if name != 'whole')}"
        )


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run."""
    total_steps = KIND.total_steps(run)
    method = CompletionMethod.create(run.config, run.gathered_networks, total_steps)
    return Phase(
        name=SECTION,
        init=functools.partial(init_completion_state, method, run.batch_shapes),
        step=functools.partial(completion_step, method),
        total_steps=total_steps,
        step_images=run.config[SECTION].batch_images,
        shown=("loss/completer", "loss/hidden"),
        decided=functools.partial(step.decided, method.game),
        monitor=functools.partial(held_out, run, tuple(mask for mask in method.masks if mask != "whole")),
    )


def held_out(run: Any, masks: tuple[str, ...], state: State, done: int) -> dict[str, float]:
    """Returns mean squared errors at hidden places of held-out pictures, by the completer and by the generator."""
    networks, params = run.networks, state.frozen | state.ema

    @jax.jit
    def errors(params, images, tokens, key):
        x = networks.to_network(params, images)
        text: Text = networks.text_encoder.apply(params["text"], tokens)
        z_key, mask_key = jax.random.split(key)
        visible = random_visible(mask_key, *x.shape[:3], masks)
        z = jax.random.normal(z_key, (len(x), networks.z_dim))
        completed = networks.completer.apply(params["completer"], z, x, visible, text)
        drawn = networks.generator.apply(params["generator"], z, text)
        count = x.shape[-1] * (1 - visible).sum((1, 2, 3)) + 1e-6
        error = lambda y: ((1 - visible) * (y - x) ** 2).sum((1, 2, 3)) / count
        return error(completed), error(drawn)

    measure = lambda batch, i: errors(params, batch["images"], batch["tokens"], jax.random.key(i))
    completed, drawn = run.over_held_out_pictures(measure)
    images = done * run.config[SECTION].batch_images
    run.say(
        f"{images:>9,} images: squared error of what is hidden of {len(run.val_data):,} held-out pictures "
        f"{completed:.4f} by the completer, {drawn:.4f} by the generator, which does not look"
    )
    return {"completion/held_out": completed, "completion/random_z": drawn}


KIND = PhaseKind(
    SECTION,
    build,
    check,
    after=("text", "adversarial", "text_matching", "joint"),
    before=("caption",),
    trains=lambda config: ("completer",),  # noqa: ARG005
    needs=lambda config: ("generator",),  # noqa: ARG005
    uses=lambda config: ("text", "discriminator"),  # noqa: ARG005
    auto=WEIGHTS,
)
PHASES.register(SECTION, KIND)
