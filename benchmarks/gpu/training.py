"""Trains a configuration on its own data for so many seconds, to a snapshot and a sheet that are brought back."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import jax

import t2igan
from benchmarks.gpu.__main__ import append
from benchmarks.timing import load
from t2igan.data import open_datasets, split_names
from t2igan.data.peek import peek
from t2igan.method.phases import PHASES
from t2igan.training.auto import machine
from t2igan.training.auto.facts import data_facts
from t2igan.training.auto.lengths import phase_images
from t2igan.training.distributed import parallel

STOPS_BEFORE_S = 20.0  # of its time: to save, and to copy what there is
USED = 0.8  # of the time that is left after the steps were timed and compiled: sheets, codes and saving need some, too


def fitted(config: Any, seconds: float, begun: float, tiny: bool) -> tuple[Any, dict[str, Any]]:
    """Returns the configuration with phases of lengths that fit, and what was measured for it."""
    seen = peek(config.data)
    assert seen is not None
    opened = open_datasets(config.data, split_names(config.data))
    facts = data_facts(seen, opened, config.tokenizer)
    rates = machine.timed(config)
    compile_s = sum(rate.compile_s for rate in rates.values())
    left_s = USED * (seconds - (time.perf_counter() - begun) - compile_s)
    batches = {phase: config[PHASES[phase].section].batch_images for phase in config.phases}
    images = phase_images(config.phases, facts, rates, max(left_s, 1.0), batches)
    for phase, num in images.items():
        config[PHASES[phase].section].update(steps=2 if tiny else 0, images=num, epochs=0.0)
    # A sheet and a snapshot on the way, should the time end before the training does.
    config.sample.every_images = max(images["adversarial"] // 3, 1)
    config.checkpoint.every_images = 0
    config.evaluate.update(every_images=0, at_end=False)
    config.guard.num_images = 0
    said = {phase: {"images": images[phase], "images_s": round(rates[phase].images_s, 1)} for phase in images}
    return config, {"phases": said, "compile_s": round(compile_s, 1)}


def kept(workdir: Path, out: Path, name: str) -> dict[str, str]:
    """Copies the snapshot and the last sheet to where they are brought back from; returns their names."""
    found = {}
    sheets = sorted((workdir / "samples").glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    for what, path in (("safetensors", workdir / "snapshot.safetensors"), ("png", sheets[-1] if sheets else None)):
        if path is not None and path.is_file():
            shutil.copy(path, out / f"{name}.{what}")
            found[what] = f"{name}.{what}"
    return found


def main() -> None:
    """Trains, and brings back whatever there is when the time is over."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--config", default="emoji64")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--tiny", action="store_true")
    given = arguments.parse_args()
    begun = time.perf_counter()
    stop_after(given.seconds - STOPS_BEFORE_S)
    parallel.start(1)
    name = "emoji" if given.config.startswith("emoji") else Path(given.config).stem
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        config = load(given.config).copy_and_resolve_references().unlock()
        if given.tiny:
            config = shrunk(config)
        config, row = fitted(config, given.seconds, begun, given.tiny)
        row = {"part": "training", "config": given.config, "device": jax.devices()[0].device_kind} | row
        append(given.out, row | {"part": "training, as it was begun"})
        print(json.dumps(row), flush=True)
        reason = ""
        try:
            t2igan.train(config.lock(), workdir)
        except KeyboardInterrupt as error:
            reason = str(error) or "stopped"
        finally:
            row |= {"seconds": round(time.perf_counter() - begun, 1), "whole": not reason, "stopped": reason}
            append(given.out, row | kept(workdir, given.out, name))


def stop_after(seconds: float) -> None:
    """Has this process asked to stop after so many seconds, as by Ctrl-C: a training then saves before it ends."""

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)  # the training has a gentler handler while it runs
    timer = threading.Timer(max(seconds, 1.0), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()


def shrunk(config: Any) -> Any:
    """Returns the configuration with networks of a few channels."""
    config.space.update(encoder_channels=(8,), decoder_channels=(8, 8), blocks=1)
    config.text_encoder.update(width=8, layers=1, heads=2, pooling_queries=2, sentence_dim=8)
    for section in ("generator", "discriminator", "inverter", "image_encoder"):
        config[section].channels = (8,) * len(config[section].channels)
    config.generator.update(z_dim=4, style_dim=8, attention_heads=2)
    config.discriminator.features = config.image_encoder.features = 8
    config.sample.update(num_captions=2, num_seeds=2)
    for section in {PHASES[phase].section for phase in config.phases}:
        config[section].batch_images = 8
    return config


if __name__ == "__main__":
    main()
