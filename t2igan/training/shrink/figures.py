"""What a model lost and won by being shrunk: size, time, agreement, and what the evaluators see."""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2igan import config as config_lib
from t2igan.data import Dataset
from t2igan.evaluation.evaluate import Result, evaluate
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.report.facts import count_parameters
from t2igan.evaluation.runs import draw_with
from t2igan.inference.sample import Model

NUM_COMPARED = 256  # pictures of both models that are compared
NUM_CAPTIONS, NUM_SEEDS = 32, 4  # of which diversity is told
NUM_TIMED = 25  # calls of each
NUM_EVALUATED = 1_000  # pictures that are measured, at most
EVALUATED = ("attributes/mean", "attributes/all", "retrieval/caption_at_1", "frechet_distance", "diversity_within")
DRAWING = ("text", "generator", "space")  # networks


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two models side by side.

    Attributes:
      rows: (what, of the larger one, of the smaller one), ready to be shown.
      figures: numbers of the same by name, as pairs.
      result: of the smaller one, as `t2igan.evaluate` gives it; None where the data was not at hand.
    """

    rows: tuple[tuple[str, str, str], ...]
    figures: Mapping[str, tuple[float, float]]
    result: Result | None = None


def compare(
    before: Model,
    after: Model,
    captions: Sequence[str],
    test: Dataset | None = None,
    extractors: FeatureExtractors | None = None,
    seed: int = 0,
) -> Compared:
    """Returns two models side by side.

    Args:
      before: the larger one.
      after: the smaller one.
      captions: to draw.
      test: pictures to measure on, where they are at hand.
      extractors: with which; those of figures during training are asked, and pixels.
      seed: of what is drawn.
    """
    both = (before, after)
    rows: list[tuple[str, str, str]] = []
    figures: dict[str, tuple[float, float]] = {}

    def add(name: str, label: str, values: Sequence[float], form: str) -> None:
        figures[name] = (float(values[0]), float(values[1]))
        rows.append((label, *(format(value, form) for value in values)))

    drawing = [{name: model.params[name] for name in DRAWING if name in model.params} for model in both]
    add("parameters", "parameters of all that draws", [float(count_parameters(params)) for params in drawing], ",.0f")
    add("float32_mb", "its weights in float32, MB", [4e-6 * count_parameters(params) for params in drawing], ".2f")
    add("picture_ms", "a picture, ms (fastest call where it was shrunk)", _times_ms(both, captions[0]), ".1f")
    add("diversity_pixels", "difference of two pictures of a caption", [_diversity(m, captions) for m in both], ".4f")
    result = None
    if test is not None and extractors is not None:
        results = [_evaluated(model, test, extractors, seed) for model in both]
        for name in EVALUATED:
            named = [key for key in results[0]["figures"] if key == name or key.startswith(f"{name}/")]
            if named and all(named[0] in of_one["figures"] for of_one in results):
                label = results[0]["figures"][named[0]]["label"]
                values = [of_one["figures"][named[0]]["value"] for of_one in results]
                add(named[0], f"{label}, on {test.split!r}", values, ".4f")
        result = results[1]
    mean, psnr_db = agreement(before, after, captions)
    figures["levels"] = (0.0, mean)
    rows.append(("mean difference from the larger one, of 255", "0", f"{mean:.2f} (PSNR {psnr_db:.1f} dB)"))
    return Compared(tuple(rows), figures, result)


def agreement(before: Model, after: Model, captions: Sequence[str]) -> tuple[float, float]:
    """Returns how far pictures of the same captions and seeds are apart: levels of 255 on average, and PSNR in dB."""
    chosen = [captions[i % len(captions)] for i in range(NUM_COMPARED)]
    seeds = list(range(NUM_COMPARED))
    images = [model.sample(chosen, seeds, cut_long=True).astype(np.float64) for model in (before, after)]
    difference = images[1] - images[0]
    error = float(np.square(difference).mean())
    return float(np.abs(difference).mean()), float(10 * np.log10(255**2 / error)) if error else float("inf")


def section(
    compared: Compared, changed: Mapping[str, Any], larger: Mapping[str, Any], digest: str, learned: int
) -> str:
    """Returns what a card says of it.

    Args:
      compared: before and after.
      changed: keys of the generator's section that changed.
      larger: the larger model's section.
      digest: the short hash of the larger model.
      learned: from how many of its pictures the smaller one learned.
    """
    changes = ", ".join(f"`{key}` {_plain(larger[key])} to {_plain(value)}" for key, value in changed.items())
    lines = [
        "## Shrunk",
        "",
        f"Made from the larger model `{digest}` ({changes}): the channels of its generator to which its pictures are "
        f"least sensitive were taken away, and what is left learned from {learned:,} of its pictures. What else this "
        "card says of training and results is about the larger model.",
        "",
        "| | larger | this one |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in compared.rows),
    ]
    return "\n".join(lines)


def card_of(card: str, text: str, digest: str) -> str:
    """Returns the larger model's card with a section on the smaller one before its first other section."""
    card = re.sub(r"(?m)^- Weights: `\w+` \(.*\)$", f"- Weights: `{digest}`, shrunk", card)
    head, heading, rest = card.partition("\n## ")
    return f"{head.rstrip()}\n\n{text}\n{heading}{rest}" if card else ""


def extractors_of(config: Any, train: Dataset, model: Model, workdir: Path | None) -> FeatureExtractors:
    """Returns the extractors of a run; of a model without one, kept in the user's cache."""
    folder = workdir if workdir is not None else config_lib.cache_folder()
    return FeatureExtractors.of_run(config, train, model.tokenizer, folder)


def _evaluated(model: Model, test: Dataset, extractors: FeatureExtractors, seed: int) -> Result:
    metrics = ("attributes" if extractors.main == "attributes" else "retrieval", "frechet_distance", "diversity")
    num_images = min(len(test), NUM_EVALUATED)
    return evaluate(
        draw_with(model),
        test,
        extractors,
        num_images=num_images,
        seed=seed,
        metrics=metrics,
        extractor_names=(extractors.main,),
        resamples=0,
    )


def _diversity(model: Model, captions: Sequence[str]) -> float:
    """The mean absolute difference of two pictures of a caption, pixels from 0 to 1."""
    chosen = list(dict.fromkeys(captions))[:NUM_CAPTIONS]
    seeds = list(range(NUM_SEEDS * len(chosen)))
    images = model.sample(chosen * NUM_SEEDS, seeds, cut_long=True).astype(np.float64) / 255
    of_seed = images.reshape(NUM_SEEDS, -1)
    return float(np.mean([np.abs(a - b).mean() for a, b in itertools.combinations(of_seed, 2)]))


def _times_ms(models: Sequence[Model], caption: str) -> list[float]:
    """The time of the fastest of some calls, which take turns: what else the machine does counts least in it."""
    times: list[list[float]] = [[] for _ in models]
    for turn in range(NUM_TIMED + 2):
        for model, of_one in zip(models, times, strict=True):
            start = time.perf_counter()
            model.sample(caption, turn, cut_long=True)
            of_one.append(1000 * (time.perf_counter() - start))
    return [min(of_one[2:]) for of_one in times]


def _plain(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, list | tuple) else str(value)
