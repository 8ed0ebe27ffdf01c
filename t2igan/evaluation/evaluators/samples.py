"""What all evaluators share: the drawings, what the feature extractors see in them, and where figures go."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from t2igan.data import Dataset
from t2igan.data.dataset import OWN_PICTURE_BELOW, pictures_a_caption
from t2igan.data.seen import words_of
from t2igan.evaluation import metrics
from t2igan.evaluation.extractors import Extracted, FeatureExtractors, joined

Draw = Callable[[list[str], list[int]], np.ndarray]  # captions, seeds -> uint8 [N, H, W, C]

DRAWN_AT_ONCE = 512  # pictures in memory at a time, however many are measured
MAX_REAL = 10_000  # pictures of the split that are looked at


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure with all that is needed to read it."""

    value: float
    group: str  # what --metrics calls it
    label: str  # for people
    extractor: str
    direction: str  # "lower" or "higher" is better, or "real": the nearer to the real figure
    num_images: int  # drawings it is made of
    low: float | None = None  # the 95 % interval
    high: float | None = None
    real: float | None = None  # the same figure of real pictures
    floor: float | None = None  # the same figure with captions shuffled among the drawings
    copied: float | None = None  # the same figure of the training pictures whose captions are nearest


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What was drawn and seen; the pictures themselves are gone."""

    places: Int[np.ndarray, " N"]  # the real picture, as a place in `Evaluation.real_rows`, whose caption was drawn
    captions: list[str]
    seeds: list[int]
    digests: Shaped[np.ndarray, " N"]  # of the pixels
    extracted: dict[str, Extracted]  # by extractor


class Group(NamedTuple):
    """What `--metrics` chooses: functions that add figures, and the extractors that have to see every drawing."""

    functions: tuple[Callable[[Evaluation], None], ...]
    # By name; "chosen" are all that were asked for, and "matchers" those of them that know captions too.
    extractors: tuple[str, ...] = ()


@dataclasses.dataclass
class Evaluation:
    """One evaluation under way."""

    draw: Draw
    dataset: Dataset
    extractors: FeatureExtractors
    seed: int
    real_rows: Int[np.ndarray, " R"]  # of the split
    drawn: Drawn
    extractor_names: tuple[str, ...]
    counts: Int[np.ndarray, "S R"] | None  # how often each real picture, with its drawings, is in each resample
    discriminate: Callable[[np.ndarray, list[str]], np.ndarray] | None = None
    never_told: frozenset[str] = frozenset()  # captions with a word that no training caption has
    figures: dict[str, Figure] = dataclasses.field(default_factory=dict)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def num_compared(self) -> int:
        """As many drawings as there are training pictures to compare with, so that their figures are alike."""
        return min(len(self.drawn.captions), len(self.extractors.train_rows(len(self.drawn.captions))))

    def real(self, extractor: str) -> Extracted:
        """Returns what an extractor sees in the split's pictures."""
        return self.extractors.extract_split(extractor, self.dataset, self.real_rows)

    def train(self, extractor: str, num_images: int) -> Extracted:
        """Returns what an extractor sees in so many training pictures."""
        return self.extractors.extract_split(extractor, self.extractors.train, self.extractors.train_rows(num_images))

    @functools.cached_property
    def _copied_rows(self) -> Int[np.ndarray, " N"] | None:
        """The training picture, for each drawing, whose caption has most words in common with its own."""
        train = self.extractors.train
        if not 0 < pictures_a_caption(train.captions) < OWN_PICTURE_BELOW:
            return None
        rows = self.extractors.train_rows(len(train))

        def find() -> np.ndarray:
            known = [words_of(train.captions[row][0]) for row in rows]
            return rows[metrics.nearest_texts([words_of(caption) for caption in self.drawn.captions], known)]

        return self.extractors.remember(
            ("copied", len(self.drawn.captions), self.seed), self.dataset, self.real_rows, find
        )

    def copied(self, extractor: str) -> Extracted | None:
        """Returns what an extractor sees in the training picture whose caption is nearest to each drawing's.

        That is what needs no generator at all. None where captions have several pictures, and copies would be real.
        """
        train, copied = self.extractors.train, self._copied_rows
        if copied is None:
            return None
        different, place = np.unique(copied, return_inverse=True)
        seen = self.extractors.extract_split(extractor, train, different)
        return Extracted(*(None if column is None else column[place] for column in seen))

    def add(
        self,
        name: str,
        value: float,
        interval: metrics.Interval | None = None,
        *,
        real: float | None = None,
        floor: float | None = None,
        copied: float | None = None,
        **facts: Any,
    ) -> None:
        """Keeps a figure, if it is a number."""
        if not math.isfinite(value):
            return
        low, high = interval or (None, None)
        number = lambda x: None if x is None or not math.isfinite(x) else float(x)
        beside = {"real": number(real), "floor": number(floor), "copied": number(copied)}
        self.figures[name] = Figure(float(value), low=low, high=high, **beside, **facts)

    def interval_of_mean(self, values: np.ndarray, places: np.ndarray | None = None) -> metrics.Interval | None:
        """The interval of the mean over drawings (the first ones, or those of `places`); None where there is none.

        `values` are numbers [N], or right and wrong [N] or [N, A]: their mean is a share.
        """
        if self.counts is None or not len(values):
            return None
        places = self.drawn.places[: len(values)] if places is None else places
        if values.dtype == bool:
            return metrics.interval_of_share(values.ravel(), places.repeat(values.size // len(values)))
        return metrics.interval_of_mean(values, places, self.counts)

    def shuffled(self) -> Int[np.ndarray, " N"]:
        """For each drawing another one, at random, whose caption it is given for the floor."""
        order = np.random.default_rng([self.seed, 3]).permutation(len(self.drawn.captions))
        other = np.empty_like(order)
        other[order] = np.roll(order, 1)
        return other


def real_rows(length: int) -> Int[np.ndarray, " R"]:
    """The rows of a split that are looked at: all, or a fixed choice of many."""
    if length <= MAX_REAL:
        return np.arange(length)
    return np.sort(np.random.default_rng(0).permutation(length)[:MAX_REAL])


def what_to_draw(dataset: Dataset, rows: np.ndarray, num_images: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Returns the real picture (a place in `rows`) that each drawing is compared with, and the caption to draw."""
    order = np.random.default_rng([seed, 1]).permutation(len(rows))
    cycles, at = np.divmod(np.arange(num_images), len(rows))
    places = order[at]
    captions = [dataset.captions[rows[place]] for place in places]
    return places, [of_one[cycle % len(of_one)] for of_one, cycle in zip(captions, cycles, strict=True)]


def draw_and_extract(
    draw: Draw,
    extractors: FeatureExtractors,
    extractor_names: list[str],
    places: np.ndarray,
    captions: list[str],
    seeds: list[int],
) -> Drawn:
    """Draws and forgets pictures bit by bit: only what the feature extractors see is kept."""
    parts: dict[str, list[Extracted]] = {name: [] for name in extractor_names}
    digests = []
    for start in range(0, len(captions), DRAWN_AT_ONCE):
        part = slice(start, start + DRAWN_AT_ONCE)
        images = extractors.check(drawn(draw, captions[part], seeds[part]))
        digests.append(digest(images))
        for name in extractor_names:
            parts[name].append(extractors.extract(name, images))
    seen = {name: joined(of_one) for name, of_one in parts.items()}
    return Drawn(places, captions, seeds, np.concatenate(digests), seen)


def drawn(draw: Draw, captions: list[str], seeds: list[int]) -> np.ndarray:
    """Returns what `draw` draws; ValueError where it is not a picture a caption."""
    images = np.concatenate(
        [
            np.asarray(draw(captions[start : start + DRAWN_AT_ONCE], seeds[start : start + DRAWN_AT_ONCE]))
            for start in range(0, len(captions), DRAWN_AT_ONCE)
        ]
    )
    if len(images) != len(captions):
        raise ValueError(f"draw returned {len(images)} pictures for {len(captions)} captions")
    return images


def new_seeds(seed: int, stream: int, num: int) -> list[int]:
    """Returns seeds of drawings, a function of the evaluation's seed and of what they are for."""
    return np.random.default_rng([seed, stream]).integers(2**31, size=num).tolist()


def digest(images: np.ndarray) -> Shaped[np.ndarray, " N"]:
    """Returns 16 bytes a picture that differ when any pixel does."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images])


def expected_labels(evaluation: Evaluation) -> Int[np.ndarray, "R A"]:
    """The labels of the real pictures that the captions are of."""
    return evaluation.dataset.attribute_labels(evaluation.extractors.vocabulary)[evaluation.real_rows]


def has_attributes(evaluation: Evaluation) -> bool:
    """Whether the training split and this one have attributes."""
    return bool(evaluation.extractors.vocabulary) and evaluation.dataset.attributes is not None


def right_of(labels: np.ndarray, expected: np.ndarray) -> Bool[np.ndarray, "N A"]:
    """Whether each label is right; an unknown value never is."""
    return (labels == expected) & (expected >= 0)
