"""Mean pictures with `config.privacy`: released once, with noise, and public from then on.

In the phase "generator" they stand where private pictures would, and in the game the generator can be held to them
(`config.loss.paired_weight`). What they are and why they are private is said in `t2igan.method.privacy.means`.

There are two Gaussian mechanisms, of pictures and of what they differ from the means that are known by then. With the
noise multipliers a and b these are together one with (1 / a^2 + 1 / b^2)^(-1/2), so one noise multiplier is shared out.

The release is written to the run's folder, then to its ledger, and then it is used. A process that is killed before the
first has released nothing, and one that is killed after it finds the release and takes it: it is spent exactly once.
"""

from __future__ import annotations

import dataclasses
import math
import zipfile
import zlib
from typing import Any

import jax
import numpy as np

from t2igan.config.values import total_steps
from t2igan.errors import UserError
from t2igan.inference.checkpoint import newest_step
from t2igan.inference.files import explain_write_errors, whole
from t2igan.method.phases.base import OwnBatches
from t2igan.method.phases.ledger import Ledger
from t2igan.method.privacy import means
from t2igan.method.privacy.accounting import Budget, settle

FILE_NAME = "privacy_means.npz"
NAMES = ("first", "rest")  # of what is in it
FIRST_SHARE = 0.1  # of 1 / a^2 + 1 / b^2


@dataclasses.dataclass(frozen=True)
class Means:
    """The mean picture of each training caption.

    Attributes:
      features: float32 [M, F], of the captions of all pictures, which stand one after another.
      weights: float32 [F, V].
      shape: of a picture.
    """

    features: np.ndarray
    weights: np.ndarray
    shape: tuple[int, ...]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Returns the pictures of captions by their numbers, uint8 [_, H, W, C]."""
        return means.pictures(self.features[rows], self.weights, self.shape)


def budget_of(config: Any, num_images: int) -> Budget:
    """Returns the budget of a configuration: for means, and for the length of its game, where it has these."""
    plays = "adversarial" in config.phases
    updates = total_steps(config.train, num_images) * config.train.discriminator_steps if plays else 0
    return settle(config.privacy, num_images, updates)


def of_run(run: Any) -> Means:
    """Returns a run's means: those that it has released, or else releases them.

    Raises:
      UserError: the budget does not do for means and the game after them, attributes are asked for and the data has
        none, or what was released is gone.
    """
    data, budget = run.train_data, budget_of(run.config, len(run.train_data))
    shape = tuple(data.images.shape[1:])
    if math.isinf(budget.epsilon):  # a plan without data releases nothing
        ones, blank = np.ones((len(_captions(run)), 1), np.float32), np.zeros((1, math.prod(shape)), np.float32)
        return Means(ones, blank, shape)
    features = _features(run)
    of_pictures = means.of_pictures(features, num_captions(run))
    release = Release.of(run.config.privacy, budget.means_noise, of_pictures, shape)
    return Means(features, release.weights(*_once(run, release, budget.means_noise)), shape)


def batches(run: Any, drawn: Means, batch_images: int) -> OwnBatches:
    """Returns batches of captions, drawn evenly, with their means."""
    tokens = tokens_of(run)
    seed = zlib.crc32(f"means {run.config.seed}".encode())

    def of_step(step: int) -> dict[str, np.ndarray]:
        rows = np.random.default_rng([seed, step]).integers(len(tokens), size=batch_images)
        return {"images": drawn(rows), "tokens": tokens[rows]}

    shapes = {name: jax.ShapeDtypeStruct(values.shape, values.dtype) for name, values in of_step(0).items()}
    return OwnBatches(shapes=shapes, of_step=of_step, taken=lambda number: None)  # noqa: ARG005


def require_one_device(run: Any) -> None:
    """Raises `UserError` where a private run has several devices."""
    if run.mesh.size > 1:
        raise UserError(
            f"config.privacy.epsilon={run.config.privacy.epsilon:g} trains on one device, and there are "
            f"{run.mesh.size}; set config.devices=1"
        )


def require_ledger(run: Any, phase: str) -> None:
    """Raises `UserError` where a phase has a checkpoint and the run no ledger."""
    ledger = Ledger(run.workdir)
    if newest_step(run.workdir / "checkpoints" / phase) and ledger.updates() is None:
        raise UserError(
            f"{ledger.path} is gone, so nobody knows what was spent; bring it back, or begin in a new --workdir"
        )


@dataclasses.dataclass(frozen=True)
class Release:
    """How sums of pictures, and sums of what these leave over, are released and read.

    Attributes:
      features: float32 [N, F], of pictures.
      gram: G.
      shape: of a picture.
      norms: C of pictures, and of what they differ from the means that are known by then.
      noises: their noise multipliers.
    """

    features: np.ndarray
    gram: np.ndarray
    shape: tuple[int, ...]
    norms: tuple[float, float]
    noises: tuple[float, float]

    @classmethod
    def of(cls, privacy: Any, noise: float, features: np.ndarray, shape: tuple[int, ...]) -> Release:
        """Returns the release with the noise multiplier `noise`, both together, of pictures of a shape."""
        norm = means.largest_norm(math.prod(shape))
        return cls(features, means.gram(features), shape, (norm, privacy.residual_norm * norm), shared_out(noise))

    def of_pictures(self, images: Any) -> tuple[np.ndarray, np.ndarray]:
        """Looks at private pictures, uint8 [N, H, W, C]; returns the two sums, float32 [F, V]."""
        first = means.released(self.features, images, self.norms[0], self.noises[0])
        rest = means.released(self.features, images, self.norms[1], self.noises[1], self._solved(0, first))
        return first, rest

    def weights(self, first: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Returns W."""
        return self._solved(0, first) + self._solved(1, rest)

    def _solved(self, number: int, sums: np.ndarray) -> np.ndarray:
        return means.solved(self.gram, sums, self.noises[number] * self.norms[number], self.shape)


def shared_out(noise_multiplier: float) -> tuple[float, float]:
    """Returns the noise multipliers of two Gaussian mechanisms that are together one with this."""
    return noise_multiplier / FIRST_SHARE**0.5, noise_multiplier / (1 - FIRST_SHARE) ** 0.5


def _once(run: Any, release: Release, noise: float) -> tuple[np.ndarray, ...]:
    """The two sums, read or made."""
    path, ledger = run.workdir / FILE_NAME, Ledger(run.workdir)
    spent, privacy = ledger.means_noise(), run.config.privacy
    if path.is_file():
        found = _read(path, (len(release.gram), math.prod(run.train_data.images.shape[1:])))
    elif spent:
        raise UserError(
            f"{path} is gone, and to release means again would spend as much again; bring it back, or begin in a new "
            f"--workdir"
        )
    else:
        found = release.of_pictures(run.train_data.images)
        _write(path, found)
        run.say(
            f"privacy: released for epsilon {privacy.means_epsilon:g} of {privacy.epsilon:g}: {len(release.gram):,} "
            f"sums of pictures, by features of their captions, and as many of what these leave over"
        )
    if not spent:
        ledger.write(ledger.updates() or 0, noise)
    return found


def _read(path: Any, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = tuple(file[name] for name in NAMES)
        if all(x.shape == shape and x.dtype == np.float32 and np.isfinite(x).all() for x in found):
            return found
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    raise UserError(
        f"{path} is not what this run has released: damaged, or of other captions; bring it back, or begin in a new "
        f"--workdir"
    )


def _write(path: Any, found: tuple[np.ndarray, ...]) -> None:
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{FILE_NAME}.*.unfinished"):  # of a process that was killed: nobody has seen it
            left.unlink()
        with whole(path, durable=True) as place, place.open("wb") as file:
            np.savez(file, **dict(zip(NAMES, found, strict=True)))


def _features(run: Any) -> np.ndarray:
    """Features of all captions, float32 [M, F]."""
    data, asked = run.train_data, run.config.privacy.means_features
    if asked == "attributes" and not data.attributes:
        raise UserError(
            "config.privacy.means_features='attributes' wants data with attributes, and this has none; set it to "
            "'phrases'"
        )
    if data.attributes and asked != "phrases":
        named = means.of_attributes(data.attributes)
        repeats = num_captions(run)
    else:
        named, repeats = means.of_tokens(run.tokenizer.own.encode(_captions(run))), 1
    return np.repeat(means.table(named, means.columns_of(named)), repeats, axis=0)


def num_captions(run: Any) -> np.ndarray:
    """Returns how many captions each training picture has, int64 [N]."""
    return np.array([len(captions) for captions in run.train_data.captions], np.int64)


def _captions(run: Any) -> list[str]:
    return [caption for captions in run.train_data.captions for caption in captions]


def tokens_of(run: Any) -> Any:
    """Returns the tokens of all training captions, one after another."""
    return run.tokenizer.table(_captions(run))
