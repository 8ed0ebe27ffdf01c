"""The phases of a training: for each, its pure step, its first state, its length, and what is looked at on the way."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import config as config_lib
from t2igan import nets, pretrain, step
from t2igan.checkpoint import Snapshot, save_snapshot
from t2igan.data.dataset import Dataset
from t2igan.evaluate import CHEAP, draw_with, evaluate, flat_figures, summary_line, without_details
from t2igan.judges import Judges
from t2igan.logs import Logs, say
from t2igan.pictures import sheet
from t2igan.sample import SNAPSHOT_NAME, Generator, from_snapshot
from t2igan.text import Tokenizer
from t2igan.version import __version__


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
    judges: Judges
    logs: Logs

    @property
    def leads(self) -> bool:
        """Whether this process writes, of several."""
        return jax.process_index() == 0


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase: a pure step with its first state and its length."""

    name: str
    init: Callable[[], Any]
    step: Callable[[Any, dict], tuple[Any, dict]]
    total_steps: int
    step_images: int  # pictures that one step takes
    shown: tuple[str, ...]  # metrics behind the progress bar
    watches: Callable[[int], bool] = lambda done: False  # noqa: ARG005 - whether to look at the state after so many steps
    watch: Callable[[Any, int], dict] | None = None  # draws it, saves a snapshot, returns figures


def text_phase(run: Run, before: Any) -> Phase:  # noqa: ARG001 - it is the first
    """The text encoder learns which caption belongs to which picture (`t2igan.pretrain`)."""
    section = run.config.pretrain_text
    total_steps = config_lib.total_steps(section, len(run.train_data))
    method = pretrain.TextMethod.create(run.config, run.networks, total_steps)
    return Phase(
        name="text",
        init=functools.partial(pretrain.init_text_state, method, _batch_shapes(run)),
        step=functools.partial(pretrain.text_step, method),
        total_steps=total_steps,
        step_images=section.batch_images,
        shown=("loss/contrastive",),
    )


def adversarial_phase(run: Run, text_state: pretrain.TextState | None) -> Phase:
    """Generator against discriminator (`t2igan.step`)."""
    section = run.config.train
    total_steps = config_lib.total_steps(section, len(run.train_data))
    method = step.Method.create(run.config, run.networks, total_steps)
    text_params = None
    if text_state is not None:
        text_params = text_state.params
    elif "text" in run.config.phases:  # resumed here: only the structure counts
        text_method = pretrain.TextMethod.create(run.config, run.networks, 1)
        init = functools.partial(pretrain.init_text_state, text_method, _batch_shapes(run))
        text_params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.eval_shape(init).params)
    step_images = method.batch_images * method.discriminator_steps
    return Phase(
        name="adversarial",
        init=functools.partial(step.init_state, method, _batch_shapes(run), text_params),
        step=functools.partial(step.train_step, method),
        total_steps=total_steps,
        step_images=step_images,
        shown=("loss/generator", "loss/discriminator"),
        watches=lambda done: any(_due(run, done, total_steps, step_images)),
        watch=functools.partial(_watch, run, total_steps, step_images),
    )


PHASES = {"text": text_phase, "adversarial": adversarial_phase}
BATCH_KEYS = {"pretrain_text.batch_images": "text", "train.batch_images": "adversarial"}


def _due(run: Run, done: int, total_steps: int, step_images: int) -> tuple[bool, bool]:
    """Whether to evaluate, and whether to draw, after `done` steps; the end has an evaluation of its own."""
    before, images, last = (done - 1) * step_images, done * step_images, done == total_steps
    passed = lambda every: bool(every) and images // every != before // every  # noqa: E731
    evaluates = passed(run.config.evaluate.every_images) and not last
    return run.leads and evaluates, run.leads and (passed(run.config.sample.every_images) or last)


def _watch(run: Run, total_steps: int, step_images: int, state: step.State, done: int) -> dict[str, Any]:
    """Sheets, cheap figures and a snapshot, each when it is due."""
    config, images = run.config, done * step_images
    evaluates, draws = _due(run, done, total_steps, step_images)
    looked = {}
    snapshot = snapshot_of(run, state)
    generator = from_snapshot(snapshot)
    if evaluates:
        groups, extractors = looked_at(run)
        looked = evaluate(
            draw_with(generator),
            run.test_data,
            run.judges,
            num_images=config.evaluate.num_images,
            seed=0,
            metrics=groups,
            extractors=extractors,
            resamples=0,
        )
        say(f"{images:>9,} images: {summary_line(looked)}")
    save_snapshot(run.workdir / SNAPSHOT_NAME, dataclasses.replace(snapshot, metrics=without_details(looked)))
    if draws:
        draw_sheet(run, generator, f"{images:09d}", done)
    return flat_figures(looked) if looked else {}


def looked_at(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the groups of metrics and the extractors of looks during training: cheap ones, and the best metric's."""
    group, _, rest = run.config.checkpoint.best_metric.partition("/")
    groups, extractors = list(CHEAP), [run.judges.main]
    if group and group not in groups:
        groups.append(group)
    if rest in run.judges.extractors and rest not in extractors:
        extractors.append(rest)
    return tuple(groups), tuple(extractors)


def draw_sheet(run: Run, generator: Generator, name: str, done: int) -> Path:
    """Draws the fixed captions, a row each, with the same seeds at every step; returns the file."""
    s = run.config.sample
    captions = list(s.captions) or [captions[0] for captions in run.test_data.captions[: s.num_captions]]
    prompts = [caption for caption in captions for _ in range(s.num_seeds)]
    images = generator.sample(prompts, seed=list(range(s.num_seeds)) * len(captions), cut_long=True)
    facts = {"captions": captions, "seeds": list(range(s.num_seeds)), "step": done}
    return run.logs.sheet(name, done, sheet(images, captions, columns=s.num_seeds), facts)


def snapshot_of(run: Run, state: step.State) -> Snapshot:
    """Returns what sampling needs of a state: averaged weights, tokenizer, configuration; no metrics yet."""
    used = state.frozen | state.ema
    params = jax.device_get({"generator": used["generator"], "text": used["text"]})
    return Snapshot(
        params=params,
        config=run.config.to_dict(),
        tokenizer=run.tokenizer.to_json(),
        metrics={},
        info={"step": int(state.step), "t2igan": __version__, "jax": jax.__version__, "data": run.train_data.name},
    )


def _batch_shapes(run: Run) -> dict[str, jax.ShapeDtypeStruct]:
    images = run.train_data.images
    return {
        "images": jax.ShapeDtypeStruct((2, *images.shape[1:]), np.uint8),
        "tokens": jax.ShapeDtypeStruct((2, run.tokenizer.max_tokens), np.int32),
    }
