"""Measures a generator on a split of the data: draws its captions, lets the judges judge, returns figures.

Every figure stands beside the same figure on real pictures, and names the judge whose features it uses
(`t2igan.judges`), for figures of different judges cannot be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import metrics
from t2igan.checkpoint import write_json
from t2igan.config import from_dict
from t2igan.data import Dataset, open_dataset
from t2igan.errors import UserError
from t2igan.judges import Judged, Judges
from t2igan.sample import Generator, load

Draw = Callable[[list[str], list[int]], np.ndarray]  # captions, seeds -> uint8 [N, H, W, C]
Result = dict[str, float | int | str]

DRAWN_AT_ONCE = 512  # pictures in memory at a time, however many are judged
DIVERSITY_CAPTIONS, DIVERSITY_SEEDS = 32, 4  # pictures drawn to see what noise changes


def evaluate(draw: Draw, dataset: Dataset, judges: Judges, *, num_images: int, seed: int, full: bool = True) -> Result:
    """Draws pictures for the captions of a split, judges them, and returns figures by name, ready for JSON.

    Args:
      draw: captions and seeds to uint8 [N, H, W, C], of the size that the judges know; asked for at most 512 at once.
      dataset: the split: its captions are drawn from, its pictures are what the generated ones are compared with.
      judges: of the training split.
      num_images: how many to draw, cycling through the split's pictures in an order that depends on `seed` alone. Each
        drawing has a seed of its own; a picture with several captions is drawn by another one in each cycle.
      seed: of that order, of the seeds given to `draw`, and of the other captions that R-precision chooses from.
      full: False leaves out what costs more: R-precision, diversity, and the Fréchet distance of training pictures.

    Returns:
      "attributes/mean", ".../all", ".../each/NAME": shares of drawings with the attributes that the caption's picture
        has; ".../real_mean", ".../real_all", ".../real_each/NAME" the same of the split's own pictures. What a picture
        lacks counts as the value "none"; a value that the training split lacks counts as wrong, for generated and real
        alike (".../unknown" says how many there are). Only where the training split and this one have attributes.
      "frechet", "frechet/extractor": between the drawings and all real pictures of the split. "frechet/real" is that of
        as many pictures of the training split: what a generator would get that draws like the training split.
      "r_precision", ".../real", ".../candidates": of drawings, and of the same captions' real pictures.
      "diversity": of further drawings of a few captions; "diversity/real" where the split repeats captions.
      "num_images", "num_real", "split", "seed".

    Figures that cannot be had are left out: the Fréchet distance of one picture, R-precision of one caption. UserError
    where nothing is to be drawn; ValueError where `draw` returns pictures of another number, size or type.
    """
    if num_images < 1:
        raise UserError(f"config.evaluate.num_images={num_images} must be 1 or more")
    rows, captions = _what_to_draw(dataset, num_images, seed)
    seeds = np.random.default_rng(seed).integers(2**31, size=num_images).tolist()
    fake = _draw_and_judge(draw, captions, seeds, judges, embed=full)
    real = judges.real(dataset)

    result: Result = {"split": dataset.split, "seed": seed, "num_images": num_images, "num_real": len(dataset)}
    if judges.vocabulary and dataset.attributes is not None:
        result |= _attribute_figures(judges, dataset, rows, fake.labels, real.labels)
    if min(len(dataset), num_images) > 1:
        result["frechet"] = metrics.frechet_distance(real.features, fake.features)
        result["frechet/extractor"] = judges.extractor
    if full:
        training = judges.training_features(num_images)
        if "frechet" in result and len(training) > 1:
            result["frechet/real"] = metrics.frechet_distance(real.features, training)
        result |= _retrieval_figures(judges, dataset, rows, captions, fake, seed)
        result |= _diversity_figures(draw, dataset, seed)
    return result


def evaluate_run(workdir: Path, split: str, num_images: int | None = None, seed: int = 0) -> Result:
    """Evaluates a run's generator on a split of its data; prints a table and writes `evaluation_SPLIT.json`.

    Args:
      workdir: the run's folder.
      split: a split of the run's data.
      num_images: how many pictures to draw; None = as many as the split has.
      seed: of the noise and the order.

    Raises:
      UserError: there is no run, no such split, or the folder cannot be written.
    """
    generator = load(workdir)
    config = from_dict(generator.config)
    dataset = open_dataset(config.data, split)
    train = open_dataset(config.data, config.data.train_split)
    judges = Judges.of_run(config, train, generator.tokenizer, workdir)
    result = evaluate(draw_with(generator), dataset, judges, num_images=num_images or len(dataset), seed=seed)
    result["model"] = generator.digest
    print(table(result))
    path = workdir / f"evaluation_{split}.json"
    write_json(path, result)
    print(f"written to {path}")
    return result


def draw_with(generator: Generator) -> Draw:
    """Returns how `evaluate` draws with a generator: captions that are too long for it are cut, as in training."""
    return functools.partial(generator.sample, cut_long=True)


def summary_line(result: Mapping[str, float | int | str]) -> str:
    """Returns what matters of a result of `evaluate` in one line, with real pictures in brackets."""
    parts = []
    if "attributes/mean" in result:
        parts.append(
            f"attributes right {_shown(result, 'attributes/mean', 'attributes/real_mean')}, "
            f"all at once {_shown(result, 'attributes/all', 'attributes/real_all')}"
        )
    if "frechet" in result:
        parts.append(f"Fréchet {_shown(result, 'frechet', 'frechet/real')} by {result['frechet/extractor']}")
    if "r_precision" in result:
        found = _shown(result, "r_precision", "r_precision/real")
        parts.append(f"R-precision {found} of {result['r_precision/candidates']}")
    if "diversity" in result:
        parts.append(f"diversity {_shown(result, 'diversity', 'diversity/real')}")
    return f"{result['split']}, {result['num_images']} pictures: " + " · ".join(parts)


def table(result: Mapping[str, float | int | str]) -> str:
    """Returns all figures of a result of `evaluate` as aligned lines: figure, generated, real, note."""
    rows = [("", "generated", "real", "")]

    def row(label: str, key: str, real_key: str, note: str) -> None:
        if key in result:
            rows.append((label, _number(result[key]), _number(result.get(real_key)), note))

    row("attributes right", "attributes/mean", "attributes/real_mean", "higher is better, 0 to 1")
    row("  all at once", "attributes/all", "attributes/real_all", "")
    for key in result:
        if key.startswith(prefix := "attributes/each/"):
            name = key.removeprefix(prefix)
            row(f"  {name}", key, f"attributes/real_each/{name}", "")
    row("Fréchet distance", "frechet", "frechet/real", f"lower is better; features: {result.get('frechet/extractor')}")
    candidates = result.get("r_precision/candidates")
    row("R-precision", "r_precision", "r_precision/real", f"higher is better; 1 of {candidates} captions")
    row("diversity", "diversity", "diversity/real", "within a caption; 0 = noise changes nothing")
    widths = [max(len(cells[column]) for cells in rows) for column in range(3)]
    lines = [
        f"{result['num_images']} pictures drawn from the captions of {result['num_real']} in split "
        f"{result['split']!r}, seed {result['seed']}"
    ]
    for label, generated, real, note in rows:
        cells = f"{label:<{widths[0]}}  {generated:>{widths[1]}}  {real:>{widths[2]}}  {note}"
        lines.append(cells.rstrip())
    if result.get("attributes/unknown"):
        lines.append(f"{result['attributes/unknown']} values are unknown to the training split and count as wrong")
    return "\n".join(lines)


def _draw_and_judge(draw: Draw, captions: list[str], seeds: list[int], judges: Judges, embed: bool) -> Judged:
    """Draws and forgets pictures bit by bit: only what the judges say is kept."""
    parts = []
    for start in range(0, len(captions), DRAWN_AT_ONCE):
        part = slice(start, start + DRAWN_AT_ONCE)
        parts.append(judges.judge(_drawn(draw, captions[part], seeds[part]), captions[part], embed))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _drawn(draw: Draw, captions: list[str], seeds: list[int]) -> np.ndarray:
    images = np.asarray(draw(captions, seeds))
    if len(images) != len(captions):
        raise ValueError(f"draw returned {len(images)} pictures for {len(captions)} captions")
    return images


def _what_to_draw(dataset: Dataset, num_images: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Returns the picture (a row of the split) that each drawing is compared with, and the caption to draw."""
    order = np.random.default_rng([seed, 1]).permutation(len(dataset))
    cycles, places = np.divmod(np.arange(num_images), len(dataset))
    rows = order[places]
    captions = [dataset.captions[row] for row in rows]
    return rows, [of_one[cycle % len(of_one)] for of_one, cycle in zip(captions, cycles, strict=True)]


def _attribute_figures(
    judges: Judges, dataset: Dataset, rows: np.ndarray, fake_labels: np.ndarray, real_labels: np.ndarray
) -> Result:
    expected = dataset.attribute_labels(judges.vocabulary)
    fake = metrics.attributes_right(fake_labels, expected[rows])
    real = metrics.attributes_right(real_labels, expected)
    names = sorted(judges.vocabulary)
    figures: Result = {
        "attributes/mean": fake.mean,
        "attributes/all": fake.all,
        "attributes/real_mean": real.mean,
        "attributes/real_all": real.all,
    }
    figures |= {f"attributes/each/{name}": float(share) for name, share in zip(names, fake.each, strict=True)}
    figures |= {f"attributes/real_each/{name}": float(share) for name, share in zip(names, real.each, strict=True)}
    if unknown := int((expected < 0).sum()):
        figures["attributes/unknown"] = unknown
    return figures


def _retrieval_figures(
    judges: Judges, dataset: Dataset, rows: np.ndarray, captions: list[str], fake: Judged, seed: int
) -> Result:
    identities = judges.identities(captions)
    if len(set(identities)) < 2:
        return {}
    once = slice(0, min(len(rows), len(dataset)))  # each real picture once
    real = judges.embed(dataset.images[rows[once]], captions[once])
    found = metrics.r_precision(fake.embedded.images, fake.embedded.sentences, captions=identities, seed=seed)
    ceiling = metrics.r_precision(real.images, real.sentences, captions=identities[once], seed=seed)
    return {
        "r_precision": found.precision,
        "r_precision/real": ceiling.precision,
        "r_precision/candidates": found.candidates,
    }


def _diversity_figures(draw: Draw, dataset: Dataset, seed: int) -> Result:
    """Draws a few captions several times each; the split's own pictures of one caption show what is natural."""
    _, captions = _what_to_draw(dataset, min(len(dataset), DIVERSITY_CAPTIONS), seed)
    captions = list(dict.fromkeys(captions)) * DIVERSITY_SEEDS
    seeds = np.random.default_rng([seed, 2]).integers(2**31, size=len(captions)).tolist()
    figures: Result = {"diversity": metrics.diversity_within_captions(_drawn(draw, captions, seeds), captions)}
    firsts = [of_one[0] for of_one in dataset.captions]
    if len(set(firsts)) < len(firsts):
        figures["diversity/real"] = metrics.diversity_within_captions(dataset.images, firsts)
    return figures


def _shown(result: Mapping[str, Any], key: str, real_key: str) -> str:
    real = f" ({_number(result[real_key])})" if real_key in result else ""
    return _number(result[key]) + real


def _number(value: float | int | str | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
