"""What a training will take, before it runs: parameters, memory on a device, work and traffic of a step.

Every phase's step is built and compiled as `t2igan.training.train` would, for as many devices, from the configuration
alone: no data is opened, and nothing is computed. What cannot be known without the data is taken as large as it may be
(the vocabulary) or left out (a head that answers questions about the data's own attributes).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import nets
from t2igan.data import Dataset
from t2igan.data.partial import SHARED
from t2igan.data.tokenizer import MIN_VOCAB_SIZE, Tokenizer
from t2igan.data.unlabelled import CAPTIONED
from t2igan.errors import UserError
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.inference.pretrained.opening import reader_of
from t2igan.method import phases
from t2igan.method.automatic import BASE_VARIANCE, settle
from t2igan.method.phases import PHASES, Phase
from t2igan.nets.init import NETWORKS, init_network
from t2igan.training.distributed import parallel
from t2igan.training.logs import Logs
from t2igan.training.run import Run
from t2igan.training.warm_start import handed_on

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
VALUE_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}
# Machine code that is never run need not be good. Memory is planned before it is made.
UNOPTIMIZED = {"xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class PhasePlan:
    """What one step of a phase takes. Memory and traffic are those of one device."""

    phase: str
    step_images: int  # pictures a step, over all devices
    parameters_bytes: int  # of trained and of frozen networks
    averages_bytes: int
    optimizer_bytes: int
    batch_bytes: int
    temporaries_bytes: int  # activations, gradients, gathered parameters: what XLA plans
    step_flop: float  # of all devices, as written: before XLA simplifies; nan where it does not know
    collectives_bytes: Mapping[str, int]  # by kind
    compile_s: float

    @property
    def total_bytes(self) -> int:
        """What a device has to hold at once."""
        state = self.parameters_bytes + self.averages_bytes + self.optimizer_bytes
        return state + self.batch_bytes + self.temporaries_bytes


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training takes, phase by phase."""

    parameters: Mapping[str, int]  # values by network
    phases: tuple[PhasePlan, ...]
    mesh: jax.sharding.Mesh


def make_plan(config, mesh: jax.sharding.Mesh) -> Plan:
    """Builds and compiles every phase's step of a configuration (checked by `t2igan.config`) over a mesh."""
    run, given = without_data(config, mesh)
    plans = []
    for name in config.phases:
        phase = phases.build(name, run, given)
        plans.append(plan_phase(run, phase, given))
        given = handed_on(given, jax.eval_shape(phase.init, given))
    return Plan({name: _count(params) for name, params in given.items()}, tuple(plans), mesh)


def without_data(config, mesh: jax.sharding.Mesh) -> tuple[Run, dict[str, Any]]:
    """Returns what phases read of a run, with two blank pictures, and shapes of what the first phase is handed."""
    run = _run_without_data(config, mesh)
    if config.init_from:
        there = [name for name, part in NETWORKS.items() if getattr(run.networks, part) is not None]
        return run, {name: _shapes_of(run, name) for name in there}
    if nets.SPACES[config.space.kind].fit is not None:
        return run, {"space": _shapes_of(run, "space")}
    return run, {}


def plan_phase(run: Run, phase: Phase, given: Mapping[str, Any]) -> PhasePlan:
    """Compiles a phase's step; the one with most in it, where the step's number decides."""
    start = time.perf_counter()
    lowered, state, batch = lower_step(run, phase, given)
    accelerated = run.mesh.devices.flat[0].platform != "cpu"
    compiled = lowered.compile(compiler_options=None if accelerated else UNOPTIMIZED)
    compile_s = time.perf_counter() - start
    # In a loop, which microbatches are on an accelerator, XLA counts one round.
    looped = accelerated and PHASES[phase.name].game and run.config.train.microbatches > 1
    flop = math.nan if looped else (lowered.cost_analysis() or {}).get("flops", math.nan)
    part = lambda *names: sum(_bytes_on_a_device(getattr(state, name, None)) for name in names)
    return PhasePlan(
        phase=phase.name,
        step_images=phase.step_images,
        parameters_bytes=part("params", "frozen"),
        averages_bytes=part("ema", "tracks"),
        optimizer_bytes=part("opt_state"),
        batch_bytes=_bytes_on_a_device(batch),
        temporaries_bytes=compiled.memory_analysis().temp_size_in_bytes,
        step_flop=flop,
        collectives_bytes=collectives(compiled.as_text()),
        compile_s=compile_s,
    )


def lower_step(run: Run, phase: Phase, given: Mapping[str, Any]) -> tuple[jax.stages.Lowered, Any, Any]:
    """Returns a phase's step, lowered but not compiled, and the shapes and places of its state and batch."""
    state, batch = abstract(run, phase, given)
    every = run.config.loss.penalty_every
    decided = phase.decided((phase.total_steps - 1) // every * every)  # a late step, with a penalty
    step = functools.partial(phase.step, **dict(decided))
    return parallel.compile_step(step, run.mesh, state, remat=run.config.remat).lower(state, batch), state, batch


def abstract(run: Run, phase: Phase, given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns shapes and places of a phase's state and of its batch."""
    split = parallel.split(run.mesh)
    likes = phase.shapes or run.batch_shapes
    rows = lambda likes: {
        name: jax.ShapeDtypeStruct((phase.step_images, *like.shape[1:]), like.dtype) for name, like in likes.items()
    }
    columns = rows(phase.columns)
    if phase.unlabelled and run.config.data.unlabelled_source:
        columns[CAPTIONED] = jax.ShapeDtypeStruct((phase.step_images,), np.int32)
    if run.config.loss.paired_noises != 1:
        columns[SHARED] = jax.ShapeDtypeStruct((phase.step_images,), np.bool_)
    shapes = phase.own_batches.shapes if phase.own_batches is not None else rows(likes) | columns
    batch = {n: jax.ShapeDtypeStruct(like.shape, like.dtype, sharding=split) for n, like in shapes.items()}
    return parallel.abstract_on(run.mesh, phase.init, dict(given)), batch


def collectives(program: str) -> dict[str, int]:
    """Returns the bytes that a compiled program (HLO as text) hands to collectives on a device, by their kind.

    Counted is the larger side of each: what is gathered, reduced or scattered. A ring sends nearly that much for
    a gather or a scatter, and twice that for a reduction. What is in a loop counts once.
    """
    found: dict[str, int] = {}
    kinds = "|".join(COLLECTIVES)
    # Asynchronous ones are two lines, of which the second has the result alone.
    for shapes, kind, rest in re.findall(rf"= (.*?) ({kinds})(?:-done)?\((.*)", program):
        size = sum(
            VALUE_BYTES.get(dtype, 4) * math.prod(int(n) for n in dimensions.split(",") if n)
            for dtype, dimensions in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        )
        found[kind] = found.get(kind, 0) + size * (_group_size(rest) if kind == "reduce-scatter" else 1)
    return found


def memory_of(device: Any) -> int | None:
    """Returns the bytes that JAX may use of a device; None where it does not know."""
    return (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None


def lines(plan: Plan, config) -> list[str]:
    """Returns the plan as text."""
    mesh, size = plan.mesh, config.data.image_size_px
    kind = mesh.devices.flat[0].device_kind
    axes = " x ".join(f"{name} {length}" for name, length in mesh.shape.items())
    remat = ", remat" if config.remat else ""
    found = [f"{size} px, {config.compute_dtype}{remat}; {mesh.size} x {kind} ({axes})", ""]
    rows = [[name, f"{count:,}", _mb(4 * count)] for name, count in plan.parameters.items()]
    rows.append(["all", f"{sum(plan.parameters.values()):,}", _mb(4 * sum(plan.parameters.values()))])
    found += _table(["network", "parameters", "MB"], rows)

    def row(title: str, of: Callable[[PhasePlan], str]) -> list[str]:
        return [title, *(of(phase) for phase in plan.phases)]

    phases = [phase.phase for phase in plan.phases]
    memory = ("parameters", "averages", "optimizer", "batch", "temporaries", "total")
    per_device = [row(name, lambda p, name=name: _mb(getattr(p, f"{name}_bytes"))) for name in memory]
    found += ["", *_table(["MB a device", *phases], per_device)]
    used = [kind for kind in COLLECTIVES if any(p.collectives_bytes.get(kind) for p in plan.phases)]
    work = [
        row("pictures", lambda p: f"{p.step_images:,}"),
        row("GFLOP, all devices", lambda p: _giga(p.step_flop)),
        row("GFLOP a picture", lambda p: _giga(p.step_flop / p.step_images)),
        *(row(f"{kind}, MB a device", lambda p, kind=kind: _mb(p.collectives_bytes.get(kind, 0))) for kind in used),
        row("compiled in, s", lambda p: f"{p.compile_s:.0f}"),
    ]
    found += ["", *_table(["a step", *phases], work)]
    if mesh.devices.flat[0].platform == "cpu":
        found += ["", "Compiled for a CPU, so temporaries are what XLA plans there: an estimate for other devices."]
        if config.compute_dtype == "bfloat16":
            found.append("A CPU computes bfloat16 in float32, and keeps much in that: a GPU's temporaries are smaller.")
    return found


def check_memory(plan: Plan, limit_bytes: int | None) -> None:
    """Raises `UserError` where a phase takes more than a device has."""
    most = max(plan.phases, key=lambda phase: phase.total_bytes)
    if limit_bytes is not None and most.total_bytes > limit_bytes:
        section = PHASES[most.phase].section
        parts = ", raise config.train.microbatches" if PHASES[most.phase].game else ""
        raise UserError(
            f"phase {most.phase} takes {most.total_bytes / 1e9:.1f} GB a device, and a device has "
            f"{limit_bytes / 1e9:.1f} GB.\n"
            f"Lower config.{section}.batch_images{parts}, set config.remat=True, or use more devices with "
            f"config.shard_devices"
        )


def _run_without_data(config, mesh: jax.sharding.Mesh) -> Run:
    """What phases read of a run, with two blank pictures; nothing is written."""
    size, nowhere = config.data.image_size_px, Path("nowhere")
    blank = np.zeros((2, size, size, config.data.channels), np.uint8)
    data = Dataset("blank", "train", blank, (("a",), ("b",)))
    if config.pretrain_discriminator.task == "labels":  # which are not known
        config = config.copy_and_resolve_references().unlock()
        config.pretrain_discriminator.task = "transforms"
    if config.privacy.epsilon:  # how much noise there is depends on the number of pictures; the program does not
        config = config.copy_and_resolve_references().unlock()
        config.privacy.update(epsilon=math.inf, noise_multiplier=1.0)
    config = settle(config, BASE_VARIANCE, size**2, 1.0)
    tokenizer = reader_of(config, Tokenizer.train(["a", "b"], MIN_VOCAB_SIZE, config.tokenizer.max_tokens))
    return Run(
        config=config,
        workdir=nowhere,
        mesh=mesh,
        train_data=data,
        val_data=data,
        test_data=data,
        tokenizer=tokenizer,
        networks=nets.build(config, config.tokenizer.vocab_size, tokenizer.pretrained),
        extractors=FeatureExtractors(config, data, tokenizer, nowhere),
        logs=Logs(nowhere, active=False),
    )


def _shapes_of(run: Run, name: str) -> Any:
    return jax.eval_shape(lambda key: init_network(run.networks, name, key, run.batch_shapes), jax.random.key(0))


def _count(params: Any) -> int:
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def _bytes_on_a_device(tree: Any) -> int:
    """Of a tree of shapes with places, what each device holds; they hold equally much."""
    shapes = ((x.sharding.shard_shape(x.shape), x.dtype) for x in jax.tree.leaves(tree))
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes)


def _group_size(attributes: str) -> int:
    """How many devices take part in each group of a collective, by its text: [groups,size]<=... or {{0,1},{2,3}}."""
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(match[1])
    match = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    return len(match[1].split(",")) if match else 1


def _giga(value: float) -> str:
    return "-" if math.isnan(value) else f"{value / 1e9:,.2f}"


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Columns as wide as what is in them, numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        return "  ".join([first.lstrip().ljust(widths[0]), *others])

    return [line(header), *map(line, rows)]
