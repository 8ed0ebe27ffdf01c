"""What all phases of a run share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import nets
from t2igan.data.dataset import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.training.distributed import processes
from t2igan.training.logs import Logs


@dataclasses.dataclass(frozen=True)
class Run:
    """What all phases of a run share."""

    config: Any
    workdir: Path
    mesh: jax.sharding.Mesh
    train_data: Dataset
    test_data: Dataset
    tokenizer: Tokenizer
    networks: nets.Networks
    extractors: FeatureExtractors
    logs: Logs

    @property
    def leads(self) -> bool:
        """Whether this process writes and evaluates, of several."""
        return processes.leads()

    @property
    def val_data(self) -> Dataset:
        """The held-out pictures that choices are made on: the best checkpoint, the best average, the guard."""
        return self.test_data

    @property
    def best_metric(self) -> tuple[str, bool]:
        """The metric by which the best checkpoint and average are kept, and whether lower is better."""
        metric = self.config.checkpoint.best_metric
        if not metric:
            metric = "attributes/mean" if self.extractors.vocabulary else "frechet/probe"
        if not set(metric.split("/")) & set(self.extractors.by_name):
            raise UserError(
                f"config.checkpoint.best_metric={metric!r} cannot be had: the data has no attributes, or no weights "
                f'are given.\nSet it to "", or to frechet/ and one of {", ".join(self.extractors.by_name)}'
            )
        return metric, metric.startswith(("frechet", "kernel"))

    @property
    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of a batch of two."""
        images = self.train_data.images
        return {
            "images": jax.ShapeDtypeStruct((2, *images.shape[1:]), np.uint8),
            "tokens": jax.ShapeDtypeStruct((2, self.tokenizer.max_tokens), np.int32),
        }
