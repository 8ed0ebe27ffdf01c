"""Judges a run on pictures of 64 px by small networks that share nothing with what trained it.

    python -m benchmarks.judge64 --workdir=runs/toon64 --splits=heldout_random,heldout_combo --out=judged.json

For each attribute a network with one hidden layer learns from real training pictures, as aligned pixels; it draws on no
network, feature or loss of the package. One picture a caption is drawn and judged beside

    real      the pictures of the captions themselves: what the judge is capable of
    decoded   the same coded and decoded, where the run plays on codes: what the space is capable of
    copied    the training picture whose caption has most words in common: what needs no generator at all

Figures, for each: `mean`, the share of attributes that are right, and `all`, of pictures with all right; `frechet`, the
distance in the first 64 principal directions of the judge's hidden units to the real pictures, whose total variance
there is 64; `edges`, the mean absolute Laplacian as a share of the real one; `flat`, the share of 3 x 3 areas of one
colour; `l1`, grey levels to the real picture; `nearest`, how often the real picture of the caption is the nearest of
all real pictures of training and split, at 16 x 16; `among_100`, the nearest of it and 99 others; and `in_base`, the
nearest of those whose caption is the same up to its colon ("mage" of "mage: dark skin tone"), where there are others.

Attributes that held-out pictures combine anew (a garment with another colour) are judged on pictures with shuffled
colours, and small ones on the part of the picture where they are: `VIEWS` says which, by the name of the data.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import t2igan
from t2igan.data import Dataset, open_dataset
from t2igan.evaluation.runs import configuration
from t2igan.inference.drawing import to_bytes

HIDDEN = 128
EPOCHS = 30
BATCH = 64
DIRECTIONS = 64
SHAPES = {"toon_avatars": ("clothes",)}  # judged whatever the colours
VIEWS = {"toon_avatars": {"mouth": (32, 56, 16, 48), "beard": (32, 56, 16, 48)}}  # rows and columns, at full size


class Judge(NamedTuple):
    """One small network an attribute, and the fixed directions of its hidden units."""

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    source: str
    params: list
    mean: np.ndarray
    directions: np.ndarray

    def labels(self, data: Dataset) -> np.ndarray:
        """What is right for the pictures of a split, int [N, A], as `look` answers."""
        return data.attribute_labels(dict(zip(self.names, map(list, self.values), strict=True)))


def seen(judge_source: str, name: str, x: jax.Array) -> jax.Array:
    """Returns what the network of an attribute looks at, [B, values], of pictures in [-1, 1]."""
    if name in VIEWS.get(judge_source, {}):
        top, bottom, left, right = VIEWS[judge_source][name]
        return x[:, top:bottom, left:right].reshape(len(x), -1)
    return x.reshape(len(x), 32, x.shape[1] // 32, 32, x.shape[2] // 32, 3).mean((2, 4)).reshape(len(x), -1)


def hidden(params: Any, x: jax.Array) -> jax.Array:
    """Hidden units of one network."""
    return jax.nn.relu(x @ params["w0"] + params["b0"])


def fresh(key: jax.Array, inputs: int, outputs: int) -> dict[str, jax.Array]:
    """Parameters of one network."""
    first, second = jax.random.split(key)
    return {
        "w0": jax.random.normal(first, (inputs, HIDDEN)) / inputs**0.5,
        "b0": jnp.zeros(HIDDEN),
        "w1": jax.random.normal(second, (HIDDEN, outputs)) * 0.05,
        "b1": jnp.zeros(outputs),
    }


def varied(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns pictures moved by a pixel at most and noisy, and the same with their colours shuffled."""
    keys = jax.random.split(key, 6)
    x = jnp.roll(x, jax.random.randint(keys[0], (2,), -1, 2), (1, 2))
    x = x + 0.15 * jax.random.uniform(keys[1], (len(x), 1, 1, 1)) * jax.random.normal(keys[2], x.shape)
    each = (len(x), 1, 1, 3)
    shuffled = x[..., jax.random.permutation(keys[3], 3)] * jnp.where(
        jax.random.bernoulli(keys[4], 0.3, each), -1.0, 1.0
    )
    return x, shuffled * jax.random.uniform(keys[5], each, minval=0.6, maxval=1.2)


def learn(train: Dataset, source: str) -> Judge:
    """Learns to tell the attributes of real training pictures."""
    vocabulary = {n: v for n, v in train.attribute_values().items() if 1 < len(v) <= len(train) // 10}
    names, labels = tuple(sorted(vocabulary)), train.attribute_labels(vocabulary)
    images = np.asarray(train.images)
    widths = [seen(source, name, jnp.zeros((1, *images.shape[1:]))).shape[1] for name in names]
    keys = jax.random.split(jax.random.key(7), len(names))
    params = [fresh(k, w, len(vocabulary[n])) for k, w, n in zip(keys, widths, names, strict=True)]
    steps = EPOCHS * len(train) // BATCH
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-3, steps), weight_decay=1e-2)

    @jax.jit
    def step(params, state, x, y, key):
        plain, shuffled = varied(key, x.astype(jnp.float32) / 127.5 - 1)

        def loss_fn(params):
            views = [seen(source, n, shuffled if n in SHAPES.get(source, ()) else plain) for n in names]
            logits = [hidden(p, v) @ p["w1"] + p["b1"] for p, v in zip(params, views, strict=True)]
            of = optax.softmax_cross_entropy_with_integer_labels
            return sum(of(logit, y[:, i]).mean() for i, logit in enumerate(logits)) / len(names)

        updates, state = optimizer.update(jax.grad(loss_fn)(params), state, params)
        return optax.apply_updates(params, updates), state

    state, random = optimizer.init(params), np.random.default_rng(5)
    for number in range(steps):
        rows = random.choice(len(train), BATCH, replace=False)
        params, state = step(params, state, images[rows], labels[rows], jax.random.fold_in(keys[0], number))
    judge = Judge(names, tuple(tuple(vocabulary[n]) for n in names), source, params, np.zeros(0), np.zeros(0))
    units = look(judge, images)[1]
    variances, basis = np.linalg.eigh(np.cov((units - units.mean(0)).T))
    scale = (DIRECTIONS / variances[::-1][:DIRECTIONS].sum()) ** 0.5
    return judge._replace(mean=units.mean(0), directions=basis[:, ::-1][:, :DIRECTIONS] * scale)


def look(judge: Judge, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the judge's answers, int [N, A], and its hidden units, float [N, A * HIDDEN]."""

    @jax.jit
    def of(params, x):
        x = x.astype(jnp.float32) / 127.5 - 1
        units = [hidden(p, seen(judge.source, n, x)) for p, n in zip(params, judge.names, strict=True)]
        answers = [(u @ p["w1"] + p["b1"]).argmax(-1) for u, p in zip(units, params, strict=True)]
        return jnp.stack(answers, 1), jnp.concatenate(units, 1)

    parts = [[np.asarray(a) for a in of(judge.params, images[i : i + 256])] for i in range(0, len(images), 256)]
    return tuple(np.concatenate(of_one) for of_one in zip(*parts, strict=True))


def projected(judge: Judge, units: np.ndarray) -> np.ndarray:
    """Returns hidden units in the directions in which those of training pictures vary most, float [N, DIRECTIONS]."""
    return (units - judge.mean) @ judge.directions


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The Frechet distance of two sets of features, as of two normal distributions."""
    roots = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).real
    between = a.mean(0) - b.mean(0)
    spread = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * np.sqrt(np.maximum(roots, 0)).sum()
    return float(between @ between + spread)


def laplacian(images: np.ndarray) -> float:
    """Mean absolute Laplacian, in grey levels."""
    x = images.astype(np.float32)
    inner = 4 * x[:, 1:-1, 1:-1] - x[:, 2:, 1:-1] - x[:, :-2, 1:-1] - x[:, 1:-1, 2:] - x[:, 1:-1, :-2]
    return float(np.abs(inner).mean())


def flat(images: np.ndarray) -> float:
    """Share of areas of 3 x 3 pixels whose values lie within 4 grey levels."""
    x = images.astype(np.int16)
    shifted = [x[:, i : x.shape[1] - 2 + i, j : x.shape[2] - 2 + j] for i in range(3) for j in range(3)]
    return float(((np.maximum.reduce(shifted) - np.minimum.reduce(shifted)).max(-1) <= 4).mean())


def small(images: np.ndarray) -> np.ndarray:
    """Pictures of 16 x 16 as vectors."""
    factor = images.shape[1] // 16
    shape = (len(images), 16, factor, 16, factor, 3)
    return images.astype(np.float32).reshape(shape).mean((2, 4)).reshape(len(images), -1)


def bases(data: Dataset) -> np.ndarray:
    """What captions say before a colon."""
    return np.array([of_one[0].partition(":")[0].strip() for of_one in data.captions])


def squared_distances(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the squared distance of each of some vectors to each of others, [N, M]."""
    return (x**2).sum(1)[:, None] + (others**2).sum(1) - 2 * x @ others.T


def retrieval(images: np.ndarray, data: Dataset, train: Dataset) -> dict[str, float]:
    """How often the real picture of a caption is the nearest to what was drawn: of all, of 100, and of its base."""
    x, candidates = small(images), small(np.concatenate([np.asarray(data.images), np.asarray(train.images)]))
    distances = squared_distances(x, candidates)
    own = np.arange(len(x))
    random, among = np.random.default_rng(0), []
    for i in own:
        others = random.choice(len(candidates) - 1, 99, replace=False)
        others = others + (others >= i)
        among.append(distances[i, i] < distances[i, others].min())
    found = {"nearest": float((distances.argmin(1) == own).mean()), "among_100": float(np.mean(among))}
    of_data = bases(data)
    alike = of_data[:, None] == np.concatenate([of_data, bases(train)])
    others = alike.sum(1) > 1
    if others.any():
        right = np.where(alike, distances, np.inf).argmin(1) == own
        found["in_base"] = float(right[others].mean())
    return found


def measure(judge: Judge, images: np.ndarray, data: Dataset, train: Dataset) -> dict[str, Any]:
    """Returns the figures of pictures that were drawn for the captions of a split."""
    expected = judge.labels(data)
    answers, units = look(judge, images)
    right, real = answers == expected, np.asarray(data.images)
    of_real = look(judge, real)[1]
    return {
        "mean": float(right.mean()),
        "all": float(right.all(1).mean()),
        "frechet": frechet(projected(judge, units), projected(judge, of_real)),
        "edges": laplacian(images) / laplacian(real),
        "flat": flat(images),
        "l1": float(np.abs(images.astype(np.float32) - real).mean()),
        **retrieval(images, data, train),
        "each": {name: float(share) for name, share in zip(judge.names, right.mean(0), strict=True)},
    }


def copied(train: Dataset, captions: list[str]) -> np.ndarray:
    """Returns for each caption the training picture whose caption shares most of its words with it (Jaccard)."""
    known = [set(of_one[0].lower().replace(",", " ").split()) for of_one in train.captions]
    words = [set(caption.lower().replace(",", " ").split()) for caption in captions]
    best = [max(range(len(known)), key=lambda i: len(known[i] & w) / len(known[i] | w)) for w in words]
    return np.asarray(train.images)[best]


def decoded(model: Any, images: np.ndarray) -> np.ndarray | None:
    """Returns pictures coded and decoded; None where the run plays on pixels."""
    networks = model.networks
    if networks.space is None:
        return None
    again = jax.jit(lambda p, x: to_bytes(networks.to_pixels(p, networks.to_network(p, x))))
    return np.concatenate([np.asarray(again(model.params, images[i : i + 64])) for i in range(0, len(images), 64)])


def opened(workdir: str) -> tuple[Any, Any, Dataset, Judge]:
    """Returns the model of a run, its configuration, its training pictures and a judge that learned from them."""
    model = t2igan.load(workdir)
    config = configuration(workdir, model)
    train = open_dataset(config.data, config.data.train_split)
    return model, config, train, learn(train, config.data.source)


def line(name: str, figures: dict[str, Any]) -> str:
    """Returns figures as one line of text."""
    return name + "  ".join(f"{key} {value:.3f}" for key, value in figures.items())


def main() -> None:
    """Judges a run, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="a run's folder")
    parser.add_argument("--splits", default="test", help="of the data, separated by commas")
    parser.add_argument("--out", default="", help="a .json file for the figures")
    options = parser.parse_args()
    model, config, train, judge = opened(options.workdir)
    figures: dict[str, Any] = {"workdir": options.workdir, "model": model.digest, "source": config.data.source}
    for split in options.splits.split(","):
        data = open_dataset(config.data, split)
        captions = [of_one[0] for of_one in data.captions]
        kinds = {
            "drawn": model.sample(captions, list(range(len(captions))), cut_long=True),
            "real": np.asarray(data.images),
        }
        kinds |= {"decoded": decoded(model, kinds["real"]), "copied": copied(train, captions)}
        for kind, images in kinds.items():
            if images is not None:
                found = measure(judge, images, data, train)
                figures.setdefault(split, {})[kind] = found
                shown = {name: value for name, value in found.items() if name != "each"}
                print(line(f"{split:<16}{kind:<9}", shown), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
