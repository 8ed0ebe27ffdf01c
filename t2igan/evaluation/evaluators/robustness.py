"""Group `robustness`: what is left of following the caption when people write it differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from t2igan.data import Dataset
from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.alignment import embed_captions, matchers
from t2igan.evaluation.evaluators.samples import (
    Evaluation,
    Group,
    draw_and_extract,
    expected_labels,
    has_attributes,
    right_of,
)

CHANGED_CAPTIONS = 256  # drawn of each kind
SHOWN_EXAMPLES = 8
LEAST_FOLLOWED = 0.05  # above the floor; below, a share of it says nothing
TYPO_LETTERS, TYPO_SHARE = 4, 1 / 3  # words of so many letters and more get a typo with this probability
INVENTED_WORDS = ("flombic", "quizzard", "zorvel", "brindlewock", "xaptine", "vumbly")


def robustness(evaluation: Evaluation) -> None:
    """The share of following that is left, (changed - floor) / (clean - floor), by kind of change.

    Drawings of changed captions have the seeds of the clean ones and are judged by what the clean caption asks for.
    """
    random = np.random.default_rng([evaluation.seed, 5])
    number = min(CHANGED_CAPTIONS, len(evaluation.drawn.captions))
    for kind, change in changes(evaluation.dataset, evaluation.extractors.train, evaluation.real_rows, random).items():
        pairs = [(i, change(evaluation.drawn.captions[i], int(evaluation.drawn.places[i]))) for i in range(number)]
        pairs = [(i, changed) for i, changed in pairs if changed and changed != evaluation.drawn.captions[i]]
        if len(pairs) < 2:
            evaluation.left_out[f"robustness/{kind}"] = f"hardly a caption can be changed by {kind.replace('_', ' ')}"
            continue
        _one(evaluation, kind, np.array([i for i, _ in pairs]), [changed for _, changed in pairs])


def _one(evaluation: Evaluation, kind: str, rows: np.ndarray, changed: list[str]) -> None:
    """Draws the changed captions of some drawings and compares."""
    names = [name for name in ("attributes", *matchers(evaluation)[:1]) if name in evaluation.drawn.extracted]
    seeds = [evaluation.drawn.seeds[i] for i in rows]
    again = draw_and_extract(
        evaluation.draw, evaluation.extractors, names, evaluation.drawn.places[rows], changed, seeds
    )
    clean = [evaluation.drawn.captions[i] for i in rows]
    details = {"clean": {}, "changed": {}, "examples": []}
    for name in names:
        if name == "attributes":
            if not has_attributes(evaluation):
                continue
            expected = expected_labels(evaluation)[evaluation.drawn.places]
            labels = evaluation.drawn.extracted[name].labels
            floor = right_of(labels, expected[evaluation.shuffled()]).mean()
            values = right_of(labels[rows], expected[rows]).mean(1)
            values_again = right_of(again.extracted[name].labels, expected[rows]).mean(1)
            measured = "attributes/mean"
        else:
            matcher = evaluation.extractors.by_name[name]
            texts, sentences = matcher.identities(clean), embed_captions(matcher, clean)
            if len(set(texts)) < 2:
                continue
            find = lambda x, s=sentences, t=texts: metrics.match_ranks(x, s, captions=t, seed=evaluation.seed)
            found = find(evaluation.drawn.extracted[name].embedding[rows])
            floor = 1 / found.candidates
            values, values_again = found.ranks == 1, find(again.extracted[name].embedding).ranks == 1
            measured = f"retrieval/caption_at_1/{name}"
        details["clean"][measured], details["changed"][measured] = float(values.mean()), float(values_again.mean())
        if values.mean() - floor < LEAST_FOLLOWED:
            evaluation.left_out[f"robustness/{kind}/{name}"] = "clean captions are hardly followed either"
            continue
        evaluation.add(
            f"robustness/{kind}/{name}",
            (values_again.mean() - floor) / (values.mean() - floor),
            _interval(evaluation, again.places, values, values_again, floor),
            group="robustness",
            label=f"kept after {kind.replace('_', ' ')}",
            extractor=name,
            direction="higher",
            num_images=len(rows),
        )
    details["examples"] = [
        {"clean": clean[i], "changed": changed[i], "seed": seeds[i]} for i in range(min(len(rows), SHOWN_EXAMPLES))
    ]
    evaluation.details.setdefault("robustness", {})[kind] = details


def _interval(
    evaluation: Evaluation, places: np.ndarray, clean: np.ndarray, changed: np.ndarray, floor: float
) -> metrics.Interval | None:
    if evaluation.counts is None:
        return None
    weights = evaluation.counts[:, places]
    above = weights @ (clean - floor)
    return metrics.interval((weights @ (changed - floor))[above > 0] / above[above > 0]) if (above > 0).any() else None


def changes(
    dataset: Dataset, train: Dataset, real_rows: np.ndarray, random: np.random.Generator
) -> dict[str, Callable[[str, int], str | None]]:
    """Returns by kind how a caption of the split's picture (a place in `real_rows`) is changed; None = it cannot be."""
    words = {word.lower() for captions in train.captions for caption in captions for word in caption.split()}
    unknown = [word for word in INVENTED_WORDS if word not in words]
    same = _captions_by_attributes(dataset, train)

    def paraphrase(caption: str, place: int) -> str | None:
        """Another caption of the picture, or one of another picture with the same attributes."""
        row = real_rows[place]
        others = [other for other in dataset.captions[row] if other != caption]
        if not others and dataset.attributes is not None:
            others = [other for other in same.get(_key(dataset.attributes[row]), ()) if other != caption]
        return str(random.choice(others)) if others else None

    return {
        "typos": lambda caption, _: with_typos(caption, random),
        "word_order": lambda caption, _: " ".join(random.permutation(caption.split()).tolist()),
        "paraphrase": paraphrase,
        "unknown_word": lambda caption, _: with_word(caption, unknown, random),
    }


def with_typos(caption: str, random: np.random.Generator) -> str:
    """Swaps two neighbouring different letters inside some of the longer words, at least in one."""
    words = caption.split()
    able = [i for i, word in enumerate(words) if len(word) >= TYPO_LETTERS and len(set(word[1:])) > 1]
    if not able:
        return caption
    chosen = {i for i in able if random.random() < TYPO_SHARE} or {int(random.choice(able))}
    for i in chosen:
        word = words[i]
        places = [p for p in range(1, len(word) - 1) if word[p] != word[p + 1]]
        p = int(random.choice(places))
        words[i] = word[:p] + word[p + 1] + word[p] + word[p + 2 :]
    return " ".join(words)


def with_word(caption: str, unknown: Sequence[str], random: np.random.Generator) -> str:
    """Puts a word that no training caption has somewhere into the caption."""
    words = caption.split()
    words.insert(int(random.integers(len(words) + 1)), str(random.choice(list(unknown))))
    return " ".join(words)


def _captions_by_attributes(*datasets: Dataset) -> dict[tuple, list[str]]:
    found: dict[tuple, dict[str, None]] = {}
    for dataset in datasets:
        for captions, attributes in zip(dataset.captions, dataset.attributes or (), strict=False):
            if attributes:
                found.setdefault(_key(attributes), {}).update(dict.fromkeys(captions))
    return {key: list(captions) for key, captions in found.items()}


def _key(attributes: Mapping[str, str]) -> tuple:
    return tuple(sorted(attributes.items()))


GROUPS = {"robustness": Group((robustness,), ("attributes", "matchers"))}
