"""A picture of which a part is hidden, completed from a caption: inpainting, and outpainting."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.errors import UserError
from t2igan.inference.arguments import as_seeds
from t2igan.inference.editing.composing import compose
from t2igan.inference.editing.inversion import COMPLETIONS
from t2igan.inference.editing.inverting import checked, effort_of, look
from t2igan.inference.sample import BATCH_SIZES, Model


def complete(
    model: Model,
    image: np.ndarray,
    hidden: np.ndarray,
    caption: str,
    *,
    num: int = 1,
    seed: int = 0,
    quality: str = "good",
    seam_px: int | float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Returns versions of a picture whose hidden part is drawn anew: uint8 [num, S, S, C]; the rest is kept exactly.

    Each version begins with noises of its own, so that they differ where the model knows more than one answer.

    Args:
      model: its generator has styles.
      image: uint8 [S, S, C]; what it has at hidden places does not count.
      hidden: float32 [S, S, 1], as `read_mask` returns it: 0 = kept, 1 = drawn anew, mixed between them.
      caption: what the whole picture shows.
      num: versions.
      seed: of the first one; the next have the seeds after it.
      quality: "fast", "good" or "best".
      seam_px: as in `compose`.
      progress: told (steps done, steps in all).

    Raises:
      UserError: as `invert`, or `hidden` has another shape or hides nothing.
    """
    images, (caption,) = checked(model, image[None], caption)
    if num < 1:
        raise UserError(f"num={num} must be 1 or more")
    if hidden.shape != (*image.shape[:2], 1) or not hidden.any():
        raise UserError(
            f"hidden is {hidden.shape} and must be float32 [{image.shape[0]}, {image.shape[1]}, 1], not all 0"
        )
    model.tokenizer.check_prompts([caption])
    effort = effort_of(quality, COMPLETIONS)
    seeds = as_seeds([seed + i for i in range(num)], num)
    done, total, versions = 0, -(-num // BATCH_SIZES[-1]) * effort.total, []

    def count(steps: int) -> None:
        nonlocal done
        done += steps
        if progress is not None:
            progress(done, total)

    for start in range(0, num, BATCH_SIZES[-1]):
        piece = seeds[start : start + BATCH_SIZES[-1]]
        alike = lambda x, piece=piece: np.repeat(x[None], len(piece), axis=0)
        visible = alike((hidden == 0).astype(np.float32))
        tries = lambda size, piece=piece: (
            lambda number: _noises([*piece, *[piece[-1]] * (size - len(piece))], number, model)
        )
        # One noise of the inverter's would be the same for every version.
        _, drawn = look(
            model, alike(images[0]), [caption] * len(piece), visible, tries, effort, count, with_inverter=num == 1
        )
        versions.append(drawn)
    return compose(images, np.concatenate(versions), hidden[None], seam_px)


def _noises(seeds: list[int], number: int, model: Model) -> jax.Array:
    """The noise of a try for each seed."""
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), number))(jnp.asarray(seeds, jnp.uint32))
    return jax.vmap(lambda key: jax.random.normal(key, (model.networks.z_dim,)))(keys)
