"""Phase "generator": the generator learns to draw before it plays, by completing pictures or by regression.

*Complete*: inverter and generator learn to complete pictures of which a part is hidden. The inverter sees what is
visible and says which noise would draw the picture; the generator draws it, with the caption or without: for captions
that were dropped, and pictures that never had one (`config.data.unlabelled_source`). The loss, a variational
autoencoder's, is that of `t2igan.method.losses.inversion`. It leaves a generator that draws blurred but sensible
pictures, for the adversarial phase to begin with, and an inverter.

*Regress*: the generator learns to draw its caption's picture, by mean (x - G(z, c))^2 with z at random. Where a
caption has one picture, that is all there is to learn; where it has many, it is their mean, and noise counts for
nothing, unless each picture teaches the nearest of several drawings, or an inverter learns along that says what z is
(`config.loss.paired_noises`, `t2igan.method.losses.paired`). With
`config.privacy` these pictures are means that were released (`t2igan.method.phases.private_means`), and no figures are
taken.

With `config.pretrain_generator.text_rate` the text encoder learns along: what tells captions apart is not all that is
needed to draw them (docs/space.md).

Figures of the validation split at its end: "reconstruction/held_out", the mean squared error of whole pictures, in the
space of the game, by way of the inverter's noise, and "reconstruction/random_z", the same with noise at random; of a
regression "regression/held_out", the latter.
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

from t2igan.config.constraints import require_among, require_share
from t2igan.errors import UserError
from t2igan.inference.drawing import to_bytes
from t2igan.inference.pictures import sheet
from t2igan.method.losses.inversion import InversionWeights, complete, inversion_loss
from t2igan.method.losses.paired import paired_noise
from t2igan.method.optim.optimizers import slowed_adam
from t2igan.method.phases import private_means
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, descend, init_phase_state
from t2igan.method.techniques.masks import MASKS, random_visible
from t2igan.method.techniques.regularize import drop_captions
from t2igan.nets import Networks
from t2igan.nets.pretrained_text import LANGUAGE_MODEL
from t2igan.step import Metrics, Params, stream

SECTION = "pretrain_generator"
TRAINED = ("generator", "inverter")
TASKS = ("complete", "regress", "auto")


@dataclasses.dataclass(frozen=True)
class GeneratorMethod(PhaseMethod):
    """What the generator phase's step needs to know and never changes. Made by `GeneratorMethod.create`."""

    inversion: InversionWeights
    masks: tuple[str, ...]  # kinds of `t2igan.method.techniques.masks`, equally often
    caption_dropout: float  # share of pictures without their caption; by regression, what the game has
    regresses: bool  # captions to pictures, or else completes pictures
    paired_noises: int  # that are tried for a picture, by regression; 0 = the inverter's
    tunes_text: bool  # whether the text encoder learns along

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> GeneratorMethod:
        """Reads `config.pretrain_generator` and `config.inverter` (checked by `t2igan.config`; "auto" is settled)."""
        p = config[SECTION]
        own = {"masks": tuple(p.masks), "regresses": p.task == "regress", "paired_noises": config.loss.paired_noises}
        own["caption_dropout"] = (config.augment if own["regresses"] else p).caption_dropout
        own["inversion"] = InversionWeights.of(config)
        own["tunes_text"] = bool(p.text_rate)
        shares = {"text": p.text_rate, LANGUAGE_MODEL: config.text_encoder.pretrained_rate}
        optimizer = functools.partial(slowed_adam, shares=shares) if p.text_rate else optax.adam
        return cls.of(config, p, networks, total_steps, optimizer=optimizer, **own)

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that learn."""
        return _learners(self.regresses and self.paired_noises > 0, self.tunes_text)


def _learners(noise_at_random: bool, tunes_text: bool) -> tuple[str, ...]:
    """The networks that learn in the phase."""
    return (*(("generator",) if noise_at_random else TRAINED), *["text"] * tunes_text)


def init_generator_state(method: GeneratorMethod, batch: dict, given: dict[str, Params] | None = None) -> PhaseState:
    """Returns the first state; the text encoder is that of `given`, or an untrained one."""
    key = stream(method.seed, "generator phase init", 0)
    return init_phase_state(method.networks, method.optimizer, key, batch, given, method.trained, used=("text",))


def generator_step(
    method: GeneratorMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of generator and inverter on a batch; returns the next state and float32 scalars.

    Pictures without captions, by the batch's column "captioned", are completed without, as those whose caption was
    dropped.
    """
    if method.regresses:
        return _regression_step(method, state, batch)
    networks = method.networks
    images = networks.to_network(state.frozen, batch["images"])
    mask_key, drop_key, noise_key = jax.random.split(stream(method.seed, "generator phase", state.step), 3)
    visible = random_visible(mask_key, *images.shape[:3], method.masks)

    def loss_fn(params):
        everyone = state.frozen | params
        text = networks.text_encoder.apply(everyone["text"], batch["tokens"])
        text = drop_captions(drop_key, text, method.caption_dropout, batch.get("captioned"))
        loss, metrics = inversion_loss(networks, everyone, images, visible, text, noise_key, method.inversion)
        return loss.mean(), metrics | {"loss/inversion": loss}

    return descend(method, state, loss_fn, method.trained)


def _regression_step(
    method: GeneratorMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step by mean (x - G(z, c))^2; the inverter learns where it says what z is (`paired_noise`)."""
    networks = method.networks
    images = networks.to_network(state.frozen, batch["images"])
    key = stream(method.seed, "generator phase", state.step)
    first = jax.random.normal(key, (len(images), networks.z_dim))

    def loss_fn(params):
        everyone = state.frozen | params
        text = networks.text_encoder.apply(everyone["text"], batch["tokens"])
        text = drop_captions(jax.random.fold_in(key, 1), text, method.caption_dropout)
        draw = lambda z: networks.generator.apply(everyone["generator"], z, text)
        told = (draw, images, text.sentence, first, jax.random.fold_in(key, 0))
        z, cost = paired_noise(networks, everyone, *told, method.paired_noises, batch.get("shared"))
        error = ((images - draw(z)) ** 2).mean((1, 2, 3))
        metrics = {"loss/regression": error} | ({} if method.paired_noises else {"loss/prior": cost})
        return (error + method.inversion.prior * cost).mean(), metrics

    return descend(method, state, loss_fn, method.trained)


def check(config: Any) -> None:
    """Raises `UserError` for masks that there are not, and for a share of captions that is none."""
    masks = tuple(config[SECTION].masks)
    if not masks:
        raise UserError(f"config.{SECTION}.masks=() is empty; give one or more of {MASKS.listed()}")
    MASKS.check(masks)
    require_share(config, f"{SECTION}.caption_dropout")
    require_share(config, f"{SECTION}.text_rate")
    _check_towers(config)
    require_among(config, f"{SECTION}.task", TASKS)


def _check_towers(config: Any) -> None:
    """Raises `UserError` for losses by which an image tower matches captions: it does not learn what they become."""
    rate, phases = config[SECTION].text_rate, config.phases
    if not rate or "generator" not in phases:
        return
    keys = [("loss", "contrastive_weight"), ("loss", "cycle_weight")]
    keys += [(phase, key) for phase in ("text_matching", "joint") for key in ("cycle_weight", "anchor_weight")]
    for section, key in keys:
        if (section == "loss" or section in phases) and config[section].get(key):
            raise UserError(
                f"config.{section}.{key}={config[section][key]} does not go with config.{SECTION}.text_rate={rate}: "
                f"the text encoder moves away from the image tower that matches captions; set one of them to 0"
            )


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run."""
    total_steps, step_images = KIND.total_steps(run), run.config[SECTION].batch_images
    method = GeneratorMethod.create(run.config, run.gathered_networks, total_steps)
    own, look = None, None
    if run.config.privacy.epsilon:
        private_means.require_one_device(run)
        private_means.require_ledger(run, "generator")
        own = private_means.batches(run, private_means.of_run(run), step_images)
    elif method.regresses:
        look = functools.partial(regression_error, run, step_images)
    else:
        look = functools.partial(completion, run, method.masks, step_images)
    return Phase(
        name="generator",
        init=functools.partial(init_generator_state, method, run.batch_shapes),
        step=functools.partial(generator_step, method),
        total_steps=total_steps,
        step_images=step_images,
        shown=("loss/regression",) if method.regresses else ("loss/reconstruction", "loss/prior"),
        unlabelled=not method.regresses,
        monitor=look,
        own_batches=own,
        evaluates="at_end" if method.regresses else "never",
        sheet_prefix="generator_",
    )


def completion(run: Any, masks: tuple[str, ...], step_images: int, state: PhaseState, done: int) -> dict[str, float]:
    """Draws held-out pictures, what was left visible of them and what the networks made of that; returns errors."""
    params = state.frozen | state.params
    rows = run.val_data.spread(run.config.sample.num_captions)
    captions = [run.val_data.captions[row][0] for row in rows]
    images = run.val_data.images[rows]
    tokens = run.tokenizer.encode(captions)
    x = np.asarray(jax.jit(run.networks.to_network)(params, images))
    whole = jax.jit(run.networks.to_pixels)(params, x)

    @functools.partial(jax.jit, static_argnames="keep_visible")
    def finish(params, images, visible, tokens, keep_visible):
        text = run.networks.text_encoder.apply(params["text"], tokens)
        return run.networks.to_pixels(params, complete(run.networks, params, images, visible, text, keep_visible))

    columns = [whole]
    for number, kind in enumerate(masks):
        key = jax.random.fold_in(jax.random.key(0), number)
        visible = np.asarray(random_visible(key, *x.shape[:3], (kind,)))
        if visible.all():  # nothing to complete: what the inverter's noise draws
            columns.append(finish(params, x, visible, tokens, keep_visible=False))
        else:
            shown = visible.repeat(images.shape[1] // x.shape[1], 1).repeat(images.shape[2] // x.shape[2], 2)
            columns += [shown * np.asarray(whole), finish(params, x, visible, tokens, keep_visible=True)]
    pictures = np.stack([np.asarray(column) for column in columns], 1).reshape(-1, *images.shape[1:])
    pictures = np.asarray(to_bytes(jnp.asarray(pictures)))
    facts = {"captions": captions, "columns": ["picture", *masks], "step": done}
    name = f"generator_{done * step_images:09d}"
    run.logs.sheet(name, done, sheet(pictures, captions, columns=len(columns)), facts)

    figures = reconstruction_errors(run, params)
    run.say(
        f"{done * step_images:>9,} images: squared error of {len(run.val_data):,} held-out pictures "
        f"{figures['reconstruction/held_out']:.4f} by the inverter's noise, "
        f"{figures['reconstruction/random_z']:.4f} by noise at random"
    )
    return figures


def reconstruction_errors(run: Any, params: Mapping[str, Params]) -> dict[str, float]:
    """Returns mean squared errors of drawing held-out pictures from captions, by the inverter's z and by random z."""
    networks = run.networks

    @jax.jit
    def errors(params, images, tokens, key):
        images = networks.to_network(params, images)
        text = networks.text_encoder.apply(params["text"], tokens)
        z = networks.inverter.apply(params["inverter"], images, jnp.ones_like(images[..., :1])).mean
        draw = lambda z: networks.generator.apply(params["generator"], z, text)
        error = lambda z: ((draw(z) - images) ** 2).mean((1, 2, 3))
        return error(z), error(jax.random.normal(key, z.shape))

    found = run.over_held_out_pictures(
        lambda batch, i: errors(params, batch["images"], batch["tokens"], jax.random.key(i))
    )
    return dict(zip(("reconstruction/held_out", "reconstruction/random_z"), found, strict=True))


def regression_error(run: Any, step_images: int, state: PhaseState, done: int) -> dict[str, float]:
    """Returns the mean squared error of drawing test pictures from their captions, with noise at random."""
    networks = run.networks

    @jax.jit
    def error(params, images, tokens, key):
        x = networks.to_network(params, images)
        text = networks.text_encoder.apply(params["text"], tokens)
        drawn = networks.generator.apply(params["generator"], jax.random.normal(key, (len(x), networks.z_dim)), text)
        return (((x - drawn) ** 2).mean((1, 2, 3)),)

    params = state.frozen | state.params
    measure = lambda batch, i: error(params, batch["images"], batch["tokens"], jax.random.key(i))
    (found,) = run.over_held_out_pictures(measure)
    run.say(f"{done * step_images:>9,} images: squared error of {len(run.val_data):,} held-out pictures {found:.4f}")
    return {"regression/held_out": found}


KIND = PhaseKind(
    SECTION,
    build,
    check,
    after=("text",),
    trains=lambda config: _learners(
        config[SECTION].task == "regress" and config.loss.paired_noises > 0, bool(config[SECTION].text_rate)
    ),
    uses=lambda config: ("text",),  # noqa: ARG005
    auto=(f"{SECTION}.task",),
)
PHASES.register("generator", KIND)
