"""What is looked at while a space is learned, and a generator by regression: sheets and errors of held-out pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.inference.pictures import sheet
from t2igan.inference.sample import from_snapshot, to_bytes
from t2igan.method.phases.base import PhaseState
from t2igan.method.phases.generator import GeneratorMethod
from t2igan.training.logs import say
from t2igan.training.monitor import draw_sheet, over_test_pictures, snapshot_of
from t2igan.training.run import Run
from t2igan.training.warm_start import networks_of

SHOWN_PICTURES = 24
PAIRS_A_ROW = 4  # each picture beside its reconstruction


def reconstruction(run: Run, step_images: int, state: PhaseState, done: int) -> dict[str, float]:
    """Draws test pictures and what their codes keep of them; returns PSNRs of held-out pictures, in dB.

    Figures: "psnr/held_out"; "psnr/noisy", the same with the most noise of training on the codes; and "codes/std", the
    standard deviation of held-out codes over all places and channels, which should be near 1.
    """
    params = {"space": state.params["space"]}
    images = run.test_data.images[: min(SHOWN_PICTURES, len(run.test_data))]
    again = jax.jit(lambda params, x: to_bytes(run.networks.to_pixels(params, run.networks.to_network(params, x))))
    pairs = np.stack([images, np.asarray(again(params, images))], 1)
    at_once = min(PAIRS_A_ROW, len(pairs))
    pictures = pairs[: len(pairs) // at_once * at_once].reshape(-1, *images.shape[1:])
    facts = {"columns": ["original", "reconstruction"] * at_once, "step": done}
    rows = [""] * (len(pictures) // (2 * at_once))
    run.logs.sheet(f"autoencoder_{done * step_images:09d}", done, sheet(pictures, rows, columns=2 * at_once), facts)

    figures = reconstruction_figures(run, params)
    say(
        f"{done * step_images:>9,} images: held-out pictures come back with {figures['psnr/held_out']:.2f} dB, under "
        f"noise on their codes with {figures['psnr/noisy']:.2f} dB"
    )
    return figures


def reconstruction_figures(run: Run, params: Mapping[str, Any]) -> dict[str, float]:
    """Returns the figures of `reconstruction`."""
    networks, noise = run.networks, run.config.pretrain_autoencoder.noise

    @jax.jit
    def measure(params, images, key):
        codes = networks.to_network(params, images)
        pixels = images.astype(jnp.float32) / 127.5 - 1

        def error(codes):
            return ((jnp.clip(networks.to_pixels(params, codes), -1, 1) - pixels) ** 2).mean((1, 2, 3))

        noisy = codes + noise * jax.random.normal(key, codes.shape)
        return error(codes), error(noisy), codes.mean((1, 2, 3)), (codes**2).mean((1, 2, 3))

    clean, noisy, mean, square = over_test_pictures(
        run, lambda batch, number: measure(params, batch["images"], jax.random.key(number))
    )
    decibels = lambda error: float(10 * np.log10(4 / max(error, 1e-12)))  # noqa: E731
    spread = float(np.sqrt(max(square - mean**2, 0.0)))
    return {"psnr/held_out": decibels(clean), "psnr/noisy": decibels(noisy), "codes/std": spread}


def regression(run: Run, method: GeneratorMethod, step_images: int, state: PhaseState, done: int) -> dict[str, float]:
    """Draws the fixed captions; returns "regression/held_out", the mean squared error of test pictures."""
    networks = method.networks
    generator = from_snapshot(snapshot_of(run, networks_of(state), done))
    draw_sheet(run, generator, f"generator_{done * step_images:09d}", done)
    params = state.frozen | state.params

    @jax.jit
    def error(params, images, tokens, key):
        x = networks.to_network(params, images)
        text = networks.text_encoder.apply(params["text"], tokens)
        drawn = networks.generator.apply(params["generator"], jax.random.normal(key, (len(x), networks.z_dim)), text)
        return (((x - drawn) ** 2).mean((1, 2, 3)),)

    (found,) = over_test_pictures(
        run, lambda batch, number: error(params, batch["images"], batch["tokens"], jax.random.key(number))
    )
    say(f"{done * step_images:>9,} images: squared error of {len(run.test_data):,} test pictures {found:.4f}")
    return {"regression/held_out": found}
