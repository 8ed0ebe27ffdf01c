"""What all phases of a run share, and what they may do with it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import nets
from t2igan.data.dataset import Dataset
from t2igan.data.partial import PartialRows
from t2igan.data.seen import Seen
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.training.distributed import parallel, processes
from t2igan.training.logs import Logs, say
from t2igan.training.stopping import Interruption

HELD_OUT_PICTURES = 1024  # of the validation split, at most, that a phase is measured on
AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Run:
    """What all phases of a run share."""

    config: Any
    workdir: Path
    mesh: jax.sharding.Mesh
    train_data: Dataset
    val_data: Dataset  # what every choice and every figure on the way is made on
    test_data: Dataset  # measured once, at the end
    tokenizer: Tokenizer
    networks: nets.Networks  # to be applied to parameters that lie whole on one device
    extractors: FeatureExtractors
    logs: Logs
    interruption: Interruption = dataclasses.field(default_factory=Interruption)  # by Ctrl-C and the like

    @property
    def gathered_networks(self) -> nets.Networks:
        """The networks for a step that is compiled over the mesh, where parameters may be sharded."""
        return parallel.gathered(self.networks, self.mesh)

    @property
    def leads(self) -> bool:
        """Whether this process writes and evaluates, of several."""
        return processes.leads()

    @property
    def best_metric(self) -> tuple[str, bool]:
        """The metric by which the best checkpoint and average are kept, and whether lower is better."""
        metric = self.config.checkpoint.best_metric
        if not metric:
            metric = "attributes/mean" if self.extractors.vocabulary else "frechet_distance/probe"
        if not set(metric.split("/")) & set(self.extractors.by_name):
            raise UserError(
                f"config.checkpoint.best_metric={metric!r} cannot be had: the data has no attributes, or no weights "
                f'are given.\nSet it to "", or to frechet_distance/ and one of {", ".join(self.extractors.by_name)}'
            )
        return metric, metric.startswith(("frechet_distance", "kernel_distance"))

    @functools.cached_property
    def seen(self) -> dict[str, Any]:
        """What snapshots keep of the training captions, to warn of prompts with words that they did not have."""
        held_out = [of_one[0] for of_one in self.val_data.captions]
        captions = [caption for of_one in self.train_data.captions for caption in of_one]
        share = self.config.augment.partial_captions
        shortened = PartialRows(captions, share).captions if share else ()
        return Seen.of(captions, held_out, self.tokenizer.own, shortened).to_json()

    @property
    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of a batch of two in the space of the game: pictures, or their codes as float16."""
        if self.networks.space is None:
            return self.picture_shapes
        like, size = self.networks.space, self.train_data.images.shape[1]
        codes = (2, size // like.factor, size // like.factor, like.channels)
        return self.picture_shapes | {"images": jax.ShapeDtypeStruct(codes, np.float16)}

    @property
    def picture_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of a batch of two pictures."""
        images = self.train_data.images
        return {
            "images": jax.ShapeDtypeStruct((2, *images.shape[1:]), np.uint8),
            "tokens": jax.ShapeDtypeStruct((2, *self.tokenizer.row_shape), self.tokenizer.row_dtype),
        }

    def say(self, text: str) -> None:
        """Prints a line, where this process speaks."""
        say(text)

    def over_held_out_pictures(self, measure: Callable[[dict[str, np.ndarray], int], Iterable[Any]]) -> list[float]:
        """Returns means of what is measured of pictures of the validation split.

        Args:
          measure: (batch, its number) -> one or more arrays with a value for each picture. A batch has "images", uint8
            [64, H, W, C], "tokens", 64 rows of the tokenizer, and "rows", int [64], of the pictures in the split.
        """
        num = min(len(self.val_data), HELD_OUT_PICTURES)
        sums = None
        for number, start in enumerate(range(0, num, AT_ONCE)):
            rows = np.arange(start, start + AT_ONCE)
            counted = rows < num
            rows = np.minimum(rows, num - 1)  # all batches are equally large, so that one program does
            captions = [self.val_data.captions[row][0] for row in rows]
            batch = {"images": self.val_data.images[rows], "tokens": self.tokenizer.encode(captions), "rows": rows}
            values = [float(np.asarray(v, np.float64)[counted].sum()) for v in measure(batch, number)]
            sums = values if sums is None else [a + b for a, b in zip(sums, values, strict=True)]
        return [value / num for value in sums]
