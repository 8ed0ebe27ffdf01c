"""Pivotal tuning: the generator itself is moved a little, to draw one picture as it is, and all others as ever.

After Roich et al. 2021 (arXiv:2106.05744). The pivot are the styles that inversion found, w = styles(z, c) + d. What is
looked for are weights near the generator's, so that

    mean over visible pixels of |e| + e^2  +  LOCALITY mean (G'(z_i, c_i) - G(z_i, c_i))^2,    e = G'(w, c) - x

is small, with noises z_i at random and captions c_i around c: itself, itself with a word left out, and those that are
to be asked for. Styles are made by the generator as it was, so that what noise and captions mean does not move.
Without the second term the picture is drawn as well, and edits of it are worse than without tuning.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from t2igan import nets
from t2igan.errors import UserError
from t2igan.inference.editing.inversion import Target, cosine, distance
from t2igan.inference.sample import Model
from t2igan.nets import Text

LOCALITY = 0.5
RATE = 3e-4  # of Adam, down a cosine
AROUND = 8  # pictures a step that have to stay as they are
MOST_CAPTIONS = 32  # of those around the picture's

Difference = dict[str, np.ndarray]  # float16, by the path of an array of the generator

_ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)


class Pivot(NamedTuple):
    """A picture and the styles that draw it, as nearly as styles can: a batch of one."""

    styles: Float[Array, "1 U S"]
    target: Target


@functools.partial(jax.jit, static_argnums=0)
def tuning_step(
    networks: nets.Networks,
    params: Any,
    tuned: Any,
    opt_state: Any,
    pivot: Pivot,
    around: Text,
    key: Array,
    rate: Any,
    locality: Any,
) -> tuple[Any, Any, Float[Array, ""], Float[Array, ""]]:
    """One step of Adam on the generator's weights.

    Args:
      networks: the networks.
      params: by network, as they were.
      tuned: the generator's parameters so far.
      opt_state: of Adam.
      pivot: the picture.
      around: encoded captions, of which some are drawn.
      key: of the noises, and of which captions.
      rate: the learning rate.
      locality: the weight of other pictures.

    Returns:
      the next parameters and optimizer state, and both terms of the loss before the step.
    """
    noise_key, caption_key = jax.random.split(key)
    chosen = jax.random.randint(caption_key, (AROUND,), 0, len(around.sentence))
    text = jax.tree.map(lambda x: x[chosen], around)
    noise = jax.random.normal(noise_key, (AROUND, networks.z_dim))
    apply = networks.generator.apply
    styles = apply(params["generator"], noise, text.sentence, method="styles")
    draw = lambda weights, styles, text: networks.to_pixels(params, apply(weights, styles, text, method="draw"))
    before = draw(params["generator"], styles, text)

    def loss_fn(weights):
        near = distance(draw(weights, pivot.styles, pivot.target.text), pivot.target).mean()
        moved = ((draw(weights, styles, text) - before) ** 2).mean()
        return near + locality * moved, (near, moved)

    grads, terms = jax.grad(loss_fn, has_aux=True)(tuned)
    updates, opt_state = _ADAM.update(grads, opt_state)
    return jax.tree.map(lambda p, u: p - rate * u, tuned, updates), opt_state, *terms


def tune(
    networks: nets.Networks,
    params: Any,
    pivot: Pivot,
    around: Text,
    steps: int,
    seed: int = 0,
    progress: Callable[[int], None] = lambda steps: None,  # noqa: ARG005
    locality: float = LOCALITY,
) -> Difference:
    """Returns by what the generator has to differ to draw a picture; it takes `steps` steps and no more."""
    tuned = params["generator"]
    opt_state = _ADAM.init(tuned)
    for step in range(steps):
        key = jax.random.fold_in(jax.random.key(seed), step)
        rate = cosine(step, steps, RATE)
        tuned, opt_state, *_ = tuning_step(networks, params, tuned, opt_state, pivot, around, key, rate, locality)
        progress(1)
    before, after = (flatten_dict(jax.device_get(tree), sep="/") for tree in (params["generator"], tuned))
    moved = {path: (after[path] - before[path]).astype(np.float16) for path in after}
    return {path: array for path, array in moved.items() if array.any()}


def model_of(model: Model, tuned: Sequence[tuple[float, Difference]]) -> Model:
    """Returns the model with its generator moved by differences, each by its share.

    Raises:
      UserError: a difference is not of arrays that the generator has.
    """
    if not any(difference for _, difference in tuned):
        return model
    weights = flatten_dict(model.params["generator"], sep="/")
    for share, difference in tuned:
        for path, array in difference.items():
            if path not in weights or weights[path].shape != array.shape:
                raise UserError(f"these codes tune {path} {array.shape}, which this model's generator does not have")
            weights[path] = weights[path] + np.float32(share) * array.astype(np.float32)
    moved = copy.copy(model)
    moved.params = dict(model.params) | {"generator": unflatten_dict(weights, sep="/")}
    return moved


def captions_around(caption: str, asked: Sequence[str] = ()) -> list[str]:
    """Returns a caption, others that will be asked for, and the caption with each of its words left out."""
    words = caption.split()
    shorter = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))] if len(words) > 1 else []
    return list(dict.fromkeys([caption, *asked, *shorter]))[:MOST_CAPTIONS]
