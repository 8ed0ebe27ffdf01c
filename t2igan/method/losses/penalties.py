"""Gradient penalties, computed together with the logits of real and fake pictures that they need anyway.

Penalties are per sample, float32; whoever calls takes the mean. A critic is a callable (images, text) -> logits [B],
where text is any pytree with a leading batch axis that has a `sentence`; or one with a second row of logits, see
`with_mismatched`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.registry import Registry


class Scores(NamedTuple):
    """Logits of real and fake pictures, and the penalty that came with computing them; all float32 [B]."""

    real: Float[Array, " B"]
    fake: Float[Array, " B"]
    penalty: Float[Array, " B"]
    mismatched: Float[Array, " B"] | None = None  # of real pictures with another's caption, from `with_mismatched`


class Traits(NamedTuple):
    """What the rest of a configuration must know of a penalty."""

    square_of_gradient: bool = False  # whether its weight scales with the variance of pictures, and can be "auto"
    float32_only: bool = False  # whether it compares logits too closely for shorter types


class PenaltyRegistry(Registry[Callable[..., Scores]]):
    """The penalties: (critic, real, fake, text, key) -> Scores. The key is for what a penalty draws at random."""

    def __init__(self):
        """Makes an empty registry."""
        super().__init__("gradient penalty", key="loss.penalty")
        self._traits: dict[str, Traits] = {}

    def register(self, name: str, thing: Any = None, *, replace: bool = False, **traits: bool) -> Any:
        """As `Registry.register`; `traits` are those of `Traits` that the penalty has."""
        if thing is None:
            return lambda decorated: self.register(name, decorated, replace=replace, **traits)
        super().register(name, thing, replace=replace)
        self._traits[name] = Traits(**traits)
        return thing

    def traits(self, name: str) -> Traits:
        """Returns what is to be known of a penalty."""
        self.find(name)
        return self._traits[name]


PENALTIES = PenaltyRegistry()


def with_mismatched(critic: Callable) -> Callable:
    """Returns a critic of two rows of logits [2, B]: with the captions given, and each with its neighbour's.

    What it makes of the pictures before it looks at captions is computed once. Penalties look at the first row.
    """

    def both(images, text):
        leaves, structure = jax.tree.flatten(text)
        # Two batches of pictures, with the same captions twice, are rolled as one is.
        rows = [jnp.stack([leaf, jnp.roll(leaf, 1, axis=0)]) for leaf in leaves]
        return jax.vmap(lambda row: critic(images, structure.unflatten(row)))(rows)

    return both


def _scores(real, fake, penalty) -> Scores:
    """Takes the rows of logits apart, where there are two."""
    return Scores(real, fake, penalty) if real.ndim == 1 else Scores(real[0], fake[0], penalty, mismatched=real[1])


@PENALTIES.register("none")
def no_penalty(critic, real, fake, text, key) -> Scores:  # noqa: ARG001
    """No penalty: real and fake scored in one pass."""
    logits = critic(_concat(real, fake), _concat(text, text))
    return _scores(*jnp.split(logits, 2, axis=-1), jnp.zeros(len(real)))


@PENALTIES.register("r1", square_of_gradient=True)
def r1(critic, real, fake, text, key) -> Scores:  # noqa: ARG001
    """R1 = 1/2 ||grad_x D(real)||^2 (Mescheder et al. 2018, arXiv:1801.04406)."""
    real_logits, gradients = _logits_and_gradients(critic, real, text)
    return _scores(real_logits, critic(fake, text), _square_norm(gradients) / 2)


@PENALTIES.register("r2", square_of_gradient=True)
def r2(critic, real, fake, text, key) -> Scores:  # noqa: ARG001
    """R2 = 1/2 ||grad_x D(fake)||^2 (Mescheder et al. 2018)."""
    fake_logits, gradients = _logits_and_gradients(critic, fake, text)
    return _scores(critic(real, text), fake_logits, _square_norm(gradients) / 2)


@PENALTIES.register("r1_r2", square_of_gradient=True)
def r1_r2(critic, real, fake, text, key) -> Scores:  # noqa: ARG001
    """R1 + R2 from one backward pass over real and fake together."""
    logits, gradients = _logits_and_gradients(critic, _concat(real, fake), _concat(text, text))
    r1, r2 = jnp.split(_square_norm(gradients) / 2, 2)
    return _scores(*jnp.split(logits, 2, axis=-1), r1 + r2)


@PENALTIES.register("wgan_gp")
def wgan_gp(critic, real, fake, text, key) -> Scores:
    """(||grad_x D(mix)|| - 1)^2 between real and fake (Gulrajani et al. 2017, arXiv:1704.00028; weight 10)."""
    share = jax.random.uniform(key, (len(real), 1, 1, 1), real.dtype)
    _, gradients = _logits_and_gradients(critic, share * real + (1 - share) * fake, text)
    scores = no_penalty(critic, real, fake, text, key)
    return scores._replace(penalty=(_norm(gradients) - 1) ** 2)


@PENALTIES.register("ma_gp")
def ma_gp(critic, real, fake, text, key) -> Scores:  # noqa: ARG001
    """(||grad_x D|| + ||grad_s D||)^6 on real pictures with their sentence (DF-GAN, arXiv:2008.05865; weight 2)."""
    real_logits, backward = jax.vjp(lambda x, s: critic(x, text.replace(sentence=s)), real, text.sentence)
    image_gradients, sentence_gradients = backward(_ones_of_first_row(real_logits))
    penalty = (_norm(image_gradients) + _norm(sentence_gradients)) ** 6
    return _scores(real_logits, critic(fake, text), penalty)


FINITE_DIFFERENCE_SIGMA = 0.01


@PENALTIES.register("finite_difference", square_of_gradient=True, float32_only=True)
def finite_difference(critic, real, fake, text, key) -> Scores:
    """1/2 (D(x + sigma n) - D(x))^2 / sigma^2 on real and fake, with no second derivative.

    With ever smaller sigma its expectation is R1 + R2. At sigma = 0.01 it is not, for a discriminator that is steep
    over that distance: it bounds jumps of D between neighbours, and is larger (docs/method.md). Differences this small
    are lost in bfloat16, which the configuration refuses.
    """
    images, texts = _concat(real, fake), _concat(text, text)
    noise = FINITE_DIFFERENCE_SIGMA * jax.random.normal(key, images.shape, images.dtype)
    logits = critic(images, texts)
    slopes = (critic(images + noise, texts) - logits).reshape(-1, len(images))[0] / FINITE_DIFFERENCE_SIGMA
    r1, r2 = jnp.split(slopes**2 / 2, 2)
    return _scores(*jnp.split(logits, 2, axis=-1), r1 + r2)


def _logits_and_gradients(critic, images, text):
    """Logits and the gradient of each with respect to its own picture, by one backward pass with cotangents of one."""
    logits, backward = jax.vjp(lambda x: critic(x, text), images)
    return logits, backward(_ones_of_first_row(logits))[0]


def _ones_of_first_row(logits):
    """The cotangent that asks for gradients of the logits with the captions given."""
    return jnp.ones_like(logits) if logits.ndim == 1 else jnp.zeros_like(logits).at[0].set(1)


def _square_norm(gradients: Float[Array, "B ..."]) -> Float[Array, " B"]:
    return (gradients.astype(jnp.float32) ** 2).reshape(len(gradients), -1).sum(-1)


def _norm(gradients: Float[Array, "B ..."]) -> Float[Array, " B"]:
    """The norm with a finite gradient at zero, where a fresh discriminator may well be."""
    return jnp.sqrt(_square_norm(gradients) + 1e-12)


def _concat(a, b):
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)
