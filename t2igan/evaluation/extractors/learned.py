"""What learned extractors share: which pictures they learn from, in which order, and the file that keeps the result.

A file's name holds a hash of pictures, captions, tokenizer and settings; a damaged file is learned anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Int, UInt8

from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.evaluation.extractors.extractor import read_shrunk
from t2igan.evaluation.extractors.settings import SEED, Settings
from t2igan.inference.console import progress_bar
from t2igan.inference.files import write_tensors

Progress = Callable[[str, int, int], None]  # which extractor, steps done, steps in all

FORMAT = "t2igan extractors"
SCALE_IMAGES = 1024  # training pictures whose features are given unit variance, on average over features

log = logging.getLogger(__name__)


class Learned:
    """The parameters of one extractor: at hand, else read from its file, else learned now and kept."""

    def __init__(self, name: str, folder: Path, facts: list, learn: Callable[[], Any]):
        self.key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self.path = Path(folder) / f"{name}-{self.key}.safetensors"
        self._learn = learn
        self._params: Any = None

    def params(self) -> Any:
        """Returns nested dictionaries of arrays."""
        if self._params is None:
            self._params = read(self.path, self.key)
        if self._params is None:
            self._params = jax.device_get(self._learn())
            try:
                write(self.path, self.key, self._params)
            except UserError as error:  # a read-only folder is no reason not to evaluate
                log.warning("the feature extractors are not kept: %s", error)
        return self._params


class LearnedExtractor:
    """An extractor that learns from the training split: its parts, and the file with what it has learned."""

    name = ""

    def __init__(
        self, train: Dataset, px: int, folder: Path, settings: Settings, progress: Progress | None, facts: list
    ):
        """Learns nothing yet; `facts` are what decides what is learned."""
        self._train = train
        self._px = px
        self._settings = settings
        self._progress = progress
        self._learned = Learned(self.name, folder, facts, self._learn)
        self.path, self.key = self._learned.path, self._learned.key

    def learn(self) -> None:
        """Reads or learns now what is needed."""
        self._learned.params()

    def _learn(self) -> Any:
        raise NotImplementedError


def training_rows(length: int, max_images: int) -> Int[np.ndarray, " n"]:
    """Returns the rows of a training split that extractors learn from: all, or `max_images` by their own seed."""
    if length <= max_images:
        return np.arange(length)
    return np.sort(np.random.default_rng(SEED).permutation(length)[:max_images])


def training_pictures(train: Dataset, rows: np.ndarray, size_px: int) -> UInt8[np.ndarray, "n s s C"]:
    """Returns the pictures that extractors learn from, at the size at which they look."""
    return read_shrunk(train.images, rows, size_px)


def shuffled(length: int, batch_images: int, seed: int) -> Iterator[np.ndarray]:
    """Yields rows of batches without end; every epoch is shuffled anew, batches run across epochs."""
    random = np.random.default_rng(seed)
    rows = np.empty(0, np.int64)
    batch_images = min(batch_images, length)
    while True:
        while len(rows) < batch_images:
            rows = np.concatenate([rows, random.permutation(length)])
        yield rows[:batch_images]
        rows = rows[batch_images:]


def unit_scale(features: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.float32:
    """What features are multiplied by: a network's own scale is arbitrary, and so would be any distance."""
    rows = next(shuffled(len(images), SCALE_IMAGES, SEED))
    return np.float32(1 / max(features(images[rows]).var(0).mean() ** 0.5, 1e-6))


def say_how_far(progress: Progress | None, name: str, done: int, total: int, wait_for: Any) -> None:
    """Says now and then how far an extractor has learned."""
    if progress and (done % 50 == 0 or done == total):
        jax.block_until_ready(wait_for)  # a step is started in no time; say only what is done
        progress(name, done, total)


class Bar:
    """Shows how far an extractor has learned, as a progress bar that goes away."""

    def __init__(self):
        self._bar = None

    def __call__(self, name: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = progress_bar(desc=f"learning the extractor {name!r}", total=total, unit="step", leave=False)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()
            self._bar = None


def read(path: Path, key: str) -> dict[str, Any] | None:
    """Returns what a cache file holds, None where there is none or it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        log.warning("%s is damaged and is made anew: %s", path, error)
        return None
    if metadata != _metadata(tensors, key):
        log.warning("%s is not what was written and is made anew", path)
        return None
    return unflatten_dict(tensors, sep="/")


def write(path: Path, key: str, params: Mapping[str, Any]) -> None:
    """Writes the cache file, whole or not at all; UserError where that fails."""
    tensors = {name: np.asarray(x, order="C") for name, x in flatten_dict(params, sep="/").items()}
    write_tensors(path, tensors, _metadata(tensors, key))


def _metadata(tensors: Mapping[str, np.ndarray], key: str) -> dict[str, str]:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape} ".encode())
        digest.update(tensors[name].tobytes())
    # One entry, because the library writes several in any order, and equal extractors shall be equal files.
    return {FORMAT: f"{key} {digest.hexdigest()}"}
