"""What a picture has to show, and who says whether it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import t2igan
from benchmarks.edits.wording import WORDINGS, Attributes, Wording
from t2igan.config.stored import from_dict
from t2igan.data import Dataset, list_splits, open_dataset
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.inference.sample import Model

UNSEEN = ("unseen_pairs", "heldout_combo")  # splits of what was never seen together


@dataclasses.dataclass(frozen=True)
class Judged:
    """A model, pictures that it was not trained on, and the classifier that judges what is made of them.

    Without `judges` there are no figures of attributes, and the classifier, which learns when it is first asked, is not
    needed.
    """

    model: Model
    train: Dataset
    test: Dataset
    unseen: Dataset
    classifier: Any
    judges: bool = True

    @classmethod
    def of_run(cls, workdir: Path, judges: bool = True, without: Sequence[str] = ()) -> Judged:
        """Opens a run; without a split of unseen pairs the test split stands for it.

        Networks `without` which it is to be measured are taken out of the model.
        """
        model = t2igan.load(workdir)
        model.params = {name: params for name, params in model.params.items() if name not in without}
        config = from_dict(model.config)
        train, test = (open_dataset(config.data, name) for name in (config.data.train_split, config.data.test_split))
        found = [name for name in list_splits(config.data) if name in UNSEEN and name != config.data.test_split]
        if config.data.source not in WORDINGS:  # emoji lie in the order of their kinds
            test = test.take(np.random.default_rng(0).permutation(len(test)))
        unseen = open_dataset(config.data, found[0]) if found else test
        extractors = FeatureExtractors.of_run(config, train, model.tokenizer, workdir, {})
        return cls(model, train, test, unseen, extractors.classifier, judges)

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
