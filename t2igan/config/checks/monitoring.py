"""Checks how a training is monitored and kept: `log`, `sample`, `evaluate`, `checkpoint`, and what it begins with."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan.config.constraints import require_among, require_captions, require_not_negative, require_positive
from t2igan.evaluation.extractors import EXTRACTORS

POSITIVE = (
    "log.every_images sample.num_captions sample.num_seeds evaluate.num_images evaluate.classifier_steps "
    "evaluate.probe_steps"
).split()
NOT_NEGATIVE = (
    "sample.every_images evaluate.every_images checkpoint.every_images checkpoint.keep_every_images"
).split()


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a value that is not accepted."""
    require_positive(config, *POSITIVE)
    require_not_negative(config, *NOT_NEGATIVE)
    require_captions(config, "sample.captions", "model_card.examples")
    require_among(config, "checkpoint.best_metric", best_metrics())
    require_among(config, "init_which", ("latest", "best"))


def best_metrics() -> tuple[str, ...]:
    """Returns the metrics by which the best checkpoint can be kept; "" leaves the choice to the data."""
    distances = (
        f"{metric}/{extractor}" for metric in ("frechet_distance", "kernel_distance") for extractor in EXTRACTORS
    )
    return ("", "attributes/mean", "attributes/all", *distances)
