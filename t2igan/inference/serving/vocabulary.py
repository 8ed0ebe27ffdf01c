"""Which words a model has learned, read from its tokenizer, and which of them follow one another.

The tokenizer is byte-level BPE: a word that is frequent in the training captions ends as one token. Where training of
the tokenizer ran out of pairs before its vocabulary was full, every word of the captions is one token, so that a word
of several tokens was in no caption. Where the vocabulary is full, such a word was rare, or in none.
"""

from __future__ import annotations

import functools
import json
import re

from t2igan.data.seen import Seen
from t2igan.data.tokenizer import Tokenizer

_SPACE = "Ġ"  # how byte-level BPE writes the space before a word
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Vocabulary:
    """The words of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, most_tokens: int, seen: Seen | None = None):
        """Reads the words.

        Args:
          tokenizer: the model's.
          most_tokens: the size that its vocabulary was allowed.
          seen: what the training captions had; None for a model that is older than the keeping of it.
        """
        self._tokenizer, self._seen = tokenizer, seen
        self.complete = tokenizer.own.vocab_size < most_tokens  # every word that was seen is a token
        self._by_token = _words(tokenizer.own, seen)
        # The most frequent first, or nearly: BPE merges the most frequent pair first, and numbers tokens as it goes.
        self.words = list(dict.fromkeys(self._by_token[i] for i in sorted(self._by_token)))
        self._is_new = functools.lru_cache(maxsize=10_000)(self._has_parts)
        self._after = functools.lru_cache(maxsize=1_000)(self._words_after)

    def unseen(self, prompt: str) -> list[str]:
        """Returns the words of a prompt that are no single token, as they are written, each once."""
        return [word for word in dict.fromkeys(_WORD.findall(prompt)) if self._is_new(word)]

    def following(self, prompt: str) -> list[str]:
        """Returns the words that training captions had right after the end of a prompt, frequent ones first.

        [] where the prompt has no token, and for a model that does not keep what stood side by side, since its
        captions were written freely. One in a hundred of the other words is among them (`t2igan.data.seen`).
        """
        ids = self._tokenizer.unpadded([prompt])[0]
        return list(self._after(ids[-1])) if ids else []

    def _has_parts(self, word: str) -> bool:
        own = self._tokenizer.own
        parts = int(own.lengths([word])[0]) - 2  # without begin and end
        return parts > 1 and len(own.words(word)) == 1

    def _words_after(self, token: int) -> tuple[str, ...]:
        pairs = self._seen and self._seen.pairs
        after = {word for i, word in self._by_token.items() if pairs and f"{token} {i}" in pairs}
        return tuple(word for word in self.words if word in after)


def _words(tokenizer: Tokenizer, seen: Seen | None) -> dict[int, str]:
    """The tokens that are whole words: they begin a word, and training captions had it.

    BPE also keeps the beginnings of words ("gre" of "green"). Where it is not known what the captions had, tokens of
    which longer ones were made are left out, and with them the few words that begin another ("hair" beside "hairs").
    """
    model = json.loads(tokenizer.to_json())["model"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    beginnings = set() if seen else {left for left, _ in pairs}
    whole = [i for text, i in model["vocab"].items() if text.startswith(_SPACE) and text not in beginnings]
    texts = {i: tokenizer.decode([i]) for i in whole}
    return {i: text for i, text in texts.items() if _WORD.fullmatch(text) and (seen is None or text in seen.words)}
