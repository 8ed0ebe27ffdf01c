"""Group `paired`: is what was drawn for a caption the caption's own picture?

Where each caption has a picture of its own, attributes and distributions say little: an icon of the wrong thing is as
sharp and as likely as the right one. All figures are of the extractor `pixels`, which no training has seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from t2igan.data.dataset import OWN_PICTURE_BELOW
from t2igan.data.partial import parts
from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Evaluation, Group

TIE = 1e-9  # distances that differ by a smaller share are equal but for rounding


def paired(evaluation: Evaluation) -> None:
    """How near drawings come to the caption's own picture, and whether it is the nearest of all."""
    copied = evaluation.copied("pixels")
    if copied is None:
        few = f"fewer than {OWN_PICTURE_BELOW:g} pictures a caption"
        evaluation.left_out["paired"] = f"it needs {few}, so that each has one of its own"
        return
    drawn, places = evaluation.drawn.extracted["pixels"].features, evaluation.drawn.places
    real = evaluation.real("pixels").features
    everything = evaluation.extractors.train_rows(len(evaluation.extractors.train))
    training = evaluation.train("pixels", len(everything)).features
    candidates = np.concatenate([real, training])
    other = places[evaluation.shuffled()]
    distances = [_distances(x, real[own]) for x, own in ((drawn, places), (drawn, other), (copied.features, places))]
    # Of the training split a caption's own picture is there twice, and the nearest either way. Copies are candidates.
    nearest = metrics.nearest(drawn, candidates)[0]
    right = [_no_farther(of_one, to) for of_one, to in zip(distances, (nearest, nearest, 0.0), strict=True)]
    facts: dict[str, Any] = {"group": "paired", "extractor": "pixels"}

    def add(name: str, label: str, values: list[np.ndarray], rows: np.ndarray, direction: str) -> None:
        of_drawings, of_others, of_copies = (of_one[rows] for of_one in values)
        evaluation.add(
            f"paired/{name}/pixels",
            of_drawings.mean(),
            evaluation.interval_of_mean(of_drawings, places[rows]),
            floor=of_others.mean(),
            copied=of_copies.mean(),
            label=label,
            direction=direction,
            num_images=len(rows),
            **facts,
        )

    every = np.arange(len(drawn))
    add("nearest", "own picture the nearest of all", right, every, "higher")
    untold = np.array([caption in evaluation.never_told for caption in evaluation.drawn.captions])
    if untold.any() and not untold.all():
        add("nearest_told", "  of captions whose words training has", right, np.flatnonzero(~untold), "higher")
        add("nearest_never_told", "  of captions with other words", right, np.flatnonzero(untold), "higher")
    in_base, rows = _right_in_base(evaluation, candidates, everything, distances, copied.features)
    if len(rows):
        add("nearest_in_base", "  the nearest of those that begin alike", in_base, rows, "higher")
    root = np.sqrt(drawn.shape[1])
    add("distance", "distance to the own picture", [of_one / root for of_one in distances], every, "lower")


def _right_in_base(
    evaluation: Evaluation,
    candidates: np.ndarray,
    training_rows: np.ndarray,
    distances: list[np.ndarray],
    copied: np.ndarray,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Whether the own picture is the nearest of those whose caption begins alike, and where there are others.

    Captions begin alike whose first part is the same, such as "mage" of "mage: dark skin tone".
    """
    bases = [_base(evaluation.dataset.captions[row][0]) for row in evaluation.real_rows]
    bases += [_base(evaluation.extractors.train.captions[row][0]) for row in training_rows]
    of_base: dict[str, list[int]] = {}
    for row, base in enumerate(bases):
        of_base.setdefault(base, []).append(row)
    drawn, places = evaluation.drawn.extracted["pixels"].features, evaluation.drawn.places
    right = [np.zeros(len(drawn), bool) for _ in distances]
    counts = np.zeros(len(drawn), bool)
    drawings_of: dict[str, list[int]] = {}
    for i, place in enumerate(places):
        drawings_of.setdefault(bases[place], []).append(i)
    for base, drawings in drawings_of.items():
        alike = candidates[of_base[base]]
        if len(np.unique(alike, axis=0)) < 2:
            continue
        counts[drawings] = True
        of_drawn, of_copied = (metrics.nearest(x[drawings], alike)[0] for x in (drawn, copied))
        for found, own, nearest in zip(right, distances, (of_drawn, of_drawn, of_copied), strict=True):
            found[drawings] = _no_farther(own[drawings], nearest)
    return right, np.flatnonzero(counts)


def _base(caption: str) -> str:
    first, *_ = parts(caption) or [""]
    return first.casefold().strip()


def _distances(x: Shaped[np.ndarray, "N D"], other: Shaped[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Euclidean distances, row by row."""
    return np.sqrt(((x.astype(np.float64) - other) ** 2).sum(1))


def _no_farther(own: Shaped[np.ndarray, " N"], nearest: Shaped[np.ndarray, " N"] | float) -> Bool[np.ndarray, " N"]:
    return own <= nearest * (1 + TIE)


GROUPS = {"paired": Group((paired,), ("pixels",))}
