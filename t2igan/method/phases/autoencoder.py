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
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from t2igan.inference.drawing import to_bytes
from t2igan.inference.pictures import sheet
from t2igan.method.losses.reconstruction import Features, reconstruction_loss
from t2igan.method.optim import optimizers
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, init_phase_state
from t2igan.nets import Networks, to_unit
from t2igan.nets.autoencoder import STATISTICS, largest_map_values, normalised, statistics_of
from t2igan.step import Metrics, Params, stream

SECTION = "pretrain_autoencoder"
STATISTICS_DECAY = 0.99  # of the average of a batch's statistics, a step
CLIP_NORM = 1.0
SHOWN_PICTURES = 24
PAIRS_A_ROW = 4  # each picture beside its reconstruction


@dataclasses.dataclass(frozen=True)
class AutoencoderMethod(PhaseMethod):
    """What the phase's step needs to know and never changes. Made by `AutoencoderMethod.create`."""

    noise: float  # largest standard deviation of the noise on codes
    gradient_weight: float
    squared_weight: float
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
        p = config[SECTION]
        return cls.of(
            config,
            p,
            networks,
            total_steps,
            optimizer=lambda rate, b2: optimizers.adam(rate, beta1=0.9, beta2=b2, clip_norm=CLIP_NORM),
            noise=p.noise,
            gradient_weight=p.gradient_weight,
            squared_weight=p.squared_weight,
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
    images = to_unit(batch["images"])
    key = stream(method.seed, "autoencoder phase", state.step)

    def loss_fn(params):
        decoded, statistics = noisy_reconstruction(method, params["space"], images, key)
        loss, terms = reconstruction_loss(
            images,
            decoded,
            method.gradient_weight,
            method.features,
            method.perceptual_weight,
            method.squared_weight,
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


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run, which looks at its reconstructions four times."""
    total_steps, step_images = KIND.total_steps(run), run.config[SECTION].batch_images
    method = AutoencoderMethod.create(run.config, run.gathered_networks, total_steps)
    looks = {round(share * total_steps) for share in (0.25, 0.5, 0.75)} | {total_steps}
    return Phase(
        name="autoencoder",
        init=functools.partial(init_autoencoder_state, method, run.picture_shapes),
        step=functools.partial(autoencoder_step, method),
        total_steps=total_steps,
        step_images=step_images,
        shown=("loss/l1", "loss/gradient"),
        monitor=functools.partial(reconstruction, run, step_images),
        monitored=lambda done: done in looks,
        shapes=run.picture_shapes,
        unlabelled=True,
        largest_map_values=largest_map_values(run.config.space, run.config.data.image_size_px),
    )


def reconstruction(run: Any, step_images: int, state: PhaseState, done: int) -> dict[str, float]:
    """Draws test pictures and what their codes keep of them; returns PSNRs of held-out pictures, in dB.

    Figures: "psnr/held_out"; "psnr/noisy", the same with the most noise of training on the codes; and "codes/std", the
    standard deviation of held-out codes over all places and channels, which should be near 1.
    """
    params = {"space": state.params["space"]}
    images = run.val_data.images[: min(SHOWN_PICTURES, len(run.val_data))]
    again = jax.jit(lambda params, x: to_bytes(run.networks.to_pixels(params, run.networks.to_network(params, x))))
    pairs = np.stack([images, np.asarray(again(params, images))], 1)
    at_once = min(PAIRS_A_ROW, len(pairs))
    pictures = pairs[: len(pairs) // at_once * at_once].reshape(-1, *images.shape[1:])
    facts = {"columns": ["original", "reconstruction"] * at_once, "step": done}
    rows = [""] * (len(pictures) // (2 * at_once))
    run.logs.sheet(f"autoencoder_{done * step_images:09d}", done, sheet(pictures, rows, columns=2 * at_once), facts)

    figures = reconstruction_errors(run, params)
    run.say(
        f"{done * step_images:>9,} images: held-out pictures come back with {figures['psnr/held_out']:.2f} dB, under "
        f"noise on their codes with {figures['psnr/noisy']:.2f} dB"
    )
    return figures


def reconstruction_errors(run: Any, params: Mapping[str, Any]) -> dict[str, float]:
    """Returns the figures of `reconstruction`."""
    networks, noise = run.networks, run.config.pretrain_autoencoder.noise

    @jax.jit
    def measure(params, images, key):
        codes = networks.to_network(params, images)
        pixels = to_unit(images)

        def error(codes):
            return ((jnp.clip(networks.to_pixels(params, codes), -1, 1) - pixels) ** 2).mean((1, 2, 3))

        noisy = codes + noise * jax.random.normal(key, codes.shape)
        return error(codes), error(noisy), codes.mean((1, 2, 3)), (codes**2).mean((1, 2, 3))

    clean, noisy, mean, square = run.over_held_out_pictures(
        lambda batch, number: measure(params, batch["images"], jax.random.key(number))
    )
    decibels = lambda error: float(10 * np.log10(4 / max(error, 1e-12)))
    spread = float(np.sqrt(max(square - mean**2, 0.0)))
    return {"psnr/held_out": decibels(clean), "psnr/noisy": decibels(noisy), "codes/std": spread}


KIND = PhaseKind(SECTION, build, before=("text",), trains=lambda config: ("space",))  # noqa: ARG005
PHASES.register("autoencoder", KIND)
