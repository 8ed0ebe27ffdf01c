"""What a picture has to show, and who says whether it does."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import t2igan
from benchmarks.edits.wording import WORDINGS, Attributes, Wording
from t2igan.data import Dataset, list_splits, open_dataset
from t2igan.evaluation.extractors import FeatureExtractors, Pixels
from t2igan.evaluation.metrics import nearest
from t2igan.evaluation.runs import configuration
from t2igan.inference.pictures import sheet
from t2igan.inference.sample import Model

UNSEEN = ("unseen_pairs", "heldout_combo", "heldout_concept")  # splits of what was never seen together, or at all
PALETTE = 256  # colours of a sheet, which is small for it


@dataclasses.dataclass(frozen=True)
class Judged:
    """A model, pictures that it was not trained on, and the classifier that judges what is made of them.

    Without `judges` there are no figures of attributes, and the classifier, which learns when it is first asked, is not
    needed. `sheets` is a folder for pictures of what is measured.
    """

    model: Model
    train: Dataset
    test: Dataset
    unseen: Dataset
    classifier: Any
    judges: bool = True
    sheets: Path | None = None

    @classmethod
    def of_run(
        cls, workdir: Path, judges: bool = True, without: Sequence[str] = (), sheets: Path | None = None
    ) -> Judged:
        """Opens a run; without a split of unseen pairs the test split stands for it.

        Networks `without` which it is to be measured are taken out of the model.
        """
        model = t2igan.load(workdir)
        model.params = {name: params for name, params in model.params.items() if name not in without}
        config = configuration(workdir, model)
        train, test = (open_dataset(config.data, name) for name in (config.data.train_split, config.data.test_split))
        found = [name for name in list_splits(config.data) if name in UNSEEN and name != config.data.test_split]
        shuffled = lambda data: data.take(np.random.default_rng(0).permutation(len(data)))
        in_order = config.data.source in WORDINGS
        opened = lambda data: data if in_order else shuffled(data)  # emoji lie in the order of their kinds
        test = opened(test)
        unseen = opened(open_dataset(config.data, found[0])) if found else test
        extractors = FeatureExtractors.of_run(config, train, model.tokenizer, workdir, {})
        return cls(model, train, test, unseen, extractors.classifier, judges, sheets)

    @property
    def wording(self) -> Wording | None:
        """How captions say attributes; None where they are names that say none."""
        return WORDINGS.get(self.model.config["data"]["source"])

    @property
    def names(self) -> list[str]:
        """The attributes, in the order of the columns."""
        return sorted(self.classifier.vocabulary)

    def labels(self, images: np.ndarray, wanted: Sequence[Attributes]) -> np.ndarray:
        """Returns the labels that pictures of these attributes have, int32 [N, A]."""
        captions = tuple(("a picture",) for _ in wanted)
        return Dataset("wanted", "wanted", images, captions, tuple(wanted)).attribute_labels(self.classifier.vocabulary)

    def seen(self, images: np.ndarray) -> np.ndarray:
        """Returns the labels that the classifier sees, int32 [N, A]."""
        return self.classifier.classify(images).labels

    def right(self, images: np.ndarray, wanted: Sequence[Attributes]) -> np.ndarray:
        """Returns which attributes of pictures are as they are wanted, bool [N, A]."""
        return self.seen(images) == self.labels(images, wanted)

    @functools.cached_property
    def real(self) -> tuple[np.ndarray, list[str]]:
        """All real pictures, as the features of `nearest_captions`, and their captions."""
        splits = {data.split: data for data in (self.train, self.test, self.unseen)}.values()
        features = np.concatenate([Pixels().features(np.asarray(data.images)) for data in splits])
        return features, [captions[0] for data in splits for captions in data.captions]

    def nearest_captions(self, images: np.ndarray) -> list[str]:
        """Returns for each picture the caption of the real one that is nearest to it, at 16 x 16 pixels."""
        features, captions = self.real
        return [captions[row] for row in nearest(Pixels().features(images), features)[1]]

    def found(self, images: np.ndarray, captions: Sequence[str]) -> float:
        """Returns of how many pictures the nearest real one is that of their caption."""
        return float(np.mean([a == b for a, b in zip(self.nearest_captions(images), captions, strict=True)]))

    def show(self, name: str, rows: Sequence[Sequence[np.ndarray]], lines: Sequence[str]) -> None:
        """Writes a sheet, NAME.png, where sheets are wanted: rows of as many pictures, a line of text under each."""
        if self.sheets is None:
            return
        drawn = Image.fromarray(sheet(np.concatenate([np.stack(row) for row in rows]), lines, columns=len(rows[0])))
        few = drawn.quantize(PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        self.sheets.mkdir(parents=True, exist_ok=True)
        few.save(self.sheets / f"{name}.png", optimize=True)
