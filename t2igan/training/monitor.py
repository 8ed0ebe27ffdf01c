"""What is looked at while a phase goes on, and at its end: sheets, cheap figures, snapshots.

Of several processes the leader alone looks, at arrays that are its own (`t2igan.training.distributed.parallel.local`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.evaluation.evaluate import CHEAP, evaluate, flat_figures, without_details
from t2igan.evaluation.runs import draw_with
from t2igan.evaluation.table import summary_line
from t2igan.inference.pictures import sheet
from t2igan.inference.sample import BEST_SNAPSHOT_NAME, KEPT_FOLDER, SNAPSHOT_NAME, Model, from_snapshot
from t2igan.inference.snapshot import Snapshot, read_metrics, save_snapshot
from t2igan.method.losses.inversion import complete
from t2igan.method.phases.base import PhaseState
from t2igan.method.phases.discriminator import DiscriminatorMethod, ask
from t2igan.method.phases.generator import GeneratorMethod
from t2igan.method.techniques.growing import Growth
from t2igan.method.techniques.masks import random_visible
from t2igan.training.guard import FEWEST_PICTURES, Collapse, Guard, may_roll_back, verdict
from t2igan.training.logs import say
from t2igan.training.run import Run
from t2igan.training.warm_start import networks_of

HELD_OUT_PICTURES = 1024  # of the test split, at most, that a phase is measured on
AT_ONCE = 64


class Due(NamedTuple):
    """What is done after a step."""

    evaluates: bool  # cheap figures
    draws: bool  # a sheet
    keeps: bool  # a snapshot that stays


def due(config, phase: str, done: int, total_steps: int, step_images: int) -> Due:
    """Returns what is done after `done` steps.

    The end of a phase is evaluated too, where anything is on the way: the last model may be the best.
    """
    last = done == total_steps
    passed = functools.partial(config_lib.crossed, (done - 1) * step_images, done * step_images)
    at_end = bool(config.evaluate.every_images) or (config.evaluate.at_end and phase != config.phases[-1])
    return Due(
        evaluates=at_end if last else passed(config.evaluate.every_images),
        draws=passed(config.sample.every_images) or last,
        keeps=passed(config.checkpoint.keep_every_images),
    )


def evaluate_and_draw(
    run: Run, phase: str, total_steps: int, step_images: int, state: Any, done: int
) -> dict[str, Any]:
    """Sheets, cheap figures and snapshots, each when it is due; returns the figures."""
    images, now = done * step_images, due(run.config, phase, done, total_steps, step_images)
    figures = signs_of_collapse(run, phase, total_steps, state, done) if now.evaluates else {}
    snapshot = snapshot_of(run, networks_of(state), done, phase)
    name = f"{images:09d}" if phase == "adversarial" else f"{phase}_{images:09d}"
    if now.evaluates:
        snapshot, found = evaluated(run, snapshot)
        say(f"{images:>9,} images: {summary_line(snapshot.metrics)}")
        figures |= found
    save_snapshot(run.workdir / SNAPSHOT_NAME, snapshot)
    if now.keeps:
        save_snapshot(run.workdir / KEPT_FOLDER / f"{name}.safetensors", snapshot)
    if now.draws:
        draw_sheet(run, from_snapshot(snapshot), name, done)
    return figures


def evaluated(run: Run, snapshot: Snapshot) -> tuple[Snapshot, dict[str, Any]]:
    """Measures a snapshot by cheap figures, and keeps it where it is the best so far; returns it with its figures."""
    looked = cheap_figures(run, from_snapshot(snapshot), run.config.evaluate.num_images)
    snapshot = dataclasses.replace(snapshot, metrics=without_details(looked))
    metric, lower_is_better = run.best_metric
    best, value = best_so_far(run, metric), looked["figures"][metric]["value"]
    # Of equals the later one, as with checkpoints: it has learned for longer.
    if best is None or (value <= best if lower_is_better else value >= best):
        save_snapshot(run.workdir / BEST_SNAPSHOT_NAME, snapshot)
    return snapshot, flat_figures(looked)


def best_so_far(run: Run, metric: str) -> float | None:
    """Returns the metric of the best snapshot; None where there is none, or where another metric or split counted."""
    path = run.workdir / BEST_SNAPSHOT_NAME
    if not path.is_file():
        return None
    metrics = read_metrics(path)
    if metrics.get("split") != run.val_data.split:
        return None
    return metrics.get("figures", {}).get(metric, {}).get("value")


def signs_of_collapse(run: Run, phase: str, total_steps: int, state: Any, done: int) -> dict[str, float]:
    """Returns what the guard sees of a phase's state, and says what is wrong; raises `Collapse` if it may go back."""
    config, settings, params = run.config, run.config.guard, state.frozen | state.params
    if not settings.num_images or "discriminator" not in params:
        return {}
    # While it grows, a discriminator cannot be asked about full-sized pictures.
    if phase == "adversarial" and not Growth.of(config, total_steps).is_whole(done):
        return {}
    guard = Guard.create(config, run.networks, run.tokenizer, run.train_data, run.val_data)
    figures = guard.measure(params)
    if guard.num_images >= FEWEST_PICTURES and (wrong := verdict(settings, figures)):
        if may_roll_back(settings, run.workdir, phase):
            raise Collapse(f"step {done:,}: {wrong}", done)
        say(f"step {done:,}: {wrong}")
    return figures


def cheap_figures(run: Run, generator: Model, num_images: int) -> dict[str, Any]:
    """Evaluates a generator on held-out pictures by the cheap groups of metrics, and by that of the best metric."""
    group, _, rest = run.best_metric[0].partition("/")
    groups, extractor_names = list(CHEAP), [run.extractors.main]
    if group not in groups:
        groups.append(group)
    if rest in run.extractors.by_name and rest not in extractor_names:
        extractor_names.append(rest)
    return evaluate(
        draw_with(generator),
        run.val_data,
        run.extractors,
        num_images=num_images,
        seed=0,
        metrics=tuple(groups),
        extractor_names=tuple(extractor_names),
        resamples=0,
    )


def draw_sheet(run: Run, generator: Model, name: str, done: int) -> Path:
    """Draws the fixed captions, a row each, with the same seeds at every step; returns the file."""
    s = run.config.sample
    captions = list(s.captions) or [captions[0] for captions in run.test_data.captions[: s.num_captions]]
    prompts = [caption for caption in captions for _ in range(s.num_seeds)]
    images = generator.sample(prompts, seed=list(range(s.num_seeds)) * len(captions), cut_long=True)
    facts = {"captions": captions, "seeds": list(range(s.num_seeds)), "step": done}
    return run.logs.sheet(name, done, sheet(images, captions, columns=s.num_seeds), facts)


def snapshot_of(run: Run, learned: Mapping[str, Any], done: int, phase: str) -> Snapshot:
    """Returns what sampling needs of the networks, "inverter" too where there is one; no metrics yet."""
    params = {name: learned[name] for name in ("generator", "text", "inverter") if name in learned}
    return Snapshot(
        params=jax.device_get(params),
        config=run.config.to_dict(),
        tokenizer=run.tokenizer.to_json(),
        metrics={},
        info={"phase": phase, "step": done, "t2igan": __version__, "jax": jax.__version__, "data": run.train_data.name},
    )


def completion(run: Run, method: GeneratorMethod, step_images: int, state: PhaseState, done: int) -> dict[str, Any]:
    """Draws test pictures, what was left visible of them, and what the networks made of that; returns the errors.

    Figures: "reconstruction/held_out", the mean squared error of whole pictures in [-1, 1] by way of the inverter's
    noise, and ".../random_z", the same with noise at random.
    """
    params = state.frozen | state.params
    num = min(run.config.sample.num_captions, len(run.test_data))
    captions = [of_one[0] for of_one in run.test_data.captions[:num]]
    images = run.test_data.images[:num].astype(np.float32) / 127.5 - 1
    tokens = run.tokenizer.encode(captions)

    @functools.partial(jax.jit, static_argnames="keep_visible")
    def finish(params, images, visible, tokens, keep_visible):
        text = run.networks.text_encoder.apply(params["text"], tokens)
        return complete(run.networks, params, images, visible, text, keep_visible)

    columns = [images]
    for number, kind in enumerate(method.masks):
        key = jax.random.fold_in(jax.random.key(0), number)
        visible = np.asarray(random_visible(key, *images.shape[:3], (kind,)))
        if kind == "whole":  # nothing to complete: what the inverter's noise draws
            columns.append(finish(params, images, visible, tokens, keep_visible=False))
        else:
            columns += [visible * images, finish(params, images, visible, tokens, keep_visible=True)]
    pictures = np.stack([np.asarray(column) for column in columns], 1).reshape(-1, *images.shape[1:])
    pictures = np.round(np.clip(pictures * 127.5 + 127.5, 0, 255)).astype(np.uint8)
    facts = {"captions": captions, "columns": ["picture", *method.masks], "step": done}
    name = f"generator_{done * step_images:09d}"
    run.logs.sheet(name, done, sheet(pictures, captions, columns=len(columns)), facts)

    figures = reconstruction_errors(run, params)
    say(
        f"{done * step_images:>9,} images: squared error of {len(run.test_data):,} test pictures "
        f"{figures['reconstruction/held_out']:.4f} by the inverter's noise, "
        f"{figures['reconstruction/random_z']:.4f} by noise at random"
    )
    return figures


def reconstruction_errors(run: Run, params: Mapping[str, Any]) -> dict[str, float]:
    """Returns mean squared errors of drawing test pictures from their captions, by the inverter's z and by random z."""
    networks = run.networks

    @jax.jit
    def errors(params, images, tokens, key):
        images = images.astype(jnp.float32) / 127.5 - 1
        text = networks.text_encoder.apply(params["text"], tokens)
        z = networks.inverter.apply(params["inverter"], images, jnp.ones_like(images[..., :1])).mean
        draw = lambda z: networks.generator.apply(params["generator"], z, text)  # noqa: E731
        error = lambda z: ((draw(z) - images) ** 2).mean((1, 2, 3))  # noqa: E731
        return error(z), error(jax.random.normal(key, z.shape))

    found = _over_test_pictures(
        run, lambda batch, i: errors(params, batch["images"], batch["tokens"], jax.random.key(i))
    )
    return dict(zip(("reconstruction/held_out", "reconstruction/random_z"), found, strict=True))


def accuracy(run: Run, method: DiscriminatorMethod, state: PhaseState, done: int) -> dict[str, Any]:
    """Asks the discriminator's head about test pictures; returns "accuracy/held_out", the share of right answers."""
    params = state.frozen | state.params
    labels = run.test_data.attribute_labels(run.extractors.vocabulary) if method.labelled else None
    answer = jax.jit(lambda params, batch, key: ask(method, params, batch, key)[1])

    def right(batch, i):
        if labels is not None:
            batch["labels"] = labels[batch["rows"]]
        return (answer(params, {k: v for k, v in batch.items() if k != "rows"}, jax.random.key(i)),)

    (share,) = _over_test_pictures(run, right)
    about = f"{len(method.sizes)} {'attributes' if method.labelled else 'transforms'}"
    say(f"step {done:,}: the discriminator's features tell {about} of test pictures to {share:.3f}")
    return {"accuracy/held_out": share}


def _over_test_pictures(run: Run, measure) -> list[float]:
    """Means of what `measure(batch, number) -> values per picture, several` says of test pictures, in equal batches."""
    num = min(len(run.test_data), HELD_OUT_PICTURES)
    sums = None
    for number, start in enumerate(range(0, num, AT_ONCE)):
        rows = np.arange(start, start + AT_ONCE)
        counted = rows < num
        rows = np.minimum(rows, num - 1)
        captions = [run.test_data.captions[row][0] for row in rows]
        batch = {"images": run.test_data.images[rows], "tokens": run.tokenizer.encode(captions), "rows": rows}
        values = [float(np.asarray(v, np.float64)[counted].sum()) for v in measure(batch, number)]
        sums = values if sums is None else [a + b for a, b in zip(sums, values, strict=True)]
    return [value / num for value in sums]
