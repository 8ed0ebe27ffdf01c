"""Captions as token ids: byte-level BPE, learned from the training captions, kept in one JSON string."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from t2igan.data.tokenizer_file import SPECIAL_TOKENS, dress, finish, panics_as_errors, rebuilt
from t2igan.errors import UserError

PAD, BEGIN, END = 0, 1, 2
MIN_VOCAB_SIZE = len(SPECIAL_TOKENS) + 256  # every byte is a token, so that no text is out of vocabulary
MIN_MAX_TOKENS = 3  # begin, one token, end
ROW_MULTIPLE = 4  # rows of ids are cut to the longest caption, rounded up to this


class Word(NamedTuple):
    """A word (or a mark) of a caption."""

    text: str  # as written
    positions: tuple[int, ...]  # of its tokens in a row of ids


@runtime_checkable
class Rows(Protocol):
    """What the text encoder reads of many captions: `rows[numbers]` is an array, a row a number."""

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the rows of captions by their numbers."""
        ...


class Tokenizer:
    """Captions <-> ids, with ids 0, 1, 2 for padding, begin and end; there is no unknown token."""

    pretrained: Any = None  # of a pretrained language model's tokenizer: what `t2igan.nets.build` makes of it
    _num_marks = 2  # begin and end

    def __init__(self, json: str):
        """Reads what `to_json` wrote; ValueError where `json` is anything else."""
        import tokenizers

        with panics_as_errors():
            self._tokenizer = tokenizers.Tokenizer.from_str(json)
        truncation = self._tokenizer.truncation
        ids = [self._tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
        if ids != [PAD, BEGIN, END] or truncation is None or self._tokenizer.padding is None:
            raise ValueError("not a tokenizer of t2igan: special tokens, padding or truncation are missing")
        self._json = json
        self.max_tokens: int = truncation["max_length"]
        # A caption that spells "<end>" is text, not the end. The file does not keep this setting.
        self._tokenizer.encode_special_tokens = True
        # The same vocabulary without truncation and padding, to count with.
        self._unbounded = tokenizers.Tokenizer.from_str(json)
        self._unbounded.encode_special_tokens = True
        self._unbounded.no_truncation()
        self._unbounded.no_padding()

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int, max_tokens: int, lowercase: bool = True) -> Tokenizer:
        """Learns at most `vocab_size` tokens from the captions; the same captions give the same tokenizer.

        Few captions may give fewer tokens. UserError for a `vocab_size` below 259 or a `max_tokens` below 3.
        """
        from tokenizers import Tokenizer as Backend
        from tokenizers import models, pre_tokenizers, trainers

        if vocab_size < MIN_VOCAB_SIZE:
            raise UserError(
                f"config.tokenizer.vocab_size={vocab_size} is too small: {MIN_VOCAB_SIZE} is the least "
                f"(256 bytes, padding, begin, end). Try 512."
            )
        if max_tokens < MIN_MAX_TOKENS:
            raise UserError(
                f"config.tokenizer.max_tokens={max_tokens} is too small: {MIN_MAX_TOKENS} is the least "
                f"(begin, one token, end). Try 40."
            )
        backend = Backend(models.BPE())
        dress(backend, lowercase)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(encodable(captions), trainer)
        finish(backend, max_tokens)
        return cls(backend.to_str())

    @property
    def vocab_size(self) -> int:
        """The number of tokens there really are, special tokens included."""
        return self._tokenizer.get_vocab_size()

    @property
    def own(self) -> Tokenizer:
        """The tokenizer that was learned from the run's captions: this one, unless it is a pretrained model's."""
        return self

    @property
    def identity(self) -> str:
        """What is equal for tokenizers whose rows a text encoder reads alike."""
        return self._json

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of what the text encoder reads of a caption: a row of `encode`, whole."""
        return (self.max_tokens,)

    @property
    def row_dtype(self) -> np.dtype:
        """Its type."""
        return np.dtype(np.int32)

    def table(self, captions: Sequence[str]) -> Rows:
        """Returns the rows of captions to train on: as `encode`, without the padding that none of them needs.

        Padding is masked wherever a row is read, so that its length changes nothing but the time that it takes.
        """
        tokens = self.encode(captions)
        return np.ascontiguousarray(
            tokens[:, : row_length(int((tokens != PAD).sum(1).max(initial=1)), self.max_tokens)]
        )

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """Returns int32 [len(captions), max_tokens]; what does not fit is cut, the end token stays."""
        encodings = self._tokenizer.encode_batch_fast(encodable(captions))
        return np.array([e.ids for e in encodings], np.int32).reshape(len(captions), self.max_tokens)

    def encode_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Returns `encode` of prompts; UserError for a prompt that is blank or does not fit."""
        self.check_prompts(prompts)
        return self.encode(prompts)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises UserError for a prompt that is blank or does not fit."""
        prompts = encodable(prompts)
        for number, (prompt, length) in enumerate(zip(prompts, self.lengths(prompts), strict=True), start=1):
            if length <= self._num_marks:
                raise UserError(f"prompt {number} of {len(prompts)} is empty: {prompt!r}. Say in words what to draw.")
            if length > self.max_tokens:
                first_cut = self._unbounded.encode(prompt).offsets[self.max_tokens - 1][0]
                # Cut back to the start of the word: the user edits words, not tokens.
                first_cut = max(prompt.rfind(" ", 0, first_cut + 1) + 1, 0)
                raise UserError(
                    f"prompt {number} of {len(prompts)} has {length - self._num_marks} tokens, and "
                    f"this model takes {self.max_tokens - self._num_marks}: {_shortened(prompt)!r}.\n"
                    f"Shorten it; what does not fit is {_shortened(prompt[first_cut:])!r}."
                )

    def words(self, caption: str) -> list[Word]:
        """Returns the words of a caption that `encode` does not cut, as written, and where their tokens are."""
        (caption,) = encodable([caption])
        encoding = self._tokenizer.encode(caption)
        spans: dict[int, list] = {}  # word -> its first character, its last, its tokens
        of_tokens = zip(encoding.word_ids, encoding.offsets, encoding.special_tokens_mask, strict=True)
        for position, (word, (start, end), is_mark) in enumerate(of_tokens):
            if word is not None and not is_mark:
                span = spans.setdefault(word, [start, end, []])
                span[1] = end
                span[2].append(position)
        words = [Word(caption[start:end].strip(), tuple(positions)) for start, end, positions in spans.values()]
        return [word for word in words if word.text]

    def unpadded(self, captions: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each caption, whole, by the run's own tokenizer, without begin, end and padding."""
        return [list(ids[1:-1]) for ids in self.own._whole(captions)]

    def lengths(self, captions: Sequence[str]) -> np.ndarray:
        """Returns int32 [len(captions)], begin and end included; what is above `max_tokens` is cut by `encode`."""
        return np.array([len(ids) for ids in self._whole(captions)], np.int32)

    def _whole(self, captions: Sequence[str]) -> list[Sequence[int]]:
        """The ids of captions that are not cut, with begin and end."""
        texts = encodable(captions)
        if len(texts) == 1:  # a prompt: how long it is and what is new in it is asked one after the other
            return [_ids_of(self, texts[0])]
        return [encoding.ids for encoding in self._unbounded.encode_batch_fast(texts)]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the normalised text of one row of ids, without the special tokens."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True).strip()

    def to_json(self) -> str:
        """Returns the whole tokenizer, in the file format of Hugging Face `tokenizers`."""
        return self._json

    @classmethod
    def from_json(cls, json: str) -> Tokenizer:
        """Returns the tokenizer that `to_json` wrote; ValueError where `json` is anything else.

        It is built anew from vocabulary, merges, length and lower case, so that a file can bring nothing else.
        """
        return cls(rebuilt(json))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._json)

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, max_tokens={self.max_tokens})"


class PretrainedTokenizer:
    """The tokenizer of a pretrained text tower, from Hugging Face's `tokenizer.json`."""

    def __init__(self, json: str):
        """Reads the file's text; ValueError where it is anything else, or adds no end token."""
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"tokenizer.json is not a tokenizer: {error}") from error
        ids = self._tokenizer.encode("").ids
        if not ids:
            raise ValueError("tokenizer.json adds no end token to a caption")
        self.end_id: int = ids[-1]
        self._tokenizer.no_padding()

    def encode(self, captions: Sequence[str], max_tokens: int) -> np.ndarray:
        """Returns int32 [len(captions), max_tokens], padded with ends; what does not fit is cut, the end stays."""
        self._tokenizer.enable_truncation(max_tokens)
        ids = np.full((len(captions), max_tokens), self.end_id, np.int32)
        for row, encoding in zip(ids, self._tokenizer.encode_batch(encodable(captions)), strict=True):
            row[: len(encoding.ids)] = encoding.ids
        return ids


@functools.lru_cache(maxsize=256)
def _ids_of(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer._unbounded.encode(text).ids)


def row_length(longest: int, max_tokens: int) -> int:
    """Returns how long rows have to be for captions of at most `longest` tokens: a multiple of `ROW_MULTIPLE`."""
    return min(-(-longest // ROW_MULTIPLE) * ROW_MULTIPLE, max_tokens)


@functools.cache
def nfkc_exceptions() -> tuple[tuple[int, int], ...]:
    """Returns the code points that Unicode's NFKC changes and `tokenizers` leaves as they are, as (first, last) ranges.

    Its tables are of an older Unicode (huggingface/tokenizers#1912); who tokenizes without it leaves them too.
    """
    import tokenizers

    normalizer = tokenizers.normalizers.NFKC()
    ranges: list[tuple[int, int]] = []
    for point in (p for p in range(0x80, 0x30000) if not 0xD800 <= p < 0xE000):
        character = chr(point)
        if unicodedata.is_normalized("NFKC", character) or normalizer.normalize_str(character) != character:
            continue
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1] = (ranges[-1][0], point)
        else:
            ranges.append((point, point))
    return tuple(ranges)


def encodable(texts: Iterable[str]) -> list[str]:
    # A lone surrogate ("\ud83d" in JSON, or an undecodable byte of a command line) has no UTF-8 form.
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def _shortened(text: str, max_characters: int = 160) -> str:
    return text if len(text) <= max_characters else text[: max_characters - 1] + "…"
