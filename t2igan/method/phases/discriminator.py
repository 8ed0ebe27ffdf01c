"""Phase "discriminator": the discriminator's trunk learns what is in pictures before the game begins.

It answers questions about them through a linear head that is thrown away afterwards: the data's own attributes where
there are any, and otherwise how a picture was turned, mirrored and cut out (`t2igan.method.techniques.pretext`). Where
a generator has learned already, it also learns to tell real pictures from that one's, by the loss and penalty of the
adversarial phase.

Its figure of the validation split at the end is "accuracy/held_out", the share of right answers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from t2igan import step as adversarial
from t2igan.config.auto import WEIGHTS
from t2igan.config.constraints import require_among
from t2igan.errors import UserError
from t2igan.method.game import Method
from t2igan.method.optim import optimizers
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, descend, init_phase_state
from t2igan.method.techniques.growing import Growth
from t2igan.method.techniques.pretext import TRANSFORMS, classification, transform
from t2igan.method.techniques.regularize import no_caption
from t2igan.nets import Networks
from t2igan.nets.heads import LinearHeads
from t2igan.step import Metrics, Params, stream

SECTION = "pretrain_discriminator"
TASKS = ("auto", "labels", "transforms")
HEAD = "discriminator_head"  # among the state's parameters; not handed on


@dataclasses.dataclass(frozen=True)
class DiscriminatorMethod(PhaseMethod):
    """What the discriminator phase's step needs to know and never changes. Made by `DiscriminatorMethod.create`."""

    sizes: tuple[int, ...]  # answers to each question
    labelled: bool  # whether the questions are the batch's "labels", or else `TRANSFORMS`
    game: Method  # of telling real pictures from generated ones
    real_weight: float  # of that, against the questions

    @classmethod
    def create(
        cls, config, networks: Networks, total_steps: int, label_sizes: tuple[int, ...] = ()
    ) -> DiscriminatorMethod:
        """Reads `config.pretrain_discriminator` (checked by `t2igan.config`).

        Args:
          config: the configuration.
          networks: the networks.
          total_steps: length of the phase.
          label_sizes: the number of values of each attribute of the data; () where there are none.
        """
        p = config[SECTION]
        labelled = bool(label_sizes) and p.task != "transforms"
        clip_norm = config.train.clip_norm
        return cls.of(
            config,
            p,
            networks,
            total_steps,
            optimizer=lambda rate, b2: optimizers.adam(rate, beta1=p.beta1, beta2=b2, clip_norm=clip_norm),
            sizes=label_sizes if labelled else tuple(TRANSFORMS.values()),
            labelled=labelled,
            game=dataclasses.replace(Method.create(config, networks, total_steps), growth=Growth()),  # at full size
            real_weight=p.real_weight,
        )

    def plays(self, networks: Collection[str]) -> bool:
        """Whether real pictures are told from generated ones, with these networks there."""
        return "generator" in networks and bool(self.real_weight)


def init_discriminator_state(
    method: DiscriminatorMethod, batch: dict, given: dict[str, Params] | None = None
) -> PhaseState:
    """Returns the first state; text encoder and generator of `given` are used and stay as they are."""
    key = stream(method.seed, "discriminator phase init", 0)
    state = init_phase_state(
        method.networks, method.optimizer, key, batch, given, trained=("discriminator",), used=("text",)
    )
    pair = {
        "images": jnp.zeros((2, *batch["images"].shape[1:])),
        "tokens": jnp.ones((2, *batch["tokens"].shape[1:]), batch["tokens"].dtype),
    }
    features = jax.eval_shape(lambda params: trunk(method, params, **pair, key=key), state.frozen | state.params)
    head = LinearHeads(method.sizes).init(jax.random.fold_in(key, 1), jnp.zeros(features.shape))
    params = state.params | {HEAD: head}
    return state.replace(params=params, opt_state=method.optimizer.init(params))


def discriminator_step(
    method: DiscriminatorMethod, state: PhaseState, batch: dict[str, jax.Array], *, penalty_due: bool | None = None
) -> tuple[PhaseState, Metrics]:
    """One step of the discriminator and the head on a batch; returns the next state and float32 scalars.

    The batch has "labels", int32 [N, A], besides pictures and tokens if the method is `labelled`; -1 is unknown.
    With a column "captioned", pictures of which that is 0 have no caption: they are told from generated ones without,
    and are asked about transforms, but not about attributes. `penalty_due` is as in `t2igan.step.train_step`.
    """
    game = dataclasses.replace(method.game, penalty_due=penalty_due)
    images = method.networks.to_network(state.frozen, batch["images"])
    captioned = batch.get("captioned")
    question_key, game_key = jax.random.split(stream(method.seed, "discriminator phase", state.step))

    def loss_fn(params):
        everyone = state.frozen | params
        loss, right = ask(method, everyone, batch, question_key)
        if captioned is not None and method.labelled:  # the mean is that over pictures that can be asked about
            weight = captioned / jnp.maximum(captioned.mean(), 1 / len(captioned))
            loss, right = weight * loss, weight * right
        metrics = {"loss/questions": loss, "accuracy": right}
        if method.plays(state.frozen):
            of_game, game_metrics = adversarial.discriminator_loss(
                game, everyone, state.step, images, batch["tokens"], game_key, captioned=captioned
            )
            return loss.mean() + method.real_weight * of_game, metrics | game_metrics
        return loss.mean(), metrics

    return descend(method, state, loss_fn, ("discriminator",))


def ask(
    method: DiscriminatorMethod, params: dict[str, Params], batch: dict, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the cross-entropy and the share of right answers to the questions about a batch, per picture."""
    images, labels = method.networks.to_network(params, batch["images"]), batch.get("labels")
    if not method.labelled:
        images, labels = transform(key, images)
    logits = LinearHeads(method.sizes).apply(params[HEAD], trunk(method, params, images, batch["tokens"], key))
    return classification(logits, labels, method.sizes)


def trunk(method: DiscriminatorMethod, params: dict[str, Params], images, tokens, key: jax.Array) -> jax.Array:
    """Returns the discriminator's last features of pictures, float32 [B, F], with no caption to read answers from."""
    text = no_caption(method.networks.text_encoder.apply(params["text"], tokens))
    weights = method.game.normalise(params["discriminator"])
    _, sown = method.networks.discriminator.apply(
        weights, images, text, mutable=["intermediates"], rngs={"dropout": jax.random.fold_in(key, 2)}
    )
    return sown["intermediates"]["trunk"][0].astype(jnp.float32)


def check(config: Any) -> None:
    """Raises `UserError` for a task that there is not."""
    require_among(config, f"{SECTION}.task", TASKS)


def build(run: Any, given: Mapping[str, Params]) -> Phase:
    """Returns the phase of a run; `UserError` where labels are asked for and the data has none."""
    section, total_steps = run.config[SECTION], KIND.total_steps(run)
    vocabulary = run.extractors.vocabulary  # attributes that can be learned: not file names
    if section.task == "labels" and not vocabulary:
        raise UserError(
            f"config.{SECTION}.task='labels', but {run.train_data.name} has no attributes that could be learned; set "
            f"it to 'auto' or 'transforms'"
        )
    sizes = tuple(len(vocabulary[name]) for name in sorted(vocabulary))
    method = DiscriminatorMethod.create(run.config, run.gathered_networks, total_steps, sizes)
    return Phase(
        name="discriminator",
        init=functools.partial(init_discriminator_state, method, run.batch_shapes),
        step=functools.partial(discriminator_step, method),
        total_steps=total_steps,
        step_images=section.batch_images,
        shown=("loss/questions", "accuracy"),
        decided=functools.partial(adversarial.decided, method.game) if method.plays(given) else lambda number: (),  # noqa: ARG005
        columns={"labels": run.train_data.attribute_labels(vocabulary)} if method.labelled else {},
        unlabelled=True,
        monitor=functools.partial(accuracy, run, method),
    )


def accuracy(run: Any, method: DiscriminatorMethod, state: PhaseState, done: int) -> dict[str, float]:
    """Asks the discriminator's head about held-out pictures; returns the share of right answers."""
    params = state.frozen | state.params
    method = dataclasses.replace(method, networks=run.networks)  # the step's are for sharded parameters
    labels = run.val_data.attribute_labels(run.extractors.vocabulary) if method.labelled else None
    answer = jax.jit(lambda params, batch, key: ask(method, params, batch, key)[1])

    def right(batch, i):
        if labels is not None:
            batch["labels"] = labels[batch["rows"]]
        return (answer(params, {k: v for k, v in batch.items() if k != "rows"}, jax.random.key(i)),)

    (share,) = run.over_held_out_pictures(right)
    about = f"{len(method.sizes)} {'attributes' if method.labelled else 'transforms'}"
    run.say(f"step {done:,}: the discriminator's features tell {about} of held-out pictures to {share:.3f}")
    return {"accuracy/held_out": share}


KIND = PhaseKind(
    SECTION,
    build,
    check,
    after=("generator",),
    trains=lambda config: ("discriminator",),  # noqa: ARG005
    uses=lambda config: ("text",),  # noqa: ARG005
    auto=WEIGHTS,
)
PHASES.register("discriminator", KIND)
