"""Draws pictures of a snapshot on one device; on the second of two, compares them with the first one's."""

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
from t2igan import nets
from t2igan.data import open_dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.inference.pictures import save_png, sheet
from t2igan.inference.sample import from_snapshot
from t2igan.inference.snapshot import Snapshot

CAPTIONS, SEEDS = 32, 4


def random_snapshot(tiny: bool) -> Snapshot:
    """Returns base.py with weights drawn by NumPy, the same on every machine, so that all parts of it matter."""
    config = t2igan.get_config("base").copy_and_resolve_references()
    data = open_dataset(config.data, "test")
    with config.unlocked():
        if tiny:
            config.generator.channels = (8, 8, 8)
    t = config.tokenizer
    tokenizer = Tokenizer.train([c for of_one in data.captions for c in of_one], t.vocab_size, t.max_tokens)
    networks = nets.build(config, tokenizer.vocab_size)

    def init(key: Any) -> Any:
        text, params = networks.text_encoder.init_with_output(key, np.ones((1, t.max_tokens), np.int32))
        z = np.zeros((1, networks.z_dim), np.float32)
        return {"text": params, "generator": networks.generator.init(key, z, text)}

    random = np.random.default_rng(0)
    shapes = jax.eval_shape(init, jax.random.key(0))

    def drawn(like: Any) -> np.ndarray:
        fan_in = int(np.prod(like.shape[:-1])) if len(like.shape) > 1 else 100
        return (random.normal(size=like.shape) / fan_in**0.5).astype(np.float32)

    info = {"step": 0, "t2igan": t2igan.__version__, "data": data.name}
    return Snapshot(jax.tree.map(drawn, shapes), config.to_dict(), tokenizer.to_json(), {}, info)


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
    arguments.add_argument("--snapshot", type=Path)
    arguments.add_argument("--tiny", action="store_true")
    given = arguments.parse_args()
    model = t2igan.load(given.snapshot) if given.snapshot else from_snapshot(random_snapshot(given.tiny))
    captions = [of_one[0] for of_one in open_dataset("base", "test").captions]
    captions = captions[:: max(len(captions) // CAPTIONS, 1)][: 4 if given.tiny else CAPTIONS]
    prompts = [caption for caption in captions for _ in range(SEEDS)]
    seeds = list(range(SEEDS)) * len(captions)
    kept = given.out / "pictures_cpu.npy"
    if given.role == "cpu":
        np.save(kept, model.sample(prompts, seed=seeds, cut_long=True))
        return
    append(given.out, environment())
    expected = np.load(kept)
    # As people use it, and as the CPU computes: products of float32 are not rounded to TF32 before.
    for precision in ("default", "highest"):
        with jax.default_matmul_precision(precision):
            found = model.sample(prompts, seed=seeds, cut_long=True)
        of = str(given.snapshot) if given.snapshot else "base.py, weights drawn at random"
        row = {"part": f"pictures, precision {precision}", "snapshot": of, "device": jax.devices()[0].device_kind}
        append(given.out, row | compared(expected, found))
        jax.clear_caches()
    both = np.concatenate([expected[::SEEDS], found[::SEEDS]], axis=2)
    save_png(given.out / "pictures.png", sheet(both[:16], captions[:16], columns=4))


if __name__ == "__main__":
    main()
