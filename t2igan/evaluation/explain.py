"""Why a picture looks as it does: what changes when one word of its prompt is left out or exchanged.

A counterfactual is an experiment: the same noise, one word less or another, and the difference of the pictures. It says
what the word does here, not what the model means by it. Leaving a word out also makes the prompt one that training may
never have had.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from t2igan.data import Dataset
from t2igan.data.seen import words_of
from t2igan.data.spread import evenly_spread
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.extractors.pixels import Pixels
from t2igan.inference.sample import Model

MOVED_LEVELS = 20  # of 255, mean over the channels, from which a pixel counts as changed
SEARCHED_IMAGES = 50_000  # training pictures that are compared with, evenly over all


@dataclasses.dataclass(frozen=True)
class Variant:
    """A prompt with one word left out or exchanged."""

    place: int  # of the word among those of the tokenizer's `words`
    word: str
    instead: str  # "" = left out
    prompt: str

    @property
    def label(self) -> str:
        """What was done, in a few words."""
        return f"{self.word!r} -> {self.instead!r}" if self.instead else f"without {self.word!r}"


@dataclasses.dataclass(frozen=True)
class Change:
    """What a variant changes, over several seeds."""

    variant: Variant
    images: UInt8[np.ndarray, "S H W C"]  # of the variant; those of the prompt are `Explanation.images`
    moved: Float[np.ndarray, "H W"]  # levels of 255 by which a pixel changes, mean over seeds and channels
    share: float  # of pixels that change by `MOVED_LEVELS` or more
    attributes: Mapping[str, float]  # name -> share of the seeds in which the classifier sees another value; {}


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A prompt's pictures, and what each of its words does to them."""

    prompt: str
    seeds: tuple[int, ...]
    images: UInt8[np.ndarray, "S H W C"]
    changes: tuple[Change, ...]


def explain(
    model: Model,
    prompt: str,
    seeds: Sequence[int],
    exchanges: Mapping[str, str] | None = None,
    captions: Sequence[str] = (),
    extractors: FeatureExtractors | None = None,
) -> Explanation:
    """Draws a prompt and its variants with the same seeds, and compares.

    Args:
      model: the model.
      prompt: one prompt.
      seeds: of the noise; the mean over several says what a word does, not what one noise makes of it.
      exchanges: word -> the word instead.
      captions: of the training, from which other words for the same place are taken where `exchanges` names none.
      extractors: of the run, whose classifier says which attributes change; None = they are not looked at.

    Raises:
      UserError: the prompt is empty or too long, or has none of the words that are to be exchanged.
    """
    model.tokenizer.check_prompts([prompt])
    made = variants(prompt, model.tokenizer, exchanges or {}, captions)
    texts = [prompt, *(variant.prompt for variant in made)]
    everything = model.sample(
        [text for text in texts for _ in seeds], [*seeds] * len(texts), cut_long=True
    )  # at once: one program is compiled
    images, *others = everything.reshape(len(texts), len(seeds), *everything.shape[1:])
    before = _labels(images, extractors)
    changes = []
    for variant, drawn in zip(made, others, strict=True):
        moved = np.abs(drawn.astype(np.float32) - images).mean(-1)  # [S, H, W]
        after = _labels(drawn, extractors)
        attributes = {name: float((before[name] != after[name]).mean()) for name in before}
        changes.append(Change(variant, drawn, moved.mean(0), float((moved >= MOVED_LEVELS).mean()), attributes))
    return Explanation(prompt, tuple(seeds), images, tuple(changes))


def variants(
    prompt: str, tokenizer: Tokenizer, exchanges: Mapping[str, str], captions: Sequence[str] = ()
) -> list[Variant]:
    """Returns the prompt without each of its words, and with others in their place, in the order of the words."""
    found: list[Variant] = []
    end, named = 0, {word.casefold(): other for word, other in exchanges.items()}
    words = [word.text for word in tokenizer.words(prompt)]
    used, read = set(), [words_of(caption) for caption in captions]
    for place, word in enumerate(words):
        start = prompt.find(word, end)
        if start < 0:  # a character that has no UTF-8 form was replaced
            continue
        end = start + len(word)
        if not words_of(word):  # a comma
            continue
        without = _tidy(prompt[:start] + prompt[end:])
        if words_of(without):
            found.append(Variant(place, word, "", without))
        instead = named.get(word.casefold()) or another_word(prompt[:start], word, prompt[end:], read)
        used.add(word.casefold())
        if instead:
            found.append(Variant(place, word, instead, _tidy(prompt[:start] + instead + prompt[end:])))
    if missing := [word for word in exchanges if word.casefold() not in used]:
        raise UserError(
            f"the prompt {prompt!r} has no word {missing[0]!r} to exchange; its words are {', '.join(words)}"
        )
    return found


def another_word(before: str, word: str, after: str, captions: Iterable[Sequence[str]]) -> str:
    """Returns what captions, lists of words, have most often between these neighbours, `word` apart; "" for none."""
    left, right = words_of(before)[-1:], words_of(after)[:1]
    own = words_of(word)
    counts: Counter[str] = Counter()
    for words in captions:
        for i, other in enumerate(words):
            same = words[max(i - 1, 0) : i] == left and words[i + 1 : i + 2] == right
            counts.update([other] if same and [other] != own else [])
    return min(counts, key=lambda other: (-counts[other], other)) if counts else ""


def nearest_training(
    images: UInt8[np.ndarray, "S H W C"], train: Dataset, most: int
) -> tuple[Int[np.ndarray, "S M"], Float[np.ndarray, "S M"]]:
    """Returns the rows of the training pictures nearest to each picture, nearest first, and how far they are.

    Distances are root mean squares of the differences in pixels of at most 16 px, from 0 to 1.
    """
    rows = evenly_spread(len(train), SEARCHED_IMAGES)
    queries = Pixels().features(images).astype(np.float64)
    squared = []
    for start in range(0, len(rows), 4_096):
        features = Pixels().features(np.asarray(train.images[rows[start : start + 4_096]]))
        squared.append(np.stack([((query - features) ** 2).mean(-1) for query in queries]))
    distances = np.sqrt(np.concatenate(squared, axis=1))
    order = np.argsort(distances, axis=1, kind="stable")[:, :most]
    return rows[order], np.take_along_axis(distances, order, 1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Spearman's rank correlation of two maps of one shape, ties at their mean rank; NaN where one is flat."""

    def ranks(x: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(x.ravel(), return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length else float("nan")


def learned_extractors(config: Any, train: Dataset, tokenizer: Tokenizer, workdir: Path) -> FeatureExtractors | None:
    """Returns a run's extractors where its classifier of attributes is there already; None where it is not."""
    if not list((workdir / "extractors").glob("attributes-*.safetensors")):
        return None
    return FeatureExtractors.of_run(config, train, tokenizer.own, workdir)


def _labels(images: np.ndarray, extractors: FeatureExtractors | None) -> dict[str, np.ndarray]:
    """What the classifier sees: attribute -> value of each picture."""
    if extractors is None or extractors.classifier is None:
        return {}
    labels = extractors.classifier.classify(images).labels
    return {name: labels[:, i] for i, name in enumerate(extractors.vocabulary)}


def _tidy(prompt: str) -> str:
    """A prompt without the gaps that a word left: no two spaces, no comma behind a space or at an end."""
    return re.sub(r"\s+", " ", re.sub(r"\s+([,.;])", r"\1", prompt)).strip(" ,;")
