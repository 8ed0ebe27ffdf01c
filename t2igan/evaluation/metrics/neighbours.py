"""Nearest neighbours among features, in blocks of bounded memory, and what they say about support."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

BLOCK_BYTES = 2**26  # of a block of distances
ROUNDING = 1e-12  # of |a|^2 + |b|^2: what |a|^2 + |b|^2 - 2ab is wrong by at most


class Manifolds(NamedTuple):
    """Picture by picture; the figures are the means."""

    precision: Bool[np.ndarray, " M"]  # of generated pictures
    recall: Bool[np.ndarray, " N"]  # of real pictures
    density: Float[np.ndarray, " M"]  # of generated pictures
    coverage: Bool[np.ndarray, " N"]  # of real pictures


def manifolds(
    real: Shaped[np.ndarray, "N D"], fake: Shaped[np.ndarray, "M D"], *, precision_k: int = 3, coverage_k: int = 5
) -> Manifolds:
    """Precision, recall, density and coverage: is what is generated real, and is what is real generated?

    A set's manifold is the union of balls around its pictures, each reaching to its k-th nearest neighbour in the set.
    - precision: the generated picture lies in the real manifold; recall: the real one in the generated manifold
      (Kynkäänniemi et al. 2019, arXiv:1904.06991, k = 3). 0..1, higher is better.
    - density: how many real balls the generated picture lies in, over k; 1 on average for equal distributions, and
      above 1 where pictures crowd into the densest parts. coverage: the real ball holds a generated picture, 0..1,
      1 - (1/2)^k on average for equal distributions and numbers (Naeem et al. 2020, arXiv:2002.09797, k = 5).
    Precision and recall forgive outliers' huge balls; density and coverage less. All depend on N and M: compare only
    like with like. A picture on the rim counts as inside. ValueError unless both sets have more than k pictures.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    k_max = max(precision_k, coverage_k)
    if min(len(real), len(fake)) <= k_max:
        raise ValueError(f"{k_max} neighbours need more pictures than {len(real)} real and {len(fake)} generated")
    centre = real.mean(0)  # nearer to 0 less is lost to rounding
    real, fake = real - centre, fake - centre
    real_radii = _radii(real, (precision_k, coverage_k))
    (fake_radii,) = _radii(fake, (precision_k,))
    precision, density = np.zeros(len(fake), bool), np.zeros(len(fake))
    recall, coverage = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, squared, slack in _blocks(fake, real):
        precision[rows] = (squared <= real_radii[0] + slack).any(1)
        inside = squared <= real_radii[1] + slack  # [block, N]
        density[rows] = inside.sum(1) / coverage_k
        coverage |= inside.any(0)
        recall |= (squared <= fake_radii[rows, None] + slack).any(0)
    return Manifolds(precision, recall, density, coverage)


def nearest(
    queries: Shaped[np.ndarray, "N D"], references: Shaped[np.ndarray, "M D"]
) -> tuple[Float[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """The Euclidean distance of each query to the nearest reference, and which that is; the first of equals.

    Exact: equal vectors have distance 0. ValueError where there is no reference.
    """
    if not len(references):
        raise ValueError("there is nothing to be near to")
    queries = np.asarray(queries, np.float64)
    references = np.asarray(references)
    best = np.full(len(queries), np.inf)
    found = np.zeros(len(queries), np.int64)
    step = max(BLOCK_BYTES // (8 * references.shape[1]), 1)
    for start in range(0, len(references), step):
        part = references[start : start + step].astype(np.float64)
        for rows, squared, _ in _blocks(queries, part):
            at = squared.argmin(1)
            # Rounding is undone before anything is compared, so that twins are 0 apart and the first of them is found.
            exact = ((queries[rows] - part[at]) ** 2).sum(1)
            nearer = exact < best[rows]
            best[rows] = np.where(nearer, exact, best[rows])
            found[rows] = np.where(nearer, start + at, found[rows])
    return np.sqrt(best), found


def _radii(features: np.ndarray, ks: tuple[int, ...]) -> Float[np.ndarray, "K N"]:
    """The squared distance of each vector to its k-th nearest other, for every k."""
    radii = np.empty((len(ks), len(features)))
    for rows, squared, _ in _blocks(features, features):
        squared[np.arange(len(squared)), np.arange(len(features))[rows]] = -1.0  # itself, the 0-th
        radii[:, rows] = np.partition(squared, ks, axis=1)[:, list(ks)].T
    return np.maximum(radii, 0)


def _blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yields rows of `a`, their squared distances to all of `b`, and by how much rounding may have moved these."""
    norms_a, norms_b = np.einsum("nd,nd->n", a, a), np.einsum("nd,nd->n", b, b)
    step = max(BLOCK_BYTES // (8 * len(b)), 1)
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        sums = norms_a[rows, None] + norms_b
        yield rows, np.maximum(sums - 2 * (a[rows] @ b.T), 0), ROUNDING * sums
