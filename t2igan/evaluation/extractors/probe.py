"""Extractor `probe`: a picture tower and a text tower in one space, learned from the training split."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from t2igan.data import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.extractors import learned
from t2igan.evaluation.extractors.extractor import in_batches, shrink, to_unit
from t2igan.evaluation.extractors.settings import SEED, VERSION, Settings
from t2igan.method import losses
from t2igan.method.phases.text import TextMethod, init_text_state, text_step
from t2igan.nets import Networks, build
from t2igan.nets.image_encoder import ImageEncoder


class Probe(learned.LearnedExtractor):
    """Does a picture find its own caption? The contrastive learning of the text phase, with a seed of its own."""

    name = "probe"

    def __init__(
        self,
        train: Dataset,
        train_hash: str,
        tokenizer: Tokenizer,
        networks: Networks,
        px: int,
        folder: Path,
        settings: Settings,
        progress: learned.Progress | None,
    ):
        self._tokenizer = tokenizer
        self._networks = networks
        s = settings
        facts = [VERSION, "probe", train_hash, list(train.images.shape), px, tokenizer.to_json(), s.features]
        facts += [s.max_images, s.probe_steps, s.probe_batch_images, s.probe_learning_rate]
        super().__init__(train, px, folder, settings, progress, facts)

    def features(self, images: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N F"]:
        """Returns the picture tower's features, with unit variance on training pictures, on average."""
        return self.features_and_embedding(images)[0]

    def features_and_embedding(
        self, images: UInt8[np.ndarray, "N H W C"]
    ) -> tuple[Float[np.ndarray, "N F"], Float[np.ndarray, "N E"]]:
        """Returns `features`, and a unit vector a picture in the space of the captions."""
        apply = partial(_embed_images, self._networks)
        features, embedding = in_batches(apply, self._learned.params(), shrink(images, self._px))
        return features, embedding

    def embed_captions(self, captions: Sequence[str]) -> Float[np.ndarray, "N E"]:
        """Returns a unit vector a caption; what is too long is cut."""
        apply = partial(_embed_tokens, self._networks)
        return in_batches(apply, self._learned.params(), self._tokenizer.encode(captions))[0]

    def identities(self, captions: Sequence[str]) -> list[Hashable]:
        """Returns for each caption what is equal for captions of the same tokens."""
        return [row.tobytes() for row in self._tokenizer.encode(captions)]

    def _learn(self) -> Any:
        s = self._settings
        rows = learned.training_rows(len(self._train), s.max_images)
        images = learned.training_pictures(self._train, rows, self._px)
        captions = [self._train.captions[row] for row in rows]
        num_captions = np.array([len(c) for c in captions])
        first_caption = np.cumsum(num_captions) - num_captions
        tokens = self._tokenizer.encode([caption for of_one in captions for caption in of_one])
        tokens = tokens[:, : (tokens > 0).any(0).sum()]  # padding that no caption needs would only cost time
        method = TextMethod.create(learning_config(self._px, s), self._networks, s.probe_steps)
        step = jax.jit(partial(text_step, method))
        state = None
        batches = learned.shuffled(len(images), s.probe_batch_images, SEED + 1)
        random = np.random.default_rng(SEED + 2)
        for number in range(s.probe_steps):
            batch_rows = next(batches)
            chosen = first_caption[batch_rows] + random.integers(num_captions[batch_rows])
            batch = {"images": images[batch_rows], "tokens": tokens[chosen]}
            if state is None:
                state = jax.jit(partial(init_text_state, method))(batch)
            state, _ = step(state, batch)
            learned.say_how_far(self._progress, "probe", number + 1, s.probe_steps, state.step)
        encoder = self._networks.image_encoder
        features = lambda x: in_batches(partial(_tower, encoder), state.params["image"], x)[0]
        return state.params | {"scale": learned.unit_scale(features, images)}


def extractor_networks(config: Any, tokenizer: Tokenizer, px: int, channels: int, settings: Settings) -> Networks:
    """Returns networks of their own sizes, whatever the configuration says of the GAN's."""
    config = ConfigDict(config.to_dict())
    config.update(learning_config(px, settings).to_dict())
    config.compute_dtype = "float32"
    config.data.channels = channels
    config.space = ConfigDict({"kind": "pixels"})
    config.tokenizer.max_tokens = tokenizer.max_tokens
    return build(config, tokenizer.vocab_size)


def learning_config(px: int, settings: Settings) -> ConfigDict:
    """Returns the part of a configuration by which the probe learns."""
    first_map_px = px if px < 16 else px // 2
    return ConfigDict(
        {
            "seed": SEED,
            "text_encoder": {
                "kind": "transformer",
                "width": 64,
                "layers": 1,
                "heads": 4,
                "pooling_queries": 8,
                "sentence_dim": 128,
            },
            "image_encoder": {
                "kind": "residual",
                "channels": (64, 32),
                "features": settings.features,
                "blocks": 1,
                "patch_px": px // first_map_px,
            },
            "pretrain_text": {
                "batch_images": settings.probe_batch_images,
                "learning_rate": settings.probe_learning_rate,
                "learning_rate_end": 0.02,
                "schedule": "cosine",
                "warmup_steps": 100,
                "beta2": 0.99,
            },
        }
    )


@partial(jax.jit, static_argnums=0)
def _embed_images(networks: Networks, params: Any, images: Array):
    features = networks.image_encoder.apply(params["image"], to_unit(images))
    # The heads take both sides at once; of the sentence only its width matters here.
    sentence = jnp.zeros((len(images), networks.text_encoder.sentence_dim), jnp.float32)
    matched = networks.matching.apply(params["matching"], features, sentence)
    return features * params["scale"], losses.normalize(matched.images)


@partial(jax.jit, static_argnums=0)
def _embed_tokens(networks: Networks, params: Any, tokens: Array):
    sentence = networks.text_encoder.apply(params["text"], tokens).sentence
    features = jnp.zeros((len(tokens), networks.image_encoder.features), jnp.float32)
    matched = networks.matching.apply(params["matching"], features, sentence)
    return (losses.normalize(matched.sentences),)


@partial(jax.jit, static_argnums=0)
def _tower(encoder: ImageEncoder, tower: Any, images: Array):
    return (encoder.apply(tower, to_unit(images)),)
