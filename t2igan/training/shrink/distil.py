"""A smaller generator learns to draw what a larger one draws, of its captions and of fresh noise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from t2igan import nets
from t2igan.inference.sample import Model
from t2igan.method.techniques.regularize import no_caption
from t2igan.nets.layers import downsample
from t2igan.training.shrink.student import Student

IMAGES = 32_000  # that the larger model draws
BATCH_IMAGES = 32
LEARNING_RATE = 2e-3
WARMUP_STEPS = 30
LEARNING_RATE_END = 0.01  # as a share
CLIP_NORM = 1.0

Progress = Callable[[int, int, float], None]  # steps done, steps in all, the error of late


def error_of(found: Float[Array, "B H W C"], wanted: Float[Array, "B H W C"]) -> Float[Array, ""]:
    """Mean absolute and squared difference, and the absolute one of both at half the size, which blur and shift cost.

    In the space of the game: pixels in [-1, 1], or codes, which have unit variance.
    """
    difference = found - wanted
    error = jnp.abs(difference).mean() + jnp.square(difference).mean()
    if difference.shape[1] % 2 == 0:
        error += jnp.abs(downsample(difference)).mean()
    return error


def distilled(
    model: Model,
    student: Student,
    captions: Sequence[str],
    images: int = IMAGES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Student:
    """Returns a student that has learned from a model.

    Args:
      model: the teacher, whose text encoder both use; computing in float32.
      student: its first state.
      captions: to draw from, at random.
      images: how many pictures the teacher draws for it.
      seed: of captions and noise.
      progress: called after every step.
    """
    steps = max(images // BATCH_IMAGES, 1)
    dropout = float(model.config["augment"]["caption_dropout"])
    optimizer, step = _compiled(model.networks, student.module, steps, dropout)
    params, state = student.params, optimizer.init(student.params)
    random, key = np.random.default_rng(seed), jax.random.key(seed)
    late = 0.0
    for number in range(steps):
        tokens = model.tokenizer.encode([captions[i] for i in random.integers(len(captions), size=BATCH_IMAGES)])
        params, state, error = step(params, state, model.params, jnp.asarray(tokens), key, np.uint32(number))
        if progress is not None:
            late = float(error) if number == 0 else 0.98 * late + 0.02 * float(error)
            progress(number + 1, steps, late)
    return student._replace(params=params)


@functools.lru_cache(maxsize=4)
def _compiled(
    networks: nets.Networks, module: Any, steps: int, dropout: float
) -> tuple[optax.GradientTransformation, Callable[..., tuple[Any, Any, jax.Array]]]:
    """The optimizer of so many steps, and a step: (parameters, its state, the teacher, tokens, key, number) -> next."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, LEARNING_RATE, min(WARMUP_STEPS, steps // 2), steps, LEARNING_RATE * LEARNING_RATE_END
    )
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(rate, b1=0.9, b2=0.99))

    @jax.jit
    def step(params, state, teacher, tokens, key, number):
        of_z, of_dropout = jax.random.split(jax.random.fold_in(key, number))
        text = networks.text_encoder.apply(teacher["text"], tokens)
        if dropout:  # so that it goes on knowing how to draw without a caption
            without = jax.random.bernoulli(of_dropout, dropout, (len(tokens),))
            choose = lambda a, b: jnp.where(without.reshape(-1, *[1] * (a.ndim - 1)), a, b)
            text = jax.tree.map(choose, no_caption(text), text)
        z = jax.random.normal(of_z, (len(tokens), networks.z_dim))
        wanted = networks.generator.apply(teacher["generator"], z, text)
        error, gradient = jax.value_and_grad(lambda p: error_of(module.apply(p, z, text), wanted))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, error

    return optimizer, step
