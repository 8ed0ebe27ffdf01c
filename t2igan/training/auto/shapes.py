"""The shapes that a training can have: size and networks, what a picture costs in each phase, how few are worth it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from t2igan.config import get_config
from t2igan.training.auto.facts import MachineFacts

# FLOP/s of a phase's step as XLA counts them before it simplifies, against those of 3x3 convolutions alone: 0.87 for
# the game of base.py on two quiet cores (docs/performance.md), and about these for the phases of toon64.py.
EFFICIENCY = {"autoencoder": 0.7, "text": 0.3, "generator": 0.45, "adversarial": 0.6}
SCALING = 0.85  # of each further device


@dataclasses.dataclass(frozen=True)
class Shape:
    """A size of pictures with networks for it.

    Attributes:
      name: what it is called in what is printed.
      preset: the configuration that it begins with; `changes` are dotted keys of it.
      size_px: of the pictures.
      gflop: multiplications and additions for a picture, by phase, as XLA counts them (`train --dry_run`), in 1e9.
      least_images: pictures of each phase below which it is not worth it.
      memory_mb: of a device, at the preset's batch of the game; an estimate.
    """

    name: str
    preset: str
    size_px: int
    gflop: Mapping[str, float]
    least_images: Mapping[str, int]
    memory_mb: int
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def on_codes(self) -> bool:
        """Whether the game is played on an autoencoder's codes."""
        return "autoencoder" in self.gflop

    @functools.cached_property
    def compute_dtype(self) -> str:
        """In which type its preset computes."""
        return self.config().compute_dtype

    def config(self) -> ConfigDict:
        """Returns its configuration, unlocked."""
        config = get_config(self.preset).copy_and_resolve_references().unlock()
        config.update_from_flattened_dict(dict(self.changes))
        return config


_LARGE = {"autoencoder": 300_000, "text": 200_000, "generator": 200_000, "adversarial": 400_000}
_SMALL = {"text": 16_000, "generator": 16_000, "adversarial": 16_000}
_LEVELS_64 = {
    "data.image_size_px": 64,
    "generator.channels": (384, 384, 256),
    "discriminator.channels": (384, 384, 256),
    "inverter.channels": (192, 128, 96),
    "image_encoder.channels": (192, 128),
}
_CODES_128 = {  # those of emoji128.py: as many places as at 64 px, of twice as many numbers
    "data.image_size_px": 128,
    "space.factor": 8,
    "space.channels": 32,
    "space.encoder_channels": (64, 48),
    "space.decoder_channels": (128, 64, 32),
    "image_encoder.patch_px": 4,
}
# From the most wanted on. The numbers are of `train --dry_run`, rounded; "generator" is by regression.
SHAPES = (
    Shape(
        "wide networks on codes, 256 px", "gpu256", 256,
        {"autoencoder": 46.3, "text": 0.7, "generator": 12.0, "adversarial": 60.4}, _LARGE, 12_000,
    ),
    Shape(
        "wide networks on codes, 128 px", "gpu128", 128,
        {"autoencoder": 29.8, "text": 0.67, "generator": 12.0, "adversarial": 60.2}, _LARGE, 12_000,
    ),
    Shape(
        "wide networks on codes, 64 px", "gpu128", 64,
        {"autoencoder": 7.2, "text": 0.41, "generator": 6.0, "adversarial": 30.0}, _LARGE, 6_000, _LEVELS_64,
    ),
    Shape(
        "small networks on codes, 128 px", "folder64", 128,
        {"autoencoder": 2.35, "text": 0.045, "generator": 0.14, "adversarial": 0.61},
        {"autoencoder": 64_000, "text": 48_000, "generator": 200_000, "adversarial": 16_000}, 600, _CODES_128,
    ),
    Shape(
        "small networks on codes, 64 px", "folder64", 64,
        {"autoencoder": 0.97, "text": 0.052, "generator": 0.136, "adversarial": 0.6},
        {"autoencoder": 10_000, "text": 16_000, "generator": 16_000, "adversarial": 8_000}, 400,
    ),
    Shape(
        "small networks on pixels, 32 px", "folder", 32,
        {"text": 0.065, "generator": 0.13, "adversarial": 0.564}, _SMALL, 200,
    ),
    Shape(
        "small networks on pixels, 16 px", "base", 16,
        {"text": 0.0385, "generator": 0.09, "adversarial": 0.388}, _SMALL, 150,
    ),
)  # fmt: skip


def predicted_images_s(shape: Shape, phase: str, machine: MachineFacts) -> float:
    """Returns how many pictures a second a phase is expected to take, before any of its steps was run."""
    fastest = machine.float32_flop_s
    if shape.compute_dtype == "bfloat16":
        fastest = max(fastest, machine.bfloat16_flop_s)
    devices = 1 + SCALING * (machine.devices - 1)
    return EFFICIENCY[phase] * fastest * devices / (1e9 * shape.gflop[phase])


def least_s(shape: Shape, machine: MachineFacts) -> float:
    """Returns the seconds in which a shape has seen as few pictures as are worth it."""
    return sum(shape.least_images[phase] / predicted_images_s(shape, phase, machine) for phase in shape.gflop)
