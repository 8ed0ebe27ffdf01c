"""The adversarial method on one page: the state, the step, and for each player its update and its loss.

Everything here is a pure function of its arguments: the same method, state and batch give the same next state. jit,
donation and devices are added by `t2igan.parallel`. A batch is

    images  uint8 [N, H, W, C]
    tokens  int32 [N, T], 0 = padding

with N = method.batch_images * method.discriminator_steps.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from t2igan import losses
from t2igan.inversion import InversionWeights, inversion_loss
from t2igan.nets import Networks, Text
from t2igan.nets.init import init_network
from t2igan.schedules import ema_decay, schedule

Params = Any
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Method:
    """What a step needs to know and never changes: networks, losses, schedules. Made by `Method.create`."""

    networks: Networks
    seed: int
    batch_images: int
    discriminator_steps: int
    adversarial: losses.Adversarial
    judge: Callable[..., losses.Judged]  # logits and penalty
    penalty_every: int
    mismatch_weight: float
    contrastive_weight: float
    reconstruction_weight: float
    inversion: InversionWeights
    tune_text: bool
    generator_rate: Callable  # step -> learning rate; likewise below
    discriminator_rate: Callable
    text_rate: Callable
    beta1: float
    beta2: Callable
    penalty_weight: Callable
    ema_decay: Callable
    clip_norm: float

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> Method:
        """Reads `config.train` and `config.loss` (checked by `t2igan.config`) for a phase of `total_steps` steps."""
        train, loss = config.train, config.loss

        def over_training(start: float, end: float, warmup_steps: int = 0) -> Callable:
            return schedule(train.schedule, start, end, total_steps, warmup_steps)

        def rate(peak: float) -> Callable:
            return over_training(peak, peak * train.learning_rate_end, min(train.warmup_steps, total_steps // 2))

        return cls(
            networks=networks,
            seed=config.seed,
            batch_images=train.batch_images,
            discriminator_steps=train.discriminator_steps,
            adversarial=losses.ADVERSARIAL[loss.adversarial],
            judge=losses.PENALTIES[loss.penalty],
            penalty_every=loss.penalty_every,
            mismatch_weight=loss.mismatch_weight,
            contrastive_weight=loss.contrastive_weight,
            reconstruction_weight=loss.reconstruction_weight,
            inversion=InversionWeights.of(config),
            tune_text=train.tune_text,
            generator_rate=rate(train.generator_learning_rate),
            discriminator_rate=rate(train.discriminator_learning_rate),
            text_rate=rate(train.text_learning_rate),
            beta1=train.beta1,
            beta2=over_training(train.beta2, train.beta2_end),
            penalty_weight=over_training(loss.penalty_weight, loss.penalty_weight_end),
            ema_decay=ema_decay(
                over_training(train.ema_half_life_images, train.ema_half_life_images_end),
                train.ema_ramp,
                train.batch_images,
            ),
            clip_norm=train.clip_norm,
        )

    def optimizer(self, rate: jax.Array | float, step: jax.Array | int) -> optax.GradientTransformation:
        """Adam at the rates of this step; its state does not depend on them."""
        adam = optax.adam(rate, b1=self.beta1, b2=self.beta2(step), eps=1e-8)
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), adam) if self.clip_norm else adam


@flax.struct.dataclass
class State:
    """All that the future of the training depends on; dictionaries are keyed by network, as "generator" or "text".

    Leaves are arrays, or whatever a tree of the same structure holds: shapes, shardings, places on disk.
    """

    step: Any  # int32 [], adversarial steps done
    params: Any  # of the networks that are trained
    ema: Any  # their moving averages: of the generator, and of the text encoder and inverter where they are trained
    opt_state: Any  # of each network in params
    frozen: Any  # params that are not trained: what earlier phases left behind


def init_state(method: Method, batch: dict, given: dict[str, Params] | None = None) -> State:
    """Returns parameters and optimizer states: networks in `given` as they are there, the others fresh.

    Args:
      method: the method.
      batch: a batch, or its shapes; two examples are enough.
      given: parameters by network, as earlier phases left them. Without "text" the text encoder starts, and if it is
        not tuned stays, at random. What is not trained is kept in `frozen`; an "inverter" that is not trained is let
        go, for it would not belong to the new generator.
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
    frozen = {"text": taken_or_fresh("text", 2)} | {n: p for n, p in given.items() if n != "inverter"}
    if method.tune_text:
        params["text"] = frozen.pop("text")
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        # A copy: donated buffers must not appear twice.
        ema={name: jax.tree.map(jnp.copy, params[name]) for name in params if name != "discriminator"},
        opt_state={name: method.optimizer(0.0, 0).init(params[name]) for name in params},
        frozen=frozen,
    )


def train_step(method: Method, state: State, batch: dict[str, jax.Array]) -> tuple[State, Metrics]:
    """One step: the discriminator's updates, the generator's update, the moving average.

    Returns the next state and float32 scalars by name, means over the batch.
    """
    images = batch["images"].astype(jnp.float32) / 127.5 - 1
    tokens = batch["tokens"]
    # Parts are taken across the batch's leading axis with stride, so that each device keeps its own pictures.
    part = lambda x, i: x.reshape(-1, method.discriminator_steps, *x.shape[1:])[:, i]  # noqa: E731
    for i in range(method.discriminator_steps):
        key = stream(method.seed, f"discriminator {i}", state.step)
        state, d_metrics = update_discriminator(method, state, part(images, i), part(tokens, i), key)
    key = stream(method.seed, "generator", state.step)
    state, g_metrics = update_generator(method, state, part(images, 0), part(tokens, 0), key)

    decay = method.ema_decay(state.step)
    ema = {n: optax.incremental_update(state.params[n], state.ema[n], 1 - decay) for n in state.ema}
    return state.replace(step=state.step + 1, ema=ema), d_metrics | g_metrics


def update_discriminator(method: Method, state: State, real, tokens, key) -> tuple[State, Metrics]:
    """Moves the discriminator down its loss."""
    loss = functools.partial(discriminator_loss, method, step=state.step, real=real, tokens=tokens, key=key)
    return descend(method, state, {"discriminator": method.discriminator_rate}, loss)


def update_generator(method: Method, state: State, real, tokens, key) -> tuple[State, Metrics]:
    """Moves the generator [and the text encoder, and the inverter] down its loss."""
    loss = functools.partial(generator_loss, method, step=state.step, real=real, tokens=tokens, key=key)
    rates = {"generator": method.generator_rate}
    if method.tune_text:
        rates["text"] = method.text_rate
    if method.reconstruction_weight:
        rates["inverter"] = method.generator_rate
    return descend(method, state, rates, loss)


def discriminator_loss(method: Method, params: dict[str, Params], step, real, tokens, key) -> tuple[jax.Array, Metrics]:
    """adversarial(real, fake) + weight * penalty [+ mismatched captions as fakes]; the mean, and metrics per sample."""
    networks = method.networks
    z_key, penalty_key = jax.random.split(key)
    z = jax.random.normal(z_key, (len(real), networks.z_dim))
    text = encode(method, params, tokens)
    fake = jax.lax.stop_gradient(networks.generator.apply(params["generator"], z, text))
    weight = method.penalty_weight(step) * method.penalty_every

    def critic(images, text):
        return networks.discriminator.apply(params["discriminator"], images, text)

    arguments = (real, fake, text, penalty_key)
    if method.penalty_every > 1:  # lazy: rarely, and as much stronger
        due = step % method.penalty_every == 0
        judged = jax.lax.cond(due, lambda a: method.judge(critic, *a), lambda a: losses.judge(critic, *a), arguments)
    else:
        judged = method.judge(critic, *arguments)
    adversarial = method.adversarial.discriminator(judged.real, judged.fake)
    if method.mismatch_weight:
        # GAN-CLS (Reed et al. 2016, arXiv:1605.05396): a real picture with another's caption is a fake too.
        mismatched = critic(real, jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), text))
        mismatched = method.adversarial.discriminator(judged.real, mismatched)
        same = (tokens == jnp.roll(tokens, 1, axis=0)).all(-1)  # the neighbour may have the same caption
        share = jnp.where(same, 0.0, method.mismatch_weight)
        adversarial = (1 - share) * adversarial + share * mismatched
    metrics = {
        "loss/discriminator": adversarial,
        "loss/penalty": judged.penalty,
        "logits/real": judged.real,
        "logits/fake": judged.fake,
    }
    return (adversarial + weight * judged.penalty).mean(), metrics


def generator_loss(method: Method, params: dict[str, Params], step, real, tokens, key) -> tuple[jax.Array, Metrics]:  # noqa: ARG001
    """adversarial(real, fake) [+ weight * matching + weight * inversion]; the mean, and metrics per sample."""
    networks = method.networks
    z = jax.random.normal(key, (len(real), networks.z_dim))
    text = encode(method, params, tokens)
    fake = networks.generator.apply(params["generator"], z, text)

    def critic(images):
        return networks.discriminator.apply(params["discriminator"], images, text)

    # Only relativistic losses look at the real logits; for the others XLA drops that pass.
    loss = method.adversarial.generator(critic(real), critic(fake))
    metrics = {"loss/generator": loss}
    if method.contrastive_weight:
        # XMC-GAN (Zhang et al. 2021, arXiv:2101.04702): the frozen image tower finds picture and caption alike.
        features = networks.image_encoder.apply(params["image"], fake)
        matched = networks.matching.apply(params["matching"], features, text.sentence)
        matching = losses.contrastive(matched.images, matched.sentences, matched.inverse_temperature)
        metrics["loss/matching"] = matching
        loss = loss + method.contrastive_weight * matching
    if method.reconstruction_weight:
        visible = jnp.ones_like(real[..., :1])
        inversion, inversion_metrics = inversion_loss(
            networks, params, real, visible, text, jax.random.fold_in(key, 1), method.inversion
        )
        metrics |= inversion_metrics
        loss = loss + method.reconstruction_weight * inversion
    return loss.mean(), metrics


def encode(method: Method, params: dict[str, Params], tokens: jax.Array) -> Text:
    """Encodes captions by the text encoder in `params`."""
    return method.networks.text_encoder.apply(params["text"], tokens)


def stream(seed: int, name: str, step: jax.Array | int) -> jax.Array:
    """Returns the random key of a named stream at a step; no key is carried along, so resuming needs none."""
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    return jax.random.fold_in(root, step)


def descend(method: Method, state: State, rates: dict[str, Callable], loss: Callable) -> tuple[State, Metrics]:
    """One optimizer update of the networks named in `rates` down `loss(params of all networks) -> mean, metrics`."""
    others = state.frozen | state.params
    trained = {name: state.params[name] for name in rates}
    grads, metrics = jax.grad(lambda trained: loss(others | trained), has_aux=True)(trained)
    state, of_move = move(method, state, rates, grads)
    return state, {name: value.mean() for name, value in metrics.items()} | of_move


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
