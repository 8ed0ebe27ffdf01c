"""What the noise of a generator does: the directions that move pictures most, and what is said of them.

Of the Jacobian J = dG(z, c)/dz the mean of J^T J over pictures has the directions as its eigenvectors, and how much a
small step along each moves a picture as its eigenvalues (Ramesh et al. 2018, arXiv:1812.01161, of one picture).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from t2igan import nets
from t2igan.errors import UserError
from t2igan.inference.arguments import check_number
from t2igan.inference.drawing import BATCH_SIZES
from t2igan.inference.editing.describing import describe
from t2igan.inference.editing.inverting import draw_noise, drawn_noise, encode_text
from t2igan.inference.prompts import Prompt
from t2igan.inference.sample import Model
from t2igan.nets import Text

MAX_STRENGTH = 3  # standard deviations of the noise; beyond, pictures break


@dataclasses.dataclass(frozen=True)
class Directions:
    """Directions of the noise that move pictures most, in order.

    Attributes:
      vectors: float32 [K, Z], of length 1.
      shares: float32 [K], of all that small steps move pictures by.
      effective_rank: how many directions count, (sum e)^2 / sum e^2 of all eigenvalues e: from 1 to Z.
      dims_95: how many directions have 95 % of it together.
    """

    vectors: np.ndarray
    shares: np.ndarray
    effective_rank: float
    dims_95: int


@functools.partial(jax.jit, static_argnums=0)
def jacobian_energy(
    networks: nets.Networks, params: Any, noise: Float[Array, "1 Z"], text: Text
) -> Float[Array, "Z Z"]:
    """Returns J^T J of one picture, with J the derivatives of its pixels by its noise."""

    def pixels(z):
        return networks.to_pixels(params, networks.generator.apply(params["generator"], z[None], text)).reshape(-1)

    jacobian = jax.jacfwd(pixels)(noise[0])  # [P, Z]
    return jacobian.T @ jacobian


def directions(model: Model, captions: list[str], num: int = 6, seed: int = 0) -> Directions:
    """Returns the directions of the noise that move the pictures of captions most.

    Args:
      model: the model.
      captions: at most 64, one picture each.
      num: directions.
      seed: of the first picture; the next have the seeds after it.

    Raises:
      UserError: no such number of directions, or captions that the model does not take.
    """
    if not 1 <= num <= model.networks.z_dim:
        raise UserError(f"directions={num} must lie between 1 and {model.networks.z_dim}, the size of the noise")
    captions = captions[: BATCH_SIZES[-1]]
    noise = drawn_noise(model, captions, list(range(seed, seed + len(captions))))
    total = np.zeros((model.networks.z_dim,) * 2)
    for z, caption in zip(noise, captions, strict=True):  # one at a time: a Jacobian is as large as Z pictures
        energy = jacobian_energy(model.networks, model.params, jnp.asarray(z[None]), encode_text(model, [caption]))
        total += np.asarray(energy, np.float64)
    values, vectors = np.linalg.eigh(total)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1].T
    shares = values / max(values.sum(), 1e-30)
    # The sign of an eigenvector is open: its largest part is positive, on every machine.
    vectors = vectors * np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], axis=1))
    return Directions(
        vectors[:num].astype(np.float32),
        shares[:num].astype(np.float32),
        float(1 / max((shares**2).sum(), 1e-30)),
        int(np.searchsorted(shares.cumsum(), 0.95) + 1),
    )


def along(
    model: Model, found: Directions, caption: str, seed: int = 0, strength: float = 2.0, columns: int = 5
) -> np.ndarray:
    """Returns a picture moved along directions, uint8 [K, columns, S, S, C], from -strength to strength.

    Args:
      model: its generator has styles.
      found: the directions.
      caption: of the picture.
      seed: of the picture.
      strength: how far, in standard deviations of the noise; 3 at most.
      columns: pictures a direction, 2 or more.

    Raises:
      UserError: a strength out of range, or a caption that the model does not take.
    """
    check_number("strength", strength, MAX_STRENGTH, "beyond that pictures break")
    steps = np.linspace(-strength, strength, columns, dtype=np.float32)
    z = drawn_noise(model, [caption], seed)[0] + steps[None, :, None] * found.vectors[:, None]
    z = z.reshape(-1, z.shape[-1])
    meant = [Prompt.plain(caption)] * len(z)
    images = draw_noise(model, z, meant)
    return images.reshape(len(found.vectors), columns, *images.shape[1:])


def names(model: Model, rows: np.ndarray) -> list[str]:
    """Returns what changes in the captions of pictures along each direction, from its first to its last; "" = nothing.

    Args:
      model: its snapshot has a captioner.
      rows: uint8 [K, columns, S, S, C].
    """
    ends = rows[:, [0, -1]].reshape(-1, *rows.shape[2:])
    captions = [of.caption for of in describe(model, ends)]
    return [words_changed(one, other) for one, other in zip(captions[::2], captions[1::2], strict=True)]


def words_changed(one: str, other: str) -> str:
    """Returns the words in which two captions differ, "red -> green, +hat"; "" for equal ones."""
    a, b = one.replace(",", " ").split(), other.replace(",", " ").split()
    changes = []
    for kind, start, end, other_start, other_end in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        before, after = " ".join(a[start:end]), " ".join(b[other_start:other_end])
        if kind == "replace":
            changes.append(f"{before} -> {after}")
        elif kind != "equal":
            changes.append(f"-{before}" if kind == "delete" else f"+{after}")
    return ", ".join(changes)
