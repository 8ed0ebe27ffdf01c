"""The phases of a training: for each, its pure step, its first state, its length, and what is looked at on the way.

A phase begins with what those before it have learned, parameters by network (`t2igan.training.warm_start.networks_of`),
and its state holds what it did not need of that too, for those after it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from t2igan import config as config_lib
from t2igan import step
from t2igan.data.batches import Batches
from t2igan.errors import UserError
from t2igan.method.game import Method
from t2igan.method.phases import joint, text_matching
from t2igan.method.phases.discriminator import DiscriminatorMethod, discriminator_step, init_discriminator_state
from t2igan.method.phases.generator import GeneratorMethod, generator_step, init_generator_state
from t2igan.method.phases.text import TextMethod, init_text_state, text_step
from t2igan.training import monitor
from t2igan.training.distributed import parallel
from t2igan.training.run import Run


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase: a pure step with its first state and its length."""

    name: str
    init: Callable[[Mapping[str, Any]], Any]  # what is given, by network -> first state
    step: Callable[[Any, dict], tuple[Any, dict]]
    total_steps: int
    step_images: int  # pictures that one step takes
    shown: tuple[str, ...]  # metrics behind the progress bar
    watches: Callable[[int], bool] = lambda done: False  # noqa: ARG005 - whether to look at the state after so many steps
    watch: Callable[[Any, int], dict] | None = None  # by the leader: draws it, saves a snapshot, returns figures
    decided: Callable[[int], tuple] = lambda number: ()  # noqa: ARG005 - settings of the step by its number
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # int32 [N, ...], what batches get too


def compile_phase(run: Run, phase: Phase, state: Any, number: int = 0) -> Callable:
    """Returns a phase's step number `number`, from 0, compiled over the run's devices: see `parallel.compile_step`.

    Steps of which `phase.decided` says the same are one program. `state` is the phase's state or its shapes.
    """
    decided = functools.partial(phase.step, **dict(phase.decided(number)))
    pixels = phase.step_images * run.config.data.image_size_px**2
    return parallel.compile_step(decided, run.mesh, state, step_pixels=pixels, remat=run.config.remat)


def text_phase(run: Run, given: Mapping[str, Any]) -> Phase:  # noqa: ARG001
    """The text encoder learns which caption belongs to which picture (`t2igan.method.phases.text`)."""
    section, total_steps = _length(run, "text")
    method = TextMethod.create(run.config, run.networks, total_steps)
    return Phase(
        name="text",
        init=functools.partial(init_text_state, method, run.batch_shapes),
        step=functools.partial(text_step, method),
        total_steps=total_steps,
        step_images=section.batch_images,
        shown=("loss/contrastive",),
    )


def generator_phase(run: Run, given: Mapping[str, Any]) -> Phase:  # noqa: ARG001
    """Inverter and generator learn to complete masked pictures (`t2igan.method.phases.generator`)."""
    section, total_steps = _length(run, "generator")
    method = GeneratorMethod.create(run.config, run.networks, total_steps)
    return Phase(
        name="generator",
        init=functools.partial(init_generator_state, method, run.batch_shapes),
        step=functools.partial(generator_step, method),
        total_steps=total_steps,
        step_images=section.batch_images,
        shown=("loss/reconstruction", "loss/prior"),
        watches=lambda done: done == total_steps,
        watch=functools.partial(monitor.completion, run, method, section.batch_images),
    )


def discriminator_phase(run: Run, given: Mapping[str, Any]) -> Phase:
    """The discriminator's trunk learns to answer questions about pictures (`t2igan.method.phases.discriminator`)."""
    section, total_steps = _length(run, "discriminator")
    vocabulary = run.extractors.vocabulary  # attributes that can be learned: not file names
    if section.task == "labels" and not vocabulary:
        raise UserError(
            f"config.pretrain_discriminator.task='labels', but {run.train_data.name} has no attributes that could be "
            f"learned; set it to 'auto' or 'transforms'"
        )
    sizes = tuple(len(vocabulary[name]) for name in sorted(vocabulary))
    method = DiscriminatorMethod.create(run.config, run.networks, total_steps, sizes)
    labels = {"labels": run.train_data.attribute_labels(vocabulary)} if method.labelled else {}
    return Phase(
        name="discriminator",
        init=functools.partial(init_discriminator_state, method, run.batch_shapes),
        step=functools.partial(discriminator_step, method),
        total_steps=total_steps,
        step_images=section.batch_images,
        shown=("loss/questions", "accuracy"),
        watches=lambda done: done == total_steps,
        watch=functools.partial(monitor.accuracy, run, method),
        decided=functools.partial(step.decided, method.game) if method.plays(given) else lambda number: (),  # noqa: ARG005
        columns=labels,
    )


def adversarial_phase(run: Run, given: Mapping[str, Any]) -> Phase:
    """Generator against discriminator (`t2igan.step`)."""
    _, total_steps = _length(run, "adversarial")
    _require_of_losses(run, given)
    method = Method.create(run.config, run.networks, total_steps)
    return _game(run, "adversarial", method, step.train_step, method, total_steps)


def text_matching_phase(run: Run, given: Mapping[str, Any]) -> Phase:
    """The text encoder learns from what the generator makes of its captions (`t2igan.method.phases.text_matching`)."""
    section, total_steps = _length(run, "text_matching")
    _require(given, "the phase 'text_matching'", ("text", "generator", "discriminator", "image", "matching"))
    method = text_matching.TextMatchingMethod.create(run.config, run.networks, total_steps)
    return Phase(
        name="text_matching",
        init=functools.partial(text_matching.init_text_matching_state, method, run.batch_shapes),
        step=functools.partial(text_matching.text_matching_step, method),
        total_steps=total_steps,
        step_images=section.batch_images,
        shown=("loss/cycle", "loss/anchor"),
        watches=lambda done: done == total_steps,
        watch=functools.partial(monitor.evaluate_and_draw, run, "text_matching", total_steps, section.batch_images),
    )


def joint_phase(run: Run, given: Mapping[str, Any]) -> Phase:
    """Generator, discriminator and text encoder together (`t2igan.method.phases.joint`)."""
    _, total_steps = _length(run, "joint")
    _require_of_losses(run, given)
    method = joint.JointMethod.create(run.config, run.networks, total_steps)
    return _game(run, "joint", method.game, joint.joint_step, method, total_steps)


def _game(run: Run, name: str, game: Method, step_function: Callable, method: Any, total_steps: int) -> Phase:
    """A phase with the adversarial state, and drawings on the way."""
    step_images = game.batch_images * game.discriminator_steps
    return Phase(
        name=name,
        init=functools.partial(step.init_state, game, run.batch_shapes),
        step=functools.partial(step_function, method),
        total_steps=total_steps,
        step_images=step_images,
        shown=("loss/generator", "loss/discriminator"),
        watches=lambda done: any(monitor.due(run.config, name, done, total_steps, step_images)),
        watch=functools.partial(monitor.evaluate_and_draw, run, name, total_steps, step_images),
        decided=functools.partial(step.decided, game),
    )


PHASES: dict[str, Callable[[Run, Mapping[str, Any]], Phase]] = {
    "text": text_phase,
    "generator": generator_phase,
    "discriminator": discriminator_phase,
    "adversarial": adversarial_phase,
    "text_matching": text_matching_phase,
    "joint": joint_phase,
}


class BatchesWithColumns:
    """Batches, and for each of their pictures its row of further columns.

    Columns travel as pixels of pictures of their own, whose batches of the same seed choose the same rows.
    """

    def __init__(self, run: Run, columns: Mapping[str, np.ndarray], **settings: Any):
        """`settings` are those of `Batches`."""
        self._batches = Batches(run.train_data, run.tokenizer, **settings)
        self._columns = {}
        for name, values in columns.items():
            pixels = np.ascontiguousarray(values, "<i4").view(np.uint8).reshape(len(values), 1, 1, -1)
            disguised = dataclasses.replace(run.train_data, images=pixels)
            self._columns[name] = values.shape[1:], Batches(disguised, run.tokenizer, **settings)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        """Returns the batch of a step: "images", "tokens" and each column, int32 [B, ...]."""
        columns = {
            name: np.ascontiguousarray(batches[number]["images"]).view("<i4").reshape(-1, *shape)
            for name, (shape, batches) in self._columns.items()
        }
        return self._batches[number] | columns


def _length(run: Run, phase: str) -> tuple[Any, int]:
    """The section of a phase, and its length in steps."""
    section = run.config[config_lib.SECTIONS[phase]]
    return section, config_lib.total_steps(section, len(run.train_data))


def _require_of_losses(run: Run, given: Mapping[str, Any]) -> None:
    if run.config.loss.contrastive_weight or run.config.loss.cycle_weight:
        _require(given, "config.loss.contrastive_weight or cycle_weight", ("image", "matching"))


def _require(given: Mapping[str, Any], who: str, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise UserError(
            f"{who} needs networks that have learned before, and there is no {', '.join(missing)}; add the phases that "
            f"teach them, or give by config.init_from the folder of a run that had these (a snapshot has less)"
        )
