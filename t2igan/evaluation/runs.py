"""Runs on disk: evaluates one or several, prints tables, writes `evaluation_SPLIT.json`."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from t2igan.config import expanded, from_dict, looks_at_private
from t2igan.data import Dataset, open_dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.evaluate import GROUPS, Result, chosen_groups, evaluate, merged
from t2igan.evaluation.evaluators.samples import Draw
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.extractors.extractor import in_batches
from t2igan.evaluation.table import table
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.inference.console import say
from t2igan.inference.files import write_json
from t2igan.inference.sample import Model, load
from t2igan.method.phases import PHASES
from t2igan.method.techniques.regularize import NORMALISATIONS
from t2igan.nets import Networks

Discriminate = Callable[[np.ndarray, list[str]], np.ndarray]  # uint8 pictures, captions -> logits [N]


class Evaluated(NamedTuple):
    """A run, what was measured, and where it was written."""

    workdir: Path
    result: Result
    path: Path


def evaluate_run(
    workdir: str | Path,
    split: str = "test",
    num_images: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = tuple(GROUPS),
    *,
    dataset: Dataset | None = None,
    train_dataset: Dataset | None = None,
    which: str = "latest",
) -> Result:
    """Evaluates a run's model on a split of its data; prints a table and writes `evaluation_SPLIT.json`.

    Args:
      workdir: the run's folder.
      split: a split of the run's data.
      num_images: how many pictures to draw; None = as many as the split has.
      seed: of the noise and the order.
      metrics: groups of metrics.
      dataset: pictures to measure on instead of those of the run's data.
      train_dataset: pictures that it was trained on, where Python code had given them to the training.
      which: "latest" or "best", as in `t2igan.load`; the best has a file of its own, `evaluation_SPLIT_best.json`.

    Raises:
      UserError: there is no run, no such split, no such group, or the folder cannot be written.
    """
    data = (dataset, train_dataset)
    workdir = expanded(workdir, "workdir")
    return evaluate_runs([workdir], split, num_images, seed, metrics, data=data, which=which)[0].result


def evaluate_runs(
    workdirs: Sequence[Path],
    split: str = "",
    num_images: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = tuple(GROUPS),
    weights: Mapping[str, str] | None = None,
    data: tuple[Dataset | None, Dataset | None] = (None, None),
    which: str = "latest",
) -> list[Evaluated]:
    """Evaluates runs one after the other as `evaluate_run` does, and prints one table with all of them.

    Without a split it is the test split of each. `weights` of pretrained extractors ("inception": a file, "clip": a
    folder) go before those that a run names, and so does `data`: what to measure on, and what was trained on. `which`
    model of each run is evaluated, as in `t2igan.load`; the best has files of its own.
    """
    metrics = chosen_groups(metrics)  # said before anything is read or learned, as is what follows
    if seed < 0:
        raise UserError(f"--seed={seed} must be 0 or more")
    for workdir in workdirs:
        if workdir.is_file():
            raise UserError(
                f"--workdir={workdir} is a file; `evaluate` wants the folder of a run, where it writes figures"
            )
    one_by_one = functools.partial(_evaluate_one, weights=weights or {}, data=data, which=which)
    evaluated = [one_by_one(workdir, split, num_images, seed, metrics) for workdir in workdirs]
    say(table([one.result for one in evaluated], [one.workdir.name or str(one.workdir) for one in evaluated]))
    for one in evaluated:
        say(f"written to {one.path}")
    return evaluated


def configuration(workdir: str | Path, model: Model) -> ConfigDict:
    """Returns the configuration of a run, with the places of its data, of which a model itself does not tell.

    Of anything but the folder of a run it is that of the model, as `t2igan.load` returns it.
    """
    return from_dict(_read(Path(workdir) / "config.json").get("config", model.config))


def _evaluate_one(
    workdir: Path,
    split: str,
    num_images: int | None,
    seed: int,
    metrics: Sequence[str],
    weights: Mapping[str, str],
    data: tuple[Dataset | None, Dataset | None],
    which: str,
) -> Evaluated:
    model = load(workdir, which)
    config = configuration(workdir, model)
    if line := looks_at_private(config, f"the figures of {workdir}"):
        say(line)
    split = split or config.data.test_split
    dataset, train = data
    dataset = open_dataset(config.data, split) if dataset is None else dataclasses.replace(dataset, split=split)
    train = open_dataset(config.data, config.data.train_split) if train is None else train
    extractors = FeatureExtractors.of_run(config, train, model.tokenizer, workdir, weights)
    found = None
    if {"discriminator", "membership"} & set(metrics):  # membership has a white box
        found = _game_of(workdir, model.info if which == "best" else None)
    discriminate = None
    if found is not None:
        params = model.params | {"discriminator": found[1]["params"]["discriminator"]}
        normalisation = config.discriminator.normalisation
        discriminate = discriminate_with(model.networks, params, model.tokenizer, normalisation)
    result = evaluate(
        draw_with(model),
        dataset,
        extractors,
        num_images=len(dataset) if num_images is None else num_images,
        seed=seed,
        metrics=metrics,
        discriminate=discriminate,
    )
    result |= {"model": model.digest, "step": model.info.get("step")}
    if found is not None and "discriminator" in result["details"]:
        result["details"]["discriminator"]["step"] = found[0]
    path = _result_path(workdir, split, which, result)
    write_json(path, merged(_read(path), result))
    return Evaluated(workdir, result, path)


def _result_path(workdir: Path, split: str, which: str, result: Result) -> Path:
    """Where a result is written: not over one of the same model with more pictures."""
    name = f"evaluation_{split}" if which == "latest" else f"evaluation_{split}_{which}"
    path, num_images = workdir / f"{name}.json", result["counts"]["num_images"]
    kept = _read(path)
    if kept.get("model") == result["model"] and kept.get("counts", {}).get("num_images", 0) > num_images:
        return workdir / f"{name}_{num_images}.json"
    return path


def _game_of(workdir: Path, info: Mapping[str, Any] | None) -> tuple[int, Mapping[str, Any]] | None:
    """Returns step and state of a checkpoint of a phase that plays the adversarial game; None where there is none.

    It is the one that a snapshot with this `info` was written with, or else the newest of the last such phase.
    """
    phases = [name for name in reversed(PHASES.names()) if PHASES[name].game]
    if info is not None:
        phase, step = info.get("phase"), info.get("step")
        return read_checkpoint(workdir / "checkpoints" / phase, step) if phase in phases else None
    found = (read_checkpoint(workdir / "checkpoints" / phase) for phase in phases)
    return next((one for one in found if one is not None), None)


def _read(path: Path) -> dict[str, Any]:
    """Returns what a file of JSON says; {} where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def draw_with(model: Model) -> Draw:
    """Returns how `evaluate` draws with a model: captions that are too long for it are cut, as in training."""
    return functools.partial(model.sample, cut_long=True)


def discriminate_with(
    networks: Networks, params: dict, tokenizer: Tokenizer, normalisation: str = "none"
) -> Discriminate:
    """Returns how `evaluate` asks a discriminator.

    `params` are those of "text", "discriminator" and "space", where there is one.

    `normalisation` is `config.discriminator.normalisation`, of the parameters where they are used.
    """
    params = jax.tree.map(
        jnp.asarray, {name: params[name] for name in ("text", "discriminator", "space") if name in params}
    )
    params["discriminator"] = NORMALISATIONS[normalisation](params["discriminator"])

    def discriminate(images: np.ndarray, captions: list[str]) -> np.ndarray:
        return in_batches(functools.partial(_logits, networks), params, images, tokenizer.encode(captions))[0]

    return discriminate


@functools.partial(jax.jit, static_argnums=0)
def _logits(networks: Networks, params: dict, images: jax.Array, tokens: jax.Array) -> tuple[jax.Array]:
    text = networks.text_encoder.apply(params["text"], tokens)
    judged = networks.judged(params, networks.to_network(params, images), images)
    return (networks.discriminator.apply(params["discriminator"], judged, text),)
