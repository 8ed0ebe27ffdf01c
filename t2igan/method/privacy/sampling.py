"""Batches of private pictures: each picture takes part in an update with the same probability, or does not.

Accounting is for this Poisson sampling; shuffled epochs are not covered by its figures (Chua et al. 2024,
arXiv:2403.17673). The sample is secret, as the noise is, so both come from the system's entropy: a batch is no function
of the step, and two trainings are never the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from t2igan.method.privacy import noise


@dataclasses.dataclass(frozen=True)
class PoissonBatches:
    """The batch of a step: for each update of the discriminator a sample of the pictures, padded, and its noise.

    Attributes:
      images: uint8 [N, H, W, C], the private pictures.
      tokens: rows of all captions, which are public.
      first_caption: int [N], the row of a picture's first caption.
      num_captions: int [N], of a picture's captions, which stand one after another.
      seed: of what is public: which captions the generator draws.
      updates: of the discriminator a step.
      batch_images: pictures of an update on average.
      public_captions: that the generator draws for each update of the discriminator, and for its own.
      noise_values: parameters of the discriminator, each of which gets noise.
      multiple: rows of a batch are a multiple of this.
      means: rows of captions -> uint8 [_, H, W, C], pictures that are public by now; None = there are none.
    """

    images: Any
    tokens: np.ndarray
    first_caption: np.ndarray
    num_captions: np.ndarray
    seed: int
    updates: int
    batch_images: int
    public_captions: int
    noise_values: int
    multiple: int = 8
    means: Callable[[np.ndarray], np.ndarray] | None = None

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        """Returns a new batch for a step; never the same twice.

        "images" uint8 [U, P, H, W, C] and "tokens" [U, P, T]: the samples of U updates, "mask" float32 [U, P], 0 for
        padding. "noise" float32 [U, V], standard normals. "public_tokens" [U + 1, B, T]: captions for the generator;
        "means" uint8 [B, H, W, C], where there are any: the pictures of the last of them.
        """
        random = np.random.default_rng([self.seed % 2**64, step])
        # First: what is drawn after them depends on the sample, and these must not.
        public = random.integers(len(self.tokens), size=(self.updates + 1, self.public_captions))
        samples = [noise.drawn(len(self.images), self.batch_images / len(self.images)) for _ in range(self.updates)]
        room = self.room(max(map(len, samples)))
        rows = np.zeros((self.updates, room), np.int64)
        mask = np.zeros((self.updates, room), np.float32)
        for i, sample in enumerate(samples):
            rows[i, : len(sample)], mask[i, : len(sample)] = sample, 1.0
        flat = rows.reshape(-1)
        captions = self.first_caption[flat] + random.integers(self.num_captions[flat])
        images = np.asarray(self.images[flat])
        return {
            "images": images.reshape(*rows.shape, *images.shape[1:]),
            "tokens": self.tokens[captions].reshape(*rows.shape, -1),
            "mask": mask,
            "noise": np.stack([noise.standard_normals(self.noise_values) for _ in range(self.updates)]),
            "public_tokens": self.tokens[public],
        } | ({} if self.means is None else {"means": self.means(public[-1])})

    def room(self, num: int = 0) -> int:
        """Returns the rows of a batch that has room for `num` pictures.

        As a rule it is the mean and four standard deviations, one size for all batches, since each size is compiled.
        The rare larger batch gets its half more; no picture is ever left out.
        """
        usual = self.batch_images + 4 * math.sqrt(self.batch_images)
        while usual < num:
            usual *= 1.5
        return -(-math.ceil(usual) // self.multiple) * self.multiple
