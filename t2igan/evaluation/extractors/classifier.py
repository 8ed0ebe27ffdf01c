"""Extractor `attributes`: a classifier of the data's attributes, learned from the training split."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from t2igan.data import Dataset
from t2igan.evaluation.extractors import learned
from t2igan.evaluation.extractors.extractor import in_batches, shrink, to_unit
from t2igan.evaluation.extractors.settings import SEED, VERSION, Settings
from t2igan.method.optim.schedules import schedule
from t2igan.nets.image_encoder import ImageEncoder

MIN_PICTURES_PER_VALUE = 4  # an attribute with rarer values on average (a file name, say) cannot be learned


class Classified(NamedTuple):
    """What the classifier says of pictures: the index of each attribute's value, probabilities, its last features."""

    labels: Int[np.ndarray, "N A"]
    probabilities: Float[np.ndarray, "N V"]  # of all values of all attributes, one attribute after the other
    features: Float[np.ndarray, "N F"]


def learnable_attributes(train: Dataset) -> dict[str, list[str]]:
    """Returns the attributes that can be learned, name -> values in the training split, sorted.

    Left out are attributes with one value, which say nothing, and those with hardly a picture a value (names,
    numbers).
    """
    return {
        name: values
        for name, values in train.attribute_values().items()
        if 1 < len(values) <= len(train) / MIN_PICTURES_PER_VALUE
    }


class Classifier(learned.LearnedExtractor):
    """Labels and features of pictures; `vocabulary` maps each attribute to its values, in the order of the labels."""

    name = "attributes"

    def __init__(
        self,
        train: Dataset,
        train_hash: str,
        vocabulary: dict[str, list[str]],
        encoder: ImageEncoder,
        px: int,
        folder: Path,
        settings: Settings,
        progress: learned.Progress | None,
    ):
        self.vocabulary = vocabulary
        self._encoder = encoder
        s = settings
        facts = [VERSION, "attributes", train_hash, list(train.images.shape), px, vocabulary, s.features, s.max_images]
        facts += [s.classifier_steps, s.classifier_batch_images, s.classifier_learning_rate, s.classifier_noise]
        super().__init__(train, px, folder, settings, progress, facts)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each attribute, by name."""
        return tuple(len(self.vocabulary[name]) for name in sorted(self.vocabulary))

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N F"]:
        """Returns the last features before the labels, with unit variance on training pictures, on average."""
        return self.classify(images).features

    def classify(self, images: UInt8[np.ndarray, "N H W C"]) -> Classified:
        """Returns labels, probabilities and features."""
        apply = partial(_classify, self._encoder, self.sizes)
        return Classified(*in_batches(apply, self._learned.params(), shrink(images, self._px)))

    def _learn(self) -> Any:
        s, encoder, sizes = self._settings, self._encoder, self.sizes
        rows = learned.training_rows(len(self._train), s.max_images)
        images = learned.training_pictures(self._train, rows, self._px)
        labels = self._train.attribute_labels(self.vocabulary)[rows]
        key = jax.random.key(SEED)
        heads = {
            "kernel": jnp.zeros((s.features, sum(sizes)), jnp.float32),
            "bias": jnp.zeros((sum(sizes),), jnp.float32),
        }
        params = {"tower": encoder.init(key, jnp.zeros((2, *images.shape[1:]), jnp.float32)), "heads": heads}
        rate = schedule("cosine", s.classifier_learning_rate, 0.0, s.classifier_steps)
        optimizer = optax.adam(rate)

        def loss_fn(params, images, labels, key):
            noise = s.classifier_noise * jax.random.normal(key, images.shape)
            _, logits = _logits(encoder, sizes, params, to_unit(images) + noise)
            cross_entropy = optax.softmax_cross_entropy_with_integer_labels
            each = [cross_entropy(of_one, labels[:, i]) for i, of_one in enumerate(logits)]  # A times [B]
            return jnp.stack(each).sum(0).mean()

        @jax.jit
        def step(params, opt_state, number, images, labels):
            grads = jax.grad(loss_fn)(params, images, labels, jax.random.fold_in(key, number))
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        opt_state = optimizer.init(params)
        batches = learned.shuffled(len(images), s.classifier_batch_images, SEED)
        for number in range(s.classifier_steps):
            batch = next(batches)
            params, opt_state = step(params, opt_state, np.int32(number), images[batch], labels[batch])
            learned.say_how_far(self._progress, "classifier", number + 1, s.classifier_steps, opt_state)
        features = lambda x: in_batches(partial(_features, encoder), params["tower"], x)[0]
        return params | {"scale": learned.unit_scale(features, images)}


def _logits(encoder: ImageEncoder, sizes: tuple[int, ...], params: Any, images: Array):
    """The last features, and the logits of each attribute."""
    features = encoder.apply(params["tower"], images)
    logits = features @ params["heads"]["kernel"] + params["heads"]["bias"][None]
    return features, jnp.split(logits, np.cumsum(sizes)[:-1].tolist(), axis=1)


@partial(jax.jit, static_argnums=(0, 1))
def _classify(encoder: ImageEncoder, sizes: tuple[int, ...], params: Any, images: Array):
    features, logits = _logits(encoder, sizes, params, to_unit(images))
    labels = jnp.stack([of_one.argmax(1).astype(jnp.int32) for of_one in logits], axis=1)
    probabilities = jnp.concatenate([jax.nn.softmax(of_one) for of_one in logits], axis=1)
    return labels, probabilities, features * params["scale"]


@partial(jax.jit, static_argnums=0)
def _features(encoder: ImageEncoder, tower: Any, images: Array):
    return (encoder.apply(tower, to_unit(images)),)
