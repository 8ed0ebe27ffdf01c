"""Differential privacy beside its baselines: noisy linear means, and the same game without privacy.

    python -m benchmarks.privacy --work=/tmp/privacy --out=benchmarks/results/privacy.md
    python -m benchmarks.privacy --work=/tmp/privacy --only time       # the time of a step alone

Models draw the test captions of the same data and are judged by the same extractors, which learn from the real
training pictures: these figures are not private, and the data is one that anybody can have.

- `means`: one noisy sum of the pictures for each attribute and value, with the same epsilon and delta, and least
  squares on it. A caption gives one picture, so there is no diversity. It needs no training.
- `released`: what t2igan releases for the same epsilon: weighted sums, for pairs of attributes too, and Bayes' weights
  (`t2igan.method.privacy.means`); the pictures themselves, no network.
- `private`: the configuration (`--config`), trained with `config.privacy`: as it stands, means and no game.
- `game`: means for 0.8 of epsilon, and a game for the rest, after 100 and 200 steps and at its end.
- `warm`: the same without the game.
- `plain`: the same game alone, without privacy, with batches as large, by the usual step.

What is in --work is not done again. Time is a ratio of CPU times, of steps in turns, on batches of as many pictures.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import t2igan
from benchmarks import timing
from t2igan import nets
from t2igan.config.checks import check
from t2igan.data import Dataset, open_datasets, split_names
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.evaluate import evaluate
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.runs import draw_with
from t2igan.inference.files import write_json
from t2igan.inference.sample import KEPT_FOLDER
from t2igan.method import phases
from t2igan.method.phases.private_means import Release
from t2igan.method.privacy import means
from t2igan.method.privacy.accounting import epsilon_of
from t2igan.method.privacy.noise import standard_normals
from t2igan.training import plan
from t2igan.training.distributed import parallel

METRICS = ("attributes", "frechet_distance", "diversity")
SHOWN = (
    *("attributes/mean", "attributes/all", "frechet_distance/attributes", "frechet_distance/probe"),
    "diversity_within/pixels",
)
RIDGE = 10.0
MEANS_SHARE = 0.8  # of epsilon, before a game
PAIRED_WEIGHT = 20.0


def not_private(config: Any) -> Any:
    """Returns the configuration without privacy: the usual step, with as many pictures in an update."""
    config = config.copy_and_resolve_references().unlock()
    config.train.steps = config.train.steps or -(-config.train.images // config.train.batch_images)
    config.train.batch_images = config.privacy.batch_images
    config.privacy.update(epsilon=0.0, means_epsilon=0.0)
    config.phases, config.loss.paired_weight = ("adversarial",), 0.0
    config.evaluate.update(every_images=0, at_end=False)
    config.guard.num_images = 0
    return config.lock()


def attribute_values(data: Sequence[dict[str, str]], names: Sequence[tuple[str, str]]) -> np.ndarray:
    """Returns float64 [N, 1 + values]: a one, and for each (attribute, value) whether a picture's caption names it."""
    named = np.array([[of_one.get(name) == value for name, value in names] for of_one in data], np.float64)
    return np.concatenate([np.ones((len(named), 1)), named], 1)


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Returns the noise of one release, as a multiple of what a picture moves at most (to a thousandth)."""
    low, high = 0.01, 100.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon_of(1.0, middle, 1, delta, "pld") <= epsilon else (middle, high)
    return high


def linear_means(train: Dataset, privacy: Any) -> Callable[[Sequence[dict[str, str]]], np.ndarray]:
    """Returns what draws attributes, from one noisy release: (attributes of each) -> uint8 pictures.

    The release is sum phi(c) x^T + noise, with phi the attributes of a public caption and pictures x in [-1, 1], which
    their size bounds: one of them moves it by |phi| |x| at most. The products of phi with itself are public.
    """
    names = sorted({pair for of_one in train.attributes or () for pair in of_one.items()})
    features = attribute_values(train.attributes or (), names)
    pictures = np.asarray(train.images).reshape(len(train), -1) / 127.5 - 1
    bound = np.sqrt((features**2).sum(1)).max() * np.sqrt(pictures.shape[1])
    total = features.T @ pictures
    deviation = noise_multiplier(privacy.epsilon, privacy.delta) * bound
    total += deviation * standard_normals(total.size).reshape(total.shape)
    weights = np.linalg.solve(features.T @ features + RIDGE * np.eye(len(total)), total)

    def draw(attributes: Sequence[dict[str, str]]) -> np.ndarray:
        drawn = attribute_values(attributes, names) @ weights
        return np.clip(np.round((drawn + 1) * 127.5), 0, 255).astype(np.uint8).reshape(-1, *train.images.shape[1:])

    return draw


def with_game(config: Any) -> Any:
    """Returns the configuration with means and a game that is held to them."""
    config = config.copy_and_resolve_references().unlock()
    config.phases, config.loss.paired_weight = ("generator", "adversarial"), PAIRED_WEIGHT
    config.privacy.means_epsilon = MEANS_SHARE * config.privacy.epsilon
    config.checkpoint.keep_every_images = 100 * config.privacy.batch_images * config.train.discriminator_steps
    return config.lock()


def before_the_game(config: Any) -> Any:
    """Returns `with_game` that ends with what the generator learned from means."""
    config = with_game(config).copy_and_resolve_references().unlock()
    config.phases, config.loss.paired_weight = ("generator",), 0.0
    return config.lock()


def released_means(train: Dataset, privacy: Any) -> Callable[[Sequence[dict[str, str]]], np.ndarray]:
    """Returns what draws attributes by the means that t2igan releases for the whole epsilon, as `linear_means`."""
    named = means.of_attributes(train.attributes or ())
    columns, shape = means.columns_of(named), train.images.shape[1:]
    noise = noise_multiplier(privacy.epsilon, privacy.delta)
    release = Release.of(privacy, noise, means.table(named, columns), shape)
    weights = release.weights(*release.of_pictures(train.images))
    return lambda attributes: means.pictures(means.table(means.of_attributes(attributes), columns), weights, shape)


def of_captions(draw: Callable, test: Dataset) -> Callable[[Sequence[str], Sequence[int]], np.ndarray]:
    """Returns what draws captions of a split by the attributes that they name."""
    named = {of_one[0]: a for of_one, a in zip(test.captions, test.attributes or (), strict=True)}
    return lambda captions, seeds: draw([named[caption] for caption in captions])  # noqa: ARG005


def judged(draw: Any, test: Dataset, extractors: FeatureExtractors, num_images: int) -> dict[str, float]:
    """Returns the figures of a drawer on the test captions, and those of the real pictures."""
    found = evaluate(draw, test, extractors, num_images=num_images, seed=0, metrics=METRICS, resamples=0)
    return {name: found["figures"][name]["value"] for name in SHOWN if name in found["figures"]}


def trained(config: Any, workdir: Path, data: Any) -> dict[str, Any]:
    """Trains, if that is not done; returns what the snapshot says of it."""
    began = time.process_time()
    if not (workdir / "done.json").is_file():
        train, val, test = data
        t2igan.train(config, workdir, dataset=train, val_dataset=val, test_dataset=test)
        write_json(workdir / "done.json", {"cpu_s": round(time.process_time() - began)})
    return json.loads((workdir / "done.json").read_text(encoding="utf-8"))


def step_times(config: Any, repeats: int) -> dict[str, float]:
    """Returns the CPU seconds of a step, median of turns: of the private and of the usual one on as many pictures."""
    steps: dict[str, Callable[[], Any]] = {}
    mesh = parallel.make_mesh(1)
    for name, of_it in (("private", with_game(config)), ("not private", not_private(config))):
        run, given = plan.without_data(of_it, mesh)
        phase = phases.build("adversarial", run, given)
        state, like = plan.abstract(run, phase, given)
        state = parallel.init_on(mesh, phase.init, given)
        random = np.random.default_rng(0)
        batch = {
            key: (
                random.normal(size=x.shape).astype(x.dtype)
                if x.dtype == np.float32
                else random.integers(0, 200, x.shape).astype(x.dtype)
            )
            for key, x in like.items()
        }
        if "mask" in batch:  # as many pictures as on average
            batch["mask"] = np.zeros_like(batch["mask"])
            batch["mask"][:, : of_it.privacy.batch_images] = 1
        compiled = parallel.compile_step(
            phase.step, mesh, state, step_map_values=phase.step_images * nets.largest_map_values(run.config)
        )
        held = [state]

        def once(compiled=compiled, held=held, batch=batch) -> None:
            held[0], _ = compiled(held[0], parallel.to_devices(batch, mesh))
            jax.block_until_ready(held[0])

        steps[name] = once
    return {
        name: float(np.median(times))
        for name, times in timing.in_turns(steps, repeats, clock=time.process_time).items()
    }


TRAINED: dict[str, Callable[[Any], Any]] = {
    "private": lambda config: config,
    "warm": before_the_game,
    "game": with_game,
    "plain": not_private,
}


def main() -> None:
    """Does what is missing, and prints the table."""
    parser: argparse.ArgumentParser = timing.parser(__doc__, "private")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["means", "released", *TRAINED, "time"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the configuration, JSON")
    parser.add_argument("--num_images", type=int, default=850)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--extractors", type=Path, help="a folder of extractors that have learned; default: in --work")
    given = parser.parse_args()
    config = timing.load(given.config).unlock()
    config.update_from_flattened_dict({k: json.loads(v) for k, v in (pair.split("=", 1) for pair in given.set)})
    check(config)
    parallel.start()
    rows: list[tuple[str, ...]] = []
    if set(given.only) - {"time"}:
        data = open_datasets(config.data, split_names(config.data))
        train, _, test = data
        t = config.tokenizer
        captions = [caption for of_one in train.captions for caption in of_one]
        own = Tokenizer.train(captions, t.vocab_size, t.max_tokens, t.lowercase)
        folder = given.extractors or given.work / "extractors"
        extractors = FeatureExtractors(config, train, own, folder)
        judge = functools.partial(judged, test=test, extractors=extractors, num_images=given.num_images)
    for name in given.only:
        print(f"{name} ...", flush=True)
        if name in ("means", "released"):
            drawn = {"means": linear_means, "released": released_means}[name]
            figures = judge(of_captions(drawn(train, config.privacy), test))
            rows.append((f"{name}, epsilon {config.privacy.epsilon:g}", *(f"{figures[n]:.3f}" for n in SHOWN), "-"))
        elif name in TRAINED:
            facts = trained(TRAINED[name](config), given.work / name, data)
            kept = given.work / name / KEPT_FOLDER
            for path in [*sorted(kept.glob("0*.safetensors")), given.work / name]:
                model = t2igan.load(path)
                figures = judge(draw_with(model))
                spent = f", epsilon {model.info['privacy']['epsilon']:.2f}" if "privacy" in model.info else ""
                title = f"{name}, step {model.info['step']:,}{spent}"
                rows.append((title, *(f"{figures[n]:.3f}" for n in SHOWN), f"{facts['cpu_s']:,}"))
    text = timing.table(("model", *SHOWN, "CPU, s"), rows) if rows else ""
    if "time" in given.only:
        times = step_times(config, given.repeats)
        ratio = times["private"] / times["not private"]
        lines = ", ".join(f"{name} {1e3 * seconds:,.0f} ms" for name, seconds in times.items())
        text += f"\n\nCPU time of a step: {lines}; {ratio:.2f} times as long."
    timing.publish(text.strip(), given.out)


if __name__ == "__main__":
    main()
