"""Which drawings lie nearer to a training picture than nearly all held-out pictures do.

For the owner of the data, who has it at hand: a list of pictures, or of their hashes, that went out with the model
would tell everybody who has a candidate whether it was trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from t2igan.data import Dataset
from t2igan.data.spread import evenly_spread
from t2igan.errors import UserError
from t2igan.evaluation import metrics
from t2igan.evaluation.extractors.extractor import in_parts
from t2igan.evaluation.extractors.pixels import Pixels

HELD_OUT_IMAGES = 2_000  # at most, evenly over all, whose distances set the threshold


@dataclasses.dataclass(frozen=True)
class Nearness:
    """The nearest training picture of each drawing, in pixels of at most 16 px."""

    distances: Float[np.ndarray, " N"]  # root mean square of the differences, from 0 (the same) to 1
    rows: Int[np.ndarray, " N"]  # of the training split
    threshold: float  # below which a drawing is flagged; of held-out pictures the share asked for is nearer
    held_out: int  # pictures that set it

    @property
    def flagged(self) -> list[int]:
        """The drawings that are copies or nearer than the threshold, nearest first."""
        near = np.flatnonzero((self.distances < self.threshold) | (self.distances == 0))
        return near[np.argsort(self.distances[near], kind="stable")].tolist()


def nearness(
    images: UInt8[np.ndarray, "N H W C"], train: Dataset, held_out: Sequence[Dataset], share: float
) -> Nearness:
    """Returns how near drawings are to the training pictures.

    Args:
      images: the drawings, of the size of the data's pictures.
      train: the training split; all of it is searched.
      held_out: splits that were not trained on.
      share: of the held-out pictures that are as near as the threshold or nearer, from 0 to 1.

    Raises:
      UserError: the held-out pictures are too few for such a share.
    """
    others = np.concatenate(
        [np.asarray(of_one.images[evenly_spread(len(of_one), HELD_OUT_IMAGES)]) for of_one in held_out]
    )
    if len(others) * share < 1:
        raise UserError(
            f"--flag_near={share:g} is a share of the held-out pictures, and of {len(others)} it is none; give "
            f"{1 / max(len(others), 1):.2g} or more"
        )
    queries = Pixels().features(np.concatenate([images, others]))
    best, found = np.full(len(queries), np.inf), np.zeros(len(queries), np.int64)
    for rows in in_parts(np.arange(len(train))):
        distances, at = metrics.nearest(queries, Pixels().features(np.asarray(train.images[rows])))
        found = np.where(distances < best, rows[at], found)
        best = np.minimum(best, distances)
    best /= np.sqrt(queries.shape[1])
    number = len(images)
    return Nearness(best[:number], found[:number], float(np.quantile(best[number:], share)), len(others))
