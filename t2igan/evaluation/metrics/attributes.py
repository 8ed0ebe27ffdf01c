"""Is in the picture what the caption says? From labels and probabilities of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped


class AttributesRight(NamedTuple):
    """Shares of pictures, 0..1."""

    each: Float[np.ndarray, " A"]  # attribute by attribute
    mean: float  # over the attributes
    all: float  # every attribute of a picture at once


def attributes_right(predicted: Int[np.ndarray, "N A"], expected: Int[np.ndarray, "N A"]) -> AttributesRight:
    """The share of pictures whose attributes are what the caption says; 0..1, higher is better.

    Labels are indices; -1 as expected label is never right (a value that the classifier does not know). Not biased
    by N, but bounded by the classifier: read it beside the same figure on real pictures. ValueError for no
    pictures or no attributes.
    """
    predicted, expected = _labels(predicted, expected)
    right = (predicted == expected) & (expected >= 0)  # [N, A]
    each = right.mean(0, dtype=np.float64)
    return AttributesRight(each, float(each.mean()), float(right.all(1).mean(dtype=np.float64)))


def confusion(
    predicted: Int[np.ndarray, " N"], expected: Int[np.ndarray, " N"], num_values: int
) -> Int[np.ndarray, "V V"]:
    """How many pictures with expected value `row` are seen as value `column`; an expected -1 is left out."""
    counts = np.zeros((num_values, num_values), np.int64)
    known = expected >= 0
    np.add.at(counts, (expected[known], predicted[known]), 1)
    return counts


class Binding(NamedTuple):
    """What went wrong in pictures whose caption gives two attributes different values that both could have."""

    attributes: tuple[str, str]
    shared: tuple[str, ...]  # the values that both can have
    num_images: int  # whose caption gives them two different ones of these
    wrong: int  # of these, one or both are not what the caption says
    swaps: int  # of these, each has the other's value
    leaks: int  # of these, at least one has the other's value
    swaps_by_chance: float  # expected, if wrong pictures' values had nothing to do with their captions
    leaks_by_chance: float


def binding(
    predicted: Int[np.ndarray, "N A"],
    expected: Int[np.ndarray, "N A"],
    vocabulary: Mapping[str, Sequence[str]],
    ignore: Sequence[str] = ("none",),
) -> list[Binding]:
    """Right values on the wrong things ("red hair, green top" drawn as green hair, red top), by pair of attributes.

    Compositional binding as T2I-CompBench (Huang et al. 2023, arXiv:2307.06350) asks for it, here from a classifier's
    labels: pairs of attributes that share two values or more, but for those to `ignore`. Counts, so that shares of any
    kind can be made of them; `swaps / wrong` is 0..1, lower is better. By chance: each wrong picture keeps its caption
    and gets, for each attribute by itself, the value of a random wrong picture. Columns are the vocabulary's names,
    sorted, and labels are places in its lists. Pairs without any wrong picture are in the result too.
    """
    predicted, expected = _labels(predicted, expected)
    names = sorted(vocabulary)
    pairs = []
    for a, b in combinations(range(len(names)), 2):
        values_a, values_b = list(vocabulary[names[a]]), list(vocabulary[names[b]])
        shared = [value for value in values_a if value in values_b and value not in ignore]
        if len(shared) < 2:
            continue
        # Both attributes in one numbering: the place in `shared`, -1 for any other value.
        to_shared_a = np.array([shared.index(v) if v in shared else -1 for v in values_a] + [-1])
        to_shared_b = np.array([shared.index(v) if v in shared else -1 for v in values_b] + [-1])
        asked_a, asked_b = to_shared_a[expected[:, a]], to_shared_b[expected[:, b]]
        seen_a, seen_b = to_shared_a[predicted[:, a]], to_shared_b[predicted[:, b]]
        relevant = (asked_a >= 0) & (asked_b >= 0) & (asked_a != asked_b)
        wrong = relevant & ((seen_a != asked_a) | (seen_b != asked_b))
        a_has_b, b_has_a = seen_a[wrong] == asked_b[wrong], seen_b[wrong] == asked_a[wrong]
        share_a, share_b = _shares(seen_a[wrong], len(shared)), _shares(seen_b[wrong], len(shared))
        chance_a, chance_b = share_a[asked_b[wrong]], share_b[asked_a[wrong]]
        pairs.append(
            Binding(
                attributes=(names[a], names[b]),
                shared=tuple(shared),
                num_images=int(relevant.sum()),
                wrong=int(wrong.sum()),
                swaps=int((a_has_b & b_has_a).sum()),
                leaks=int((a_has_b | b_has_a).sum()),
                swaps_by_chance=float((chance_a * chance_b).sum()),
                leaks_by_chance=float((1 - (1 - chance_a) * (1 - chance_b)).sum()),
            )
        )
    return pairs


def classifier_score(probabilities: Shaped[np.ndarray, "N V"]) -> float:
    """The Inception score with any classifier: exp of the mean KL divergence of p(y|x) from its mean p(y).

    Salimans et al. 2016, arXiv:1606.03498; 1..V, higher is better: pictures are clear, and of all kinds. Biased
    upwards for few pictures; sees no real picture and no difference within a value. Rows are probabilities. ValueError
    for no pictures.
    """
    return float(np.exp(_divergences(probabilities).mean()))


def classifier_scores(probabilities: Sequence[Shaped[np.ndarray, "N _"]]) -> float:
    """The geometric mean of the Inception scores of several classifiers, one an attribute; 1 and more."""
    return float(np.exp(np.mean([_divergences(of_one).mean() for of_one in probabilities])))


def _divergences(probabilities: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not p.size:
        raise ValueError(f"probabilities must be [N, V] and not empty, not {p.shape}")
    tiny = np.finfo(np.float64).tiny
    return (p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(p.mean(0), tiny)))).sum(1)


def _labels(predicted: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, expected = np.asarray(predicted), np.asarray(expected)
    if predicted.shape != expected.shape or predicted.ndim != 2 or not predicted.size:
        raise ValueError(f"labels must be [N, A] alike and not empty, not {predicted.shape} and {expected.shape}")
    return predicted, expected


def _shares(values: np.ndarray, num_values: int) -> np.ndarray:
    """The share of each value 0..num_values - 1; a -1 counts towards the whole only."""
    return np.bincount(values[values >= 0], minlength=num_values) / max(len(values), 1)
