"""Groups `memorisation` and `discriminator`: does the generator, or the discriminator, know its training pictures?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Evaluation, Group, digest, drawn
from t2igan.evaluation.extractors.extractor import in_parts

COMPARED_IMAGES = 2_000  # drawings, and held-out pictures, whose nearest training picture is looked for
SHOWN_PAIRS = 16
DISCRIMINATED_IMAGES = 1_000  # of each kind


def memorisation(evaluation: Evaluation) -> None:
    """Are drawings nearer to the training pictures than held-out real pictures are?"""
    train = evaluation.extractors.train
    train_rows = evaluation.extractors.train_rows(evaluation.extractors.settings.max_images)
    compared = min(len(evaluation.drawn.captions), COMPARED_IMAGES)
    held_out = np.arange(min(len(evaluation.real_rows), COMPARED_IMAGES))
    copied = _copies(evaluation)
    details = evaluation.details["memorisation"] = {}
    # The classifier overlooks on purpose what is not an attribute: to it, strangers are copies.
    names = [name for name in dict.fromkeys(("pixels", *evaluation.extractor_names)) if name != "attributes"]
    for name in names:
        training = evaluation.train(name, len(train_rows)).features
        distances, found = metrics.nearest(evaluation.drawn.extracted[name].features[:compared], training)
        of_real, _ = evaluation.extractors.remember(
            ("nearest", name, evaluation.dataset.split),
            evaluation.dataset,
            evaluation.real_rows[held_out],
            lambda name=name, training=training: metrics.nearest(evaluation.real(name).features[held_out], training),
        )
        closer = metrics.closer_than(distances, of_real)
        interval = None
        if evaluation.counts is not None:
            places = evaluation.drawn.places[:compared]
            resampled = [
                metrics.closer_than(distances, of_real, counts[places], counts[held_out])
                for counts in evaluation.counts
                if counts[places].any() and counts[held_out].any()
            ]
            interval = metrics.interval(np.array(resampled))
        facts = {"group": "memorisation", "extractor": name, "direction": "real", "num_images": compared}
        figure, label = f"memorisation/auc/{name}", "nearer to training than real"
        evaluation.add(figure, closer, interval, real=0.5, label=label, **facts)
        ratio = metrics.distance_ratio(distances, of_real)
        evaluation.add(f"memorisation/ratio/{name}", ratio, real=1.0, label="  median distance, over real", **facts)
        order = np.argsort(distances, kind="stable")[:SHOWN_PAIRS]
        pair = lambda i, found=found, distances=distances: {
            "caption": evaluation.drawn.captions[i],
            "seed": evaluation.drawn.seeds[i],
            "row": int(evaluation.real_rows[evaluation.drawn.places[i]]),
            "train_row": int(train_rows[found[i]]),
            "distance": float(distances[i]),
            "copy": bool(copied[i]),
        }
        details[name] = {
            "nearest": [pair(i) for i in order],
            "typical": [pair(i) for i in range(min(compared, SHOWN_PAIRS))],
            "quantiles": {
                "generated": metrics.quantiles(distances).tolist(),
                "real": metrics.quantiles(of_real).tolist(),
            },
        }
    real_copied = metrics.copies(
        _digests(evaluation, evaluation.dataset, evaluation.real_rows), _all_digests(evaluation)
    )
    evaluation.add(
        "memorisation/copies",
        copied.mean(),
        evaluation.interval_of_mean(copied),
        real=real_copied.mean(),
        group="memorisation",
        label=f"copies of {len(train):,} training pictures",
        extractor="pixels",
        direction="lower",
        num_images=len(copied),
    )


def _copies(evaluation: Evaluation) -> np.ndarray:
    return metrics.copies(evaluation.drawn.digests, _all_digests(evaluation))


def _all_digests(evaluation: Evaluation) -> np.ndarray:
    return _digests(evaluation, evaluation.extractors.train, np.arange(len(evaluation.extractors.train)))


def _digests(evaluation: Evaluation, dataset, rows: np.ndarray) -> np.ndarray:
    make = lambda: np.concatenate([digest(dataset.images[part]) for part in in_parts(rows)])
    return evaluation.extractors.remember(("digests",), dataset, rows, make)


def discriminator(evaluation: Evaluation) -> None:
    """Does the discriminator tell training pictures from held-out real ones?"""
    if evaluation.discriminate is None:
        evaluation.left_out.setdefault("discriminator", "there is no checkpoint with a discriminator")
        return

    def of_split(dataset, rows: np.ndarray) -> np.ndarray:
        return evaluation.discriminate(dataset.images[rows], [dataset.captions[row][0] for row in rows])

    number = min(DISCRIMINATED_IMAGES, len(evaluation.drawn.captions))
    captions, seeds = evaluation.drawn.captions[:number], evaluation.drawn.seeds[:number]
    train = of_split(evaluation.extractors.train, evaluation.extractors.train_rows(DISCRIMINATED_IMAGES))
    held_out = of_split(evaluation.dataset, evaluation.real_rows[:DISCRIMINATED_IMAGES])
    fake = evaluation.discriminate(drawn(evaluation.draw, captions, seeds), captions)
    facts = {"group": "discriminator", "extractor": "discriminator", "num_images": number}
    evaluation.add(
        "discriminator/overfitting",
        metrics.overfitting(train, held_out, fake),
        _interval(evaluation, lambda a, b, c: metrics.overfitting(a, b, c), train, held_out, fake),
        label="overfitting of the discriminator",
        direction="lower",
        **facts,
    )
    evaluation.add(
        "discriminator/auc",
        metrics.closer_than(held_out, train),
        _interval(evaluation, lambda a, b, _: metrics.closer_than(b, a), train, held_out, fake),
        real=0.5,
        label="  training above held-out",
        direction="real",
        **facts,
    )
    kinds = {"train": train, "held_out": held_out, "generated": fake}
    evaluation.details["discriminator"] = {kind: metrics.quantiles(values).tolist() for kind, values in kinds.items()}


def _interval(evaluation: Evaluation, figure: Callable[..., float], *logits: np.ndarray) -> metrics.Interval | None:
    """The interval over pictures of three kinds, each resampled by itself."""
    if evaluation.counts is None or min(map(len, logits)) < 2:
        return None
    random = np.random.default_rng([evaluation.seed, 4])
    resamples = [[x[random.integers(len(x), size=len(x))] for x in logits] for _ in range(len(evaluation.counts))]
    values = np.array([figure(*resample) for resample in resamples])
    return metrics.interval(values[np.isfinite(values)]) if np.isfinite(values).any() else None


GROUPS = {
    "memorisation": Group((memorisation,), ("chosen", "pixels")),
    "discriminator": Group((discriminator,)),
}
