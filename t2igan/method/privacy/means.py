"""Mean pictures of captions from noisy sums of private pictures, one for each feature of public captions.

Features phi(c) say what a caption names. Pictures x, in [-1, 1], are taken to be phi(c) W and noise, so that

    S = sum over pictures of w phi r^T min(1, C / |r|) + sigma C N(0, I)    is released, with w = 1 / |phi|,
    G = sum over pictures of w phi phi^T                                    is public, since captions are.

First r = x, with C the root of the number of a picture's values, which no picture exceeds, and much noise; then
r = x - phi W, which is public but for x, with a smaller C and so less noise for what it costs.

**Sensitivity.** Neighbours are two data sets of which one lacks a picture (its caption stays, and so do phi, w and G).
S then moves by one term, whose Frobenius norm is w |phi| |r| min(1, C / |r|), and that is at most C. So S is one
Gaussian mechanism with the noise multiplier sigma, and whatever follows from S, G and captions costs nothing more.

W, or what is to be added to it, follows from S by Bayes. The noise is known, and each feature's weights are taken to
be normal with a variance of its own, which is found where S is most likely (automatic relevance determination; MacKay
1992, Tipping 2001). Then each weight gets a variance of its own: halfway from its feature's to that of the weights
around it, as far as S tells of these. So what noise has drowned, or what tells nothing, comes out near zero, and there
may be many features, such as pairs of attributes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from t2igan.method.privacy.noise import standard_normals

MOST_FEATURES = 512
FEWEST_CAPTIONS = 16  # that have a feature; of fewer nothing can be said through the noise
LONGEST_PHRASE = 3  # tokens
ROUNDS = 50
AT_ONCE = 1_024  # pictures


def of_attributes(attributes: Iterable[Mapping[str, str]]) -> list[set[Hashable]]:
    """Returns what is named of each picture: its attributes' values, and each two of them."""
    found: list[set[Hashable]] = []
    for named in attributes:
        values = sorted(named.items())
        found.append({*values, *itertools.combinations(values, 2)})
    return found


def of_tokens(tokens: np.ndarray) -> list[set[Hashable]]:
    """Returns what each caption names, by its tokens, int [N, T] with 0 for padding: phrases of up to three tokens."""
    found: list[set[Hashable]] = []
    for row in tokens:
        ids = row[row != 0].tolist()
        phrases = (
            tuple(ids[i : i + length]) for length in range(1, LONGEST_PHRASE + 1) for i in range(len(ids) - length + 1)
        )
        found.append(set(phrases))
    return found


def columns_of(named: Iterable[set[Hashable]]) -> dict[Hashable, int]:
    """Returns a column, from 1, for each thing that many captions name, the most frequent first."""
    counts = Counter(one for of_one in named for one in of_one)
    frequent = sorted(
        (one for one in counts if counts[one] >= FEWEST_CAPTIONS), key=lambda one: (-counts[one], repr(one))
    )
    return {one: column for column, one in enumerate(frequent[: MOST_FEATURES - 1], start=1)}


def table(named: Sequence[set[Hashable]], columns: Mapping[Hashable, int]) -> np.ndarray:
    """Returns float32 [N, F]: a one, and whether each caption names what each column is for."""
    found = np.zeros((len(named), 1 + len(columns)), np.float32)
    found[:, 0] = 1
    for row, of_one in enumerate(named):
        found[row, [columns[one] for one in of_one if one in columns]] = 1
    return found


def of_pictures(features: np.ndarray, num_captions: np.ndarray) -> np.ndarray:
    """Returns the features of pictures, [N, F]: means over each one's captions, which stand one after another."""
    starts = np.cumsum(num_captions) - num_captions
    return np.add.reduceat(features, starts, axis=0) / num_captions[:, None].astype(np.float32)


def largest_norm(values: int) -> float:
    """Returns C, the norm of a picture of so many values in [-1, 1] at most."""
    return float(values) ** 0.5


def clipped_sums(features: np.ndarray, images: Any, norm: float, weights: np.ndarray | float = 0.0) -> np.ndarray:
    """Returns S without noise, float64 [F, V]; a picture moves it by `norm` at most (Frobenius).

    Args:
      features: float [N, F] of the pictures' captions, none of them zero.
      images: uint8 [N, H, W, C].
      norm: C, of r in units of [-1, 1].
      weights: W that is known already, float [F, V]; 0 = none.
    """
    total = np.zeros((features.shape[1], int(np.prod(images.shape[1:]))), np.float64)
    for start in range(0, len(images), AT_ONCE):
        phi = features[start : start + AT_ONCE].astype(np.float64)
        r = np.asarray(images[start : start + AT_ONCE]).reshape(len(phi), -1) / 127.5 - 1
        if np.ndim(weights):
            r -= phi @ weights
        r *= np.minimum(1.0, norm / np.maximum(np.linalg.norm(r, axis=1, keepdims=True), 1e-12))
        total += (phi / np.linalg.norm(phi, axis=1, keepdims=True)).T @ r
    return total


def released(
    features: np.ndarray, images: Any, norm: float, noise_multiplier: float, weights: np.ndarray | float = 0.0
) -> np.ndarray:
    """Returns S, float32 [F, V]: `clipped_sums` and fresh noise of `noise_multiplier` times `norm` in each entry."""
    total = clipped_sums(features, images, norm, weights)
    return (total + noise_multiplier * norm * standard_normals(total.size).reshape(total.shape)).astype(np.float32)


def gram(features: np.ndarray) -> np.ndarray:
    """Returns G, float64 [F, F]."""
    phi = features.astype(np.float64)
    return (phi / np.linalg.norm(phi, axis=1, keepdims=True)).T @ phi


def solved(gram: np.ndarray, sums: np.ndarray, deviation: float, shape: Sequence[int]) -> np.ndarray:
    """Returns W, float32 [F, V]: the mean of the weights, given S.

    Args:
      gram: G.
      sums: S.
      deviation: standard deviation of the noise in each entry of S, above 0.
      shape: of a picture, [H, W, C].
    """
    sums = sums.astype(np.float64)
    variances = towards = certain = np.ones(len(gram))
    for number in range(ROUNDS):
        if number:  # a fixed point of the likelihood of S; what tends to zero is kept from getting there
            variances = np.maximum(variances * (towards**2).mean(1) / np.maximum(certain, 1e-300), 1e-12)
        inverse = np.linalg.inv((gram * variances) @ gram + deviation**2 * np.eye(len(gram)))
        explained = gram @ inverse
        towards = explained @ sums
        certain = np.einsum("fg,gf->f", explained, gram)
    known = np.clip(variances * certain, 1e-12, 1.0)[:, None]  # share of a weight's variance that S tells
    of_feature = variances[:, None]
    plain, error = (
        of_feature * towards / known,
        of_feature * (1 - known) / known,
    )  # weights as S has them, and how wrong
    around = np.maximum(_around(plain**2, shape) - error, 0.0)
    of_weight = of_feature + known * (around - of_feature) / 2
    return (plain * of_weight / np.maximum(of_weight + error, 1e-12)).astype(np.float32)


def _around(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Means over all channels of 3 x 3 pixels, [F, V] of [F, V]."""
    height, width, channels = shape
    of_pixels = np.pad(values.reshape(-1, height, width, channels).mean(3), [(0, 0), (1, 1), (1, 1)], mode="edge")
    total = sum(of_pixels[:, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return (total / 9)[..., None].repeat(channels, 3).reshape(len(values), -1)


def pictures(features: np.ndarray, weights: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns uint8 [N, *shape], what captions with these features look like on average."""
    drawn = features @ weights
    return np.clip(np.round((drawn + 1) * 127.5), 0, 255).astype(np.uint8).reshape(len(features), *shape)
