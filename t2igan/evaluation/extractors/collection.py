"""The feature extractors of one training split under one roof."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from t2igan.config.pretrained import require_separate, trained_on
from t2igan.config.registry import Registry
from t2igan.data import Dataset
from t2igan.data.alpha import composited, has_alpha
from t2igan.data.rows import Composited
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.extractors.classifier import Classifier, learnable_attributes
from t2igan.evaluation.extractors.extractor import Extractor, Matcher, extractor_px, in_parts
from t2igan.evaluation.extractors.learned import Bar, Progress, training_rows
from t2igan.evaluation.extractors.pixels import Pixels
from t2igan.evaluation.extractors.probe import Probe, extractor_networks
from t2igan.evaluation.extractors.settings import Settings
from t2igan.nets import Networks


class Extracted(NamedTuple):
    """What an extractor makes of pictures: features, and what else it knows."""

    features: Float[np.ndarray, "N D"]
    labels: Int[np.ndarray, "N A"] | None = None  # of the classifier
    probabilities: Float[np.ndarray, "N V"] | None = None  # of the classifier
    embedding: Float[np.ndarray, "N E"] | None = None  # of a matcher


@dataclasses.dataclass(frozen=True)
class Opening:
    """What an extractor can be made of."""

    train: Dataset
    train_hash: str
    vocabulary: Mapping[str, Sequence[str]]  # learnable attributes and their values; empty where there are none
    tokenizer: Tokenizer
    networks: Networks  # of their own sizes, for those that learn
    px: int  # the size at which those look at pictures
    folder: Path  # of files with what was learned
    settings: Settings
    progress: Progress | None
    weights: str  # `config.evaluate.NAME_weights`; "" where there is no such key


# What an extractor can be made of -> the extractor, or None where it cannot be had.
EXTRACTORS: Registry[Callable[[Opening], Extractor | None]] = Registry("feature extractor")


@EXTRACTORS.register("attributes")
def _attributes(o: Opening) -> Extractor | None:
    if not o.vocabulary:
        return None
    encoder = o.networks.image_encoder
    return Classifier(o.train, o.train_hash, o.vocabulary, encoder, o.px, o.folder, o.settings, o.progress)


@EXTRACTORS.register("probe")
def _probe(o: Opening) -> Extractor:
    return Probe(o.train, o.train_hash, o.tokenizer, o.networks, o.px, o.folder, o.settings, o.progress)


@EXTRACTORS.register("pixels")
def _pixels(o: Opening) -> Extractor:  # noqa: ARG001
    return Pixels()


@EXTRACTORS.register("inception")
def _inception(o: Opening) -> Extractor | None:
    from t2igan.evaluation.extractors.inception import Inception

    return Inception(o.weights) if o.weights else None


@EXTRACTORS.register("clip")
def _clip(o: Opening) -> Extractor | None:
    from t2igan.evaluation.extractors.clip import Clip

    return Clip(o.weights) if o.weights else None


@EXTRACTORS.register("efficientnet")
def _efficientnet(o: Opening) -> Extractor | None:
    from t2igan.evaluation.extractors.efficientnet import EfficientNetFeatures

    return EfficientNetFeatures(o.weights) if o.weights else None


class FeatureExtractors:
    """The extractors of one training split by name; those that learn do so when they are first asked.

    What was learned is kept in files of `folder` whose names hold a hash of pictures, captions, tokenizer and
    settings; a damaged file is learned anew. `progress(extractor, steps done, steps in all)` is called now and then.

    `vocabulary` maps each learnable attribute to its values in the training split ("none" where a picture lacks it),
    and is empty without attributes; `main` is the extractor of figures during training: "attributes" where there is
    one, otherwise "probe".
    """

    def __init__(
        self,
        config: Any,
        train: Dataset,
        tokenizer: Tokenizer,
        folder: Path,
        progress: Progress | None = None,
        settings: Settings | None = None,
        weights: Mapping[str, str] | None = None,
    ):
        tokenizer = tokenizer.own  # not a pretrained model's: what trained the GAN must not measure it
        self.train = train
        self.trained_on = trained_on(config)  # the run's pretrained parts, by key: what must not measure it
        self.settings = settings or Settings()
        self.vocabulary = learnable_attributes(train)
        self._image_shape = tuple(train.images.shape[1:])
        self._background = tuple(config.data.background)
        train = on_background(train, self._background)  # what those that learn are shown
        self._remembered: dict[tuple, tuple[Any, Any]] = {}
        px = extractor_px(self._image_shape[0])
        networks = extractor_networks(config, tokenizer, px, train.images.shape[-1], self.settings)
        self.train_hash = train_hash = train.fingerprint()
        own = train, train_hash, self.vocabulary, tokenizer, networks, px, folder, self.settings, progress
        opened = {name: make(Opening(*own, (weights or {}).get(name, ""))) for name, make in EXTRACTORS.items()}
        self.by_name: dict[str, Extractor] = {name: made for name, made in opened.items() if made is not None}
        self.main = "attributes" if self.vocabulary else "probe"

    @classmethod
    def of_run(
        cls,
        config: Any,
        train: Dataset,
        tokenizer: Tokenizer,
        workdir: Path,
        weights: Mapping[str, str] | None = None,
    ) -> FeatureExtractors:
        """Returns the extractors of a run, kept in its folder, learned when first asked, with a bar on the terminal.

        `weights` ("inception", "efficientnet": a file, "clip": a folder) go before those that the configuration names.

        Raises:
          UserError: weights are not there or not understood, or are what the run trained with.
        """
        evaluate = config.evaluate
        settings = Settings(classifier_steps=evaluate.classifier_steps, probe_steps=evaluate.probe_steps)
        named = {name: evaluate[f"{name}_weights"] for name in EXTRACTORS if f"{name}_weights" in evaluate}
        weights = named | dict(weights or {})
        require_separate(config, weights)
        return cls(config, train, tokenizer, workdir / "extractors", Bar(), settings, weights)

    @property
    def classifier(self) -> Classifier | None:
        """The classifier, where the data has attributes."""
        return self.by_name.get("attributes")

    def learn(self) -> FeatureExtractors:
        """Reads or learns, now, the extractor that every evaluation needs; returns itself."""
        self.by_name[self.main].learn()
        return self

    def verify(self) -> None:
        """Reads the weights of pretrained extractors once; `UserError` where they are damaged or of something else.

        A training calls this when it begins: at its first evaluation it would be late.
        """
        for extractor in self.by_name.values():
            if hasattr(extractor, "verify"):
                extractor.verify()

    def hash(self, names: Sequence[str]) -> str:
        """Returns 16 hex digits that change with what the named extractors learned from, and how."""
        keys = [f"{name} {getattr(self.by_name[name], 'key', '')}" for name in sorted(names)]
        return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]

    def check(self, images: np.ndarray) -> np.ndarray:
        """Returns `images`; ValueError for pictures that are not of the kind that the extractors know."""
        if tuple(images.shape[1:]) != self._image_shape or images.dtype != np.uint8:
            raise ValueError(
                f"pictures must be uint8 {self._image_shape} as in training, not {images.dtype} {images.shape[1:]}"
            )
        return images

    def shown(self, images: np.ndarray) -> np.ndarray:
        """Returns pictures as extractors and metrics look at them: with transparency, on `config.data.background`."""
        return composited(images, self._background) if has_alpha(images) else images

    def train_rows(self, num_images: int) -> np.ndarray:
        """Returns the rows of at most `num_images` training pictures, always the same ones."""
        return training_rows(len(self.train), min(num_images, self.settings.max_images))

    def extract(self, name: str, images: np.ndarray) -> Extracted:
        """Returns what an extractor makes of pictures, which are those that `shown` returns."""
        images = self.shown(images)
        extractor = self.by_name[name]
        if isinstance(extractor, Classifier):
            classified = extractor.classify(images)
            return Extracted(classified.features, classified.labels, classified.probabilities)
        if isinstance(extractor, Matcher):
            features, embedding = extractor.features_and_embedding(images)
            return Extracted(features, embedding=embedding)
        return Extracted(extractor.features(images))

    def extract_split(self, name: str, dataset: Dataset, rows: np.ndarray) -> Extracted:
        """Returns what an extractor makes of real pictures; remembered."""
        return self.remember(
            ("extracted", name),
            dataset,
            rows,
            lambda: joined(self.extract(name, dataset.images[p]) for p in in_parts(rows)),
        )

    def remember(self, key: tuple, dataset: Dataset, rows: np.ndarray, make: Callable[[], Any]) -> Any:
        """Returns what `make` returned the first time for these rows of this data set, which does not change."""
        key = (*key, id(dataset), rows.tobytes())
        if key not in self._remembered:
            self._remembered[key] = (dataset, make())  # the data set too: its id must not be given to another
        return self._remembered[key][1]


def on_background(dataset: Dataset, background: tuple[int, ...]) -> Dataset:
    """Returns a split whose pictures, where they have transparency, are seen on a background; otherwise itself."""
    if not has_alpha(dataset.images):
        return dataset
    seen = Composited(dataset.images, background)
    return dataclasses.replace(dataset, images=seen, decoding=f"{dataset.decoding} on {background}")


def joined(parts: Iterable[Extracted]) -> Extracted:
    """Returns what was seen of pictures part by part as one."""
    columns = zip(*parts, strict=True)
    return Extracted(*(None if column[0] is None else np.concatenate(column) for column in columns))
