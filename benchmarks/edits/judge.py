"""What a picture has to show, and who says whether it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import t2igan
from t2igan.config.stored import from_dict
from t2igan.data import Dataset, list_splits, open_dataset
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.inference.sample import Model

UNSEEN = "unseen_pairs"  # the split of what was never seen together

Attributes = dict[str, str]


def caption_of(attributes: Attributes, phrasing: int = 0) -> str:
    """Returns the caption of a pixel avatar, in either of the two phrasings of docs/make_pixel_avatars.mjs."""
    a = attributes
    hair = f"{a['hair']} {a['hairColor']} hair" if "hair" in a else ""
    hat = f"a {a['hatColor']} {a['hat']}" if "hat" in a else ""
    parts = [part for part in (hair, "a beard" if "beard" in a else "", a.get("glasses", ""), hat) if part]
    if phrasing:
        shown = f" with {' and '.join(parts)}" if parts else ""
        return f"pixel art of a person in {a['clothingColor']}{shown}, {a['skinColor']} skin"
    top = f"a {a['clothingColor']} top"
    return f"a pixel person with {', '.join(parts)} and {top}, {a['skinColor']} skin".replace("with  and ", "with ")


def without(attributes: Attributes, *names: str) -> Attributes:
    """Returns attributes that lack some."""
    return {name: value for name, value in attributes.items() if name not in names}


@dataclasses.dataclass(frozen=True)
class Judged:
    """A model, pictures that it was not trained on, and the classifier that judges what is made of them."""

    model: Model
    test: Dataset
    unseen: Dataset
    classifier: Any

    @classmethod
    def of_run(cls, workdir: Path, without: Sequence[str] = ()) -> Judged:
        """Opens a run, whose classifier is learned if it was not yet; the test split stands for unseen pairs too.

        Networks `without` which it is to be measured are taken out of the model.
        """
        model = t2igan.load(workdir)
        model.params = {name: params for name, params in model.params.items() if name not in without}
        config = from_dict(model.config)
        train, test = (open_dataset(config.data, name) for name in (config.data.train_split, config.data.test_split))
        unseen = open_dataset(config.data, UNSEEN) if UNSEEN in list_splits(config.data) else test
        extractors = FeatureExtractors.of_run(config, train, model.tokenizer, workdir, {}).learn()
        return cls(model, test, unseen, extractors.classifier)

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
