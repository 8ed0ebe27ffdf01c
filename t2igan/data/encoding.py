"""The encoding of texts that are not UTF-8: found out for all texts of a data set together, or not guessed at all.

A caption alone is too short to tell Windows-1252 from Windows-1250. So texts that are not UTF-8 are looked at together,
`chardet` ranks what they may be, and its first choice is taken where it leads clearly and reads like writing; otherwise
they are refused, and the user is asked for `config.data.encoding`. Whatever bytes are left over become U+FFFD, and a
caption with that character in it is not used.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from t2igan.data.spread import evenly_spread

# Encodings that texts of captions have, of today's systems and of yesterday's; rarer ones have to be named.
CANDIDATES = frozenset(
    codecs.lookup(name).name
    for name in (
        "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp866 cp874 koi8-r koi8-u iso8859-1 iso8859-2 "
        "iso8859-5 iso8859-7 iso8859-8 iso8859-9 iso8859-15 cp932 shift_jis euc_jp gb18030 gbk gb2312 big5 big5hkscs "
        "cp950 cp949 euc_kr"
    ).split()
)
LEAD = 1.1  # how much more likely than the next the first choice has to be
LEAD_OF_ONE_LINE = 2.0  # where there is only one line to go by
MOST_ODD = 0.05  # share of words that no writing has: with letters of two alphabets, "cAPITALS", control characters
MARKS = (
    *((codecs.BOM_UTF8, "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32")),
    *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")),
)
LEAST_BYTES = 40  # of UTF-16 without line ends, blanks and punctuation, for which there is nothing else to go by
SAMPLED_TEXTS = 200  # of a data set, evenly over its names
SAMPLED_BYTES = 1 << 16  # of each
MAX_HELD_BYTES = 1 << 26  # of a text; the rest of a longer one is decoded on the way
TEXT_SUFFIXES = (
    *(".txt", ".caption", ".captions", ".text", ".cap", ".prompt", ".token", ".lst"),
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".psv", ".md"),
)
UNCLEAR = (
    "not UTF-8, and which encoding it has is not clear: name it by config.data.encoding (usual are cp1252, cp1250, "
    "cp1251, cp932, gb18030, big5, cp949, utf-16)"
)
DAMAGED = "bytes that are no characters (config.data.encoding says which encoding a text has)"
CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f\x7f]")
NO_WRITING = re.compile("[\u2500-\u259f\uff61-\uff9f]")  # frames of old terminals, and katakana of half width
NO_CHARACTERS = dict.fromkeys((0x80, 0xF8F0, 0xF8F1, 0xF8F2, 0xF8F3), "\ufffd")  # what cp932 makes of bytes without one
REPLACED = "\ufffd"


class Texts:
    """The texts of one data set, as UTF-8 whatever they are stored in.

    ValueError, with a reason fit for the user, for a text whose encoding is not clear.
    """

    def __init__(
        self, data_config: Any, names: Sequence[str] = (), opened: Callable[[str], io.BufferedIOBase] | None = None
    ):
        """`opened` opens one of `names`; without, texts can only be decoded, each by itself."""
        self._forced = str(data_config.encoding)
        self._names = [name for name in names if name.lower().endswith(TEXT_SUFFIXES)]
        self._opened = opened
        self._sampled: list[bytes] | None = (
            None  # beginnings of texts that are not ASCII, each once; None: not yet read
        )
        self._all_utf8 = False  # these
        self._found: str | None = None  # what texts that are not UTF-8 are; "" = looked for, and not clear
        self._mostly_others = False
        self._read_as: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def open(self, name: str) -> io.BufferedIOBase:
        """Opens a file; a text becomes UTF-8, anything else is as it is."""
        assert self._opened is not None  # whoever names files says how they are opened
        raw = self._opened(name)
        if not name.lower().endswith(TEXT_SUFFIXES):
            return raw
        return self.as_utf8(raw, name)

    def as_utf8(self, raw: io.BufferedIOBase, name: str) -> io.BufferedIOBase:
        """Returns a stream of UTF-8 in place of `raw`, the text `name`; which of the two is to be closed."""
        head = raw.read(MAX_HELD_BYTES)
        encoding = self._encoding(head, name)
        rest = raw.read(1)
        if not rest:
            raw.close()
            data = head if encoding == "utf-8" else _decoded(head, encoding).encode("utf-8", "replace")
            return io.BytesIO(data)
        return io.BufferedReader(_Recoded(raw, head + rest, encoding))

    def decode(self, data: bytes, name: str) -> str:
        """Returns a text that is at hand."""
        return _decoded(data, self._encoding(data, name))

    def encoding_of(self, together: Sequence[bytes], name: str) -> str:
        """Returns how texts that are stored together, as in a column `name`, are decoded."""
        if self._forced or all(map(is_utf8, together)):
            return self._forced or "utf-8"
        encoding = likely_encoding([data for data in together if not is_utf8(data)])
        if encoding is None:
            raise ValueError(f"{name} is {UNCLEAR}")
        self._read_as[encoding] += len(together)
        self._first.setdefault(encoding, name)
        return encoding

    def notes(self) -> list[str]:
        """Returns in a line each which encodings were found, for how many texts, and the first of them."""
        return [
            f"{count} {'text is' if count == 1 else 'texts are'} not UTF-8 and read as {encoding} (the first: "
            f"{self._first[encoding]}; config.data.encoding says otherwise)"
            for encoding, count in sorted(self._read_as.items())
        ]

    def _encoding(self, data: bytes, name: str) -> str:
        """Returns how a text, or its beginning, is decoded; counts those that are not UTF-8."""
        if marked := next((encoding for mark, encoding in MARKS if data.startswith(mark)), ""):
            return marked
        if self._forced:
            return self._forced
        if data.isascii() and not _wide(data):
            return "utf-8"
        if self._found is None:
            self._find(data[:SAMPLED_BYTES])
        if is_utf8(data) and not self._only_happens_to_be_utf8(data):
            return "utf-8"
        if not self._found or (CONTROL.search(data) and not self._found.startswith("utf-16")):
            raise ValueError(UNCLEAR)
        self._read_as[self._found] += 1
        self._first.setdefault(self._found, name)
        return self._found

    def _only_happens_to_be_utf8(self, data: bytes) -> bool:
        """Whether a text among many that are not UTF-8 reads no worse as what those are."""
        if not (self._mostly_others and self._found and _fits(data, self._found)):
            return False
        return odd_words(_decoded(data, self._found)) <= odd_words(_decoded(data, "utf-8"))

    def _samples(self) -> Iterator[bytes]:
        if self._opened is None or not self._names:
            return
        for row in evenly_spread(len(self._names), SAMPLED_TEXTS):
            try:
                with self._opened(self._names[row]) as stream:
                    yield stream.read(SAMPLED_BYTES)
            except (OSError, ValueError):  # what cannot be read is reported where it is wanted
                continue

    def _find(self, data: bytes) -> None:
        """Finds out what texts that are not UTF-8 are, where `data`, the beginning of a text, or a sample is not."""
        if self._sampled is None:
            unmarked = [data for data in self._samples() if not data.startswith(tuple(mark for mark, _ in MARKS))]
            self._sampled = [data for data in dict.fromkeys(unmarked) if not data.isascii() or _wide(data)]
            self._all_utf8 = all(map(is_utf8, self._sampled))
        if self._all_utf8 and is_utf8(data):
            return
        different = dict.fromkeys([data, *self._sampled])
        others = [data for data in different if not is_utf8(data)]
        # A few pairs of GBK or cp1251 happen to be UTF-8 as well: among many that are not, they are not meant to be.
        self._mostly_others = len(others) > len(different) - len(others)
        self._found = likely_encoding(others) or ""


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8, apart from some damage; a character that is cut off at the end is none."""
    if _wide(data):
        return False
    with contextlib.suppress(UnicodeDecodeError):
        data.decode("utf-8")
        return True
    damaged = codecs.getincrementaldecoder("utf-8")("replace").decode(data)
    beyond_ascii = sum(1 for character in damaged if character > "\x7f")
    wrong = damaged.count(REPLACED) - data.count(REPLACED.encode())
    return wrong == 0 or 4 * wrong < beyond_ascii


def likely_encoding(texts: Sequence[bytes]) -> str | None:
    """Returns the encoding, by its name in Python, that all of these texts have; None where that is not clear.

    `texts` are not UTF-8. Pure: the same texts give the same answer.
    """
    if wide := _utf16(texts):
        return wide
    import chardet

    everything = texts

    texts = [text for text in texts if not CONTROL.search(text)]  # one that is no text at all must not spoil the rest
    lines = dict.fromkeys(line for text in texts for line in text.splitlines() if not line.isascii())
    sample = b"\n".join(lines)
    ranked: list[tuple[float, str, str]] = []
    for guess in chardet.detect_all(sample, ignore_threshold=True):
        try:
            encoding = codecs.lookup(guess["encoding"] or "").name
            text = sample.decode(encoding)
        except (LookupError, UnicodeDecodeError):
            continue
        if encoding in CANDIDATES and odd_words(text) <= MOST_ODD:
            ranked.append((guess["confidence"], encoding, text))
    if not ranked:
        return _utf16_without_blanks(everything)
    ranked.sort(key=lambda one: -one[0])  # stable
    confidence, encoding, text = ranked[0]
    lead = LEAD if len(lines) > 1 else LEAD_OF_ONE_LINE
    if any(confidence < lead * other for other, _, otherwise in ranked if otherwise != text):
        return None
    return encoding


def odd_words(text: str) -> float:
    """Returns the share of the words beyond ASCII in a text that are unlike any writing; 0 where there are none."""
    words = [word for word in re.split(r"[\s!-/:-@\[-`{-~]+", text) if not word.isascii()]
    return sum(map(_is_odd, words)) / max(len(words), 1)


def _is_odd(word: str) -> bool:
    if any(unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs") or NO_WRITING.match(c) for c in word):
        return True
    alphabets = {_alphabet(character) for character in word if character.isalpha()}
    if len(alphabets - {"CJK"}) > 1 or ("CJK" in alphabets and len(alphabets - {"CJK", "LATIN"}) > 0):
        return True
    if any(small.islower() and large.isupper() and not large.isascii() for small, large in itertools.pairwise(word)):
        return True
    return "CJK" not in alphabets and re.search(r"[^\W\d_][^\w\s\x00-\x7f’‘“”…–—·]+[^\W\d_]", word) is not None


def _alphabet(character: str) -> str:
    first = unicodedata.name(character, "?").split()[0].split("-")[0]
    return {"HIRAGANA": "CJK", "KATAKANA": "CJK", "HANGUL": "CJK", "FULLWIDTH": "CJK"}.get(first, first)


def _wide(data: bytes) -> bool:
    """Whether bytes are UTF-16 without a mark, of Latin, Greek, Cyrillic...: every other one is below 32."""
    values = np.frombuffer(data, np.uint8)
    controls = (values < 32) & ~np.isin(values, (9, 10, 13))
    shares = sorted(half.mean() for half in (controls[::2], controls[1::2]) if half.size)
    return bool(len(shares) == 2 and shares[1] >= 0.5 and shares[0] <= 0.1)


def _utf16(texts: Sequence[bytes]) -> str | None:
    """Returns the UTF-16 that texts without a mark are; None where they are not, or it is not clear."""
    if any(len(text) % 2 for text in texts if len(text) < SAMPLED_BYTES):
        return None
    fits = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            read = [text[: len(text) // 2 * 2].decode(encoding, "strict") for text in texts]
        except UnicodeDecodeError:
            continue
        if odd_words("\n".join(read)) <= MOST_ODD:
            # The one that is meant has line ends, blanks and punctuation; the other has them by chance only.
            fits[encoding] = sum(text.count(mark) for text in read for mark in "\n ,.、。，")
    best = max(fits, key=fits.__getitem__, default="")
    other = max((count for encoding, count in fits.items() if encoding != best), default=0)
    if best and fits[best] >= max(1, len(texts) // 4, 4 * other):
        return best
    return None


def _utf16_without_blanks(texts: Sequence[bytes]) -> str | None:
    """Returns the UTF-16 of texts that are nothing but letters, as captions in Chinese may be, where they can be it."""
    if sum(map(len, texts)) < LEAST_BYTES or any(len(text) % 2 for text in texts if len(text) < SAMPLED_BYTES):
        return None
    import chardet

    agreed = []
    for encoding in ("utf-16-le", "utf-16-be"):
        lines = "\n".join(text[: len(text) // 2 * 2].decode(encoding, "replace") for text in texts)
        guess = chardet.detect(lines.encode(encoding))["encoding"]
        if guess and codecs.lookup(guess).name == encoding and odd_words(lines) <= MOST_ODD:
            agreed.append(encoding)
    return agreed[0] if len(agreed) == 1 else None


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(data: bytes, encoding: str) -> str:
    """Returns a text; bytes that are no characters become U+FFFD, and what is cut off at the end is left out."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(data).removeprefix("\ufeff")
    return text.translate(NO_CHARACTERS) if encoding == "cp932" else text


class _Recoded(io.RawIOBase):
    """A long text, read in one encoding and given in UTF-8."""

    def __init__(self, raw: io.BufferedIOBase, head: bytes, encoding: str):
        super().__init__()
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = self._decoder.decode(head).encode("utf-8", "replace")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._raw.read(1 << 20)
            self._ready = self._decoder.decode(data, final=not data).encode("utf-8", "replace")
            if not data:
                break
        given, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)

    def close(self) -> None:
        self._raw.close()
        super().close()
