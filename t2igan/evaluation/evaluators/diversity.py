"""Group `diversity`: how different the drawings of one caption are, and those of different captions."""

from __future__ import annotations

import numpy as np

from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Evaluation, Group, drawn, new_seeds

CAPTIONS, SEEDS = 64, 4  # drawn to see what noise changes
REAL_GROUPS, REAL_PICTURES = 256, 8  # captions of the training split, and pictures of each, that show what is natural
SHOWN_CAPTIONS = 8  # least and most diverse


def diversity(evaluation: Evaluation) -> None:
    """Mean differences within captions and across them, of pixels and of features."""
    places = np.unique(evaluation.drawn.places[:CAPTIONS], return_index=True)[1]
    captions = list(dict.fromkeys(evaluation.drawn.captions[i] for i in np.sort(places)))
    everyone = captions * SEEDS
    seeds = new_seeds(evaluation.seed, 2, len(everyone))
    images = evaluation.extractors.check(drawn(evaluation.draw, everyone, seeds))
    real_rows, real_captions = _repeated(evaluation)
    for name in dict.fromkeys(("pixels", *_extractors(evaluation))):
        of = lambda x, name=name: _vectors(evaluation, name, x)
        vectors = of(images)
        within = metrics.within_groups(vectors, everyone)
        real_within = real_across = None
        if real_captions:
            real_vectors = of(evaluation.extractors.train.images[real_rows])
            real_within = float(np.mean(list(metrics.within_groups(real_vectors, real_captions).values())))
        values = np.array([within[caption] for caption in captions])
        interval = None
        if evaluation.counts is not None and len(values) > 1:
            counts = metrics.resampled_counts(len(values), len(evaluation.counts), seed=evaluation.seed)
            interval = metrics.interval_of_mean(values, np.arange(len(values)), counts)
        facts = {"group": "diversity", "extractor": name, "direction": "real", "num_images": len(everyone)}
        figure = f"diversity_within/{name}"
        evaluation.add(figure, values.mean(), interval, real=real_within, label="diversity within a caption", **facts)
        if len(captions) > 1:
            first = evaluation.real_rows[evaluation.drawn.places[np.sort(places)]]
            if len(first) > 1:
                real_across = metrics.across_groups(of(evaluation.dataset.images[first]))
            across = metrics.across_groups(vectors[: len(captions)])
            label = "diversity across captions"
            evaluation.add(f"diversity_across/{name}", across, real=real_across, label=label, **facts)
        if name == "pixels":
            order = np.argsort(values, kind="stable")
            seeds_of = {caption: seeds[i :: len(captions)] for i, caption in enumerate(captions)}
            entry = lambda i: {"caption": captions[i], "seeds": seeds_of[captions[i]], "distance": float(values[i])}  # noqa: B023
            evaluation.details["diversity"] = {
                "least": [entry(i) for i in order[:SHOWN_CAPTIONS]],
                "most": [entry(i) for i in order[::-1][:SHOWN_CAPTIONS]],
            }


def _extractors(evaluation: Evaluation) -> list[str]:
    return [name for name in evaluation.extractor_names if name != "pixels"]


def _vectors(evaluation: Evaluation, name: str, images: np.ndarray) -> np.ndarray:
    """Features; or all pixels, 0..1."""
    if name == "pixels":
        return evaluation.extractors.shown(images).reshape(len(images), -1) / np.float32(255)
    return evaluation.extractors.extract(name, images).features


def _repeated(evaluation: Evaluation) -> tuple[np.ndarray, list[str]]:
    """Rows and captions of training pictures whose first caption is that of several."""
    rows_of: dict[str, list[int]] = {}
    for row in evaluation.extractors.train_rows(evaluation.extractors.settings.max_images):
        rows_of.setdefault(evaluation.extractors.train.captions[row][0], []).append(row)
    several = [caption for caption, rows in rows_of.items() if len(rows) > 1]
    random = np.random.default_rng(0)
    chosen = [several[i] for i in random.permutation(len(several))[:REAL_GROUPS]]
    pairs = [(row, caption) for caption in chosen for row in rows_of[caption][:REAL_PICTURES]]
    return np.array([row for row, _ in pairs], np.int64), [caption for _, caption in pairs]


GROUPS = {"diversity": Group((diversity,))}
