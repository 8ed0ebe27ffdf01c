"""How a model is monitored while it learns: sheets, cheap figures, snapshots, and signs of collapse.

Of several processes the leader does it, with arrays that are its own (`t2igan.training.distributed.parallel.local`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from t2igan import __version__
from t2igan import config as config_lib
from t2igan.evaluation.evaluate import CHEAP, evaluate, flat_figures, without_details
from t2igan.evaluation.runs import draw_with
from t2igan.evaluation.table import summary_line
from t2igan.inference.pictures import row_tops, sheet
from t2igan.inference.pretrained.opening import snapshot_parts
from t2igan.inference.sample import BEST_SNAPSHOT_NAME, KEPT_FOLDER, SNAPSHOT_NAME, Model, from_snapshot
from t2igan.inference.snapshot import Snapshot, read_metrics, save_snapshot
from t2igan.method.phases import PHASES, Phase, private
from t2igan.training.guard import FEWEST_PICTURES, Collapse, Guard, may_roll_back, verdict
from t2igan.training.logs import say
from t2igan.training.run import Run
from t2igan.training.warm_start import networks_of


def is_due(run: Run, phase: Phase, done: int) -> bool:
    """Whether there is anything to evaluate, draw or keep after `done` steps of a phase."""
    return phase.is_monitored(done) or any(due(run.config, phase, done))


def monitor(run: Run, phase: Phase, state: Any, done: int) -> dict[str, Any]:
    """Evaluates, draws and keeps what is due of a phase's state, whose arrays are this process's; returns figures."""
    figures = phase.monitor(state, done) if phase.is_monitored(done) else {}
    return figures | (evaluate_and_draw(run, phase, state, done) if any(due(run.config, phase, done)) else {})


class Due(NamedTuple):
    """What is done after a step."""

    evaluates: bool  # cheap figures
    draws: bool  # a sheet
    keeps: bool  # a snapshot that stays


def due(config, phase: Phase, done: int) -> Due:
    """Returns what is done after `done` steps of a phase.

    The end of a phase is evaluated too, where anything is on the way: the last model may be the best.
    """
    last = done == phase.total_steps
    if phase.evaluates == "never" or (phase.evaluates == "at_end" and not last):
        return Due(evaluates=False, draws=False, keeps=False)
    passed = functools.partial(config_lib.crossed, (done - 1) * phase.step_images, done * phase.step_images)
    at_end = bool(config.evaluate.every_images) or (config.evaluate.at_end and phase.name != config.phases[-1])
    return Due(
        evaluates=at_end if last else passed(config.evaluate.every_images),
        draws=passed(config.sample.every_images) or last,
        keeps=passed(config.checkpoint.keep_every_images),
    )


def evaluate_and_draw(run: Run, phase: Phase, state: Any, done: int) -> dict[str, Any]:
    """Sheets, cheap figures and snapshots, each when it is due; returns the figures."""
    images, now = done * phase.step_images, due(run.config, phase, done)
    figures = signs_of_collapse(run, phase, state, done) if now.evaluates else {}
    snapshot = snapshot_of(run, networks_of(state), done, phase.name)
    name = f"{phase.sheet_prefix}{images:09d}"
    if now.evaluates:
        explained = not (run.workdir / BEST_SNAPSHOT_NAME).is_file()  # once a run
        snapshot, found = evaluated(run, snapshot)
        say(f"{images:>9,} images: {summary_line(snapshot.metrics, explained)}")
        figures |= found
    save_snapshot(run.workdir / SNAPSHOT_NAME, snapshot)
    if now.keeps:
        save_snapshot(run.workdir / KEPT_FOLDER / f"{name}.safetensors", snapshot)
    if now.draws:
        draw_sheet(run, from_snapshot(snapshot, run.tokenizer), name, done)
    return figures


def keep_snapshot(run: Run, phase: Phase, state: Any, done: int) -> None:
    """Writes the snapshot of a phase's state as it is, not evaluated."""
    save_snapshot(run.workdir / SNAPSHOT_NAME, snapshot_of(run, networks_of(state), done, phase.name))


def evaluated(run: Run, snapshot: Snapshot) -> tuple[Snapshot, dict[str, Any]]:
    """Measures a snapshot by cheap figures, and keeps it where it is the best so far; returns it with its figures."""
    looked = cheap_figures(run, from_snapshot(snapshot, run.tokenizer), run.config.evaluate.num_images)
    snapshot, figures = dataclasses.replace(snapshot, metrics=without_details(looked)), flat_figures(looked)
    metric, lower_is_better = run.best_metric
    if metric in figures:  # with very few held-out pictures it cannot be had
        best, value = best_so_far(run, metric), figures[metric]
        # Of equals the later one, as with checkpoints: it has learned for longer.
        if best is None or (value <= best if lower_is_better else value >= best):
            save_snapshot(run.workdir / BEST_SNAPSHOT_NAME, snapshot)
    return snapshot, figures


def best_so_far(run: Run, metric: str) -> float | None:
    """Returns the metric of the best snapshot; None where there is none, or where another metric or split counted."""
    path = run.workdir / BEST_SNAPSHOT_NAME
    if not path.is_file():
        return None
    metrics = read_metrics(path)
    if metrics.get("split") != run.val_data.split:
        return None
    return metrics.get("figures", {}).get(metric, {}).get("value")


def signs_of_collapse(run: Run, phase: Phase, state: Any, done: int) -> dict[str, float]:
    """Returns what the guard sees of a phase's state, and says what is wrong; raises `Collapse` if it may go back."""
    config, settings, params = run.config, run.config.guard, state.frozen | state.params
    # While it grows, a discriminator cannot be asked about full-sized pictures.
    if not settings.num_images or "discriminator" not in params or done < phase.full_size_from:
        return {}
    guard = Guard.create(config, run.networks, run.tokenizer, run.train_data, run.val_data)
    figures = guard.measure(params)
    if guard.num_images >= FEWEST_PICTURES and (wrong := verdict(settings, figures)):
        if may_roll_back(settings, run.workdir, phase.name):
            raise Collapse(f"step {done:,}: {wrong}", done)
        say(f"step {done:,}: {wrong}")
    return figures


def cheap_figures(run: Run, model: Model, num_images: int) -> dict[str, Any]:
    """Evaluates a model on the validation split by the cheap groups of metrics, and by that of the best metric."""
    group, _, rest = run.best_metric[0].partition("/")
    groups, extractor_names = list(CHEAP), [run.extractors.main]
    if group not in groups:
        groups.append(group)
    if rest in run.extractors.by_name and rest not in extractor_names:
        extractor_names.append(rest)
    return evaluate(
        draw_with(model),
        run.val_data,
        run.extractors,
        num_images=num_images,
        seed=0,
        metrics=tuple(groups),
        extractor_names=tuple(extractor_names),
        resamples=0,
    )


def draw_sheet(run: Run, model: Model, name: str, done: int) -> Path:
    """Draws the fixed captions, a row each, with the same seeds at every step; returns the file."""
    s = run.config.sample
    data = run.val_data
    captions = list(s.captions) or [data.captions[row][0] for row in data.spread(s.num_captions)]
    prompts = [caption for caption in captions for _ in range(s.num_seeds)]
    images = model.sample(prompts, seed=list(range(s.num_seeds)) * len(captions), cut_long=True)
    facts = {"captions": captions, "seeds": list(range(s.num_seeds)), "step": done}
    facts["tops"] = row_tops(captions, s.num_seeds, run.config.data.image_size_px)
    return run.logs.sheet(name, done, sheet(images, captions, columns=s.num_seeds), facts)


def snapshot_of(run: Run, learned: Mapping[str, Any], done: int, phase: str) -> Snapshot:
    """Returns what sampling and editing need of the networks, as far as they have learned; no metrics yet."""
    names = ["generator", "text", "space", "captioner", "completer"]
    if "inverter" not in PHASES["adversarial"].uses(run.config) or "inversion" in run.config.phases:
        names.append("inverter")  # another one was taught by captions that lack a part, for the game alone
    if "captioner" in learned:  # which sees by the image tower; the heads say how a picture and a caption match
        names += ["image", "matching"]
    params = {name: learned[name] for name in names if name in learned}
    pretrained, description = snapshot_parts(run.tokenizer, run.config.text_encoder.pretrained_in_snapshot)
    return Snapshot(
        params=jax.device_get(params) | pretrained,
        config=run.config.to_dict(),
        tokenizer=run.tokenizer.own.to_json(),
        pretrained=description,
        metrics={},
        seen=run.seen if run.config.checkpoint.keep_words else {},
        info={"phase": phase, "step": done, "t2igan": __version__, "jax": jax.__version__, "data": run.train_data.name}
        | ({"privacy": privacy} if (privacy := private.facts(run)) else {}),
    )
