"""The training step: pictures a second, its parts, FLOP/s against what the machine can do, memory, compile time.

    python -m benchmarks.step                                    the adversarial step of base.py, and its parts
    python -m benchmarks.step --config=classic --phases all      every phase
    python -m benchmarks.step --config=dfgan64 --batch 8 32      over batch sizes; --dtype, --image_size likewise
    python -m benchmarks.step --loop                             the loop of a training against the bare step

Any key can be set: --set train.microbatches=2. The step is the training's own, with its data. "conv" is the share of
the convolutions' ceiling: FLOPs of the step's convolutions (`benchmarks.flops`) over the whole step's time, against
3x3 convolutions of the generator's own maps, forward and backward, each alone. "matmul" is all FLOPs against a matrix
product. Memory is arguments, results and temporaries of the compiled program.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from benchmarks import flops, loop
from benchmarks.timing import in_turns, load, parser, publish, table
from t2igan import nets, step
from t2igan.data import Batches
from t2igan.method import losses, phases
from t2igan.method.automatic import BASE_VARIANCE, settle
from t2igan.method.phases import PHASES, Phase
from t2igan.training.distributed import parallel
from t2igan.training.loop import compile_phase
from t2igan.training.run import Run
from t2igan.training.train import open_run
from t2igan.training.warm_start import handed_on

COLUMNS = (
    "phase", "batch", "dtype", "px", "ms", "images/s", "GFLOP", "GFLOP/s", "matmul", "conv", "MB", "cold s", "cached s",
)  # fmt: skip


def resized(config, size_px: int) -> None:
    """Adds levels to the networks at the smallest map, or takes some away there."""
    levels = (size_px // (config.generator.base_px * config.generator.patch_px)).bit_length()
    for section in (config.generator, config.discriminator):
        more = levels - len(section.channels)
        section.channels = (section.channels[0],) * more + tuple(section.channels)[max(-more, 0) :]
    config.image_encoder.patch_px = max(config.image_encoder.patch_px * size_px // config.data.image_size_px, 1)
    config.data.image_size_px = size_px


def opened(config, folder: Path) -> Run:
    """Opens data, tokenizer and networks, as a training does."""
    parallel.start(config.devices or 1)
    folder.mkdir(parents=True, exist_ok=True)
    return open_run(config, folder, parallel.make_mesh(config.devices))


def first_batch(run: Run, phase: Phase) -> dict[str, np.ndarray]:
    """Returns a batch of a phase; where the space is learned, noise stands for the codes that a training would have."""
    host = Batches(
        run.train_data,
        run.tokenizer,
        seed=0,
        batch_images=phase.step_images,
        columns=phase.columns,
        partial_share=run.config.augment.partial_captions,
        tell_shared=run.config.loss.paired_noises != 1,
    )[0]
    codes = run.batch_shapes["images"]
    learns_space = "space" in PHASES[phase.name].trains(run.config)
    if "images" in host and codes.shape[1:] != host["images"].shape[1:] and not learns_space:
        noise = np.random.default_rng(0).normal(size=(len(host["images"]), *codes.shape[1:]))
        host["images"] = noise.astype(np.float16)  # as codes are kept
    return host


def compiled_step(run: Run, phase: Phase, state, batch) -> tuple[Any, float]:
    """Returns the compiled step, and how long tracing and compiling took."""
    start = time.perf_counter()
    compiled = compile_phase(run, phase, state).lower(state, batch).compile()
    return compiled, time.perf_counter() - start


def measure(run: Run, phase: Phase, given: dict, ceilings: tuple[float, float], repeats: int) -> tuple[list, Any]:
    """Returns a row of the table, and the state after some steps."""
    state = parallel.init_on(run.mesh, phase.init, given)
    batch = parallel.to_devices(first_batch(run, phase), run.mesh)
    kept = jax.config.jax_compilation_cache_dir
    with tempfile.TemporaryDirectory() as folder:
        _cache_in(folder)
        compiled, cold_s = compiled_step(run, phase, state, batch)
        jax.clear_caches()
        _, cached_s = compiled_step(run, phase, state, batch)
        _cache_in(kept)
    held = {"state": state}

    def one_step():
        held["state"], metrics = compiled(held["state"], batch)
        jax.block_until_ready(metrics)

    seconds = float(np.median(in_turns({"step": one_step}, repeats)["step"]))
    all_flops, of_convolutions = flops.all_flops(compiled), flops.convolution_flops(compiled)
    memory = compiled.memory_analysis()
    in_memory = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    config = run.config
    row = [
        phase.name, phase.step_images, config.compute_dtype, config.data.image_size_px,
        f"{1000 * seconds:.1f}", f"{phase.step_images / seconds:.1f}", f"{all_flops / 1e9:.1f}",
        f"{all_flops / seconds / 1e9:.1f}", f"{all_flops / seconds / ceilings[0]:.2f}",
        f"{of_convolutions / seconds / ceilings[1]:.2f}", f"{(in_memory + memory.temp_size_in_bytes) / 1e6:.0f}",
        f"{cold_s:.1f}", f"{cached_s:.1f}",
    ]  # fmt: skip
    return row, held["state"]


def _cache_in(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()


def options_of(config) -> dict[str, str] | None:
    """Returns what XLA is told when it compiles the adversarial step."""
    map_values = config.train.batch_images * nets.largest_map_values(config)
    return parallel.compiler_options(jax.default_backend(), map_values)


def ceilings_of(config) -> tuple[float, float]:
    """Returns FLOP/s of a matrix product and of convolutions over the generator's maps."""
    g, dtype = config.generator, jnp.dtype(config.compute_dtype)
    maps = [(g.base_px * 2**level, channels) for level, channels in enumerate(g.channels)]
    of_convolutions = flops.convolution_ceiling(maps, config.train.batch_images, dtype, options_of(config))
    return flops.matrix_product_ceiling(dtype), of_convolutions


def parts(run: Run, phase: Phase, state: step.State, repeats: int) -> str:
    """Times what the adversarial step consists of, each compiled as a function of its own."""
    method = step.Method.create(run.config, run.networks, phase.total_steps)
    host = first_batch(run, phase)
    batch = parallel.to_devices(host, run.mesh)
    jit = functools.partial(jax.jit, compiler_options=options_of(run.config))
    params, key = state.params | state.frozen, jax.random.key(0)
    real = run.networks.to_network(params, batch["images"])
    text = jit(functools.partial(step.encode, method))(params, batch["tokens"])
    z = step.noise(method, key, method.batch_images)

    def gradient(loss: Callable, player: str, penalty: bool = True):
        weight = method.penalty_weight if penalty else (lambda step: 0.0)  # noqa: ARG005
        own = dataclasses.replace(method, penalty_weight=weight)
        if not penalty:
            own = dataclasses.replace(own, penalty=losses.no_penalty)

        def mean(trained, params):
            return loss(own, params | {player: trained}, state.step, real, batch["tokens"], key, z)

        return jit(jax.grad(mean, has_aux=True))

    fake = jit(method.networks.generator.apply)(params["generator"], z, text)
    of_discriminator = gradient(step.discriminator_loss, "discriminator")
    grads = {name: jax.tree.map(jnp.ones_like, state.params[name]) for name in ("generator", "discriminator")}
    rates = {"generator": method.generator_rate, "discriminator": method.discriminator_rate}
    calls = {
        "text encoder": (jit(functools.partial(step.encode, method)), params, batch["tokens"]),
        "generator, forward": (jit(method.networks.generator.apply), params["generator"], z, text),
        "discriminator, forward": (jit(method.networks.discriminator.apply), params["discriminator"], fake, text),
        "discriminator's update without penalty": (
            gradient(step.discriminator_loss, "discriminator", penalty=False), params["discriminator"], params,
        ),
        "discriminator's update": (of_discriminator, params["discriminator"], params),
        "generator's update": (gradient(step.generator_loss, "generator"), params["generator"], params),
        "optimizers": (jit(lambda state, grads: step.move(method, state, rates, grads)), state, grads),
        "moving average": (
            jit(lambda state: step.advance(method, state, {"logits/real_sign": jnp.float32(0)})), state,
        ),
    }  # fmt: skip
    works = {
        name: (lambda work=work, arguments=arguments: jax.block_until_ready(work(*arguments)))
        for name, (work, *arguments) in calls.items()
    }
    works["input: a batch to the device"] = lambda: jax.block_until_ready(parallel.to_devices(host, run.mesh))
    times = {name: 1000 * float(np.median(of_one)) for name, of_one in in_turns(works, repeats).items()}
    times["penalty (difference of the two)"] = (
        times["discriminator's update"] - times["discriminator's update without penalty"]
    )
    return table(("part of the adversarial step", "ms"), ((name, f"{ms:.2f}") for name, ms in times.items()))


def chosen(given, config) -> list[str]:
    """Returns the phases to time."""
    if given.phases == ["all"]:
        return list(config.phases)
    return [name for name in config.phases if name in given.phases]


def one_config(given, config, folder: Path) -> tuple[list[list], str]:
    """Returns rows of the phases of a configuration, and a table of the adversarial step's parts."""
    run, learned, rows, of_parts = opened(config, folder), {}, [], ""
    ceilings = ceilings_of(config)
    print(f"ceilings: {ceilings[0] / 1e9:.0f}, {ceilings[1] / 1e9:.0f} GFLOP/s", flush=True)
    wanted = chosen(given, config)
    for name in config.phases:
        phase = phases.build(name, run, learned)
        if name in wanted:
            row, state = measure(run, phase, learned, ceilings, given.repeats)
            print(dict(zip(COLUMNS, row, strict=True)), flush=True)
            rows.append(row)
            if name == "adversarial" and not given.no_parts:
                of_parts = parts(run, phase, state, given.repeats)
        else:
            state = parallel.init_on(run.mesh, phase.init, learned)
        learned = handed_on(learned, state)
        if name == wanted[-1]:
            break
    first = f"ceilings: matrix product {ceilings[0] / 1e9:.0f}, convolutions {ceilings[1] / 1e9:.0f} GFLOP/s"
    return rows, "\n\n".join(filter(None, (first, of_parts)))


def main() -> None:
    """Prints the tables."""
    arguments = parser(__doc__)
    arguments.add_argument("--phases", nargs="+", choices=[*PHASES, "all"], default=["adversarial"])
    arguments.add_argument("--batch", type=int, nargs="+", default=[0], help="0 = the configuration's")
    arguments.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), default=[""])
    arguments.add_argument("--image_size", type=int, nargs="+", default=[0])
    arguments.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    arguments.add_argument("--repeats", type=int, default=20)
    arguments.add_argument("--no_parts", action="store_true")
    arguments.add_argument("--loop", action="store_true", help="only the loop against the bare step")
    arguments.add_argument("--loop_steps", type=int, default=1000)
    given = arguments.parse_args()
    rows, notes = [], []
    for batch_images, dtype, size_px in itertools.product(given.batch, given.dtype, given.image_size):
        config = load(given.config)
        config.update_from_flattened_dict({k: _value(v) for k, v in (pair.split("=", 1) for pair in given.set)})
        # What the weights are makes no difference to the time that a step takes.
        config = settle(config, BASE_VARIANCE, config.data.image_size_px**2, 1.0).unlock()
        config.compute_dtype = dtype or config.compute_dtype
        if size_px:
            resized(config, size_px)
        if batch_images:
            for section in {PHASES[phase].section for phase in config.phases}:
                config[section].batch_images = batch_images
        with tempfile.TemporaryDirectory() as folder:
            if given.loop:
                notes.append(loop.against_bare(config, Path(folder), given.loop_steps, opened))
                continue
            of_one, note = one_config(given, config, Path(folder))
            rows += of_one
            notes.append(note)
    title = f"{given.config}, {jax.devices()[0].device_kind}, JAX {jax.__version__}, medians of {given.repeats}"
    publish("\n\n".join([title, *([table(COLUMNS, rows)] if rows else []), *notes]), given.out)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    main()
