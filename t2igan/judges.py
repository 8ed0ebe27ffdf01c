"""The judges: networks that have seen real pictures only, and say what is in a picture and which caption fits it.

The judges are learned from the training split, with a seed and settings of their own: they share nothing with the GAN
that they judge but the tokenizer, and two runs on the same data are judged alike. There are two,

- a *classifier* of the attributes, where the data has attributes: are the hair and the hat what the caption says?
- a *retrieval model*, picture and caption in one space: does a picture find its own caption among a hundred?

Features for the Fréchet distance come from the classifier where there is one and otherwise from the retrieval model,
in units of their own spread on training pictures; every result names its extractor. Judges look at pictures of at most
32 px, the mean over areas of larger ones: finer detail is not judged. They err, above all on pictures unlike what they
learned from, so each figure stands beside the same figure on real pictures.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from t2igan import losses
from t2igan.checkpoint import explain_write_errors
from t2igan.data import Dataset
from t2igan.errors import UserError
from t2igan.nets import Networks, build
from t2igan.nets.image_encoder import ImageEncoder
from t2igan.pretrain import TextMethod, init_text_state, text_step
from t2igan.schedules import schedule
from t2igan.text import Tokenizer

Progress = Callable[[str, int, int], None]  # which judge, steps done, steps in all

VERSION = 1  # of what a cache file means: to be raised when a judge learns differently
FORMAT = "t2igan judges"
SEED = 715_827_883  # of the judges alone; the GAN's is config.seed
MAX_PX = 32  # larger pictures are shrunk to this
INFERENCE_IMAGES = 256  # one compiled shape for every use
SCALE_IMAGES = 1024  # training pictures whose features are given unit variance, on average over features
MIN_PICTURES_PER_VALUE = 4  # an attribute with rarer values on average (a file name, say) cannot be learned

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How the judges learn; part of the key of their cache file. The defaults fit the embedded data on a CPU."""

    classifier_steps: int = 1000
    classifier_batch_images: int = 64
    classifier_learning_rate: float = 2e-3
    classifier_noise: float = 0.1  # added to pictures in [-1, 1], so that a slightly wrong shade is no surprise
    retrieval_steps: int = 300
    retrieval_batch_images: int = 128
    retrieval_learning_rate: float = 2e-3
    features: int = 128


class Classified(NamedTuple):
    """What the classifier says of pictures: the index of each attribute's value, and its last features."""

    labels: Int[np.ndarray, "N A"]
    features: Float[np.ndarray, "N F"]


class Embedded(NamedTuple):
    """What the retrieval model says of pictures with captions: unit vectors in one space, and the tower's features."""

    images: Float[np.ndarray, "N E"]
    sentences: Float[np.ndarray, "N E"]
    features: Float[np.ndarray, "N F"]


class Judged(NamedTuple):
    """What the judges say of pictures: labels by the classifier, features by either, embeddings if asked for."""

    labels: Int[np.ndarray, "N A"] | None
    features: Float[np.ndarray, "N F"]
    embedded: Embedded | None


class Judges:
    """The classifier and the retrieval model of one training split, each learned when it is first asked.

    What was learned is kept in a file of `folder` whose name holds a hash of pictures, captions, tokenizer and
    settings; a damaged file is learned anew. `progress(judge, steps done, steps in all)` is called now and then.

    `vocabulary` maps each judged attribute to its values in the training split ("none" where a picture lacks
    it), and is empty without attributes; `extractor` is "classifier" or "retrieval", whose features the
    Fréchet distance uses.
    """

    def __init__(
        self,
        config: Any,
        train: Dataset,
        tokenizer: Tokenizer,
        folder: Path,
        progress: Progress | None = None,
        settings: Settings | None = None,
    ):
        self.settings = settings or Settings()
        self.vocabulary = judged_attributes(train)
        self.extractor = "classifier" if self.vocabulary else "retrieval"
        self._train = train
        self._tokenizer = tokenizer
        self._progress = progress
        self._image_shape = train.images.shape[1:]
        self._px = judged_px(self._image_shape[0])
        self._networks = _networks(config, tokenizer, self._px, self._image_shape[-1], self.settings)
        key = [VERSION, train.fingerprint(), list(train.images.shape), self._px, self.vocabulary]
        key += [tokenizer.to_json(), asdict(self.settings)]
        self._key = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        self.path = Path(folder) / f"judges-{self._key}.safetensors"
        self._params: dict[str, Any] = {}
        self._real: dict[tuple, Any] = {}  # what real pictures were judged to be, by fingerprint

    @classmethod
    def of_run(cls, config: Any, train: Dataset, tokenizer: Tokenizer, workdir: Path) -> Judges:
        """Returns the judges of a run, kept in its folder, learned when first asked, with a bar on the terminal."""
        settings = Settings(
            classifier_steps=config.evaluate.classifier_steps, retrieval_steps=config.evaluate.retrieval_steps
        )
        return cls(config, train, tokenizer, workdir / "judges", _Bar(), settings)

    def learn(self) -> Judges:
        """Reads or learns, now, the judge that every evaluation needs; returns itself."""
        self._judge(self.extractor)
        return self

    def classify(self, images: UInt8[np.ndarray, "N H W C"]) -> Classified:
        """Returns what the classifier says of pictures; ValueError where the data has no attributes."""
        if not self.vocabulary:
            raise ValueError("there is no classifier: the training split has no attributes that can be learned")
        sizes = tuple(len(self.vocabulary[name]) for name in sorted(self.vocabulary))
        apply = partial(_classify, self._networks.image_encoder, sizes)
        return Classified(*_in_batches(apply, self._judge("classifier"), self._shrunk(images)))

    def embed(self, images: UInt8[np.ndarray, "N H W C"], captions: Sequence[str]) -> Embedded:
        """Returns what the retrieval model says of pictures and as many captions; too long captions are cut."""
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} pictures and {len(captions)} captions")
        tokens = self._tokenizer.encode(captions)
        apply = partial(_embed, self._networks)
        return Embedded(*_in_batches(apply, self._judge("retrieval"), self._shrunk(images), tokens))

    def identities(self, captions: Sequence[str]) -> list[bytes]:
        """Returns for each caption what is equal for captions that the retrieval model cannot tell apart."""
        return [row.tobytes() for row in self._tokenizer.encode(captions)]

    def judge(self, images: UInt8[np.ndarray, "N H W C"], captions: Sequence[str], embed: bool) -> Judged:
        """Returns what the judges say of pictures with captions; embeddings only with `embed`, or where needed."""
        embedded = self.embed(images, captions) if embed or not self.vocabulary else None
        if self.vocabulary:
            return Judged(*self.classify(images), embedded)
        return Judged(None, embedded.features, embedded)

    def real(self, dataset: Dataset) -> Judged:
        """Returns what the judge of the Fréchet distance says of all pictures of a split; remembered."""
        key = ("split", dataset.fingerprint())
        if key not in self._real:
            firsts = [captions[0] for captions in dataset.captions]
            self._real[key] = self.judge(dataset.images, firsts, embed=False)
        return self._real[key]

    def training_features(self, num_images: int) -> Float[np.ndarray, "n F"]:
        """Returns features of at most `num_images` pictures of the training split, always the same; remembered."""
        key = ("train", num_images)
        if key not in self._real:
            rows = np.random.default_rng(SEED).permutation(len(self._train))[:num_images]
            firsts = [self._train.captions[row][0] for row in rows]
            self._real[key] = self.judge(self._train.images[rows], firsts, embed=False).features
        return self._real[key]

    def _shrunk(self, images: np.ndarray) -> np.ndarray:
        if images.shape[1:] != self._image_shape or images.dtype != np.uint8:
            raise ValueError(
                f"pictures must be uint8 {self._image_shape} as in training, not {images.dtype} {images.shape[1:]}"
            )
        return shrink(images, self._px)

    def _judge(self, name: str) -> Any:
        """Returns the parameters of a judge: those at hand, else from the file, else learned now and kept."""
        if name not in self._params:
            self._params = _read(self.path, self._key) | self._params
        if name not in self._params:
            learn = {"classifier": self._learn_classifier, "retrieval": self._learn_retrieval}[name]
            self._params[name] = jax.device_get(learn())
            self._keep()
        return self._params[name]

    def _keep(self) -> None:
        try:
            _write(self.path, self._key, self._params)
        except UserError as error:  # a read-only folder is no reason not to evaluate
            log.warning("the judges are not kept: %s", error)

    def _learn_classifier(self) -> Any:
        s = self.settings
        images, labels = self._shrunk(self._train.images), self._train.attribute_labels(self.vocabulary)
        sizes = tuple(len(self.vocabulary[name]) for name in sorted(self.vocabulary))
        encoder = self._networks.image_encoder
        key = jax.random.key(SEED)
        tower = encoder.init(key, jnp.zeros((2, *images.shape[1:]), jnp.float32))
        heads = {
            "kernel": jnp.zeros((s.features, sum(sizes)), jnp.float32),
            "bias": jnp.zeros((sum(sizes),), jnp.float32),
        }
        params = {"tower": tower, "heads": heads}
        rate = schedule("cosine", s.classifier_learning_rate, 0.0, s.classifier_steps)
        optimizer = optax.adam(rate)

        def loss_fn(params, images, labels, key):
            noise = s.classifier_noise * jax.random.normal(key, images.shape)
            _, logits = _classifier_logits(encoder, sizes, params, _to_unit(images) + noise)
            cross_entropy = optax.softmax_cross_entropy_with_integer_labels
            each = [cross_entropy(of_one, labels[:, i]) for i, of_one in enumerate(logits)]  # A times [B]
            return jnp.stack(each).sum(0).mean()

        @jax.jit
        def step(params, opt_state, number, images, labels):
            grads = jax.grad(loss_fn)(params, images, labels, jax.random.fold_in(key, number))
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        opt_state = optimizer.init(params)
        rows_of = _shuffled(len(images), s.classifier_batch_images, SEED)
        for number in range(s.classifier_steps):
            rows = next(rows_of)
            params, opt_state = step(params, opt_state, np.int32(number), images[rows], labels[rows])
            self._report("classifier", number + 1, s.classifier_steps, opt_state)
        return params | {"scale": self._scale(params["tower"], images)}

    def _learn_retrieval(self) -> Any:
        s = self.settings
        images = self._shrunk(self._train.images)
        captions = self._train.captions
        num_captions = np.array([len(c) for c in captions])
        first_caption = np.cumsum(num_captions) - num_captions
        tokens = self._tokenizer.encode([caption for of_one in captions for caption in of_one])
        tokens = tokens[:, : (tokens > 0).any(0).sum()]  # padding that no caption needs would only cost time
        config = _retrieval_config(self._px, s)
        method = TextMethod.create(config, self._networks, s.retrieval_steps)
        step = jax.jit(partial(text_step, method))
        state = None
        rows_of = _shuffled(len(images), s.retrieval_batch_images, SEED + 1)
        random = np.random.default_rng(SEED + 2)
        for number in range(s.retrieval_steps):
            rows = next(rows_of)
            chosen = first_caption[rows] + random.integers(num_captions[rows])
            batch = {"images": images[rows], "tokens": tokens[chosen]}
            if state is None:
                state = jax.jit(partial(init_text_state, method))(batch)
            state, _ = step(state, batch)
            self._report("retrieval", number + 1, s.retrieval_steps, state.step)
        return state.params | {"scale": self._scale(state.params["image"], images)}

    def _scale(self, tower: Any, images: np.ndarray) -> np.float32:
        """What features are multiplied by: a network's own scale is arbitrary, and so would be any distance."""
        rows = next(_shuffled(len(images), SCALE_IMAGES, SEED))
        (features,) = _in_batches(partial(_features, self._networks.image_encoder), tower, images[rows])
        return np.float32(1 / max(features.var(0).mean() ** 0.5, 1e-6))

    def _report(self, name: str, done: int, total: int, wait_for: Any) -> None:
        if self._progress and (done % 50 == 0 or done == total):
            jax.block_until_ready(wait_for)  # a step is started in no time; say only what is done
            self._progress(name, done, total)


class _Bar:
    """Shows how far a judge has learned, as a progress bar that goes away."""

    def __init__(self):
        self._bar = None

    def __call__(self, name: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(desc=f"learning to judge ({name})", total=total, unit="step", leave=False, mininterval=1.0)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()
            self._bar = None


def judged_attributes(train: Dataset) -> dict[str, list[str]]:
    """Returns the attributes that can be judged, name -> values in the training split, sorted.

    Left out are attributes with one value, which say nothing, and those with hardly a picture a value (names,
    numbers).
    """
    return {
        name: values
        for name, values in train.attribute_values().items()
        if 1 < len(values) <= len(train) / MIN_PICTURES_PER_VALUE
    }


def judged_px(image_px: int) -> int:
    """Returns the size at which judges look at pictures of `image_px`: a multiple of 4 from 8 to 32."""
    return int(np.clip(4 * round(image_px / 4), 8, MAX_PX))


def shrink(images: UInt8[np.ndarray, "N H W C"], size_px: int) -> UInt8[np.ndarray, "N s s C"]:
    """Resizes square pictures to `size_px`, each new pixel the mean over its area of the old ones."""
    if images.shape[1] == size_px:
        return images
    (shrunk,) = _in_batches(
        lambda weights, x: (_area_mean(weights, x),), _area_weights(images.shape[1], size_px), images
    )
    return shrunk


def _area_weights(from_px: int, to_px: int) -> Float[np.ndarray, "to from"]:
    """Row i: the share that each old pixel has in the new pixel i."""
    edges = np.arange(to_px + 1) * from_px / to_px
    old = np.arange(from_px)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    overlap = np.maximum(overlap, 0)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)


@jax.jit
def _area_mean(weights: Float[Array, "s H"], images: UInt8[Array, "N H W C"]) -> UInt8[Array, "N s s C"]:
    x = images.astype(jnp.float32)
    x = jnp.einsum("ih,nhwc,jw->nijc", weights, x, weights, precision="highest")
    return jnp.round(x).astype(jnp.uint8)


def _networks(config: Any, tokenizer: Tokenizer, px: int, channels: int, settings: Settings) -> Networks:
    """Returns networks of the judges' own sizes, whatever the configuration says of the GAN's."""
    config = ConfigDict(config.to_dict())
    config.update(_retrieval_config(px, settings).to_dict())
    config.compute_dtype = "float32"
    config.data.channels = channels
    config.tokenizer.max_tokens = tokenizer.max_tokens
    return build(config, tokenizer.vocab_size)


def _retrieval_config(px: int, settings: Settings) -> ConfigDict:
    first_map_px = px if px < 16 else px // 2
    return ConfigDict(
        {
            "seed": SEED,
            "text_encoder": {
                "width": 64,
                "layers": 1,
                "heads": 4,
                "pooling_queries": 8,
                "sentence_dim": 128,
            },
            "image_encoder": {
                "channels": (64, 32),
                "features": settings.features,
                "blocks": 1,
                "patch_px": px // first_map_px,
            },
            "pretrain_text": {
                "batch_images": settings.retrieval_batch_images,
                "learning_rate": settings.retrieval_learning_rate,
                "learning_rate_end": 0.02,
                "schedule": "cosine",
                "warmup_steps": 100,
                "beta2": 0.99,
            },
        }
    )


def _to_unit(images: UInt8[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    return images.astype(jnp.float32) / 127.5 - 1


def _classifier_logits(encoder: ImageEncoder, sizes: tuple[int, ...], params: Any, images: Array):
    """The last features, and the logits of each attribute."""
    features = encoder.apply(params["tower"], images)
    logits = features @ params["heads"]["kernel"] + params["heads"]["bias"][None]
    return features, jnp.split(logits, np.cumsum(sizes)[:-1].tolist(), axis=1)


@partial(jax.jit, static_argnums=(0, 1))
def _classify(encoder: ImageEncoder, sizes: tuple[int, ...], params: Any, images: Array):
    features, logits = _classifier_logits(encoder, sizes, params, _to_unit(images))
    labels = jnp.stack([of_one.argmax(1).astype(jnp.int32) for of_one in logits], axis=1)
    return labels, features * params["scale"]


@partial(jax.jit, static_argnums=0)
def _embed(networks: Networks, params: Any, images: Array, tokens: Array):
    features = networks.image_encoder.apply(params["image"], _to_unit(images))
    sentence = networks.text_encoder.apply(params["text"], tokens).sentence
    matched = networks.matching.apply(params["matching"], features, sentence)
    return losses.normalize(matched.images), losses.normalize(matched.sentences), features * params["scale"]


@partial(jax.jit, static_argnums=0)
def _features(encoder: ImageEncoder, tower: Any, images: Array):
    return (encoder.apply(tower, _to_unit(images)),)


def _in_batches(function: Callable, params: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    """Maps `function(params, *arrays) -> several arrays` in batches of one size, the last one padded."""
    parts = []
    for start in range(0, len(arrays[0]), INFERENCE_IMAGES):
        batch = [array[start : start + INFERENCE_IMAGES] for array in arrays]
        length = len(batch[0])
        padding = INFERENCE_IMAGES - length
        batch = [np.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1), mode="edge") for x in batch]
        parts.append([np.asarray(y)[:length] for y in function(params, *batch)])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _shuffled(length: int, batch_images: int, seed: int) -> Iterator[np.ndarray]:
    """Yields rows of batches without end; every epoch is shuffled anew, batches run across epochs."""
    random = np.random.default_rng(seed)
    rows = np.empty(0, np.int64)
    batch_images = min(batch_images, length)
    while True:
        while len(rows) < batch_images:
            rows = np.concatenate([rows, random.permutation(length)])
        yield rows[:batch_images]
        rows = rows[batch_images:]


def _read(path: Path, key: str) -> dict[str, Any]:
    """Returns the judges in a cache file, {} where there is none or it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        log.warning("%s is damaged and is made anew: %s", path, error)
        return {}
    if metadata != _metadata(tensors, key):
        log.warning("%s is not what was written and is made anew", path)
        return {}
    return unflatten_dict(tensors, sep="/")


def _write(path: Path, key: str, params: Mapping[str, Any]) -> None:
    """Writes the cache file, whole or not at all; UserError where that fails."""
    from safetensors.numpy import save_file

    tensors = {name: np.asarray(x, order="C") for name, x in flatten_dict(params, sep="/").items()}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")  # several runs may share a folder
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, unfinished, metadata=_metadata(tensors, key))
            os.replace(unfinished, path)  # noqa: PTH105 - atomic, and says so
        except Exception as error:
            unfinished.unlink(missing_ok=True)
            raise OSError(str(error)) from error  # safetensors has an exception of its own for a failed write


def _metadata(tensors: Mapping[str, np.ndarray], key: str) -> dict[str, str]:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape} ".encode())
        digest.update(tensors[name].tobytes())
    # One entry, because the library writes several in any order, and equal judges shall be equal files.
    return {FORMAT: f"{key} {digest.hexdigest()}"}
