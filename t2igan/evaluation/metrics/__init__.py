"""How good pictures are, as numbers from features, labels and embeddings: pure functions in float64 NumPy.

Nothing here knows where features come from, so a figure means something only together with its extractor and the
number of pictures; `t2igan.evaluate` names both. "real" are pictures of the data, "fake" generated ones.
"""

from __future__ import annotations

from t2igan.evaluation.metrics.attributes import (
    AttributesRight,
    Binding,
    attributes_right,
    binding,
    classifier_score,
    classifier_scores,
    confusion,
)
from t2igan.evaluation.metrics.distances import (
    FrechetInfinity,
    KernelDistance,
    frechet_distance,
    frechet_infinity,
    frechet_resampled,
    kernel_distance,
)
from t2igan.evaluation.metrics.diversity import across_groups, within_groups
from t2igan.evaluation.metrics.intervals import (
    Interval,
    interval,
    interval_of_mean,
    interval_of_share,
    resampled_counts,
)
from t2igan.evaluation.metrics.membership import copies_placed, membership_auc, near_share, true_positives
from t2igan.evaluation.metrics.memorisation import closer_than, copies, distance_ratio, overfitting, quantiles
from t2igan.evaluation.metrics.neighbours import Manifolds, manifolds, nearest
from t2igan.evaluation.metrics.retrieval import Ranks, match_ranks, nearest_texts

__all__ = [
    "AttributesRight",
    "Binding",
    "FrechetInfinity",
    "Interval",
    "KernelDistance",
    "Manifolds",
    "Ranks",
    "across_groups",
    "attributes_right",
    "binding",
    "classifier_score",
    "classifier_scores",
    "closer_than",
    "confusion",
    "copies",
    "copies_placed",
    "distance_ratio",
    "frechet_distance",
    "frechet_infinity",
    "frechet_resampled",
    "interval",
    "interval_of_mean",
    "interval_of_share",
    "kernel_distance",
    "manifolds",
    "match_ranks",
    "membership_auc",
    "near_share",
    "nearest",
    "nearest_texts",
    "overfitting",
    "quantiles",
    "resampled_counts",
    "true_positives",
    "within_groups",
]
