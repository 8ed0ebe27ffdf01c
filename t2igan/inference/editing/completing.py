"""A picture of which a part is hidden, completed from a caption: inpainting, and outpainting."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import nets
from t2igan.errors import UserError
from t2igan.inference.arguments import as_seeds
from t2igan.inference.drawing import BATCH_SIZES, padded, padded_size, to_bytes
from t2igan.inference.editing.composing import compose
from t2igan.inference.editing.inversion import AT_ONCE, COMPLETIONS, Found, Target, best_of
from t2igan.inference.editing.inverting import (
    checked,
    counted,
    effort_of,
    encode_text,
    in_space,
    look,
    numbered_noise,
    numbered_noises,
    psnr,
)
from t2igan.inference.sample import Model

OF_THE_COMPLETER = 10_000  # the number of the noise with which it draws; tries have those from 0
# What noise that was chosen draws of the visible part to so many dB is better where it is hidden, too, than what a
# completer draws; below, the completer is better.
SEEN_DB = 28.0


class Completed(NamedTuple):
    """Pictures uint8 [N, S, S, C], and how near what was drawn of each comes to what is visible of it, in dB [N].

    Where that is little, prompt and visible part contradict each other, or are unlike what the model draws.
    """

    images: np.ndarray
    visible_db: np.ndarray


def complete(model: Model, image: np.ndarray, hidden: np.ndarray, caption: str, **how: Any) -> np.ndarray:
    """Returns the pictures of `completed` alone, uint8 [num, S, S, C]."""
    return completed(model, image, hidden, caption, **how).images


def completed(
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
) -> Completed:
    """Returns versions of a picture whose hidden part is drawn anew; the rest is kept exactly.

    Each version begins with noises of its own, so that they differ where the model knows more than one answer: of
    several at random it takes the one that draws best what is visible. With a completer in the snapshot, "fast" leaves
    to it what none of them draws well. No inverter is asked: what it says of the visible part fits that part alone.

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
    alike = lambda x: np.repeat(x[None], num, axis=0)
    seeds = as_seeds([seed + i for i in range(num)], num)
    return complete_each(
        model, alike(images[0]), alike(hidden), [caption] * num, seeds, quality, seam_px=seam_px, progress=progress
    )


def complete_each(
    model: Model,
    images: np.ndarray,
    hidden: np.ndarray,
    captions: Sequence[str],
    seeds: Sequence[int],
    quality: str = "good",
    *,
    seam_px: int | float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Completed:
    """Returns as many pictures, each with what it hides drawn anew; as `completed` does for one.

    Args:
      model: its generator has styles.
      images: uint8 [N, S, S, C].
      hidden: float32 [N, S, S, 1].
      captions: one each.
      seeds: one each.
      quality: "fast", "good" or "best".
      seam_px: as in `compose`.
      progress: told (steps done, steps in all).

    Raises:
      UserError: as `invert`.
    """
    model.tokenizer.check_prompts(captions)
    effort = effort_of(quality, COMPLETIONS)
    visible = (hidden == 0).astype(np.float32)
    steps = effort.total - effort.tries
    count = counted(progress, len(images) * effort.tries + -(-len(images) // BATCH_SIZES[-1]) * steps)
    pieces = []
    for start in range(0, len(images), BATCH_SIZES[-1]):
        rows = slice(start, start + BATCH_SIZES[-1])
        given = images[rows], captions[rows], visible[rows]
        found, drawn = _begun(model, *given, seeds[rows], effort.tries, count)
        if steps:
            rest = dataclasses.replace(effort, tries=0)
            drawn = look(model, *given, rest, count, start=found)[1]
        elif has_completer(model):
            drawn = _mended(model, drawn, *given, list(seeds[rows]))
        pieces.append(drawn)
    drawn = np.concatenate(pieces)
    return Completed(compose(images, drawn, hidden, seam_px), psnr(drawn, images, visible))


def _begun(
    model: Model,
    images: np.ndarray,
    captions: Sequence[str],
    visible: np.ndarray,
    seeds: Sequence[int],
    tries: int,
    progress: Callable[[int], None],
) -> tuple[Found, np.ndarray]:
    """Returns which of so many noises draws best what is visible of each picture, and what it draws, uint8.

    Pictures are taken one after another, each with its noises in one call: together they are as much work as a batch,
    one program serves any number of pictures, and none depends on those that it came with.
    """
    begun = []
    for image, tokens, seen, seed in zip(images, model.tokenizer.encode(captions), visible, seeds, strict=True):
        tried = []
        for first in range(0, tries, AT_ONCE):
            numbers = np.arange(first, min(first + AT_ONCE, tries), dtype=np.uint32)
            one = (image[None], tokens[None], seen[None], np.asarray([seed], np.uint32), numbers)
            tried.append(jax.device_get(_best(model.networks, model.params, *one)))
            progress(len(numbers))
        begun.append(min(tried, key=lambda found_drawn: found_drawn[0].loss[0]))
    return jax.tree.map(lambda *rows: np.concatenate(rows), *begun)


@functools.partial(jax.jit, static_argnums=0)
def _best(networks: nets.Networks, params: Any, images, tokens, visible, seeds, numbers) -> tuple[Found, jax.Array]:
    """Reads a caption, draws noises and keeps the best drawing, in one program: the fewer calls, the less of a CPU."""
    target = Target(nets.to_unit(images), visible, networks.text_encoder.apply(params["text"], tokens))
    found, drawn = best_of(networks, params, target, numbered_noises(seeds, numbers, networks.z_dim))
    return found, to_bytes(drawn)


def has_completer(model: Model) -> bool:
    """Whether a snapshot has what the phase `completion` leaves."""
    return "completer" in model.params


def _mended(
    model: Model, drawn: np.ndarray, images: np.ndarray, captions: Sequence[str], visible: np.ndarray, seeds: list[int]
) -> np.ndarray:
    """Returns drawings of at most 64 pictures, those of the completer in the place of such as do not fit."""
    poor = np.flatnonzero(psnr(drawn, images, visible) < SEEN_DB).tolist()
    if not poor:
        return drawn
    of = [seeds[row] for row in poor]
    noises = lambda size: numbered_noise(_filled_up(of, size), [OF_THE_COMPLETER], model)[0]
    drawn = drawn.copy()
    drawn[poor] = filled(model, images[poor], [captions[row] for row in poor], visible[poor], noises)
    return drawn


def _filled_up(seeds: list[int], size: int) -> list[int]:
    """Returns seeds and the last of them again, as many as are compiled for."""
    return [*seeds, *[seeds[-1]] * (size - len(seeds))]


def filled(
    model: Model,
    images: np.ndarray,
    captions: Sequence[str],
    visible: np.ndarray,
    noises: Callable[[int], jax.Array],
) -> np.ndarray:
    """Returns at most 64 pictures as the completer draws all of them, uint8 [N, S, S, C].

    Args:
      model: its snapshot has a completer.
      images: uint8 [N, S, S, C].
      captions: one each.
      visible: float32 [N, S, S, 1].
      noises: number of pictures -> noise for each.
    """
    size = padded_size(len(images))
    fill = lambda x: jnp.asarray(padded(x))
    text = encode_text(model, [*captions, *[captions[-1]] * (size - len(captions))])
    drawn = _filled(model.networks, model.params, fill(images), fill(visible), noises(size), text)
    return np.asarray(drawn)[: len(images)]


@functools.partial(jax.jit, static_argnums=0)
def _filled(networks: nets.Networks, params: Any, images, visible, noise, text: nets.Text) -> jax.Array:
    x, seen = in_space(networks, params, images, visible)
    completer: Any = networks.completer
    drawn = completer.apply(params["completer"], noise, x, seen, text)
    return to_bytes(networks.to_pixels(params, drawn))
