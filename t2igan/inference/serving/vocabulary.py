"""Which words a model has learned, read from its tokenizer.

The tokenizer is byte-level BPE: a word that is frequent in the training captions ends as one token. Where training of
the tokenizer ran out of pairs before its vocabulary was full, every word of the captions is one token, so that a word
of several tokens was in no caption. Where the vocabulary is full, such a word was rare, or in none.
"""

from __future__ import annotations

import functools
import json
import re

from t2igan.data.tokenizer import Tokenizer

_SPACE = "Ġ"  # how byte-level BPE writes the space before a word
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Vocabulary:
    """The words of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, most_tokens: int):
        """Reads the words; `most_tokens` is the size that the vocabulary was allowed."""
        self._tokenizer = tokenizer.own
        self.complete = self._tokenizer.vocab_size < most_tokens  # every word that was seen is a token
        self.words = _words(self._tokenizer)
        self._is_new = functools.lru_cache(maxsize=10_000)(self._has_parts)

    def unseen(self, prompt: str) -> list[str]:
        """Returns the words of a prompt that are no single token, as they are written, each once."""
        return [word for word in dict.fromkeys(_WORD.findall(prompt)) if self._is_new(word)]

    def _has_parts(self, word: str) -> bool:
        parts = int(self._tokenizer.lengths([word])[0]) - 2  # without begin and end
        return parts > 1 and len(self._tokenizer.words(word)) == 1


def _words(tokenizer: Tokenizer) -> list[str]:
    """The tokens that are whole words: they begin a word, and no longer token was made of them.

    That leaves out the beginnings of words ("gre" of "green"), which BPE keeps, and the few words that are the
    beginning of another ("hair" beside "hairs").
    """
    model = json.loads(tokenizer.to_json())["model"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    beginnings = {left for left, _ in pairs}
    whole = [i for text, i in model["vocab"].items() if text.startswith(_SPACE) and text not in beginnings]
    texts = [tokenizer.decode([i]) for i in whole]
    return sorted({text for text in texts if _WORD.fullmatch(text)})
