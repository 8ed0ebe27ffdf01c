"""Captions as a pretrained text encoder reads them: ids where it is tuned, ready vectors where it is frozen.

A frozen model is far slower than the rest of a step, and gives the same for the same caption every time. So the vectors
of the training captions are made once and kept in a cache, and those of other captions are remembered for a while.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float16, Int

from t2igan.data.cache import cache_folder
from t2igan.data.model_tokenizer import ModelTokenizer
from t2igan.data.room import CAPTIONS, make_room
from t2igan.data.tokenizer import Rows, Tokenizer, row_length
from t2igan.errors import UserError
from t2igan.inference.files import whole
from t2igan.inference.pretrained.text_model import TextModel
from t2igan.nets.pretrained_text import FROZEN, LanguageModel, pool

VERSION = 1  # of what a cache file means: to be raised when the same caption gives other vectors
LENGTH_MULTIPLE = 8  # captions are read in groups of like length: one compiled shape for each multiple
BATCH_CAPTIONS = (1, 32)  # and for each of these
REMEMBERED_BYTES = 256_000_000

log = logging.getLogger(__name__)


class ModelReader(ModelTokenizer):
    """A pretrained model in the place of the run's tokenizer: `encode` gives what its text encoder reads.

    Tuned: int32 [N, T], ids plus one. Frozen: float16 [N, 1 + T, W], the model's sentence vector and its words, zeros
    where there is none; the same caption gives the same vectors up to the last bit of float16.
    """

    def __init__(self, model: TextModel, mode: str, max_tokens: int, own: Tokenizer, data_config: Any = None):
        """`data_config` is `config.data`: where the cache is; None = captions are not kept on disk.

        Raises:
          UserError: `max_tokens` is more than the model can read, or has no room for a word.
        """
        if max_tokens > model.max_tokens:
            raise UserError(
                f"config.tokenizer.max_tokens={max_tokens} is more than {model.name!r} can read: "
                f"{model.max_tokens} at most"
            )
        try:
            super().__init__(model.tokenizer, max_tokens, own)
        except ValueError as error:
            raise UserError(f"config.text_encoder.pretrained={model.name!r}: {error}") from error
        self.model = model
        self.mode = mode
        self._data_config = data_config
        self._remembered: dict[str, np.ndarray] = {}  # caption -> float16 [1 + its tokens, W], the oldest first
        self._remembered_bytes = 0
        self._tables: dict[str, Rows] = {}

    @property
    def pretrained(self) -> LanguageModel:
        """What `t2igan.nets.build` makes the text encoder of."""
        return self.model.as_text_encoder(self.mode)

    @property
    def identity(self) -> str:
        return f"{self.mode} {self.model.digest}"

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (1 + self.max_tokens, self._width) if self.mode == FROZEN else (self.max_tokens,)

    @property
    def row_dtype(self) -> np.dtype:
        return np.dtype(np.float16 if self.mode == FROZEN else np.int32)

    @functools.cached_property
    def params(self) -> Any:
        """The model's parameters in float16; read when they are first asked for."""
        return self.model.read()

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """Returns what the text encoder reads of captions; what does not fit is cut."""
        if self.mode != FROZEN:
            return self.ids(captions)
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._remembered]
        found = {missing[number]: vectors.copy() for number, vectors in self._read(missing)}
        rows = np.zeros((len(captions), *self.row_shape), np.float16)
        for row, caption in zip(rows, captions, strict=True):
            vectors = found[caption] if caption in found else self._remembered[caption]
            row[: len(vectors)] = vectors
        self._remember(found)
        return rows

    def table(self, captions: Sequence[str]) -> Rows:
        """Returns the rows of captions to train on, cut to the longest; a frozen model's come from the cache."""
        if self.mode != FROZEN:
            return super().table(captions)
        unique = list(dict.fromkeys(captions))
        key = self._key(unique)
        if key not in self._tables:
            vectors, starts = self._kept(key, unique)
            self._tables = {key: _Table(vectors, starts, self.max_tokens)}
        numbers = {caption: number for number, caption in enumerate(unique)}
        return _Renumbered(self._tables[key], np.array([numbers[caption] for caption in captions], np.int64))

    @functools.cached_property
    def _weights(self) -> Any:
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), self.params)

    @property
    def _width(self) -> int:
        return self.model.network.sizes.width

    def _remember(self, found: Mapping[str, np.ndarray]) -> None:
        self._remembered |= found
        self._remembered_bytes += sum(vectors.nbytes for vectors in found.values())
        while self._remembered_bytes > REMEMBERED_BYTES:
            self._remembered_bytes -= self._remembered.pop(next(iter(self._remembered))).nbytes

    def _read(self, captions: Sequence[str]) -> Iterator[tuple[int, Float16[np.ndarray, "_ W"]]]:
        """Yields the numbers of captions and their vectors, one and as many as there are tokens, the shortest first."""
        ids = self.ids(captions)
        lengths = (ids > 0).sum(1)
        order = np.argsort(lengths, kind="stable")
        while len(order):
            size = BATCH_CAPTIONS[-1] if len(order) > BATCH_CAPTIONS[0] else BATCH_CAPTIONS[0]
            length = min(-(-int(lengths[order[0]]) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, self.max_tokens)
            chosen = order[: int((lengths[order[:size]] <= length).sum())]
            padded = np.pad(ids[chosen, :length], ((0, size - len(chosen)), (0, 0)), mode="edge")
            vectors = np.asarray(_embed(self.pretrained, self._weights, padded))
            for number, of_one in zip(chosen.tolist(), vectors, strict=False):
                yield number, of_one[: 1 + lengths[number]]
            order = order[len(chosen) :]

    def _key(self, captions: Sequence[str]) -> str:
        digest = hashlib.sha256(json.dumps([VERSION, self.model.digest, self.model.pooling, self.max_tokens]).encode())
        for caption in captions:
            digest.update(json.dumps(caption).encode())
        return digest.hexdigest()[:24]

    def _kept(self, key: str, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of all captions one after another, and where each one's begin: from the cache, or made for it."""
        starts = np.cumsum([0, *(1 + np.minimum(self.lengths(captions), self.max_tokens))], dtype=np.int64)
        shape = (int(starts[-1]), self._width)
        if self._data_config is None:
            return self._fill(np.zeros(shape, np.float16), starts, captions), starts
        root = cache_folder(self._data_config) / CAPTIONS
        try:
            with _made_once(root, key) as path:
                vectors = _load(path, shape)
                if vectors is None:
                    make_room(root.parent, 2 * math.prod(shape), limit_bytes=round(self._data_config.cache_gb * 1e9))
                    with whole(path) as place:
                        room = np.lib.format.open_memmap(place, mode="w+", dtype=np.float16, shape=shape)
                        self._fill(room, starts, captions).flush()
                    vectors = _load(path, shape)
        except OSError as error:
            log.warning("captions' vectors are not kept in %s (%s): config.data.cache_dir names another", root, error)
            return self._fill(np.zeros(shape, np.float16), starts, captions), starts
        if vectors is None:
            raise UserError(f"{path} was written and cannot be read back; is the disk sound?")
        return vectors, starts

    def _fill(self, vectors: np.ndarray, starts: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        from tqdm import tqdm

        with tqdm(total=len(captions), desc="reading captions", unit=" captions", disable=None, delay=1.0) as bar:
            for number, of_one in self._read(captions):
                vectors[starts[number] : starts[number + 1]] = of_one
                bar.update()
        return vectors


class _Table:
    """Rows of captions whose vectors lie one after another, perhaps on disk."""

    def __init__(self, vectors: np.ndarray, starts: np.ndarray, max_tokens: int):
        self._vectors, self._starts = vectors, starts
        longest = int(np.diff(starts).max(initial=2)) - 1
        self._rows = 1 + row_length(longest, max_tokens)

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(numbers), self._rows, self._vectors.shape[1]), np.float16)
        for row, number in zip(rows, numbers, strict=True):
            start, end = self._starts[number : number + 2]
            row[: end - start] = self._vectors[start:end]
        return rows


class _Renumbered:
    """Rows of a table by other numbers: captions that occur several times are kept once."""

    def __init__(self, table: Rows, numbers: np.ndarray):
        self._table, self._numbers = table, numbers

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return self._table[self._numbers[numbers]]


@functools.partial(jax.jit, static_argnums=0)
def _embed(model: LanguageModel, params: Any, tokens: Int[Array, "B T"]) -> Float16[Array, "B R W"]:
    """Ids plus one to the model's sentence vector and its words, zeros where there is no token."""
    mask = tokens > 0
    words = model.network.apply(params, jnp.maximum(tokens - 1, 0), mask)
    return _rows(pool(words, mask, model.pooling), words, mask).astype(jnp.float16)


def _rows(
    sentence: Float[Array, "B W"], words: Float[Array, "B T W"], mask: Bool[Array, "B T"]
) -> Float[Array, "B R W"]:
    return jnp.concatenate([sentence[:, None], jnp.where(mask[..., None], words, 0)], axis=1)


@contextlib.contextmanager
def _made_once(root: Path, key: str) -> Iterator[Path]:
    """Holds a lock while a file is made or looked for: a second process waits instead of making it again."""
    from filelock import FileLock

    folder = root / key
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(NotImplementedError):  # a disk without locks: at worst it is made twice
            held.enter_context(FileLock(root / f"{key}.lock"))
        yield folder / "vectors.npy"
        os.utime(folder)  # used now: the longest unused goes first


def _load(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """What is kept, or None where there is none or it is damaged."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError) as error:
        log.warning("%s is damaged and is made anew: %s", path, error)
        return None
    return vectors if vectors.shape == shape and vectors.dtype == np.float16 else None
