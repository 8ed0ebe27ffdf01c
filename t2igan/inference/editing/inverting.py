"""Pictures to codes, and codes to pictures, with a model: batches of compiled sizes around `inversion`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import nets
from t2igan.errors import UserError, nearest
from t2igan.inference.arguments import as_prompts, as_seeds, check_number
from t2igan.inference.drawing import BATCH_SIZES, composed, encode_composed, noise, padded, padded_size, to_bytes
from t2igan.inference.editing import inversion
from t2igan.inference.editing.codes import Codes
from t2igan.inference.editing.inversion import FROM_INVERTER, QUALITIES, Effort, Found, Target
from t2igan.inference.editing.tuning import MOST_CAPTIONS, Pivot, captions_around, model_of, tune
from t2igan.inference.forked import check_not_forked
from t2igan.inference.prompts import Prompt
from t2igan.inference.sample import Model
from t2igan.nets import Text, to_unit
from t2igan.nets.inverter import invert as apply_inverter

# A picture that is reproduced worse than this is none that the model could have drawn; base.py's own lie above.
UNLIKE_DB = {"fast": 20.0, "good": 25.0, "best": 25.0}


def invert(
    model: Model,
    images: np.ndarray,
    captions: str | Sequence[str],
    quality: str = "good",
    *,
    visible: np.ndarray | None = None,
    seed: int = 0,
    effort: Effort | None = None,
    asked: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Codes:
    """Returns the codes that draw pictures; `Codes.psnr_db` says how well they do.

    Args:
      model: its generator has styles.
      images: uint8 [N, S, S, C], of the model's size.
      captions: what they show, one each; the nearer they are to the truth, the better the codes.
      quality: "fast" (the inverter, where the snapshot has one, and 20 steps; or the best of 48 noises), "good" (100
        steps of noise and 100 of noise and offsets), or "best" (400 steps, and 100 in which the generator is tuned to
        each picture).
      visible: float32 [N, S, S, 1], 1 where a pixel counts and 0 where it does not; None = all.
      seed: of the noises that are tried.
      effort: instead of `quality`, how long to look.
      asked: captions that will be asked for, which the tuned generator is to draw as ever.
      progress: told (steps done, steps in all).

    Raises:
      UserError: pictures of another size, no quality of that name, captions that are too long or not as many, or a
        generator without styles.
    """
    if effort is None and quality == "fast" and "inverter" in model.params:
        effort = FROM_INVERTER
    effort = effort or effort_of(quality)
    images, captions = checked(model, images, captions)
    model.tokenizer.check_prompts(captions)
    seen = np.ones((*images.shape[:3], 1), np.float32) if visible is None else np.asarray(visible, np.float32)
    alike = lambda z, num: jnp.broadcast_to(z[:, None], (len(z), num, model.networks.z_dim))
    tries = lambda num: lambda numbers: alike(numbered_noise(seed, numbers, model), num)
    found, psnr_db = [], []
    pieces = range(0, len(images), BATCH_SIZES[-1])
    done = counted(progress, len(pieces) * effort.total + len(images) * effort.tuning_steps)
    for start in pieces:
        piece = slice(start, start + BATCH_SIZES[-1])
        of_piece, drawn = look(model, images[piece], captions[piece], seen[piece], effort, done, tries)
        found.append(of_piece)
        psnr_db.append(psnr(drawn, images[piece], seen[piece]))
    z, offsets = (np.concatenate([np.asarray(of[i]) for of in found]) for i in (0, 1))
    styles = styles_of(model, z, [Prompt.plain(caption) for caption in captions])
    codes = Codes(z, styles, offsets, tuple(captions), np.concatenate(psnr_db), model.digest)
    return tuned(model, codes, images, seen, effort.tuning_steps, asked, seed, done) if effort.tuning_steps else codes


def tuned(
    model: Model,
    codes: Codes,
    images: np.ndarray,
    visible: np.ndarray,
    steps: int,
    asked: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int], None] = lambda steps: None,  # noqa: ARG005
) -> Codes:
    """Returns codes with the generator tuned to each picture, one after another.

    Args:
      model: the model.
      codes: what styles alone do; the pivots.
      images: uint8 [N, S, S, C].
      visible: float32 [N, S, S, 1].
      steps: for each picture.
      asked: captions that will be asked for.
      seed: of the noises around which all stays as it is.
      progress: told of steps that were done.
    """
    differences, psnr_db = [], []
    for row, caption in enumerate(codes.captions):
        around = captions_around(caption, asked)
        padding = [caption] * (MOST_CAPTIONS - len(around))  # one size is compiled
        target = Target(
            to_unit(jnp.asarray(images[row : row + 1])),
            jnp.asarray(visible[row : row + 1]),
            encode_text(model, [caption]),
        )
        pivot = Pivot(jnp.asarray((codes.styles + codes.offsets)[row : row + 1]), target)
        text = encode_text(model, [*around, *padding])
        differences.append(tune(model.networks, model.params, pivot, text, steps, seed, progress))
        moved = model_of(model, [(1.0, differences[-1])])
        drawn = draw_styles(moved, np.asarray(pivot.styles), [Prompt.plain(caption)])
        psnr_db.append(psnr(drawn, images[row : row + 1], visible[row : row + 1]))
    return dataclasses.replace(codes, tuned=tuple(differences), psnr_db=np.concatenate(psnr_db))


def drawn_codes(model: Model, captions: Sequence[str], seed: int | Sequence[int] = 0, truncation: float = 1.0) -> Codes:
    """Returns the codes of the pictures that `Model.sample` draws of captions: nothing is to be looked for."""
    captions = as_prompts(captions)
    check_number("truncation", truncation, 2, "1 is the noise of training")
    z = np.float32(truncation) * drawn_noise(model, captions, seed)
    styles = styles_of(model, z, [Prompt.plain(caption) for caption in captions])
    return Codes(z, styles, np.zeros_like(styles), tuple(captions), np.full(len(z), np.inf, np.float32), model.digest)


def drawn_noise(model: Model, captions: Sequence[str], seed: int | Sequence[int] = 0) -> np.ndarray:
    """Returns the noise of those pictures alone, float32 [N, Z]."""
    check_not_forked()
    model.check_styled("editing")
    model.tokenizer.check_prompts(captions)
    return np.asarray(noise(jnp.asarray(as_seeds(seed, len(captions)), jnp.uint32), model.networks.z_dim))


def look(
    model: Model,
    images: np.ndarray,
    captions: Sequence[str],
    visible: np.ndarray,
    effort: Effort,
    progress: Callable[[int], None] = lambda steps: None,  # noqa: ARG005
    tries: Callable[[int], Callable[[range], jax.Array]] | None = None,
    start: Found | None = None,
) -> tuple[Found, np.ndarray]:
    """Searches for at most 64 pictures; returns what was found, and the pictures that it draws, uint8.

    Args:
      model: the model.
      images: uint8 [N, S, S, C].
      captions: one each.
      visible: float32 [N, S, S, 1].
      effort: how long; without tries none are made.
      progress: told of steps that were done.
      tries: number of pictures -> (numbers of tries -> noises for each, [tries, N, Z]).
      start: what was found of each; None = what the snapshot's inverter says, where there is one.
    """
    filled = len(images)
    size = padded_size(filled)
    fill = lambda x: jnp.asarray(padded(x))
    text = encode_text(model, [*captions, *[captions[-1]] * (size - filled)])
    target = Target(to_unit(fill(images)), fill(visible), text)
    networks, params = model.networks, model.params
    if start is not None:
        start = jax.tree.map(fill, start)
    elif "inverter" in params:
        z, offsets = _inverted(networks, params, fill(images), target.visible, text.sentence)
        start = inversion.attempt(networks, params, inversion.nothing_yet(networks, size), target, z, offsets)
    found = inversion.search(networks, params, target, effort, progress, tries and tries(size), start)
    drawn = _drawn(networks, params, found.noise, found.offsets, text)
    return jax.tree.map(lambda x: np.asarray(x)[:filled], found), np.asarray(drawn)[:filled]


@functools.partial(jax.jit, static_argnums=0)
def _inverted(networks: nets.Networks, params: Any, images, visible, sentence) -> tuple[jax.Array, Any]:
    x, seen = in_space(networks, params, images, visible)
    inverter: Any = networks.inverter
    inverted = apply_inverter(inverter, params["inverter"], x, seen, sentence)
    return inverted.mean, 0.0 if inverted.offsets is None else inverted.offsets


def in_space(networks: nets.Networks, params: Any, images, visible) -> tuple[jax.Array, jax.Array]:
    """Returns pictures, uint8, in the space of the game, and what is visible of their maps.

    A place of a map of codes is seen where all its pixels are.
    """
    x = networks.to_network(params, images)
    factor = images.shape[1] // x.shape[1]
    blocks = visible.reshape(len(x), x.shape[1], factor, x.shape[2], factor, 1)
    return x, (blocks.min((2, 4)) == 1).astype(jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def _drawn(networks: nets.Networks, params: Any, noise, offsets, text: Text) -> jax.Array:
    return to_bytes(inversion.draw(networks, params, noise, offsets, text))


def _draw(networks: nets.Networks, params: Any, styles, text: Text) -> jax.Array:
    images = networks.generator.apply(params["generator"], styles, text, method="draw")
    return to_bytes(networks.to_pixels(params, images))


@functools.partial(jax.jit, static_argnums=0)
def _styles(networks: nets.Networks, params: Any, noise, *meant) -> jax.Array:
    return composed(networks, params, noise, *meant)[0]


@functools.partial(jax.jit, static_argnums=0)
def _drawn_by_styles(networks: nets.Networks, params: Any, styles, *meant) -> jax.Array:
    noise = jnp.zeros((len(styles), networks.z_dim))  # the words alone are wanted, and XLA leaves the rest out
    return _draw(networks, params, styles, composed(networks, params, noise, *meant)[1])


@functools.partial(jax.jit, static_argnums=0)
def _drawn_by_noise(networks: nets.Networks, params: Any, noise, offsets, *meant) -> jax.Array:
    styles, text = composed(networks, params, noise, *meant)
    return _draw(networks, params, styles + offsets, text)


@functools.partial(jax.jit, static_argnums=0)
def _encoded(networks: nets.Networks, params: Any, tokens: jax.Array) -> Text:
    return networks.text_encoder.apply(params["text"], tokens)


def encode_text(model: Model, captions: Sequence[str]) -> Text:
    """Returns encoded captions; as many as are compiled for."""
    return _encoded(model.networks, model.params, jnp.asarray(model.tokenizer.encode(captions)))


def styles_of(model: Model, noise: np.ndarray, meant: Sequence[Prompt]) -> np.ndarray:
    """Returns the styles of noise and prompts, float32 [N, U, S]."""
    return _in_pieces(_styles, model, meant, noise)


def draw_styles(model: Model, styles: np.ndarray, meant: Sequence[Prompt]) -> np.ndarray:
    """Returns the pictures of styles, with the words of prompts; uint8 [N, S, S, C]."""
    return _in_pieces(_drawn_by_styles, model, meant, styles)


def draw_noise(
    model: Model, noise: np.ndarray, meant: Sequence[Prompt], offsets: np.ndarray | None = None
) -> np.ndarray:
    """Returns the pictures of noise and prompts, with offsets of the styles where given; uint8 [N, S, S, C]."""
    offsets = np.zeros((len(noise), 1, 1)) if offsets is None else offsets
    return _in_pieces(_drawn_by_noise, model, meant, noise, offsets)


def _in_pieces(function: Callable, model: Model, meant: Sequence[Prompt], *rows: np.ndarray) -> np.ndarray:
    """Calls a function of rows and of encoded prompts for at most 64 of them at a time, in compiled sizes."""
    results = []
    arrays = (*(np.asarray(x, np.float32) for x in rows), *encode_composed(model.tokenizer, meant))
    for start in range(0, len(meant), BATCH_SIZES[-1]):
        piece = tuple(array[start : start + BATCH_SIZES[-1]] for array in arrays)
        drawn = function(model.networks, model.params, *map(jnp.asarray, padded(piece)))
        results.append(np.asarray(drawn)[: len(piece[0])])
    return np.concatenate(results)


def effort_of(quality: str, efforts: dict[str, Effort] = QUALITIES) -> Effort:
    """Returns the effort of a quality; `UserError` for another word."""
    if quality not in efforts:
        near = nearest(str(quality), tuple(efforts))
        raise UserError(f"quality={quality!r} is none of {', '.join(map(repr, efforts))}{near}")
    return efforts[quality]


def checked(model: Model, images: np.ndarray, captions: Any) -> tuple[np.ndarray, list[str]]:
    """Returns pictures and as many captions; `UserError` where they are not what the model draws."""
    check_not_forked()
    model.check_styled("editing")
    images, captions = np.asarray(images), as_prompts(captions)
    data = model.config["data"]
    shape = (data["image_size_px"], data["image_size_px"], data["channels"])
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        expected = ", ".join(map(str, shape))
        raise UserError(
            f"pictures are {images.dtype} {images.shape}, and this model's are uint8 [N, {expected}]; "
            f"t2igan.inference.editing.read_picture makes them"
        )
    if len(captions) == 1:
        captions = captions * len(images)
    if len(captions) != len(images):
        raise UserError(f"{len(images)} pictures but {len(captions)} captions; give one for all or one each")
    return images, captions


def psnr(images: np.ndarray, others: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    """Returns the peak signal-to-noise ratio of visible pixels in dB, float32 [N]; at most 61, for equal ones."""
    error = (images.astype(np.float64) - others) ** 2
    seen = np.ones((*error.shape[:3], 1)) if visible is None else visible
    mean = (error * seen).sum((1, 2, 3)) / np.maximum(error.shape[-1] * seen.sum((1, 2, 3)), 1)
    return (10 * np.log10(255**2 / np.maximum(mean, 0.05))).astype(np.float32)


def numbered_noise(seed: Any, numbers: Sequence[int], model: Model) -> jax.Array:
    """Returns the noises of a seed by their numbers, float32 [N, Z]; of several seeds [N, B, Z]."""
    return numbered_noises(jnp.asarray(seed, jnp.uint32), jnp.asarray(numbers, jnp.uint32), model.networks.z_dim)


@functools.partial(jax.jit, static_argnums=2)
def numbered_noises(seed: jax.Array, numbers: jax.Array, z_dim: int) -> jax.Array:
    """Returns what `numbered_noise` does, where it is compiled with more."""
    draw = lambda seed, number: jax.random.normal(jax.random.fold_in(jax.random.key(seed), number), (z_dim,))
    of_one = jax.vmap(draw, (None, 0))
    return of_one(seed, numbers) if seed.ndim == 0 else jax.vmap(of_one, (0, None), 1)(seed, numbers)


def counted(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Returns what counts steps for `progress`, which is told (steps done, steps in all)."""
    done = 0

    def count(steps: int) -> None:
        nonlocal done
        done += steps
        if progress is not None:
            progress(done, total)

    return count
