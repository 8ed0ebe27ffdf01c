"""Which words and which neighbouring tokens the training captions had, in a form that can be asked but not listed.

A model can draw only what its captions told of. A word that none of them had is read as its bytes, and means nothing;
words that never stood side by side may not be understood together. Both are kept as Bloom filters (Bloom 1970): bits
that answer "never seen" or "most likely seen" (false in 1 of 100 cases), from which no word can be read off. Who
guesses a word can still ask for it, so words of a single caption are left out.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2igan.data.tokenizer import Tokenizer

FALSE_POSITIVES = 0.01
MIN_CAPTIONS = 2  # that have a word, for the filter to know it
MIN_BITS, MAX_BITS = 1_024, 2**25
MAX_HASHES = 16
_REMEMBERED = 10_000  # answers
MAX_HELD_OUT = 0.01  # share of held-out captions with a pair that was not seen, up to which pairs are worth a warning
# A Chinese or Japanese character counts as a word: there are no spaces to go by.
WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿]|[^\W_]+(?:['’-][^\W_]+)*")


class Bloom:
    """A set of texts that can be asked for one, but not listed."""

    def __init__(self, bits: np.ndarray, hashes: int):
        """`bits` is uint8 [n], 8 bits each; `hashes` is how many of them a text sets."""
        self._bits, self._hashes = bits, hashes
        self._asked = functools.lru_cache(_REMEMBERED)(self._has)  # prompts have the same words again and again

    @classmethod
    def of(cls, texts: Sequence[str]) -> Bloom:
        """Returns the filter of these texts, of -n ln(p) / ln(2)^2 bits and log2(1 / p) hashes."""
        num_bits = math.ceil(-len(texts) * math.log(FALSE_POSITIVES) / math.log(2) ** 2)
        num_bits = min(max(num_bits, MIN_BITS), MAX_BITS)  # of more texts than that, more are taken for seen
        made = cls(np.zeros(-(-num_bits // 8), np.uint8), round(math.log2(1 / FALSE_POSITIVES)))
        for text in texts:
            for place in made._places(text):
                made._bits[place >> 3] |= 1 << (place & 7)
        return made

    def __contains__(self, text: str) -> bool:
        return self._asked(text)

    def _has(self, text: str) -> bool:
        return all(self._bits[place >> 3] & (1 << (place & 7)) for place in self._places(text))

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {"bits": base64.b64encode(self._bits.tobytes()).decode(), "hashes": self._hashes}

    @classmethod
    def from_json(cls, value: Any) -> Bloom:
        """Returns what `to_json` gave; ValueError for anything else."""
        try:
            bits, hashes = np.frombuffer(base64.b64decode(value["bits"], validate=True), np.uint8), value["hashes"]
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"not a filter of words: {error}") from error
        if not 8 <= 8 * len(bits) <= MAX_BITS or type(hashes) is not int or not 1 <= hashes <= MAX_HASHES:
            raise ValueError(f"not a filter of words: {8 * len(bits):,} bits, {str(hashes)[:20]} hashes")
        return cls(bits, hashes)

    def _places(self, text: str) -> list[int]:
        """The bits of a text: a + i b modulo their number (Kirsch and Mitzenmacher 2006)."""
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        a, b = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little") | 1
        return [(a + i * b) % (8 * len(self._bits)) for i in range(self._hashes)]


@dataclass(frozen=True)
class Unseen:
    """What of a prompt the training captions did not have."""

    prompt: str
    words: tuple[str, ...]  # of fewer than `MIN_CAPTIONS` captions, as `words_of` gives them
    pairs: tuple[str, ...]  # words side by side, "cap red"

    def __bool__(self) -> bool:
        return bool(self.words or self.pairs)

    @property
    def text(self) -> str:
        """What there is to say, in a line; "" where there is nothing."""
        said = []
        if self.words:
            said.append(f"fewer than {MIN_CAPTIONS} training captions had {_listed(self.words)}")
        if self.pairs:
            said.append(f"no training caption had {_listed(self.pairs)} side by side")
        return f"{' and '.join(said)}, of the prompt {self.prompt[:120]!r}" if said else ""


@dataclass(frozen=True)
class Seen:
    """What the training captions had."""

    words: Bloom
    pairs: Bloom | None  # of tokens; None where held-out captions have new ones too often
    held_out: Mapping[str, float]  # share of held-out captions with a "word" or a "pair" that was not seen

    @classmethod
    def of(
        cls, captions: Iterable[str], held_out: Sequence[str], tokenizer: Tokenizer, shortened: Iterable[str] = ()
    ) -> Seen:
        """Returns what captions have; `tokenizer` is the run's own.

        Pairs of `shortened` captions, which lack a part (`t2igan.data.partial`), are seen as well. Their words are not
        counted, or one of a single caption would be kept.

        Pairs are kept only where at most one in a hundred of the held-out captions has a new one: in captions that
        people wrote freely nearly every second has, and a warning that always comes is none.
        """
        counts: Counter[str] = Counter()
        pairs: set[tuple[int, int]] = set()
        unique = list(dict.fromkeys(captions))
        for caption in unique:
            counts.update(set(words_of(caption)))
        told = [*unique, *dict.fromkeys(shortened)]
        for start in range(0, len(told), 10_000):
            for ids in tokenizer.unpadded(told[start : start + 10_000]):
                pairs.update(itertools.pairwise(ids))
        words = [word for word, count in counts.items() if count >= MIN_CAPTIONS]
        seen = cls(Bloom.of(sorted(words)), Bloom.of(sorted(f"{a} {b}" for a, b in pairs)), {})
        found = [seen.unseen(caption, tokenizer) for caption in held_out]
        share = lambda kind: sum(bool(getattr(one, kind)) for one in found) / max(len(found), 1)
        shares = {"word": round(share("words"), 4), "pair": round(share("pairs"), 4)}
        return cls(seen.words, seen.pairs if shares["pair"] <= MAX_HELD_OUT else None, shares)

    def unseen(self, prompt: str, tokenizer: Tokenizer) -> Unseen:
        """Returns what of a prompt was not seen; a pair with a word that was not seen is not named twice."""
        words = tuple(dict.fromkeys(word for word in words_of(prompt) if word not in self.words))
        if self.pairs is None:
            return Unseen(prompt, words, ())
        ids = tokenizer.unpadded([prompt])[0]
        new = [f"{a} {b}" not in self.pairs for a, b in itertools.pairwise(ids)]
        if not any(new):
            return Unseen(prompt, words, ())
        pairs, before = [], None
        of_token = {place: word.text for word in tokenizer.own.words(prompt) for place in word.positions}
        for place in (place for place, is_new in enumerate(new, start=1) if is_new):  # 0 is the mark of begin
            ends = of_token.get(place, ""), of_token.get(place + 1, "")
            if ends != before and all(ends) and not any(word in words for end in ends for word in words_of(end)):
                pairs.append(" ".join(dict.fromkeys(ends)))
                before = ends
        return Unseen(prompt, words, tuple(dict.fromkeys(pairs)))

    def unseen_of(self, prompt: str, captions: Sequence[str], tokenizer: Tokenizer) -> Unseen:
        """Returns what was not seen of the captions that a prompt means.

        Of more than one only words are named: captions are made of a prompt with weights that lack a phrase.
        """
        of_one = [self.unseen(caption, tokenizer) for caption in captions]
        words = tuple(dict.fromkeys(word for one in of_one for word in one.words))
        return Unseen(prompt, words, of_one[0].pairs if len(of_one) == 1 else ())

    def to_json(self) -> dict[str, Any]:
        """Returns it as a snapshot keeps it."""
        return {
            "words": self.words.to_json(),
            "pairs": self.pairs and self.pairs.to_json(),
            "held_out": dict(self.held_out),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Seen | None:
        """Returns what `to_json` gave, None for {} (of snapshots from before); ValueError for anything else."""
        if not value:
            return None
        if set(value) != {"words", "pairs", "held_out"} or not isinstance(value["held_out"], Mapping):
            raise ValueError("not what a snapshot keeps of captions: words, pairs, held_out")
        pairs = value["pairs"]
        return cls(Bloom.from_json(value["words"]), pairs and Bloom.from_json(pairs), value["held_out"])


def words_of(text: str) -> list[str]:
    """Returns the words of a text, compatibility forms and capitals made one."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def never_told(captions: Iterable[str], told: Iterable[Sequence[str]]) -> frozenset[str]:
    """Returns the captions that have a word that none of the training captions `told`, N tuples, has.

    Exact, and without a filter: where the training captions are at hand nothing has to be kept of them.
    """
    left = {caption: set(words_of(caption)) for caption in set(captions)}
    unknown = set().union(*left.values())
    for texts in told:
        for text in texts:
            if not unknown:
                return frozenset()
            unknown.difference_update(words_of(text))
    return frozenset(caption for caption, words in left.items() if words & unknown)


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
