"""Groups of metrics that compare the drawings with real pictures as distributions, whatever the captions say."""

from __future__ import annotations

import numpy as np

from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Evaluation, Group

EXTRAPOLATED = 8  # drawings a feature, below which the distance is not yet linear in 1/N and the line misleads
FEW_REAL = 30  # real pictures at most with which a Fréchet distance has no ceiling
FRECHET_RESAMPLES = 200  # each takes an eigendecomposition, and the interval follows from their spread
RESAMPLED_FEATURES = 256  # with more features a resample of the Fréchet distance takes too long


def frechet_distance(evaluation: Evaluation) -> None:
    """The Fréchet distance, and what it would be with endlessly many drawings."""
    for name in evaluation.extractor_names:
        real, fake, train = _three(evaluation, name)
        if min(len(real), len(fake)) < 2:
            evaluation.left_out["frechet_distance"] = "it needs two drawings and two real pictures"
            return
        facts = {"group": "frechet_distance", "extractor": name, "num_images": len(fake)}
        value = metrics.frechet_distance(real, fake)
        interval = None
        if evaluation.counts is not None and real.shape[1] <= RESAMPLED_FEATURES:
            places = evaluation.drawn.places[: len(fake)]
            counts = evaluation.counts[:FRECHET_RESAMPLES]
            resampled = metrics.frechet_resampled(real, fake, counts, counts[:, places])
            interval = metrics.interval(resampled, centre=value)
            interval = metrics.Interval(max(interval.low, 0.0), interval.high)
        # Of few real pictures it is mostly the bias, which nobody would take for a ceiling.
        ceiling = metrics.frechet_distance(real, train) if len(train) > 1 and len(real) > FEW_REAL else None
        copied = evaluation.copied(name)
        beside = {"real": ceiling, "copied": copied and metrics.frechet_distance(real, copied.features[: len(fake)])}
        facts |= {"direction": "lower", "label": "Fréchet distance"}
        evaluation.add(f"frechet_distance/{name}", value, interval, **beside, **facts)


def frechet_infinity(evaluation: Evaluation) -> None:
    """The Fréchet distance extrapolated to endlessly many drawings."""
    for name in evaluation.extractor_names:
        real, fake, train = _three(evaluation, name)
        if real.shape[1] > RESAMPLED_FEATURES or len(fake) < EXTRAPOLATED * real.shape[1] or len(real) < 2:
            reason = f"{len(fake)} drawings are too few for {real.shape[1]} features"
            evaluation.left_out[f"frechet_infinity/{name}"] = reason
            continue
        found = metrics.frechet_infinity(real, fake, seed=evaluation.seed)
        ceiling = None
        if len(train) >= EXTRAPOLATED * train.shape[1]:
            ceiling = metrics.frechet_infinity(real, train, seed=evaluation.seed).value
        facts = {"group": "frechet_distance", "extractor": name, "num_images": len(fake), "direction": "lower"}
        evaluation.add(f"frechet_infinity/{name}", found.value, real=ceiling, label="Fréchet, extrapolated", **facts)
        points = {"num_images": found.num_images.tolist(), "frechet_distance": found.frechet.tolist()}
        evaluation.details.setdefault("frechet_infinity", {})[name] = points


def kernel_distance(evaluation: Evaluation) -> None:
    """The kernel distance."""
    for name in evaluation.extractor_names:
        real, fake, train = _three(evaluation, name)
        if min(len(real), len(fake)) < 2:
            evaluation.left_out["kernel_distance"] = "it needs two drawings and two real pictures"
            return
        found = metrics.kernel_distance(real, fake, seed=evaluation.seed)
        interval = None
        if np.isfinite(found.standard_error):
            reach = 1.96 * found.standard_error
            interval = metrics.Interval(found.value - reach, found.value + reach)
        ceiling = metrics.kernel_distance(real, train, seed=evaluation.seed).value if len(train) > 1 else None
        facts = {"group": "kernel_distance", "extractor": name, "num_images": len(fake), "direction": "lower"}
        evaluation.add(f"kernel_distance/{name}", found.value, interval, real=ceiling, label="kernel distance", **facts)


def precision_recall(evaluation: Evaluation) -> None:
    """Precision, recall, density, coverage."""
    for name in evaluation.extractor_names:
        real, fake, train = _three(evaluation, name)
        if min(len(real), len(fake)) <= 5:
            evaluation.left_out["precision_recall"] = "they need six drawings and six real pictures"
            return
        found = metrics.manifolds(real, fake)
        ceiling = metrics.manifolds(real, train) if len(train) > 5 else None
        all_real = np.arange(len(real))
        for figure, of_real in (("precision", False), ("recall", True), ("density", False), ("coverage", True)):
            values = getattr(found, figure)
            evaluation.add(
                f"{figure}/{name}",
                values.mean(),
                evaluation.interval_of_mean(values, all_real if of_real else None),
                real=None if ceiling is None else getattr(ceiling, figure).mean(),
                label=figure,
                group="precision_recall",
                extractor=name,
                num_images=len(fake),
                direction="real" if figure == "density" else "higher",
            )


def classifier_score(evaluation: Evaluation) -> None:
    """The Inception score with the data's own classifier: the geometric mean over attributes."""
    classifier = evaluation.extractors.classifier
    if classifier is None:
        evaluation.left_out["classifier_score"] = "it needs a classifier, and the data has no attributes"
        return
    splits = np.cumsum(classifier.sizes)[:-1]
    of = lambda probabilities: np.split(probabilities, splits, axis=1)
    fake, real = (
        of(evaluation.drawn.extracted["attributes"].probabilities),
        of(evaluation.real("attributes").probabilities),
    )
    facts = {"group": "classifier_score", "extractor": "attributes", "num_images": len(fake[0]), "direction": "real"}
    value, ceiling = metrics.classifier_scores(fake), metrics.classifier_scores(real)
    evaluation.add("classifier_score/attributes", value, real=ceiling, label="classifier score", **facts)
    if len(fake) > 1:
        for name, of_fake, of_real in zip(sorted(classifier.vocabulary), fake, real, strict=True):
            value, ceiling = metrics.classifier_score(of_fake), metrics.classifier_score(of_real)
            evaluation.add(f"classifier_score/attributes/{name}", value, real=ceiling, label=f"  {name}", **facts)


def _three(evaluation: Evaluation, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of the split's pictures, of drawings, and of as many training pictures."""
    num = evaluation.num_compared
    drawn = evaluation.drawn.extracted[name].features[:num]
    return evaluation.real(name).features, drawn, evaluation.train(name, num).features


GROUPS = {
    "frechet_distance": Group((frechet_distance, frechet_infinity), ("chosen",)),
    "kernel_distance": Group((kernel_distance,), ("chosen",)),
    "precision_recall": Group((precision_recall,), ("chosen",)),
    "classifier_score": Group((classifier_score,), ("attributes",)),
}
