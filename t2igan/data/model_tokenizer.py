"""The tokenizer of a pretrained language model, in the place of the run's own."""

from __future__ import annotations

import json as json_lib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t2igan.data.tokenizer import Tokenizer, encodable
from t2igan.data.tokenizer_file import panics_as_errors

WORDPIECE_FILES = ("tokenizer.json", "vocab.txt")


class ModelTokenizer(Tokenizer):
    """Captions to ids of the model's own vocabulary plus one, so that 0 is padding here as everywhere.

    `own` is the run's tokenizer, learned from its captions: what the extractors of an evaluation read with,
    which share nothing with the GAN.
    """

    def __init__(self, json: str, max_tokens: int, own: Tokenizer):
        """Reads a `tokenizer.json`; ValueError where it is anything else."""
        import tokenizers

        with panics_as_errors("tokenizer.json"):
            self._tokenizer = tokenizers.Tokenizer.from_str(json)
            self._unbounded = tokenizers.Tokenizer.from_str(json)
        self._json = json
        self.max_tokens = max_tokens
        self._own = own
        for backend in (self._tokenizer, self._unbounded):
            backend.encode_special_tokens = True  # a caption that spells "[SEP]" is text, not the end
            backend.no_padding()
            backend.no_truncation()
        self._num_marks = len(self._tokenizer.encode("").ids)
        if not self._num_marks < max_tokens:
            raise ValueError(f"max_tokens={max_tokens} has no room for a word beside {self._num_marks} marks")
        self._tokenizer.enable_truncation(max_tokens)

    @property
    def own(self) -> Tokenizer:
        return self._own

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size() + 1

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """Returns int32 [len(captions), max_tokens]; what does not fit is cut, the mark of the end stays."""
        return self.ids(captions)

    def ids(self, captions: Sequence[str]) -> np.ndarray:
        """Returns int32 [len(captions), max_tokens]: the model's ids plus one, 0 where there is no token."""
        ids = np.zeros((len(captions), self.max_tokens), np.int32)
        for row, encoding in zip(ids, self._tokenizer.encode_batch(encodable(captions)), strict=True):
            row[: len(encoding.ids)] = np.asarray(encoding.ids, np.int32) + 1
        return ids

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the text of a row of `ids`, without marks, as the model's tokenizer spells it."""
        return self._tokenizer.decode([int(i) - 1 for i in ids if i > 0], skip_special_tokens=True).strip()


def tokenizer_json(folder: Path) -> str:
    """Returns a folder's `tokenizer.json`, made of `vocab.txt` (WordPiece, as BERT has it) where there is only that.

    Raises:
      ValueError: there is neither.
      OSError: a file cannot be read.
    """
    if (folder / "tokenizer.json").is_file():
        return (folder / "tokenizer.json").read_text(encoding="utf-8")
    if not (folder / "vocab.txt").is_file():
        raise ValueError(f"it has no {' and no '.join(WORDPIECE_FILES)}")
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    settings_file = folder / "tokenizer_config.json"
    settings = json_lib.loads(settings_file.read_text(encoding="utf-8")) if settings_file.is_file() else {}
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {word: number for number, word in enumerate(words)}
    marks = ("[UNK]", "[CLS]", "[SEP]")
    if missing := [mark for mark in marks if mark not in vocabulary]:
        raise ValueError(f"vocab.txt has no {', '.join(missing)}")
    backend = Backend(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True), strip_accents=settings.get("strip_accents")
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    begin, end = marks[1:]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])]
    )
    backend.add_special_tokens([mark for mark in (*marks, "[PAD]", "[MASK]") if mark in vocabulary])
    return backend.to_str()
