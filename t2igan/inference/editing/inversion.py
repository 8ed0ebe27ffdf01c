"""From pictures to codes by optimisation: pure functions under `jit`, in a loop of so many steps.

What is looked for are noise z and offsets d of the styles, with the caption given, so that

    mean over visible pixels of |e| + e^2   +   1e-3 mean z^2   +   0.02 mean d^2,    e = G(styles(z, c) + d, c) - x

is small. z is chosen among random ones, then moved by Adam (Kingma & Ba 2015, arXiv:1412.6980) alone, and then along
with d, which are free from use to use: W+ of Abdal et al. 2019, arXiv:1904.03189. Each picture of a batch is looked for
by itself; what it is batched with changes nothing but rounding.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from t2igan import nets
from t2igan.method.techniques.masks import visible_distance
from t2igan.nets import Text

NOISE_PRIOR = 1e-3  # of mean z^2
OFFSET_PENALTY = 0.02  # of mean d^2
NOISE_RATE = 0.05
OFFSET_RATE = 0.02
AT_ONCE = 16  # noises are tried together where pictures are few
LAST_RATE = 0.05  # by a cosine, as a share of the first


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to look: random noises tried, steps of noise alone, of noise and offsets, and of the generator.

    The last ones are taken for one picture at a time (`t2igan.inference.editing.tuning`).
    """

    tries: int
    noise_steps: int
    offset_steps: int
    tuning_steps: int = 0

    @property
    def total(self) -> int:
        """All steps of the search for a batch; those of tuning are taken for each picture besides."""
        return self.tries + self.noise_steps + self.offset_steps


QUALITIES = {"fast": Effort(48, 0, 0), "good": Effort(48, 100, 100), "best": Effort(96, 100, 300, 100)}
# What "fast" is where there is an inverter: its one pass alone is worse than the best of 48 noises, and this is better.
FROM_INVERTER = Effort(0, 0, 20)
# To complete a picture offsets are of no use: what they do to visible pixels says nothing of hidden ones.
COMPLETIONS = {"fast": Effort(16, 0, 0), "good": Effort(16, 50, 0), "best": Effort(32, 150, 0)}


class Target(NamedTuple):
    """What is to be drawn: pictures in [-1, 1], which of their pixels count, and the encoded captions."""

    images: Float[Array, "B H W C"]
    visible: Float[Array, "B H W 1"]
    text: Text


class Found(NamedTuple):
    """What there is so far."""

    noise: Float[Array, "B Z"]
    offsets: Float[Array, "B U S"]
    loss: Float[Array, " B"]  # of the pixels alone; infinite where nothing has been tried


def distance(images: Float[Array, "B H W C"], target: Target) -> Float[Array, " B"]:
    """Returns how far the visible pixels are off, of each picture."""
    return visible_distance(images - target.images, target.visible)


def draw(networks: nets.Networks, params: Any, noise, offsets, text: Text) -> Float[Array, "B H W C"]:
    """Returns the pictures of noise, offsets of the styles, and captions, in [-1, 1] or a little beyond."""
    styles = networks.generator.apply(params["generator"], noise, text.sentence, method="styles") + offsets
    return networks.to_pixels(params, networks.generator.apply(params["generator"], styles, text, method="draw"))


def nothing_yet(networks: nets.Networks, num: int) -> Found:
    """Returns the start of a search for `num` pictures."""
    uses = networks.generator.num_styles, networks.generator.style_dim
    return Found(jnp.zeros((num, networks.z_dim)), jnp.zeros((num, *uses)), jnp.full((num,), jnp.inf))


@functools.partial(jax.jit, static_argnums=0)
def attempt(
    networks: nets.Networks, params: Any, found: Found, target: Target, noise: Float[Array, "B Z"], offsets: Any = 0.0
) -> Found:
    """Returns, of each picture, the better of what was found and another noise with offsets, or without."""
    offsets = jnp.broadcast_to(offsets, found.offsets.shape)
    loss = distance(draw(networks, params, noise, offsets, target.text), target)
    return _better(Found(noise, offsets, loss), found)


@functools.partial(jax.jit, static_argnums=0)
def attempts(
    networks: nets.Networks, params: Any, found: Found, target: Target, noises: Float[Array, "N B Z"]
) -> Found:
    """Returns, of each picture, the best of what was found and of N noises, all of which are drawn at once."""
    return _better(best_of(networks, params, target, noises)[0], found)


def _better(new: Found, old: Found) -> Found:
    better = new.loss < old.loss
    choose = lambda x, y: jnp.where(better.reshape(-1, *[1] * (x.ndim - 1)), x, y)
    return jax.tree.map(choose, new, old)


def best_of(
    networks: nets.Networks, params: Any, target: Target, noises: Float[Array, "N B Z"]
) -> tuple[Found, Float[Array, "B H W C"]]:
    """Returns, of each picture, the best of N noises, all of which are drawn at once, and what it draws."""
    drawn = jax.vmap(lambda noise: draw(networks, params, noise, 0.0, target.text))(noises)
    losses = jax.vmap(lambda images: distance(images, target))(drawn)
    of, row = losses.argmin(0), jnp.arange(losses.shape[1])
    return nothing_yet(networks, len(row))._replace(noise=noises[of, row], loss=losses.min(0)), drawn[of, row]


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)


def optimizer_state(found: Found) -> Any:
    """Returns the state with which a row of steps begins."""
    return _ADAM.init((found.noise, found.offsets))


@functools.partial(jax.jit, static_argnums=0)
def improve(
    networks: nets.Networks, params: Any, found: Found, opt_state: Any, target: Target, rate, offset_rate
) -> tuple[Found, Any]:
    """One step of Adam for noise and offsets; a rate of 0 leaves the one as it is.

    Returns:
      what is found, with the loss before the step, and the optimizer's next state.
    """

    def loss_fn(codes):
        noise, offsets = codes
        pixels = distance(draw(networks, params, noise, offsets, target.text), target)
        prior = NOISE_PRIOR * (noise**2).mean(-1) + OFFSET_PENALTY * (offsets**2).mean((1, 2))
        return (pixels + prior).sum(), pixels

    codes = (found.noise, found.offsets)
    grads, loss = jax.grad(loss_fn, has_aux=True)(codes)
    (noise, offsets), opt_state = _ADAM.update(grads, opt_state)
    return Found(found.noise - rate * noise, found.offsets - offset_rate * offsets, loss), opt_state


def cosine(step: int, steps: int, rate: float) -> np.float32:
    """Returns the learning rate of a step, from 0: down from `rate` to a share of it."""
    return np.float32(rate * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / max(steps, 1))) / 2))


def search(
    networks: nets.Networks,
    params: Any,
    target: Target,
    effort: Effort,
    progress: Callable[[int], None] = lambda steps: None,  # noqa: ARG005
    tries: Callable[[range], Float[Array, "N B Z"]] | None = None,
    start: Found | None = None,
) -> Found:
    """Returns what draws the target best; it takes `effort.total` steps and no more.

    Args:
      networks: the networks.
      params: by network.
      target: what is to be drawn.
      effort: how long to look.
      progress: told of steps that were done.
      tries: numbers -> noises to try, for each picture; None where the effort has no tries.
      start: what was found otherwise; None = nothing.
    """
    found = nothing_yet(networks, len(target.images)) if start is None else start
    at_once = max(AT_ONCE // len(target.images), 1)
    if tries is not None:
        for first in range(0, effort.tries, at_once):
            numbers = range(first, min(first + at_once, effort.tries))
            found = attempts(networks, params, found, target, tries(numbers))
            progress(len(numbers))
    for steps, rate, offset_rate in (
        (effort.noise_steps, NOISE_RATE, 0.0),
        (effort.offset_steps, OFFSET_RATE, OFFSET_RATE),
    ):
        opt_state = optimizer_state(found) if steps else None
        for step in range(steps):
            rates = cosine(step, steps, rate), cosine(step, steps, offset_rate)
            found, opt_state = improve(networks, params, found, opt_state, target, *rates)
            progress(1)
    return found
