"""How much noise changes in the drawings of a caption, and whether they still are of the caption.

    python -m benchmarks.variety --workdirs=models/noto_emoji,runs/varied --split=heldout_combo --truncations=1,2

Captions are the first of a split, each drawn with the same six seeds. Figures, for each run and truncation:

    within     the variance of a caption's drawings over its seeds, summed over all values, the mean over captions: in
               `codes`, what the generator draws, where the run plays on codes, and in `pixels` of [-1, 1]
    share      that as a share of the variance between captions, of the means over seeds
    times      that variance as a multiple of the first run's at its first truncation
    nearest    how often the caption's own picture is the nearest to a drawing of all real ones, at 16 x 16; among
               those of the training pictures and of the split
    l1, edges  as in `benchmarks.judge64`

Where each caption has one picture, nothing says how different its drawings should be.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import t2igan
from benchmarks.judge64 import laplacian, small
from t2igan.data import open_dataset
from t2igan.evaluation.runs import configuration
from t2igan.inference.drawing import noise, to_bytes
from t2igan.inference.pictures import save_png, sheet

SEEDS = 6
BATCH = 64


@functools.partial(jax.jit, static_argnums=0)
def _draw(networks: Any, params: Any, rows: jax.Array, seeds: jax.Array, truncation: float) -> tuple[jax.Array, ...]:
    """Returns codes, pixels and pictures of captions and seeds."""
    text = networks.text_encoder.apply(params["text"], rows)
    codes = networks.generator.apply(params["generator"], truncation * noise(seeds, networks.z_dim), text)
    pixels = networks.to_pixels(params, codes)
    return codes, pixels, to_bytes(pixels)


def drawings(model: Any, captions: Sequence[str], truncation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what is drawn, caption by caption: codes and pixels [N, SEEDS, H, W, C], pictures uint8 likewise."""
    everyone = [caption for caption in captions for _ in range(SEEDS)]
    seeds = np.tile(np.arange(SEEDS, dtype=np.uint32), len(captions))
    parts = []
    for start in range(0, len(everyone), BATCH):
        rows = model.tokenizer.encode(everyone[start : start + BATCH])
        extra = BATCH - len(rows)
        rows = np.pad(rows, [(0, extra)] + [(0, 0)] * (rows.ndim - 1), mode="edge")
        drawn = _draw(model.networks, model.params, rows, np.pad(seeds[start : start + BATCH], (0, extra)), truncation)
        parts.append([np.asarray(x)[: BATCH - extra] for x in drawn])
    codes, pixels, images = (np.concatenate(of) for of in zip(*parts, strict=True))
    shaped = [x.reshape(len(captions), SEEDS, *x.shape[1:]) for x in (codes, pixels, images)]
    return shaped[0], shaped[1], shaped[2]


def variances(x: np.ndarray) -> tuple[float, float]:
    """Returns the variance within captions and that between their means, of [captions, seeds, ...], over all values."""
    x = x.reshape(*x.shape[:2], -1).astype(np.float64)
    return float(x.var(1, ddof=1).sum(-1).mean()), float(x.mean(1).var(0, ddof=1).sum())


def own_is_nearest(images: np.ndarray, real: np.ndarray, others: np.ndarray) -> float:
    """Returns how often the caption's own picture, of `real`, is the nearest; uint8 [captions, seeds, H, W, C]."""
    x = small(images.reshape(-1, *images.shape[2:]))
    candidates = small(np.concatenate([real, others]))
    found = ((candidates**2).sum(1) - 2 * x @ candidates.T).argmin(1)
    return float((found == np.repeat(np.arange(len(images)), images.shape[1])).mean())


def measure(drawn: Sequence[np.ndarray], real: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Returns the figures of what `drawings` gave for the captions of `real` pictures."""
    codes, pixels, images = drawn
    figures = {}
    for name, x in (("codes", codes), ("pixels", pixels)):
        within, between = variances(x)
        figures |= {f"within_{name}": within, f"share_{name}": within / between}
    flat = images.reshape(-1, *images.shape[2:])
    repeated = np.repeat(real, images.shape[1], axis=0)
    return figures | {
        "nearest": own_is_nearest(images, real, others),
        "l1": float(np.abs(flat.astype(np.float32) - repeated).mean()),
        "edges": laplacian(flat) / laplacian(repeated),
    }


def main() -> None:
    """Measures runs, prints the figures, and writes them and a sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdirs", required=True, help="runs' folders or snapshots, separated by commas")
    parser.add_argument("--split", default="val", help="of the first one's data")
    parser.add_argument("--num", type=int, default=64, help="captions, at most")
    parser.add_argument("--truncations", default="1", help="factors of the noise, separated by commas, at most 2")
    parser.add_argument("--out", default="", help="a .json file for the figures")
    parser.add_argument("--sheet", default="", help="a .png file: the first four captions, six seeds each, of each")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    shown, lines = [], []
    for workdir in options.workdirs.split(","):
        model = t2igan.load(workdir)
        config = configuration(workdir, model)
        data = open_dataset(config.data, options.split)
        captions, real = [of[0] for of in data.captions[: options.num]], np.asarray(data.images)[: options.num]
        train = open_dataset(config.data, config.data.train_split)
        others = np.concatenate([np.asarray(data.images)[options.num :], np.asarray(train.images)])
        for truncation in map(float, options.truncations.split(",")):
            drawn = drawings(model, captions, truncation)
            figures = measure(drawn, real, others)
            base = results[0] if results else figures
            figures |= {
                f"times_{name}": figures[f"within_{name}"] / base[f"within_{name}"] for name in ("codes", "pixels")
            }
            results.append({"workdir": workdir, "truncation": truncation, "split": options.split} | figures)
            print(f"{workdir} x {truncation}: " + "  ".join(f"{n} {v:.4g}" for n, v in figures.items()), flush=True)
            shown.append(drawn[2][:4].reshape(-1, *real.shape[1:]))
            lines += [f"{caption}  [{Path(workdir).name}, noise x {truncation:g}]" for caption in captions[:4]]
    if options.out:
        Path(options.out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.sheet:
        save_png(Path(options.sheet), sheet(np.concatenate(shown), lines, columns=SEEDS, scale=1))


if __name__ == "__main__":
    main()
