"""One evaluation: what to draw, who looks, and group after group of metrics."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax
import jax
import numpy as np

from t2igan import __version__
from t2igan.data import Dataset
from t2igan.data.seen import never_told
from t2igan.errors import UserError, nearest
from t2igan.evaluation import metrics as metrics_lib
from t2igan.evaluation.evaluators import (
    alignment,
    distribution,
    diversity,
    membership,
    memorisation,
    paired,
    robustness,
)
from t2igan.evaluation.evaluators.samples import Draw, Evaluation, Group, draw_and_extract, real_rows, what_to_draw
from t2igan.evaluation.extractors import FeatureExtractors, Matcher
from t2igan.evaluation.verdict import Finding, verdict

Result = dict[str, Any]

FORMAT = "t2igan evaluation 1"
GROUPS: dict[str, Group] = {
    **alignment.GROUPS,
    **paired.GROUPS,
    **distribution.GROUPS,
    **diversity.GROUPS,
    **memorisation.GROUPS,
    **robustness.GROUPS,
}
ON_REQUEST: dict[str, Group] = membership.GROUPS  # thousands of drawings more
KNOWN = GROUPS | ON_REQUEST
CHEAP = ("attributes", "frechet_distance")  # what is looked at during training
RESAMPLES = 1_000  # of the bootstrap


def evaluate(
    draw: Draw,
    dataset: Dataset,
    extractors: FeatureExtractors,
    *,
    num_images: int,
    seed: int,
    metrics: Sequence[str] = tuple(GROUPS),
    extractor_names: Sequence[str] | None = None,
    discriminate: Callable[[np.ndarray, list[str]], np.ndarray] | None = None,
    resamples: int = RESAMPLES,
) -> Result:
    """Draws pictures for the captions of a split, measures them, and returns figures, ready for JSON.

    Args:
      draw: captions and seeds to uint8 [N, H, W, C], of the size the extractors know; asked for at most 512 at once.
      dataset: the split: its captions are drawn from, its pictures are what the drawn ones are compared with.
      extractors: of the training split.
      num_images: how many to draw, cycling through the split's pictures in an order that depends on `seed` alone. Each
        drawing has a seed of its own; a picture with several captions is drawn by another one in each cycle.
      seed: of that order, of the seeds given to `draw`, and of all that is drawn at random by the metrics.
      metrics: groups of metrics, keys of `GROUPS`, or of `ON_REQUEST`, which are measured only where they are named.
      extractor_names: whose features; None = all that the feature extractors have.
      discriminate: pictures and captions to logits [N] of the discriminator, for the group "discriminator".
      resamples: of the bootstrap intervals; 0 = no intervals, and no extrapolation of the Fréchet distance.

    Returns:
      What docs/metrics.md describes: figures by name, details, a verdict. Figures that cannot be had are left out, and
      "left_out" says why.

    Raises:
      UserError: nothing is to be drawn, or there is no such group or extractor.
      ValueError: `draw` returns pictures of another number, size or type.
    """
    if num_images < 1:
        raise UserError(f"{num_images} pictures cannot be measured; give --num or config.evaluate.num_images 1 or more")
    chosen = chosen_groups(metrics)
    extractor_names = _chosen(list(extractor_names or extractors.by_name), extractors.by_name, "the extractors")
    start = time.perf_counter()
    rows = real_rows(len(dataset))
    places, captions = what_to_draw(dataset, rows, num_images, seed)
    seeds = np.random.default_rng(seed).integers(2**31, size=num_images).tolist()
    needed = _needed(chosen, extractor_names, extractors)
    drawn = draw_and_extract(draw, extractors, needed, places, captions, seeds)
    counts = metrics_lib.resampled_counts(len(rows), resamples, seed=seed) if resamples and len(rows) > 1 else None
    untold = extractors.remember(
        ("never told", num_images, seed), dataset, rows, lambda: never_told(captions, extractors.train.captions)
    )
    evaluation = Evaluation(
        draw, dataset, extractors, seed, rows, drawn, tuple(extractor_names), counts, discriminate, untold
    )
    seconds = {"drawing": time.perf_counter() - start}
    for group in chosen:
        start = time.perf_counter()
        for function in KNOWN[group].functions:
            if resamples or function is not distribution.frechet_infinity:
                function(evaluation)
        seconds[group] = time.perf_counter() - start
    figures = {name: dataclasses.asdict(figure) for name, figure in evaluation.figures.items()}
    result = {
        "format": FORMAT,
        "split": dataset.split,
        "seed": seed,
        "model": "",
        "step": None,
        "data": dataset.name,
        "versions": {
            "t2igan": __version__,
            "jax": jax.__version__,
            "flax": flax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": jax.devices()[0].device_kind,
        "hashes": {
            "split": extractors.remember(("fingerprint",), dataset, rows[:0], dataset.fingerprint),
            "train": extractors.train_hash,
            "extractors": extractors.hash(list(extractors.by_name)),
        },
        "pretrained": {
            "trained_with": extractors.trained_on,
            "measured_by": [name for name in extractor_names if name in ("inception", "clip", "efficientnet")],
        },
        "counts": {
            "num_images": num_images,
            "num_captions": len(set(captions)),
            "num_real": len(rows),
            "num_train": len(extractors.train),
            "num_compared": evaluation.num_compared,
            "resamples": resamples if counts is not None else 0,
            "num_never_told": len(untold),
        },
        "seconds": {name: round(s, 3) for name, s in seconds.items()},
        "left_out": evaluation.left_out,
        "figures": figures,
        "details": evaluation.details,
    }
    return result | {"verdict": _verdict(result, set(GROUPS) <= set(chosen))}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Result:
    """Returns `new` with the groups of `old` that it does not have, if both measured the same thing in the same way.

    The same model, data, extractors, seed and counts, that is; otherwise `new` as it is.
    """
    same = ("format", "split", "seed", "model", "step", "data", "versions", "hashes", "counts")
    if any(old.get(key) != new[key] for key in same):
        return dict(new)
    kept = {name: f for name, f in old["figures"].items() if f["group"] not in new["seconds"]}
    figures = {**new["figures"], **kept}
    in_order = sorted(figures, key=lambda name: list(KNOWN).index(figures[name]["group"]))  # stable
    left_out = {k: why for k, why in old["left_out"].items() if k.split("/")[0] not in new["seconds"]} | new["left_out"]
    details = {**old["details"], **new["details"]}
    figures = {name: figures[name] for name in in_order}
    result = dict(new) | {
        "seconds": {**old["seconds"], **new["seconds"]},
        "left_out": left_out,
        "figures": figures,
        "details": details,
    }
    return result | {"verdict": _verdict(result, set(GROUPS) <= result["seconds"].keys())}


def _verdict(result: Result, complete: bool) -> list[Finding]:
    """The verdict on a result, of all groups of metrics or of some."""
    counts = result["counts"]
    untold = counts["num_never_told"] / counts["num_captions"]
    return verdict(result["figures"], result["details"].get("binding"), counts["num_real"], complete, untold)


def flat_figures(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns name -> value, and name/real -> the real pictures' value, for logs and for the best checkpoint."""
    flat = {}
    for name, figure in result["figures"].items():
        flat[name] = figure["value"]
        if figure["real"] is not None:
            flat[f"{name}/real"] = figure["real"]
    return flat


def without_details(result: Mapping[str, Any]) -> Result:
    """Returns a result as it goes into a snapshot: without what only a report needs."""
    return {key: value for key, value in result.items() if key != "details"}


def chosen_groups(names: Sequence[str]) -> list[str]:
    """Returns groups of metrics in the order of `KNOWN`; UserError for one that is not known."""
    return _chosen(names, KNOWN, "--metrics")


def _chosen(names: Sequence[str], known: Mapping[str, Any], where: str) -> list[str]:
    """Returns the names in the order of `known`."""
    for name in names:
        if name not in known:
            raise UserError(f"{where} has {name!r}{nearest(name, known)} There are {', '.join(known)}")
    return [name for name in known if name in set(names)]


def _needed(groups: Sequence[str], chosen: Sequence[str], extractors: FeatureExtractors) -> list[str]:
    """Returns the extractors that have to see every drawing."""
    several = {"chosen": chosen, "matchers": [n for n in chosen if isinstance(extractors.by_name[n], Matcher)]}
    needed = {name for group in groups for asked in KNOWN[group].extractors for name in several.get(asked, (asked,))}
    return [name for name in extractors.by_name if name in needed]
