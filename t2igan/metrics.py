"""How good pictures are, as numbers from features, labels or embeddings: pure functions in float64 NumPy.

Nothing here knows where features come from, so a figure means something only together with its extractor and
the number of pictures; `t2igan.evaluate` names both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

TIE = 1e-9  # cosines nearer to each other than this are equal but for rounding


def frechet_distance(real: Shaped[np.ndarray, "N D"], fake: Shaped[np.ndarray, "M D"]) -> float:
    """The Fréchet distance of two Gaussians fitted to features; lower is better, 0 is the same Gaussian.

        |m_r - m_f|^2 + tr(C_r + C_f - 2 (C_r^1/2 C_f C_r^1/2)^1/2)    (Heusel et al. 2017, arXiv:1706.08500)

    In squared units of the features, no upper bound. Biased upwards by about 1/N: compare only figures with
    the same extractor and the same N and M, and with N well above D if you can. ValueError for fewer than two
    rows, different D, or a feature that is not finite.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"features must be [N, D] and [M, D], not {real.shape} and {fake.shape}")
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"a covariance needs two or more pictures, not {len(real)} real and {len(fake)} generated")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise ValueError("features must be finite")
    root_real, root_fake = _covariance_root(real), _covariance_root(fake)
    # With C = R'R, the trace of (C_r^1/2 C_f C_r^1/2)^1/2 is the sum of the singular values of R_r R_f'.
    # Covariances are never multiplied out, so that rank-deficient ones (N < D) cost no digits and nothing
    # turns complex.
    cross = np.linalg.svd(root_real @ root_fake.T, compute_uv=False).sum()
    means = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    return float(max(means + (root_real**2).sum() + (root_fake**2).sum() - 2 * cross, 0.0))


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R [min(N, D), D] with R'R = the unbiased covariance."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return np.linalg.qr(centred, mode="r")


class AttributesRight(NamedTuple):
    """Shares of pictures, 0..1."""

    each: Float[np.ndarray, " A"]  # attribute by attribute
    mean: float  # over the attributes
    all: float  # every attribute of a picture at once


def attributes_right(predicted: Int[np.ndarray, "N A"], expected: Int[np.ndarray, "N A"]) -> AttributesRight:
    """The share of pictures whose attributes are what the caption says; 0..1, higher is better.

    Labels are indices; -1 as expected label is never right (a value that the judge does not know). Not biased
    by N, but bounded by the judge: read it beside the same figure on real pictures. ValueError for no
    pictures or no attributes.
    """
    predicted, expected = np.asarray(predicted), np.asarray(expected)
    if predicted.shape != expected.shape or predicted.ndim != 2 or not predicted.size:
        raise ValueError(f"labels must be [N, A] alike and not empty, not {predicted.shape} and {expected.shape}")
    right = (predicted == expected) & (expected >= 0)  # [N, A]
    each = right.mean(0, dtype=np.float64)
    return AttributesRight(each, float(each.mean()), float(right.all(1).mean(dtype=np.float64)))


class RPrecision(NamedTuple):
    """The share of pictures, 0..1, and among how many captions each had to find its own."""

    precision: float
    candidates: int


def r_precision(
    images: Shaped[np.ndarray, "N E"],
    sentences: Shaped[np.ndarray, "N E"],
    *,
    captions: Sequence[Hashable],
    candidates: int = 100,
    seed: int,
) -> RPrecision:
    """The share of pictures nearest, by cosine, to their own caption among `candidates`.

    AttnGAN (Xu et al. 2018, arXiv:1711.10485), section 4; 0..1, higher is better, chance is 1 / candidates.
    Row i of `images` and `sentences` embed picture i and its caption, and `captions[i]` is that caption or
    anything that is equal for equal captions. The others are drawn at random from captions of a *different*
    text, each text once; where there are too few, all of them, and the number in the result is smaller. A tie
    counts as not found. Fewer candidates make it easier: compare like with like. ValueError for fewer than
    two different captions.
    """
    images, sentences = _unit(images), _unit(sentences)
    if not len(images) == len(sentences) == len(captions):
        raise ValueError(f"{len(images)} images, {len(sentences)} sentences and {len(captions)} captions")
    first_of: dict[Hashable, int] = {}
    text_of = np.array([first_of.setdefault(caption, len(first_of)) for caption in captions])  # [N]
    num_texts = len(first_of)
    candidates = min(candidates, num_texts)
    if candidates < 2:
        raise ValueError(f"finding a caption among {candidates} says nothing: two different captions are needed")
    _, rows = np.unique(text_of, return_index=True)
    texts = sentences[rows]  # [num_texts, E]
    random = np.random.default_rng(seed)
    found = 0
    for image, text in zip(images, text_of, strict=True):
        others = random.choice(num_texts - 1, candidates - 1, replace=False, shuffle=False)
        others += others >= text  # skips the picture's own
        found += bool(image @ texts[text] > (texts[others] @ image).max() + TIE)
    return RPrecision(found / len(images), candidates)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def diversity_within_captions(images: Shaped[np.ndarray, "N H W C"], groups: Sequence[Hashable]) -> float:
    """The mean absolute difference, over pixels, of two pictures of the same caption; 0..1 of the full range.

    uint8 pictures; `groups[i]` is equal for pictures of the same caption. 0 means that noise changes nothing
    (mode collapse); higher is more varied, not by itself better: read it beside real pictures. Every group of
    two or more counts alike, by all its pairs; not biased by their number. ValueError where no group has two.
    """
    images = np.asarray(images)
    if len(images) != len(groups):
        raise ValueError(f"{len(images)} images and {len(groups)} groups")
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    means = [_mean_pairwise_distance(images[rows]) for rows in members.values() if len(rows) > 1]
    if not means:
        raise ValueError("no caption has two pictures to compare")
    return float(np.mean(means)) / 255.0


def _mean_pairwise_distance(images: np.ndarray) -> float:
    """Mean of |x_i - x_j| over pairs and pixels, from the pixels in order: sum_i (2i - n + 1) x_(i)."""
    ordered = np.sort(images.reshape(len(images), -1), axis=0)  # [n, pixels]
    n = len(ordered)
    weights = 2.0 * np.arange(n) - n + 1
    return float((weights @ ordered).mean() / (n * (n - 1) / 2))
