"""Phase "caption": a captioner learns to say what pictures show, from the features of the frozen image tower.

The loss is the cross-entropy of each next token of a picture's caption. Beside it the moments of the features are
counted, by which it is told later what pictures are unlike those of the training.

Figures of the validation split at its end: "caption/held_out", cross-entropy in nats a token, "caption/held_out_right",
the share of tokens that are the likeliest after the right ones before them, and "caption/strangeness", which is 1 for
pictures that are as the training's.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from t2igan.method.optim import optimizers
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, descend, init_phase_state
from t2igan.nets import Networks
from t2igan.nets.captioner import strangeness, with_reference
from t2igan.nets.text_encoder import PADDING
from t2igan.step import Metrics, Params, stream

SECTION = "captioning"
TRAINED = ("captioner",)
WORDS = "words"  # the column with tokens of the run's own tokenizer, where the text encoder reads another's


@dataclasses.dataclass(frozen=True)
class CaptionMethod(PhaseMethod):
    """What the caption phase's step needs to know and never changes. Made by `CaptionMethod.create`."""

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> CaptionMethod:
        """Reads `config.captioning` (checked by `t2igan.config`)."""
        clipped = lambda rate, b2: optimizers.adam(rate, beta1=0.9, beta2=b2, clip_norm=config[SECTION].clip_norm)
        return cls.of(config, config[SECTION], networks, total_steps, optimizer=clipped)


def init_caption_state(method: CaptionMethod, batch: dict, given: dict[str, Params] | None = None) -> PhaseState:
    """Returns the first state; the image tower of `given`, or an untrained one, is used and stays as it is."""
    key = stream(method.seed, "caption init", 0)
    return init_phase_state(method.networks, method.optimizer, key, batch, given, TRAINED, used=("image",))


def caption_step(method: CaptionMethod, state: PhaseState, batch: dict[str, jax.Array]) -> tuple[PhaseState, Metrics]:
    """One step of the captioner on a batch; returns the next state and float32 scalars."""
    networks = method.networks
    features = networks.image_encoder.apply(state.frozen["image"], networks.to_network(state.frozen, batch["images"]))
    tokens = batch.get(WORDS, batch["tokens"])

    def loss_fn(params):
        loss, _ = next_token_loss(networks, params["captioner"], features, tokens)
        return loss.mean(), {"loss/caption": loss}

    moved, metrics = descend(method, state, loss_fn, TRAINED)
    counted = with_reference(
        moved.params["captioner"] | {"params": _with_moments(moved, state)}, features, state.step.astype(jnp.float32)
    )
    return moved.replace(params=moved.params | {"captioner": counted}), metrics


def _with_moments(moved: PhaseState, before: PhaseState) -> dict[str, Any]:
    """The captioner's arrays after a step, the moments as they were before it: no optimizer has a say in them."""
    own, old = dict(moved.params["captioner"]["params"]), before.params["captioner"]["params"]
    return own | {name: old[name] for name in ("reference_mean", "reference_second")}


def next_token_loss(
    networks: Networks, params: Params, features: Float[Array, "B F"], tokens: Int[Array, "B T"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Returns the cross-entropy in nats a token, and the share of tokens that are the likeliest, of each caption."""
    logits = networks.captioner.apply(params, features, tokens[:, :-1])
    following = tokens[:, 1:]
    counts = (following != PADDING).astype(jnp.float32)
    each = optax.softmax_cross_entropy_with_integer_labels(logits, following) * counts
    right = (logits.argmax(-1) == following) * counts
    return each.sum(-1) / counts.sum(-1), right.sum(-1) / counts.sum(-1)


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run."""
    total_steps = KIND.total_steps(run)
    method = CaptionMethod.create(run.config, run.gathered_networks, total_steps)
    return Phase(
        name="caption",
        init=functools.partial(init_caption_state, method, run.batch_shapes),
        step=functools.partial(caption_step, method),
        total_steps=total_steps,
        step_images=run.config[SECTION].batch_images,
        shown=("loss/caption",),
        columns=_columns(run),
        monitor=functools.partial(held_out, run),
    )


def _columns(run: Any) -> dict[str, np.ndarray]:
    """The first caption of each picture as the run's own tokenizer has it, where batches have another's."""
    if run.tokenizer.own is run.tokenizer:
        return {}
    return {WORDS: run.tokenizer.own.encode([captions[0] for captions in run.train_data.captions])}


def held_out(run: Any, state: PhaseState, done: int) -> dict[str, float]:
    """Returns how well pictures of the validation split are described, and how strange they are found."""
    networks, params = run.networks, state.frozen | state.params

    @jax.jit
    def measured(params, images, tokens):
        features = networks.image_encoder.apply(params["image"], networks.to_network(params, images))
        loss, right = next_token_loss(networks, params["captioner"], features, tokens)
        return loss, right, strangeness(params["captioner"], features)

    def measure(batch, number):  # noqa: ARG001
        captions = [run.val_data.captions[row][0] for row in batch["rows"]]
        return measured(params, batch["images"], run.tokenizer.own.encode(captions))

    loss, right, strange = run.over_held_out_pictures(measure)
    images = done * run.config[SECTION].batch_images
    run.say(
        f"{images:>9,} images: {len(run.val_data):,} held-out pictures described to {loss:.3f} nats a token, "
        f"{right:.1%} of the tokens right; they are strange to {strange:.2f} (1 = as the training's)"
    )
    return {"caption/held_out": loss, "caption/held_out_right": right, "caption/strangeness": strange}


KIND = PhaseKind(
    SECTION,
    build,
    after=("text", "adversarial", "text_matching", "joint"),
    trains=lambda config: TRAINED,  # noqa: ARG005
    needs=lambda config: ("image",),  # noqa: ARG005
)
PHASES.register("caption", KIND)
