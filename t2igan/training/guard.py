"""The guard: notices that a training fails, names the sign, and may go back to the last good checkpoint.

Three ways of failing are seen: a value that is not finite; a discriminator that knows its training pictures by heart;
a generator that draws the same whatever it is asked for. What is done about it is in `config.guard`: say so, or go back
and go on at a lower rate, so many times.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.data.dataset import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.files import write_json
from t2igan.method.phases import PHASES
from t2igan.method.techniques.regularize import NORMALISATIONS
from t2igan.nets import Networks

ROLLBACKS_NAME = "rollbacks.json"
FEWEST_PICTURES = 8  # of each split, for a verdict: the spread of one picture is 0 whoever draws
LEARNING_RATES = ("generator_learning_rate", "discriminator_learning_rate", "text_learning_rate")


class Collapse(UserError):
    """A training that failed, as was seen after `step` steps; a lower learning rate may mend it."""

    def __init__(self, reason: str, step: int):
        super().__init__(reason)
        self.step = step


@dataclasses.dataclass(frozen=True)
class Guard:
    """What the guard looks at: as many training and held-out pictures, always the same, with their captions."""

    networks: Networks
    normalisation: str
    train: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]

    @classmethod
    def create(cls, config, networks: Networks, tokenizer: Tokenizer, train: Dataset, held_out: Dataset) -> Guard:
        """Reads `config.guard.num_images` pictures of each split."""
        num = min(config.guard.num_images, len(train), len(held_out))

        def some(data: Dataset) -> dict[str, np.ndarray]:
            rows = np.random.default_rng(0).permutation(len(data))[:num]
            return {"images": data.images[rows], "tokens": tokenizer.encode([data.captions[row][0] for row in rows])}

        return cls(networks, config.discriminator.normalisation, some(train), some(held_out))

    @property
    def num_images(self) -> int:
        """How many pictures there are of each."""
        return len(self.train["images"])

    def measure(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Returns the signs of collapse of the networks in `params`:

        "guard/overfit": (E D(train) - E D(held out)) / (E D(train) - E D(fake)), 0 where held-out pictures look as real
          as training pictures, 1 where they look like generated ones (Karras et al. 2020, arXiv:2006.06676, eq. 1).
        "guard/sign_train", "guard/sign_held_out": E sign(D) on both.
        "guard/spread": the variance of drawings of different captions over that of their real pictures; 0 = all alike.
        "guard/diversity": mean squared difference of two drawings of a caption, in units of [-1, 1].
        """
        figures = _signs(self.networks, self.normalisation, dict(params), self.train, self.held_out)
        return {f"guard/{name}": float(value) for name, value in jax.device_get(figures).items()}


def verdict(settings: Any, figures: Mapping[str, float]) -> str | None:
    """Returns what is wrong with the figures of `Guard.measure` by the limits in `config.guard`, in a line, or None."""
    overfit, spread = figures["guard/overfit"], figures["guard/spread"]
    if settings.max_overfit and overfit > settings.max_overfit:
        return (
            f"guard/overfit is {overfit:.2f}, above {settings.max_overfit:g}: the discriminator knows its training "
            f"pictures by heart. More pictures, config.augment.probability=0.3 or a larger penalty_weight may help"
        )
    if spread < settings.min_spread:
        return (
            f"guard/spread is {spread:.2f}, below {settings.min_spread:g}: the generator draws the same for different "
            f"captions (mode collapse). Lower learning rates or a larger penalty_weight may help"
        )
    return None


def lowered(config, workdir: Path, phase: str):
    """Returns the configuration with the learning rates of a phase lowered as often as it was rolled back."""
    times = len(rollbacks(workdir, phase))
    if not times:
        return config
    config = config.copy_and_resolve_references()
    section = config[PHASES[phase].section]
    for key in LEARNING_RATES:
        if key in section:
            section[key] *= config.guard.rate_factor**times
    return config


def roll_back(settings: Any, workdir: Path, phase: str, collapse: Collapse, kept: int) -> int:
    """Notes that a phase goes back to the checkpoint of step `kept`; returns how often it now has.

    Raises:
      Collapse: the same again, if the phase may not go back, or no more.
    """
    if not may_roll_back(settings, workdir, phase):
        raise collapse
    now = [
        *rollbacks(workdir, phase),
        {"from_step": collapse.step, "to_step": kept, "reason": str(collapse).splitlines()[0]},
    ]
    path = workdir / ROLLBACKS_NAME
    everything = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, everything | {phase: now})
    return len(now)


def may_roll_back(settings: Any, workdir: Path, phase: str) -> bool:
    """Whether a phase is one that can go back, and has not gone as often as it may."""
    return PHASES[phase].game and len(rollbacks(workdir, phase)) < settings.rollbacks


def rollbacks(workdir: Path, phase: str) -> list[dict[str, Any]]:
    """Returns what is noted of a phase: "from_step", "to_step" and "reason" of each rollback."""
    path = workdir / ROLLBACKS_NAME
    return json.loads(path.read_text(encoding="utf-8")).get(phase, []) if path.is_file() else []


@functools.partial(jax.jit, static_argnums=(0, 1))
def _signs(networks: Networks, normalisation: str, params, train, held_out) -> dict[str, jax.Array]:
    weights = NORMALISATIONS[normalisation](params["discriminator"])
    read = lambda tokens: networks.text_encoder.apply(params["text"], tokens)
    score = lambda x, text, *images: networks.discriminator.apply(weights, networks.judged(params, x, *images), text)
    real, unseen = (networks.to_network(params, split["images"]) for split in (train, held_out))
    text = read(held_out["tokens"])
    z = jax.random.normal(jax.random.key(0), (2, len(unseen), networks.z_dim))
    fake, other = (networks.generator.apply(params["generator"], noise, text) for noise in z)
    on_train = score(real, read(train["tokens"]), train["images"])
    on_unseen, on_fake = score(unseen, text, held_out["images"]), score(fake, text)
    gap = on_train.mean() - on_fake.mean()
    return {
        "overfit": jnp.where(gap > 1e-6, (on_train.mean() - on_unseen.mean()) / jnp.maximum(gap, 1e-6), 0.0),
        "sign_train": jnp.sign(on_train).mean(),
        "sign_held_out": jnp.sign(on_unseen).mean(),
        "spread": fake.var(0).mean() / jnp.maximum(unseen.var(0).mean(), 1e-6),
        "diversity": ((fake - other) ** 2).mean(),
    }
