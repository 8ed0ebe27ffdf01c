"""Draws pictures of snapshots on one device; on the second of two, compares them with the first one's."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

import t2igan
from benchmarks.gpu.__main__ import append
from t2igan.config import from_dict
from t2igan.errors import UserError
from t2igan.inference.pictures import save_png, sheet

CAPTIONS, SEEDS = 32, 4
NO_DATA = ("a person", "a red cap", "a blue house", "green")  # for a snapshot whose data is not on this machine


def captions_of(model: Any, num: int) -> list[str]:
    """Returns captions of a model's test split, evenly over it."""
    config = from_dict(model.config)
    try:
        captions = [of_one[0] for of_one in t2igan.open_dataset(config, config.data.test_split).captions]
    except UserError:
        captions = list(NO_DATA)
    return captions[:: max(len(captions) // num, 1)][:num]


def environment() -> dict[str, Any]:
    """Returns what this machine is."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {
        "part": "environment", "device": device.device_kind, "devices": len(jax.devices()),
        "memory_gb": round(stats.get("bytes_limit", 0) / 1e9, 1), "python": platform.python_version(), **versions,
    }  # fmt: skip


def compared(expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Returns how far uint8 pictures are from each other, in levels of 255."""
    levels = np.abs(expected.astype(int) - found.astype(int))
    return {
        "pictures": len(levels), "most_levels": int(levels.max()), "mean_levels": round(float(levels.mean()), 4),
        "equal_values": round(float((levels == 0).mean()), 4),
        "within_one_level": round(float((levels <= 1).mean()), 4),
    }  # fmt: skip


def main() -> None:
    """Draws; as the device, compares."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--as", dest="role", choices=("cpu", "device"), required=True)
    arguments.add_argument("--snapshots", nargs="+", required=True)
    arguments.add_argument("--tiny", action="store_true")
    given = arguments.parse_args()
    if given.role == "device":
        append(given.out, environment())
    for number, name in enumerate(given.snapshots):
        model = t2igan.load(name)
        captions = captions_of(model, 4 if given.tiny else CAPTIONS)
        prompts, seeds = [c for c in captions for _ in range(SEEDS)], list(range(SEEDS)) * len(captions)
        kept = given.out / f"pictures_cpu_{number}.npy"
        if given.role == "cpu":
            np.save(kept, model.sample(prompts, seed=seeds, cut_long=True))
            continue
        expected = np.load(kept)
        # As people use it; and as the CPU computes, where products of float32 are not rounded to TF32 before.
        for precision in ("default", "highest"):
            with jax.default_matmul_precision(precision):
                found = model.sample(prompts, seed=seeds, cut_long=True)
            row = {"part": "pictures", "snapshot": name, "precision": precision, "device": jax.devices()[0].device_kind}
            append(given.out, row | compared(expected, found))
        both = np.concatenate([expected[::SEEDS], found[::SEEDS]], axis=2)
        save_png(given.out / f"pictures_{number}.png", sheet(both[:16], captions[:16], columns=4))
        kept.unlink()


if __name__ == "__main__":
    main()
