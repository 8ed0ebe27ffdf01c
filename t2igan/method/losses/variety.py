"""What keeps drawings different from each other: the drifting loss, and the mode-seeking ratio.

*Drifting* (Deng et al. 2026, arXiv:2602.04770): in frozen features each drawing is attracted by real pictures near it
and repelled by other drawings near it, of its own caption above all, of which there are two. Where drawings are spread
as the real pictures are, attraction and repulsion cancel:

    V(x) = sum_ij A(x, y_i) A(x, x_j) (y_i - x_j),     y real, x_j drawn
    loss = mean over features of |f(x) - stop_gradient(f(x) + V)|^2

*Mode seeking* (Mao et al. 2019, arXiv:1903.05628): two drawings of a caption should differ as their noise does.

    loss = 1 / (mean |G(z, c) - G(z', c)| / mean |z - z'| + floor)

The first asks for the spread that the real pictures have, the second for any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets import Text

TEMPERATURES = (0.2, 0.5, 2.0)  # widths of the kernels, in units of the mean distance
FLOOR = 0.01  # of the ratio of distances; the authors' code has 1e-5, of whose slope a dead generator would explode
FEATURES = ("tower", "space")
NEVER = -1e9  # of a softmax: nothing is left of it, and no infinity is subtracted from another


@dataclasses.dataclass(frozen=True)
class VarietyWeights:
    """The weights of the terms; 0 leaves one out. Made by `VarietyWeights.of`."""

    drifting: float
    features: str  # of `FEATURES`: in what pictures are near each other
    captions: float  # how much the distance of captions counts, against that of pictures
    diversity: float

    @classmethod
    def of(cls, config) -> VarietyWeights:
        """Reads `config.loss`."""
        loss = config.loss
        return cls(loss.drifting_weight, loss.drifting_features, loss.drifting_captions, loss.diversity_weight)

    def __bool__(self) -> bool:
        """Whether there is any such term."""
        return bool(self.drifting or self.diversity)


def variety_loss(
    networks: Any,
    params: dict[str, Any],
    real: Float[Array, "B H W C"],
    fake: Float[Array, "B H W C"],
    text: Text,
    z: Float[Array, "B Z"],
    redraw: Callable[[Float[Array, "B Z"]], Float[Array, "B H W C"]],
    key: jax.Array,
    weights: VarietyWeights,
) -> tuple[Float[Array, " B"], dict[str, Float[Array, " B"]]]:
    """Returns the weighted terms of a batch, added, and each by name; per picture.

    Args:
      networks: of which the image tower is used, where the features are its.
      params: by network.
      real: pictures, or codes.
      fake: drawings of the same captions.
      text: the encoded captions, as the discriminator reads them.
      z: the noise of the drawings.
      redraw: draws the same captions with other noise.
      key: of that.
      weights: of the terms.
    """
    loss, terms = jnp.zeros(len(real)), {}
    other_z = jax.random.normal(key, z.shape)
    other = redraw(other_z)
    if weights.drifting:
        see = lambda x: x.reshape(len(x), -1)
        if weights.features == "tower":
            see = lambda x: networks.image_encoder.apply(params["image"], x)
        drawn, sentences = jnp.concatenate([see(fake), see(other)]), jnp.tile(text.sentence, (2, 1))
        drifting = drifting_loss(drawn, see(real), sentences, text.sentence, weights.captions)
        terms["loss/drifting"] = drifting.reshape(2, -1).mean(0)
        loss = loss + weights.drifting * terms["loss/drifting"]
    if weights.diversity:
        terms["loss/diversity"] = mode_seeking(fake, other, z, other_z)
        loss = loss + weights.diversity * terms["loss/diversity"]
    return loss, terms


def drifting_loss(
    drawn: Float[Array, "B D"],
    real: Float[Array, "R D"],
    drawn_captions: Float[Array, "B S"] | None = None,
    real_captions: Float[Array, "R S"] | None = None,
    captions: float = 0.0,
    temperatures: Sequence[float] = TEMPERATURES,
) -> Float[Array, " B"]:
    """Returns the mean square over features of how far each drawing drifts; its gradient moves the drawing there.

    Gradients are those of the drawings' features alone: where they drift to is fixed. As in the paper (appendix A.6)
    features are divided by a scale that makes their distances sqrt(D) on average, and the fields of several
    temperatures are added. Three things differ.

    The paper brings each field to unit mean square. A force that never fades keeps pushing drawings apart when they are
    spread as the real pictures are already, so that is left out, and the loss nears 0 at the balance. A kernel's width
    is a multiple of the mean distance; there it is 0.02, 0.05 and 0.2 times D, which is the same for 100 features, and
    leaves no neighbourhood among the thousands of a picture's own values. And the paper learns each class by itself.
    Captions are many; they count by their distance instead: with them, what is near is near as a picture with its
    caption, of which the picture alone moves.

    Args:
      drawn: features of drawings; two or more, of a caption each, for what drifts is repelled by the others.
      real: features of real pictures.
      drawn_captions: vectors of the captions of the drawings; None = captions do not count.
      real_captions: vectors of the captions of the real pictures.
      captions: how much captions count against pictures: 1 = as much, 0 = not at all.
      temperatures: widths of the kernels, in units of the mean distance.
    """
    features = drawn.shape[-1]
    fixed, real = (jax.lax.stop_gradient(x.astype(jnp.float32)) for x in (drawn, real))
    scale = _mean_distance(fixed, real) / features**0.5
    near, attracting, distance = fixed / scale, real / scale, features**0.5
    if captions and drawn_captions is not None and real_captions is not None:
        of_drawn, of_real = (jax.lax.stop_gradient(x.astype(jnp.float32)) for x in (drawn_captions, real_captions))
        of_captions = _mean_distance(of_drawn, of_real) / (captions * distance)
        near = jnp.concatenate([near, of_drawn / of_captions], axis=-1)
        attracting = jnp.concatenate([attracting, of_real / of_captions], axis=-1)
        distance = distance * (1 + captions**2) ** 0.5
    fields = (drift(near, attracting, near, temperature * distance, itself=True) for temperature in temperatures)
    target = fixed / scale + sum(field[:, :features] for field in fields)
    return ((drawn.astype(jnp.float32) / scale - target) ** 2).mean(-1)


def drift(
    x: Float[Array, "B D"],
    attracting: Float[Array, "P D"],
    repelling: Float[Array, "Q D"],
    temperature: float,
    itself: bool = False,
) -> Float[Array, "B D"]:
    """Returns where each point drifts, V of the module's docstring (algorithm 2 of the paper).

    A(x, y) is the geometric mean of two softmaxes of -|x - y| / temperature over both kinds of points together: over
    the points for each x, and over all x for each point. What attracts and what repels have the same total weight, so
    that V depends on differences alone; it is 0 where both are the same points, and changes sign where they change
    places.

    Args:
      x: points that drift.
      attracting: real ones.
      repelling: drawn ones.
      temperature: the kernel's width, in units of the distance.
      itself: whether `repelling` is `x`: no point repels itself then.
    """
    logits_of = lambda y: -_distances(x, y) / temperature
    away = logits_of(repelling)
    if itself:
        away = jnp.where(jnp.eye(len(x), dtype=bool), NEVER, away)
    logits = jnp.concatenate([logits_of(attracting), away], axis=1)
    shares = jnp.exp((jax.nn.log_softmax(logits, axis=1) + jax.nn.log_softmax(logits, axis=0)) / 2)
    towards, from_ = shares[:, : len(attracting)], shares[:, len(attracting) :]
    weights, weights_away = towards * from_.sum(1, keepdims=True), from_ * towards.sum(1, keepdims=True)
    return weights @ attracting - weights_away @ repelling


def mode_seeking(
    images: Float[Array, "B H W C"],
    others: Float[Array, "B H W C"],
    z: Float[Array, "B Z"],
    other_z: Float[Array, "B Z"],
) -> Float[Array, " B"]:
    """Returns 1 / (mean |images - others| / mean |z - other_z| + 0.01), per caption: at most 100.

    Args:
      images: drawings.
      others: drawings of the same captions with other noise.
      z: the noise of the first.
      other_z: that of the others.
    """
    apart = jnp.abs(images - others).mean((1, 2, 3)) / jnp.maximum(jnp.abs(z - other_z).mean(1), 1e-6)
    return 1 / (apart + FLOOR)


def _distances(x: Float[Array, "B D"], y: Float[Array, "P D"]) -> Float[Array, "B P"]:
    """Euclidean distances, with a finite slope where they are 0."""
    x, y = x - y.mean(0), y - y.mean(0)  # the nearer to 0, the less is lost in the differences of squares
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * jnp.matmul(x, y.T, precision="highest")
    return jnp.sqrt(jnp.maximum(squares, 0.0) + 1e-12)


def _mean_distance(x: Float[Array, "B D"], y: Float[Array, "P D"]) -> Float[Array, ""]:
    """The mean distance of points to the others and to those of another kind; never 0."""
    others = _distances(x, x) * (1 - jnp.eye(len(x)))
    return jnp.maximum((_distances(x, y).sum() + others.sum()) / (len(x) * (len(y) + len(x) - 1)), 1e-6)
