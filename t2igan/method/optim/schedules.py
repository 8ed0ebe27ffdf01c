"""How a setting moves while training goes on: functions of the step, as Optax has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from t2igan.config.registry import Registry

# (start, end, steps) -> Optax schedule, step -> value; the key is that of any phase's section.
SCHEDULES: Registry[Callable[[float, float, int], Callable]] = Registry("schedule", key="train.schedule")


@SCHEDULES.register("constant")
def constant(start: float, end: float, steps: int) -> Callable:  # noqa: ARG001
    """Stays at `start`."""
    return optax.constant_schedule(start)


@SCHEDULES.register("cosine")
def cosine(start: float, end: float, steps: int) -> Callable:
    """Half a cosine from `start` to `end` (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts)."""
    decay = optax.cosine_decay_schedule(1.0, steps)
    return lambda step: end + (start - end) * decay(step)


@SCHEDULES.register("linear")
def linear(start: float, end: float, steps: int) -> Callable:
    """A straight line."""
    return optax.linear_schedule(start, end, steps)


@SCHEDULES.register("exponential")
def exponential(start: float, end: float, steps: int) -> Callable:
    """Equal factors in equal times; both ends must be positive."""
    return optax.exponential_decay(start, steps, end / start, end_value=end)


def schedule(shape: str, start: float, end: float, steps: int, warmup_steps: int = 0) -> Callable:
    """Returns step -> value, from `start` to `end` over `steps` steps, rising linearly from 0 in `warmup_steps`.

    "constant" stays at `start`; "exponential" wants both ends positive. After `steps` the value stays at `end`.
    """
    steps = max(steps - warmup_steps, 1)
    body = SCHEDULES[shape](start, end, steps) if start != end else constant(start, end, steps)
    if not warmup_steps:
        return body
    return optax.join_schedules([optax.linear_schedule(0.0, start, warmup_steps), body], [warmup_steps])


def learning_rate(section: Any, total_steps: int) -> Callable:
    """Returns step -> learning rate of a phase, from the keys that the sections of all phases have.

    It rises over `warmup_steps`, but at most half of the phase, to `learning_rate` and moves by `schedule` to the share
    `learning_rate_end` of it.
    """
    peak, warmup_steps = section.learning_rate, min(section.warmup_steps, total_steps // 2)
    return schedule(section.schedule, peak, peak * section.learning_rate_end, total_steps, warmup_steps)


def ema_decay(half_life_images: float | Callable, ramp: float, batch_images: int) -> Callable:
    """Returns step -> decay of an exponential moving average whose weight halves every `half_life_images`.

    Early on the half-life is at most `ramp` times the images seen, so that the average forgets the initial weights
    (EDM, Karras et al. 2022, arXiv:2206.00364); `ramp` 0 switches that off, `half_life_images` 0 the average. The
    half-life may be a schedule, step -> images.
    """

    def decay(step):
        half_life = half_life_images(step) if callable(half_life_images) else half_life_images
        half_life = jnp.asarray(half_life, jnp.float32)
        if ramp > 0:
            half_life = jnp.minimum(half_life, ramp * (step + 1) * batch_images)
        return jnp.exp2(-batch_images / jnp.maximum(half_life, 1e-6))

    return decay
