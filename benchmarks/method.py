"""What each part of the method is worth: runs that differ in a few keys of the configuration, judged alike.

    python -m benchmarks.method --cores 0 1 --seeds 0 1 2       # run what is missing, then print the table
    python -m benchmarks.method --table                         # print the table of what there is
    python -m benchmarks.method --groups pairs --seeds 0        # some groups of rows only
    python -m benchmarks.method --images 8000 --base runs/base  # shorter, with what a run of base.py has learned
    python -m benchmarks.method --table --into docs/method.md   # put it between its two marks there

Every run is the adversarial phase of configs/base.py on as many pictures, from the same learned text encoder, in a
process of its own that is pinned to one core. It is measured on the validation split, because rows are compared in
order to choose between them; --splits test unseen measures others. A run is a line of
benchmarks/results/method_val.jsonl; what is there is not run again, so the same command goes on after whatever stopped
it. Text phase and extractors are learned once, in --work, or taken from the run that --base names.

benchmarks/results/method.jsonl has the runs from before the validation split was held out, measured on `test` and
`unseen` (--table --results benchmarks/results/method.jsonl).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "method_val.jsonl"
METRICS = ("attributes", "frechet_distance", "diversity")  # groups of t2igan.evaluate


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: changes to configs/base.py, and how much data it may see."""

    group: str
    name: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    train_images: int = 0  # the first so many pictures of the training split; 0 = all of it
    images: int = 24_000  # pictures of adversarial training

    def key(self, seed: int) -> str:
        """Returns what decides the result, as one string."""
        decisive = [sorted(self.changes.items()), self.train_images, self.images, seed]
        return json.dumps(decisive, default=list)


def pair(loss: str, penalty: str, weight: float = 0.0, **more: Any) -> Row:
    """An adversarial pair with a penalty of a constant weight."""
    changes = {
        "loss.adversarial": loss,
        "loss.penalty": penalty,
        "loss.penalty_weight": weight,
        "loss.penalty_weight_end": weight,
        **more,
    }
    name = f"`{loss}`, `{penalty}`" + (f" {weight:g}" if penalty != "none" else "")
    return Row("pairs", name, changes)


def technique(name: str, **changes: Any) -> Row:
    """A row that adds one thing to the defaults; keys with "__" for "."."""
    return Row("techniques", name, {key.replace("__", "."): value for key, value in changes.items()})


def few(name: str, times: int = 1, **changes: Any) -> Row:
    """A row that sees 500 pictures only, so many times as long; the text encoder has learned from all captions."""
    group = "500 pictures" + (f", {times} times as long" if times > 1 else "")
    return Row(group, name, technique(name, **changes).changes, train_images=500, images=times * 24_000)


def whole(of: Row) -> Row:
    """A row at the length of configs/base.py."""
    return dataclasses.replace(of, group="full length", images=128_000)


GEOMETRY = ("flip", "translate", "scale", "rotate")

# The most telling rows first, so that a table that was stopped early says something.
ROWS = (
    pair("non_saturating", "r1", 0.1),
    pair("relativistic", "r1_r2", 0.1),
    pair("hinge", "r1", 0.1),
    pair("wasserstein", "wgan_gp", 10.0),
    pair("non_saturating", "none"),
    Row("text", "text encoder: random, frozen", {"phases": ("adversarial",)}),
    few("no augmentation"),
    few("all augmentations, p 0.3", augment__probability=0.3),
    few("translation and cutout, p 0.3", augment__probability=0.3, augment__kinds=("translate", "cutout")),
    Row("attention", "no word attention", {"generator.attention_from_px": 0}),
    Row("growing", "grows over half of it", {"train.grow_share": 0.5}),
    pair("non_saturating", "r1_r2", 0.1),
    pair("least_squares", "r1", 0.1),
    pair("wasserstein", "wgan_gp", 1.0),
    few("adaptive, target 0.6", augment__target=0.6, augment__adapt_images=24_000),
    pair("relativistic", "r1", 0.1),
    pair("hinge", "wgan_gp", 10.0),
    technique("spectral norm, no penalty", discriminator__normalisation="spectral", loss__penalty="none"),
    pair("hinge", "ma_gp", 2.0),
    pair("non_saturating", "finite_difference", 0.1),
    technique("caption dropout 0.1, further averages", augment__caption_dropout=0.1, train__ema_tracks=(0.25, 4.0)),
    technique("mismatched captions 0.5", loss__mismatch_weight=0.5),
    technique("contrastive matching 1", loss__contrastive_weight=1.0),
    technique("optimistic Adam", train__optimizer="optimistic_adam"),
    pair("hinge", "none"),
    pair("minimax", "r1", 0.1),
    pair("non_saturating", "r2", 0.1),
    Row("text", "text encoder: learned, tuned at 1e-4", {"train.tune_text": True, "train.text_learning_rate": 1e-4}),
    Row(
        "text",
        "text encoder: learned with the GAN at 1e-3",
        {"phases": ("adversarial",), "train.tune_text": True, "train.text_learning_rate": 1e-3},
    ),
    technique("cycle consistency 1", loss__cycle_weight=1.0),
    technique("two discriminator steps", train__discriminator_steps=2),
    technique(
        "discriminator's rate four times", train__generator_learning_rate=5e-4, train__discriminator_learning_rate=2e-3
    ),
    technique("heads on every map", discriminator__multi_scale=True),
    technique("`non_saturating`, label smoothing 0.1", loss__adversarial="non_saturating", loss__label_smoothing=0.1),
    technique("instance noise 0.2 to 0", augment__instance_noise=0.2, augment__instance_noise_end=0.0),
    technique("caption noise 0.1", augment__sentence_noise=0.1),
    technique("dropout 0.3", discriminator__dropout=0.3),
    technique("fast gradient sign 0.02", loss__attack_steps=1),
    technique("projected attack 0.02, 3 steps", loss__attack_steps=3),
    technique("weight norm, no penalty", discriminator__normalisation="weight", loss__penalty="none"),
    technique("weight decay 0.1", train__weight_decay=0.1),
    technique("adaptive clipping 0.01", train__adaptive_clip=0.01, train__clip_norm=0.0),
    technique("penalty every 4 steps", loss__penalty_every=4),
    technique("computes in bfloat16", compute_dtype="bfloat16"),
    technique("reconstruction 1", loss__reconstruction_weight=1.0),
    technique("constant learning rates", train__schedule="constant"),
    technique("augmentation p 0.2", augment__probability=0.2, augment__kinds=GEOMETRY),
    pair("non_saturating", "r1", 0.03),
    pair("non_saturating", "r1", 0.3),
    pair("relativistic", "r1_r2", 0.03),
    pair("relativistic", "r1_r2", 0.3),
    pair("wasserstein", "r1", 1.0),
    pair("hinge", "r1", 0.3),
    pair("hinge", "ma_gp", 0.2),
    pair("relativistic", "r1", 0.3),
    pair("non_saturating", "r1", 1.0),
    pair("relativistic", "r1", 1.0),
    pair("non_saturating", "r1_r2", 0.3),
    pair("least_squares", "r1", 0.3),
    pair("hinge", "r1", 1.0),
    pair("relativistic", "r1_r2", 1.0),
    whole(pair("relativistic", "r1", 0.1)),
    whole(pair("wasserstein", "wgan_gp", 10.0)),
    few("no augmentation", 4),
    few("adaptive, target 0.6", 4, augment__target=0.6, augment__adapt_images=24_000),
    few("all augmentations, p 0.3", 4, augment__probability=0.3),
)
TRACK, GUIDANCE = "average of half-life x", "guidance"
TEXT_PHASE = ("text", "image", "matching")  # the networks that it leaves


def prepare(work: Path, base: Path | None = None) -> tuple[Any, Any, Any, Any, dict]:
    """Returns configuration, training data, tokenizer, extractors and the text phase's parameters.

    They are learned once, in `work`, or taken from `base`, the folder of a finished run of configs/base.py.
    """
    from configs.base import get_config
    from t2igan import config as config_lib
    from t2igan import nets
    from t2igan.data import open_dataset
    from t2igan.data.batches import Batches
    from t2igan.data.tokenizer import Tokenizer
    from t2igan.evaluation.extractors import FeatureExtractors
    from t2igan.inference.checkpoint import Checkpoints
    from t2igan.method.phases.text import TextMethod, init_text_state, text_step
    from t2igan.training import warm_start
    from t2igan.training.distributed import parallel

    config = get_config()
    data = open_dataset(config.data, config.data.train_split)
    if base is not None:
        source = warm_start.read(base)
        extractors = FeatureExtractors.of_run(config, data, source.tokenizer, base)
        learned = {name: source.params[name] for name in TEXT_PHASE if name in source.params}
        return config, data, source.tokenizer, extractors, learned
    t = config.tokenizer
    captions = [caption for of_one in data.captions for caption in of_one]
    tokenizer = Tokenizer.train(captions, t.vocab_size, t.max_tokens, t.lowercase)
    steps = config_lib.total_steps(config.pretrain_text, len(data))
    method = TextMethod.create(config, nets.build(config, tokenizer.vocab_size), steps)
    size = config.pretrain_text.batch_images
    batches = Batches(data, tokenizer, seed=config.seed, batch_images=size)
    mesh, first = parallel.make_mesh(1), functools.partial(init_text_state, method, batches[0])
    with Checkpoints(work / "text") as checkpoints:
        if checkpoints.latest_step() == steps:
            state = checkpoints.restore(steps, parallel.abstract_on(mesh, first))
        else:
            state = parallel.init_on(mesh, first)
            step = parallel.compile_step(functools.partial(text_step, method), mesh)
            for i in range(steps):
                state, _ = step(state, parallel.to_devices(batches[i], mesh))
            checkpoints.save(steps, state)
    extractors = FeatureExtractors.of_run(config, data, tokenizer, work)
    return config, data, tokenizer, extractors, state.params


def run(row: Row, seed: int, work: Path, splits: Sequence[str], base: Path | None = None) -> dict[str, Any]:
    """Trains and measures one row on some splits; returns its line of the results."""
    import jax

    from t2igan import config as config_lib
    from t2igan import nets, step
    from t2igan.config.checks import check
    from t2igan.data import open_dataset
    from t2igan.data.batches import Batches
    from t2igan.evaluation.evaluate import evaluate, flat_figures
    from t2igan.evaluation.runs import draw_with
    from t2igan.inference.sample import Model
    from t2igan.inference.snapshot import Snapshot
    from t2igan.training.distributed import parallel

    parallel.start()
    config, data, tokenizer, extractors, text_params = prepare(work, base)
    extractors.learn()
    config.update_from_flattened_dict(row.changes)
    config.seed = seed
    config.train.images = row.images
    check(config)
    if row.train_images:
        data = data.take(slice(row.train_images))

    networks = nets.build(config, tokenizer.vocab_size)
    total_steps = config_lib.total_steps(config.train, len(data))
    method = step.Method.create(config, networks, total_steps)
    step_images = method.batch_images * method.discriminator_steps
    batches = Batches(data, tokenizer, seed=seed, batch_images=step_images)
    mesh = parallel.make_mesh(1)
    text_phase = text_params if "text" in config.phases else None
    state = parallel.init_on(mesh, functools.partial(step.init_state, method, batches[0], text_phase))
    first = parallel.to_devices(batches[0], mesh)
    compiled = {}
    for settings in dict.fromkeys(step.decided(method, i) for i in range(total_steps)):
        of_settings = functools.partial(step.train_step, method, **dict(settings))
        compiled[settings] = parallel.compile_step(of_settings, mesh).lower(state, first).compile()
    start, cpu_start = time.perf_counter(), time.process_time()
    for i in range(total_steps):
        state, metrics = compiled[step.decided(method, i)](state, parallel.to_devices(batches[i], mesh))
    metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start

    line = {
        "group": row.group,
        "name": row.name,
        "changes": row.changes,
        "train_images": row.train_images,
        "images": row.images,
        "seed": seed,
        "key": row.key(seed),
        "train_s": round(seconds, 1),
        "train_cpu_s": round(cpu_seconds, 1),  # of one core, whatever else runs on it
        "images_per_s": round(total_steps * step_images / seconds, 1),
        "finite": bool(np.isfinite(list(metrics.values())).all()),
        "last": {name: value for name, value in metrics.items() if np.isfinite(value)},
    }
    if line["finite"]:
        used = state.frozen | state.ema
        snapshot = Snapshot({}, config.to_dict(), tokenizer.to_json(), {}, {})
        measured = [open_dataset(config.data, split) for split in splits]

        def figures(averages: dict, **settings: float) -> dict[str, Any]:
            learned = {name: (used | averages)[name] for name in ("generator", "text")}
            drawn = functools.partial(draw_with(Model(networks, learned, tokenizer, snapshot)), **settings)
            return {
                split.split: flat_figures(
                    evaluate(drawn, split, extractors, num_images=len(split), seed=0, metrics=METRICS, resamples=0)
                )
                for split in measured
            }

        line |= figures({})
        line["variants"] = {f"{TRACK} {name}": figures(state.tracks[name]) for name in state.tracks}
        if config.augment.caption_dropout:
            line["variants"] |= {f"{GUIDANCE} {by:g}": figures({}, guidance=by) for by in (0.75, 1.25, 1.5, 2.0)}
    return line


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a results file, the last of each key; () where there is none."""
    if not path.is_file():
        return []
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    return list({line["key"]: line for line in lines}.values())


def table(lines: list[dict[str, Any]]) -> str:
    """Returns the results as Markdown tables, one a group: means over seeds, with the spread behind them.

    Runs of the defaults stand among the rows of other groups that saw as many pictures.
    """
    groups: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    defaults = [line for line in lines if is_default(line)]
    for line in lines:
        alike = [of for of in defaults if all(of[key] == line[key] for key in ("images", "train_images"))]
        if alike and line["group"] not in {of["group"] for of in alike}:
            groups[line["group"]]["**the defaults**"] = alike
        groups[line["group"]][line["name"]].append(line)
        for variant, figures in line.get("variants", {}).items():  # the same run, drawn from in another way
            groups[line["group"]][f"{line['name']}: {variant}"].append(line | figures)
    texts = []
    splits = [split for split in SPLITS if any(split in line for line in lines)]
    figures = figures_of(splits)
    columns = ["row", "seeds", *(head for head, _, _ in figures), "core seconds"]
    first = splits[0] if splits else ""
    for group, rows in groups.items():
        shown = [f"**{group}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        order = sorted(
            rows.items(), key=lambda item: -_mean([_figure(line, first, "attributes/mean") for line in item[1]])
        )
        for name, runs in order:
            cells = [name, f"{len(runs)}"]
            for _, split, key in figures:
                cells.append(_cell([_figure(line, split, key) for line in runs]))
            cells.append(_cell([float(line["train_cpu_s"]) for line in runs if "train_cpu_s" in line], missing=""))
            shown.append("| " + " | ".join(cells) + " |")
        texts.append("\n".join(shown))
    return "\n\n".join(texts)


def is_default(line: dict[str, Any]) -> bool:
    """Whether a line is of configs/base.py as it is now, on all of its data."""
    from configs.base import get_config

    changed = get_config()
    changed.update_from_flattened_dict(line["changes"])
    return not line["train_images"] and changed == get_config()


SPLITS = ("val", "test", "unseen")  # in the order of the columns; rows are sorted by the first that was measured


def figures_of(splits: Sequence[str]) -> list[tuple[str, str, str]]:
    """Returns heading, split and figure of each column: attributes of all splits, the rest of one each."""
    found = []
    for split in splits:
        found += [(f"{split}: mean", split, "attributes/mean"), ("all", split, "attributes/all")]
    if splits:
        found += [
            ("Frechet", splits[-1], "frechet_distance/attributes"),
            ("diversity", splits[0], "diversity_within/pixels"),
        ]
    return found


def _figure(line: dict, split: str, key: str) -> float:
    return line.get(split, {}).get(key, float("nan"))


def _mean(values: list[float]) -> float:
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else 0.0


def _cell(values: list[float], missing: str = "not finite") -> str:
    """The mean, and half the range between the seeds; runs that went non-finite are named."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return missing
    digits = 3 if max(finite) < 10 else 1 if max(finite) < 100 else 0
    text = f"{np.mean(finite):.{digits}f}"
    if len(finite) > 1:
        text += f" ± {(max(finite) - min(finite)) / 2:.{digits}f}"
    return text + (f" ({len(values) - len(finite)} not finite)" if len(finite) < len(values) else "")


def main() -> None:
    """Runs what is missing, one run a core at a time, and prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cores", type=int, nargs="+", default=[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--groups", nargs="+", help="default: all")
    arguments.add_argument("--rows", nargs="+", help="of these, only those whose name contains one of these texts")
    arguments.add_argument("--results", type=Path, default=RESULTS)
    arguments.add_argument("--work", type=Path, default=ROOT / "runs" / "method", help="text phase and extractors")
    arguments.add_argument("--base", type=Path, help="take those from this folder of a finished run of base.py")
    arguments.add_argument("--splits", nargs="+", default=["val"], help="what is measured on: val, test, unseen")
    arguments.add_argument("--images", type=int, default=0, help="pictures a row instead of its own number")
    arguments.add_argument("--table", action="store_true", help="run nothing")
    arguments.add_argument(
        "--into", type=Path, help="a file with the marks <!-- NAME --> (of the results) and <!-- end -->"
    )
    arguments.add_argument("--one", type=int, nargs=3, metavar=("ROW", "SEED", "CORE"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        row, seed, core = given.one
        os.sched_setaffinity(0, {core})  # before XLA counts the cores
        print(json.dumps(run(_at_length(ROWS[row], given.images), seed, given.work, given.splits, given.base)))
        return
    if not given.table:
        chosen = [row for row in ROWS if not given.groups or row.group in given.groups]
        chosen = [row for row in chosen if not given.rows or any(text in row.name for text in given.rows)]
        run_missing(given, chosen)
    tables = table(read(given.results))
    print(tables)
    if given.into:
        text = given.into.read_text(encoding="utf-8")
        mark = f"<!-- {given.results.stem} -->\n"
        before, rest = text.split(mark)
        after = rest.partition("<!-- end -->")[2]
        given.into.write_text(f"{before}{mark}{tables}\n<!-- end -->{after}", encoding="utf-8")


def _at_length(row: Row, images: int) -> Row:
    return dataclasses.replace(row, images=images) if images else row


def run_missing(given: argparse.Namespace, rows: list[Row]) -> None:
    """Runs each (row, seed) whose line is not there, a process each, one at a time on each core."""
    results, work = given.results, given.work
    done = {line["key"] for line in read(results)}
    keys = {(ROWS.index(row), seed): _at_length(row, given.images).key(seed) for seed in given.seeds for row in rows}
    waiting = [which for which, key in keys.items() if key not in done]
    passed_on = [
        f"--work={work}",
        f"--images={given.images}",
        *([f"--base={given.base.absolute()}"] if given.base else []),
    ]
    running: dict[int, tuple[subprocess.Popen, tuple[int, int]]] = {}
    free = list(given.cores)
    results.parent.mkdir(parents=True, exist_ok=True)
    while waiting or running:
        # The first one prepares what the others find.
        while waiting and free and (not running or given.base or (work / "extractors").is_dir()):
            core, (i, seed) = free.pop(), waiting.pop(0)
            command = [
                sys.executable,
                "-m",
                "benchmarks.method",
                *passed_on,
                "--splits",
                *given.splits,
                "--one",
                f"{i}",
                f"{seed}",
                f"{core}",
            ]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            running[core] = process, (i, seed)
        for core, (process, (i, seed)) in list(running.items()):
            if process.poll() is None:
                continue
            del running[core]
            free.append(core)
            output = process.stdout.read().strip()
            if process.returncode or not output:
                print(f"{ROWS[i].name}, seed {seed}: failed with code {process.returncode}", file=sys.stderr)
                continue
            line = json.loads(output.splitlines()[-1])
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(
                f"{line['name']}, seed {seed}: attributes {_figure(line, given.splits[0], 'attributes/mean'):.3f}, "
                f"{line['train_s']:.0f} s",
                flush=True,
            )
        time.sleep(0.5)


if __name__ == "__main__":
    main()
