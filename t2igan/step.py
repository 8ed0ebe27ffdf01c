"""The adversarial method on one page: the state, the step, and for each player its update and its loss.

Everything here is a pure function of its arguments: the same method, state and batch give the same next state. jit,
donation and devices are added by `t2igan.training.distributed.parallel`. A batch is

    images  uint8 [N, H, W, C], pictures; or float16 [N, h, w, c], codes, where the game is played on those
    tokens  int32 [N, T], 0 = padding; or vectors of a frozen language model, float16 [N, 1 + T, W]
    shared  bool [N], which captions are true of other pictures too; only where config.loss.paired_noises is not 1

with N = method.batch_images * method.discriminator_steps.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from t2igan.method import losses
from t2igan.method.game import Method
from t2igan.method.losses.inversion import inversion_loss
from t2igan.method.losses.paired import paired_noise
from t2igan.method.losses.variety import variety_loss
from t2igan.method.optim import optimizers
from t2igan.method.techniques import augment, regularize
from t2igan.method.techniques.growing import by_stage
from t2igan.nets import Text
from t2igan.nets.init import init_network

Params = Any
Metrics = dict[str, jax.Array]


class State(flax.struct.PyTreeNode):
    """All that the future of the training depends on; dictionaries are keyed by network, as "generator" or "text".

    Leaves are arrays, or whatever a tree of the same structure holds: shapes, shardings, places on disk.
    """

    step: Any  # int32 [], adversarial steps done
    params: Any  # of the networks that are trained
    ema: Any  # their moving averages: of the generator, and of the text encoder and inverter where they are trained
    opt_state: Any  # of each network in params
    frozen: Any  # params that are not trained: what earlier phases left behind
    tracks: Any = flax.struct.field(default_factory=dict)  # further averages like `ema`, by the factor of the half-life
    control: Any = flax.struct.field(default_factory=dict)  # what controllers hold: "augment_probability", float32 []


def init_state(method: Method, batch: dict, given: dict[str, Params] | None = None) -> State:
    """Returns parameters and optimizer states: networks in `given` as they are there, the others fresh.

    Args:
      method: the method.
      batch: a batch, or its shapes; two examples are enough.
      given: parameters by network, as earlier phases left them. Without "text" the text encoder starts, and if it is
        not tuned stays, at random. What is not trained is kept in `frozen`; a "completer", and an "inverter" that is
        neither trained nor read, are let go, for they would not belong to the new generator.
    """
    key = stream(method.seed, "init", 0)
    given = dict(given or {})

    def taken_or_fresh(name: str, number: int) -> Params:
        if name in given:
            return given.pop(name)
        return init_network(method.networks, name, jax.random.fold_in(key, number), batch)

    params = {"generator": taken_or_fresh("generator", 0), "discriminator": taken_or_fresh("discriminator", 1)}
    if method.reconstruction_weight:
        params["inverter"] = taken_or_fresh("inverter", 3)
    used = {"space": taken_or_fresh("space", 4)} if method.networks.judges_pictures else {}
    used |= {"inverter": taken_or_fresh("inverter", 3)} if method.reads_noise else {}
    kept = {name: given[name] for name in given if name not in ("inverter", "completer")}
    frozen = {"text": taken_or_fresh("text", 2)} | kept | used
    if method.tune_text:
        params["text"] = frozen.pop("text")
    if method.tune_decoder:
        params["space"] = frozen.pop("space")

    def average():  # a copy each: donated buffers must not appear twice
        return {name: jax.tree.map(jnp.copy, params[name]) for name in params if name != "discriminator"}

    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=average(),
        opt_state={name: method.optimizer(0.0, 0).init(params[name]) for name in params},
        frozen=frozen,
        tracks={f"{factor:g}": average() for factor in method.ema_tracks},
        control=method.first_control(),
    )


def train_step(
    method: Method,
    state: State,
    batch: dict[str, jax.Array],
    *,
    stage: int | None = None,
    penalty_due: bool | None = None,
) -> tuple[State, Metrics]:
    """One step: the discriminator's updates, the generator's update, the moving average.

    Returns the next state and float32 scalars by name, means over the batch. What `decided` says of the step's number
    may be given as `stage` and `penalty_due`; otherwise the compiled step decides by `state.step`.
    """
    method = dataclasses.replace(method, penalty_due=penalty_due)
    return by_stage(_play, method, state, batch, stage) if method.growth.starts else _play(method, state, batch)


def decided(method: Method, number: int) -> tuple[tuple[str, Any], ...]:
    """Returns what the number of a step decides, as settings of `train_step`: hashable, mostly ().

    A step compiled for each has no branches, in which XLA runs convolutions some ten times slower on a CPU.
    """
    settings: dict[str, Any] = {}
    if method.growth.starts:
        settings["stage"] = bisect.bisect_right(method.growth.starts, number) - 1
    if method.penalty_every > 1:
        settings["penalty_due"] = number % method.penalty_every == 0
    return tuple(settings.items())


def _play(method: Method, state: State, batch: dict[str, jax.Array]) -> tuple[State, Metrics]:
    networks, everyone, tokens = method.networks, state.frozen | state.params, batch["tokens"]
    images = networks.to_network(everyone, batch["images"])
    judged = networks.judged(everyone, images, batch["images"])
    # Parts are taken across the batch's leading axis with stride, so that each device keeps its own pictures.
    part = lambda x, i: x.reshape(-1, method.discriminator_steps, *x.shape[1:])[:, i]
    for i in range(method.discriminator_steps):
        key = stream(method.seed, f"discriminator {i}", state.step)
        state, d_metrics = update_discriminator(method, state, part(judged, i), part(tokens, i), key)
    key = stream(method.seed, "generator", state.step)
    others = {"judged": judged} if networks.judges_pictures else {}
    others |= {"shared": batch["shared"]} if "shared" in batch else {}
    others = {name: part(x, 0) for name, x in others.items()}
    state, g_metrics = update_generator(method, state, part(images, 0), part(tokens, 0), key, **others)
    return advance(method, state, d_metrics), d_metrics | g_metrics


def advance(method: Method, state: State, d_metrics: Metrics) -> State:
    """Ends a step: moves the averages and the controllers, and counts."""
    decay = method.ema_decay(state.step)
    average = lambda old, decay: {n: optax.incremental_update(state.params[n], old[n], 1 - decay) for n in old}
    # A half-life so many times as long is a decay to the power of its inverse.
    tracks = {name: average(old, decay ** (1 / float(name))) for name, old in state.tracks.items()}
    state = augment.adapted(method, state, d_metrics)
    return state.replace(step=state.step + 1, ema=average(state.ema, decay), tracks=tracks)


def update_discriminator(method: Method, state: State, real, tokens, key) -> tuple[State, Metrics]:
    """Moves the discriminator down its loss."""
    z_key, key = jax.random.split(key)
    batch = {"real": real, "tokens": tokens, "z": noise(method, z_key, len(real))}
    loss = functools.partial(discriminator_loss, method, step=state.step, control=state.control)
    return descend(method, state, {"discriminator": method.discriminator_rate}, loss, batch, key)


def update_generator(method: Method, state: State, real, tokens, key, **others) -> tuple[State, Metrics]:
    """Moves the generator [and text encoder, inverter, decoder] down `generator_loss`, which gets `others`."""
    batch = {"real": real, "tokens": tokens, "z": noise(method, key, len(real))} | others
    key = jax.random.fold_in(key, 0)  # z has used the other up
    loss = functools.partial(generator_loss, method, step=state.step, control=state.control)
    return descend(method, state, method.generator_rates(), loss, batch, key)


def discriminator_loss(
    method: Method, params: dict[str, Params], step, real, tokens, key, z=None, control=None, captioned=None
) -> tuple[jax.Array, Metrics]:
    """adversarial(real, fake) + weight * penalty [+ mismatched captions as fakes]; the mean, and metrics per sample."""
    if z is None:
        z_key, key = jax.random.split(key)
        z = noise(method, z_key, len(real))
    text, fake = draw(method, params, tokens, z, key, captioned)
    fake = jax.lax.stop_gradient(method.networks.judged(params, fake))
    weight = method.penalty_weight(step) * method.penalty_every
    critic = make_critic(method, params["discriminator"], step, key, len(real), control)
    shown = real, fake
    if method.attack_steps:
        loss = method.adversarial.discriminator
        shown = regularize.attack(critic, loss, *shown, text, method.attack_size, method.attack_steps)
    if method.mismatch_weight:
        critic = losses.with_mismatched(critic)
    arguments = (*shown, text, key)
    # Lazy: rarely, and as much stronger.
    due = True if method.penalty_every == 1 else method.penalty_due
    if due is None:
        due = step % method.penalty_every == 0
        scores = jax.lax.cond(
            due, lambda a: method.penalty(critic, *a), lambda a: losses.no_penalty(critic, *a), arguments
        )
    else:
        scores = (method.penalty if due else losses.no_penalty)(critic, *arguments)
    adversarial = method.adversarial.discriminator(scores.real, scores.fake)
    if method.mismatch_weight:
        # GAN-CLS (Reed et al. 2016, arXiv:1605.05396): a real picture with another's caption is a fake too.
        mismatched = method.adversarial.discriminator(scores.real, scores.mismatched)
        rows = tokens.reshape(len(tokens), -1)
        same = (rows == jnp.roll(rows, 1, axis=0)).all(-1)  # the neighbour may have the same caption
        if method.caption_dropout or captioned is not None:  # or none, which goes with every picture
            same |= jnp.roll(regularize.has_caption(text), 1) == 0
        share = jnp.where(same, 0.0, method.mismatch_weight)
        adversarial = (1 - share) * adversarial + share * mismatched
    metrics = {
        "loss/discriminator": adversarial,
        "loss/penalty": scores.penalty,
        "logits/real": scores.real,
        "logits/fake": scores.fake,
    }
    if method.augment_target:
        of_zero = scores.fake if method.adversarial.relative else 0.0
        metrics["logits/real_sign"] = jnp.sign(scores.real - of_zero)
    return (adversarial + weight * scores.penalty).mean(), metrics


def generator_loss(
    method: Method, params: dict[str, Params], step, real, tokens, key, z=None, control=None, judged=None, shared=None
) -> tuple[jax.Array, Metrics]:
    """adversarial(real, fake) [+ weight * (matching, inversion, variety, mean (real - fake)^2)]; and metrics."""
    networks = method.networks
    judged = real if judged is None else judged  # `real` as the discriminator sees it
    z = noise(method, key, len(real)) if z is None else z
    text, blurred = read(method, params, tokens, key)
    redraw = lambda z: networks.generator.apply(params["generator"], z, blurred)
    if method.paired_weight:
        told = (redraw, real, text.sentence, z, jax.random.fold_in(key, 3))
        z, _ = paired_noise(networks, params, *told, method.paired_noises, shared)
    fake = redraw(z)
    critic = make_critic(method, params["discriminator"], step, key, len(real), control)
    # Only relativistic losses look at the real logits; for the others XLA drops that pass.
    drawn = networks.judged(params, fake)
    loss = method.adversarial.generator(critic(judged, text), critic(drawn, text))
    metrics = {"loss/generator": loss}
    if method.paired_weight:
        metrics["loss/paired"] = ((real - fake) ** 2).mean((1, 2, 3))
        loss = loss + method.paired_weight * metrics["loss/paired"]
    if method.paired_pixel_weight:
        metrics["loss/paired_pixels"] = jnp.abs(judged - drawn).mean((1, 2, 3))
        loss = loss + method.paired_pixel_weight * metrics["loss/paired_pixels"]
    if method.contrastive_weight or method.cycle_weight:
        # XMC-GAN (Zhang et al. 2021, arXiv:2101.04702): the frozen image tower finds picture and caption alike.
        features = networks.image_encoder.apply(params["image"], fake)
        matched = networks.matching.apply(params["matching"], features, text.sentence)
        with_caption = regularize.has_caption(text) if method.caption_dropout else 1.0
        if method.contrastive_weight:
            metrics["loss/matching"] = with_caption * losses.contrastive(*matched)
            loss = loss + method.contrastive_weight * metrics["loss/matching"]
        if method.cycle_weight:
            metrics["loss/cycle"] = with_caption * losses.angular_distance(matched.images, matched.sentences)
            loss = loss + method.cycle_weight * metrics["loss/cycle"]
    if method.variety:
        key_of_others = jax.random.fold_in(key, 2)
        variety, terms = variety_loss(networks, params, real, fake, text, z, redraw, key_of_others, method.variety)
        loss, metrics = loss + variety, metrics | terms
    if method.reconstruction_weight:
        inversion, terms = inversion_loss(
            networks, params, real, jnp.ones_like(real[..., :1]), text, jax.random.fold_in(key, 1), method.inversion
        )
        loss, metrics = loss + method.reconstruction_weight * inversion, metrics | terms
    return loss.mean(), metrics


def noise(method: Method, key: jax.Array, num: int) -> jax.Array:
    """Returns z for `num` pictures, [num, Z]."""
    return jax.random.normal(key, (num, method.networks.z_dim))


def draw(method: Method, params: dict[str, Params], tokens, z, key, captioned=None) -> tuple[Text, jax.Array]:
    """Encodes captions and draws them; returns the text as the discriminator reads it, and the pictures."""
    text, blurred = read(method, params, tokens, key, captioned)
    return text, method.networks.generator.apply(params["generator"], z, blurred)


def read(method: Method, params: dict[str, Params], tokens, key, captioned=None) -> tuple[Text, Text]:
    """Encodes captions, as the discriminator and as the generator reads them.

    They may be dropped for both players, and blurred for the generator (`config.augment`). Where `captioned` is 0 there
    was none: see `regularize.drop_captions`.
    """
    text, key_of_drops = encode(method, params, tokens), jax.random.fold_in(key, 11)
    text = regularize.drop_captions(key_of_drops, text, method.caption_dropout, captioned)
    return text, regularize.blur_captions(jax.random.fold_in(key, 12), text, method.sentence_noise)


def make_critic(
    method: Method, params: Params, step, key: jax.Array, num: int, control: dict | None = None
) -> Callable:
    """Returns the discriminator as the losses call it: (images, text) -> logits.

    It scores what it is shown: pictures augmented and noisy, alike in all calls; of several batches at once each is
    changed alike. Gradients by the pictures, in penalties and for the generator, go through that.

    `num` is the number of pictures in a batch.
    """
    weights = method.normalise(params)
    probability = (control or {}).get("augment_probability", method.augment_probability)
    augment_key, noise_key, dropout_key = (jax.random.fold_in(key, i) for i in (13, 14, 15))

    def critic(images, text):
        if method.augment_kinds:
            kinds, alpha = method.augment_kinds, method.augment_alpha
            images = augment.augment(augment_key, images, probability, kinds, num, alpha)
        if method.instance_noise is not None:
            grain = jax.random.normal(noise_key, (num, *images.shape[1:]), images.dtype)
            images = images + method.instance_noise(step) * jnp.tile(grain, (len(images) // num, 1, 1, 1))
        return method.networks.discriminator.apply(weights, images, text, rngs={"dropout": dropout_key})

    return critic


def encode(method: Method, params: dict[str, Params], tokens: jax.Array) -> Text:
    """Encodes captions by the text encoder in `params`."""
    return method.networks.text_encoder.apply(params["text"], tokens)


def stream(seed: int, name: str, step: jax.Array | int) -> jax.Array:
    """Returns the random key of a named stream at a step; no key is carried along, so resuming needs none."""
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    return jax.random.fold_in(root, step)


def descend(
    method: Method, state: State, rates: dict[str, Callable], loss: Callable, batch: dict, key: jax.Array
) -> tuple[State, Metrics]:
    """One update of the networks in `rates` down `loss(params=of all networks, key=, **batch)`, mean and metrics."""
    others = state.frozen | state.params
    trained = {name: state.params[name] for name in rates}
    loss_fn = lambda trained, part, key: loss(params=others | trained, key=key, **part)
    grads, metrics = optimizers.gradients(loss_fn, trained, batch, key, method.microbatches)
    state, of_move = move(method, state, rates, grads)
    return state, metrics | of_move


def move(method: Method, state: State, rates: dict[str, Callable], grads: dict[str, Params]) -> tuple[State, Metrics]:
    """One optimizer update of the networks named in `rates`, each by its gradient in `grads`."""
    params, opt_state, metrics = dict(state.params), dict(state.opt_state), {}
    for name, rate in rates.items():
        optimizer = method.optimizer(rate(state.step), state.step)
        updates, opt_state[name] = optimizer.update(grads[name], opt_state[name], params[name])
        params[name] = optax.apply_updates(params[name], updates)
        metrics[f"gradient_norm/{name}"] = optax.tree.norm(grads[name])
        metrics[f"learning_rate/{name}"] = jnp.asarray(rate(state.step), jnp.float32)
    return state.replace(params=params, opt_state=opt_state), metrics
