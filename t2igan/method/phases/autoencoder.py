"""Phase "autoencoder": a space of codes is learned from pictures alone, before anything else (docs/space.md).

The encoder's output is brought to unit variance by the statistics of the batch, noise of a random strength is added,
and the decoder is to give the picture back all the same:

    h = E(x),   c = (h - mean h) / std h,   x' = D(c + s n),   s ~ U(0, noise) a picture,   n ~ N(0, 1)

with the loss of `t2igan.method.losses.reconstruction`. The noise makes the decoder forgive what a generator gets wrong,
as in l-DeTok (Yang et al. 2025, arXiv:2507.15856); no divergence is needed, since codes cannot grow. A moving average
of the statistics is kept for later, when there is no batch.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from t2igan.method.losses.reconstruction import Features, reconstruction_loss
from t2igan.method.optim import optimizers
from t2igan.method.phases.base import PhaseMethod, PhaseState, init_phase_state
from t2igan.nets import Networks
from t2igan.nets.autoencoder import STATISTICS, normalised, statistics_of
from t2igan.step import Metrics, Params, stream

STATISTICS_DECAY = 0.99  # of the average of a batch's statistics, a step
CLIP_NORM = 1.0


@dataclasses.dataclass(frozen=True)
class AutoencoderMethod(PhaseMethod):
    """What the phase's step needs to know and never changes. Made by `AutoencoderMethod.create`."""

    noise: float  # largest standard deviation of the noise on codes
    gradient_weight: float
    features: Features | None  # of a network that knows pictures, for the perceptual term
    perceptual_weight: float

    @classmethod
    def create(
        cls,
        config,
        networks: Networks,
        total_steps: int,
        features: Features | None = None,
        perceptual_weight: float = 0.0,
    ) -> AutoencoderMethod:
        """Reads `config.pretrain_autoencoder` (checked by `t2igan.config`).

        Args:
          config: the configuration.
          networks: the networks, of which `space` learns.
          total_steps: length of the phase.
          features: for the perceptual term, pictures in [-1, 1] to maps of features; None leaves the term out.
          perceptual_weight: of that term.
        """
        p = config.pretrain_autoencoder
        return cls.of(
            config,
            p,
            networks,
            total_steps,
            optimizer=lambda rate, b2: optimizers.adam(rate, beta1=0.9, beta2=b2, clip_norm=CLIP_NORM),
            noise=p.noise,
            gradient_weight=p.gradient_weight,
            features=features,
            perceptual_weight=perceptual_weight,
        )


def init_autoencoder_state(
    method: AutoencoderMethod, batch: dict, given: dict[str, Params] | None = None
) -> PhaseState:
    """Returns the first state; what is given of other networks is kept for the phases after."""
    key = stream(method.seed, "autoencoder phase init", 0)
    return init_phase_state(method.networks, method.optimizer, key, batch, given, ("space",))


def autoencoder_step(
    method: AutoencoderMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of encoder and decoder on a batch of pictures, uint8; returns the next state and float32 scalars."""
    images = batch["images"].astype(jnp.float32) / 127.5 - 1
    key = stream(method.seed, "autoencoder phase", state.step)

    def loss_fn(params):
        decoded, statistics = noisy_reconstruction(method, params["space"], images, key)
        loss, terms = reconstruction_loss(
            images, decoded, method.gradient_weight, method.features, method.perceptual_weight
        )
        return loss.mean(), (terms, statistics)

    grads, (terms, statistics) = jax.grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = method.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(STATISTICS_DECAY, (1 + state.step) / (10 + state.step))
    old = state.params["space"][STATISTICS]
    averaged = {name: decay * old[name] + (1 - decay) * new for name, new in statistics.items()}
    params = params | {"space": params["space"] | {STATISTICS: averaged}}
    metrics = {name: value.mean() for name, value in terms.items()}
    metrics["gradient_norm/space"] = optax.tree.norm(grads["space"])
    metrics["learning_rate/space"] = jnp.asarray(method.rate(state.step), jnp.float32)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics


def noisy_reconstruction(
    method: AutoencoderMethod, params: Params, images: jax.Array, key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns pictures that were coded and, under noise, decoded; and the batch's statistics of codes, by name."""
    space = method.networks.space
    raw = space.apply(params, images, method="raw")
    mean, mean_square = statistics_of(raw)
    codes = normalised(raw, mean, mean_square)
    strength_key, noise_key = jax.random.split(key)
    strength = method.noise * jax.random.uniform(strength_key, (len(codes), 1, 1, 1))
    noisy = codes + strength * jax.random.normal(noise_key, codes.shape)
    return space.apply(params, noisy, method="decode"), {"mean": mean, "mean_square": mean_square}
