"""Groups `memorisation` and `discriminator`: does the generator, or the discriminator, know its training pictures?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Look, digest, drawn
from t2igan.evaluation.extractors.extractor import in_parts

COMPARED_IMAGES = 2_000  # drawings, and held-out pictures, whose nearest training picture is looked for
SHOWN_PAIRS = 16
DISCRIMINATED_IMAGES = 1_000  # of each kind


def memorisation(look: Look) -> None:
    """Are drawings nearer to the training pictures than held-out real pictures are?"""
    train = look.judges.train
    train_rows = look.judges.train_rows(look.judges.settings.max_images)
    compared = min(len(look.drawn.captions), COMPARED_IMAGES)
    held_out = np.arange(min(len(look.real_rows), COMPARED_IMAGES))
    copied = _copies(look)
    details = look.details["memorisation"] = {}
    # The classifier overlooks on purpose what is not an attribute: to it, strangers are copies.
    names = [name for name in dict.fromkeys(("pixels", *look.extractors)) if name != "attributes"]
    for name in names:
        training = look.train(name, len(train_rows)).features
        distances, found = metrics.nearest(look.drawn.seen[name].features[:compared], training)
        of_real, _ = look.judges.remember(
            ("nearest", name, look.dataset.split),
            look.dataset,
            look.real_rows[held_out],
            lambda name=name, training=training: metrics.nearest(look.real(name).features[held_out], training),
        )
        closer = metrics.closer_than(distances, of_real)
        interval = None
        if look.counts is not None:
            places = look.drawn.places[:compared]
            resampled = [
                metrics.closer_than(distances, of_real, counts[places], counts[held_out])
                for counts in look.counts
                if counts[places].any() and counts[held_out].any()
            ]
            interval = metrics.interval(np.array(resampled))
        facts = {"group": "memorisation", "extractor": name, "direction": "real", "num_images": compared}
        figure, label = f"memorisation/auc/{name}", "nearer to training than real"
        look.add(figure, closer, interval, real=0.5, label=label, **facts)
        ratio = metrics.distance_ratio(distances, of_real)
        look.add(f"memorisation/ratio/{name}", ratio, real=1.0, label="  median distance, over real", **facts)
        order = np.argsort(distances, kind="stable")[:SHOWN_PAIRS]
        pair = lambda i, found=found, distances=distances: {  # noqa: E731
            "caption": look.drawn.captions[i],
            "seed": look.drawn.seeds[i],
            "row": int(look.real_rows[look.drawn.places[i]]),
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
    real_copied = metrics.copies(_digests(look, look.dataset, look.real_rows), _all_digests(look))
    look.add(
        "memorisation/copies",
        copied.mean(),
        look.interval_of_mean(copied),
        real=real_copied.mean(),
        group="memorisation",
        label=f"copies of {len(train):,} training pictures",
        extractor="pixels",
        direction="lower",
        num_images=len(copied),
    )


def _copies(look: Look) -> np.ndarray:
    return metrics.copies(look.drawn.digests, _all_digests(look))


def _all_digests(look: Look) -> np.ndarray:
    return _digests(look, look.judges.train, np.arange(len(look.judges.train)))


def _digests(look: Look, dataset, rows: np.ndarray) -> np.ndarray:
    make = lambda: np.concatenate([digest(dataset.images[part]) for part in in_parts(rows)])  # noqa: E731
    return look.judges.remember(("digests",), dataset, rows, make)


def discriminator(look: Look) -> None:
    """Does the discriminator tell training pictures from held-out real ones?"""
    if look.discriminate is None:
        look.left_out.setdefault("discriminator", "there is no checkpoint with a discriminator")
        return

    def of_split(dataset, rows: np.ndarray) -> np.ndarray:
        return look.discriminate(dataset.images[rows], [dataset.captions[row][0] for row in rows])

    number = min(DISCRIMINATED_IMAGES, len(look.drawn.captions))
    captions, seeds = look.drawn.captions[:number], look.drawn.seeds[:number]
    train = of_split(look.judges.train, look.judges.train_rows(DISCRIMINATED_IMAGES))
    held_out = of_split(look.dataset, look.real_rows[:DISCRIMINATED_IMAGES])
    fake = look.discriminate(drawn(look.draw, captions, seeds), captions)
    facts = {"group": "discriminator", "extractor": "discriminator", "num_images": number}
    look.add(
        "discriminator/overfitting",
        metrics.overfitting(train, held_out, fake),
        _interval(look, lambda a, b, c: metrics.overfitting(a, b, c), train, held_out, fake),
        label="overfitting of the discriminator",
        direction="lower",
        **facts,
    )
    look.add(
        "discriminator/auc",
        metrics.closer_than(held_out, train),
        _interval(look, lambda a, b, _: metrics.closer_than(b, a), train, held_out, fake),
        real=0.5,
        label="  training above held-out",
        direction="real",
        **facts,
    )
    kinds = {"train": train, "held_out": held_out, "generated": fake}
    look.details["discriminator"] = {kind: metrics.quantiles(values).tolist() for kind, values in kinds.items()}


def _interval(look: Look, figure: Callable[..., float], *logits: np.ndarray) -> metrics.Interval | None:
    """The interval over pictures of three kinds, each resampled by itself."""
    if look.counts is None or min(map(len, logits)) < 2:
        return None
    random = np.random.default_rng([look.seed, 4])
    resamples = [[x[random.integers(len(x), size=len(x))] for x in logits] for _ in range(len(look.counts))]
    values = np.array([figure(*resample) for resample in resamples])
    return metrics.interval(values[np.isfinite(values)]) if np.isfinite(values).any() else None


GROUPS: dict[str, tuple[Callable[[Look], None], ...]] = {
    "memorisation": (memorisation,),
    "discriminator": (discriminator,),
}
