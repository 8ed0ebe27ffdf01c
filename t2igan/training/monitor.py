"""What is looked at while a generator learns: sheets, cheap figures, snapshots, and signs of collapse.

Of several processes the leader alone looks, at arrays that are its own (`t2igan.training.distributed.parallel.local`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from t2igan import __version__
from t2igan.evaluation.evaluate import CHEAP, evaluate, flat_figures, without_details
from t2igan.evaluation.runs import draw_with
from t2igan.evaluation.table import summary_line
from t2igan.inference.pictures import row_tops, sheet
from t2igan.inference.pretrained.opening import snapshot_parts
from t2igan.inference.sample import SNAPSHOT_NAME, Model, from_snapshot
from t2igan.inference.snapshot import Snapshot, save_snapshot
from t2igan.method.phases import Phase
from t2igan.training.guard import FEWEST_PICTURES, Collapse, Guard, may_roll_back, verdict
from t2igan.training.logs import say
from t2igan.training.run import Run
from t2igan.training.warm_start import networks_of


def watches(run: Run, phase: Phase, done: int) -> bool:
    """Whether there is anything to look at after `done` steps of a phase."""
    return phase.is_monitored(done) or any(due(run, phase, done))


def watch(run: Run, phase: Phase, state: Any, done: int) -> dict[str, Any]:
    """Looks at what is due of a phase's state, with arrays of this process alone; returns figures by name."""
    figures = phase.monitor(state, done) if phase.is_monitored(done) else {}
    return figures | (evaluate_and_draw(run, phase, state, done) if any(due(run, phase, done)) else {})


def due(run: Run, phase: Phase, done: int) -> tuple[bool, bool]:
    """Whether to evaluate, and whether to draw, after `done` steps; the run's end has an evaluation of its own."""
    last = done == phase.total_steps
    if phase.evaluates == "never" or (phase.evaluates == "at_end" and not last):
        return False, False
    before, images = (done - 1) * phase.step_images, done * phase.step_images
    passed = lambda every: bool(every) and images // every != before // every
    ends_phase = last and phase.name != run.config.phases[-1]
    evaluates = run.config.evaluate.at_end if ends_phase else not last and passed(run.config.evaluate.every_images)
    return evaluates, passed(run.config.sample.every_images) or last


def evaluate_and_draw(run: Run, phase: Phase, state: Any, done: int) -> dict[str, Any]:
    """Sheets, cheap figures and a snapshot, each when it is due; returns the figures."""
    config, images = run.config, done * phase.step_images
    evaluates, draws = due(run, phase, done)
    figures = signs_of_collapse(run, phase, state, done) if evaluates else {}
    snapshot = snapshot_of(run, networks_of(state), done)
    generator = from_snapshot(snapshot, run.tokenizer)
    if evaluates:
        looked = cheap_figures(run, generator, config.evaluate.num_images)
        say(f"{images:>9,} images: {summary_line(looked)}")
        figures |= flat_figures(looked)
        snapshot = dataclasses.replace(snapshot, metrics=without_details(looked))
    save_snapshot(run.workdir / SNAPSHOT_NAME, snapshot)
    if draws:
        draw_sheet(run, generator, f"{phase.sheet_prefix}{images:09d}", done)
    return figures


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


def cheap_figures(run: Run, generator: Model, num_images: int) -> dict[str, Any]:
    """Evaluates a generator on the validation split by the cheap groups of metrics, and by that of the best metric."""
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
    data = run.val_data
    captions = list(s.captions) or [data.captions[row][0] for row in data.spread(s.num_captions)]
    prompts = [caption for caption in captions for _ in range(s.num_seeds)]
    images = generator.sample(prompts, seed=list(range(s.num_seeds)) * len(captions), cut_long=True)
    facts = {"captions": captions, "seeds": list(range(s.num_seeds)), "step": done}
    facts["tops"] = row_tops(captions, s.num_seeds, run.config.data.image_size_px)
    return run.logs.sheet(name, done, sheet(images, captions, columns=s.num_seeds), facts)


def snapshot_of(run: Run, learned: Mapping[str, Any], done: int) -> Snapshot:
    """Returns what sampling needs of the networks, "inverter" and "space" too where there are; no metrics yet."""
    params = {name: learned[name] for name in ("generator", "text", "inverter", "space") if name in learned}
    pretrained, description = snapshot_parts(run.tokenizer, run.config.text_encoder.pretrained_in_snapshot)
    return Snapshot(
        params=jax.device_get(params) | pretrained,
        config=run.config.to_dict(),
        tokenizer=run.tokenizer.own.to_json(),
        pretrained=description,
        metrics={},
        info={"step": done, "t2igan": __version__, "jax": jax.__version__, "data": run.train_data.name},
    )
