"""How feature extractors learn."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 2  # of what a cache file means: to be raised when an extractor learns differently
SEED = 715_827_883  # of the extractors alone; the GAN's is config.seed


@dataclass(frozen=True)
class Settings:
    """How extractors learn; part of the key of their cache files. The defaults fit the embedded data on a CPU."""

    classifier_steps: int = 1000
    classifier_batch_images: int = 64
    classifier_learning_rate: float = 2e-3
    classifier_noise: float = 0.1  # added to pictures in [-1, 1], so that a slightly wrong shade is no surprise
    probe_steps: int = 300
    probe_batch_images: int = 128
    probe_learning_rate: float = 2e-3
    features: int = 128
    max_images: int = 50_000  # of the training split, chosen by SEED, in the order of the split
