"""Tokenizers from files of strangers: rebuilt of what is theirs to say, or checked part by part.

A tokenizer's file is a small program: regular expressions that never end, replacements that grow a caption a thousand
times, padding to two billion tokens. Of a run's own tokenizer only vocabulary, merges, length and whether captions are
made lower case are anybody's to say; the rest is what `Tokenizer.train` would have built, and is built again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from t2igan.config.strict_json import read_group
from t2igan.config.untrusted import MAX_VOCABULARY
from t2igan.errors import UserError

SPECIAL_TOKENS = ("<pad>", "<begin>", "<end>")  # in the order of their ids
MAX_TOKEN = 256  # characters of a token
MAX_TOKENS = 65_536  # of a caption
MAX_STEPS = 32  # normalizers, pre-tokenizers or decoders one after another
MAX_ADDED = 10_000

# The parts that tokenizers of BERT, RoBERTa, XLM-RoBERTa and CLIP consist of, and the regular expressions in them.
PARTS = frozenset(
    "Sequence BertNormalizer NFC NFD NFKC NFKD Lowercase StripAccents Strip Replace Prepend Precompiled "
    "BertPreTokenizer ByteLevel Split Whitespace WhitespaceSplit Metaspace Punctuation Digits "
    "TemplateProcessing BertProcessing RobertaProcessing WordPiece BPE Unigram BPEDecoder Fuse ByteFallback".split()
)
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
PATTERNS = frozenset({r"\s+", " {2,}", GPT2_PATTERN, CLIP_WORDS, rf"<\|startoftext\|>|<\|endoftext\|>|{CLIP_WORDS}"})


def build(vocabulary: Mapping[str, int], merges: list[tuple[str, str]], max_tokens: int, lowercase: bool) -> Any:
    """Returns the byte-level BPE of a run, of Hugging Face's `tokenizers`, with begin, end, padding and truncation."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    backend = Backend(models.BPE(dict(vocabulary), merges))
    dress(backend, lowercase)
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    finish(backend, max_tokens)
    return backend


def dress(backend: Any, lowercase: bool) -> None:
    """Gives a byte-level BPE what it does to captions before it looks for tokens, and the way back."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    steps: list[normalizers.Normalizer] = [normalizers.NFKC()]
    if lowercase:
        steps.append(normalizers.Lowercase())
    # Strip after lowercasing and NFKC: both may leave white space behind.
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    backend.normalizer = normalizers.Sequence(steps)
    # With the prefix space a word is the same token at the start of a caption as anywhere else.
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()


def finish(backend: Any, max_tokens: int) -> None:
    """Gives a byte-level BPE begin and end, and rows of a fixed length."""
    from tokenizers import processors

    pad, begin, end = SPECIAL_TOKENS
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in (begin, end)]
    )
    backend.enable_truncation(max_tokens)
    backend.enable_padding(length=max_tokens, pad_id=0, pad_token=pad)


def rebuilt(json: str) -> str:
    """Returns a run's own tokenizer as `Tokenizer.train` would have written it, from a file that may be hostile.

    Raises:
      ValueError: it has no vocabulary and merges that fit together, or a length that is out of range.
    """
    values = _group(json)
    try:
        vocabulary, merges = values["model"]["vocab"], values["model"]["merges"]
        max_tokens = values["truncation"]["max_length"]
        lowercase = {"type": "Lowercase"} in values["normalizer"]["normalizers"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            "not a tokenizer of t2igan: vocabulary, merges, truncation or normalizer are missing"
        ) from error
    _check_vocabulary(vocabulary)
    if [vocabulary.get(token) for token in SPECIAL_TOKENS] != [0, 1, 2]:
        raise ValueError("not a tokenizer of t2igan: special tokens are missing")
    if type(max_tokens) is not int or not 3 <= max_tokens <= MAX_TOKENS:
        raise ValueError(f"captions of {str(max_tokens)[:40]} tokens: 3 to {MAX_TOKENS:,} are accepted")
    pairs = [_pair(merge, vocabulary) for merge in merges] if isinstance(merges, list) else None
    if pairs is None:
        raise ValueError("its merges are no list")
    with panics_as_errors():
        return build(vocabulary, pairs, max_tokens, lowercase).to_str()


def check_parts(json: str) -> None:
    """Checks the `tokenizer.json` of a pretrained model that a stranger may have written.

    Raises:
      ValueError: it has a part or a regular expression that no model which t2igan reads has, or is far too large.
    """
    values = _group(json)
    model = values.get("model")
    if not isinstance(model, dict):
        raise ValueError("tokenizer.json has no model")
    if isinstance(model.get("vocab"), dict):
        _check_vocabulary(model["vocab"])
    elif not isinstance(model.get("vocab"), list) or len(model["vocab"]) > MAX_VOCABULARY:
        raise ValueError(f"tokenizer.json has no vocabulary of {MAX_VOCABULARY:,} words at most")
    added = values.get("added_tokens") or []
    if not isinstance(added, list) or len(added) > MAX_ADDED:
        raise ValueError(f"tokenizer.json adds more than {MAX_ADDED:,} tokens")
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        _check_part(values.get(name), name)
    _check_part({key: value for key, value in model.items() if key not in ("vocab", "merges")}, "model")


@contextlib.contextmanager
def panics_as_errors(what: str = "it") -> Iterator[None]:
    """Turns whatever the library raises, panics of its Rust included, into ValueError; those are no `Exception`."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ValueError(f"{what} is not a tokenizer: {str(error)[:160]}") from error
        raise


def _group(json: str) -> dict[str, Any]:
    try:
        return read_group(json, "the tokenizer")
    except UserError as error:
        raise ValueError(f"not a tokenizer: {error}") from error


def _check_vocabulary(vocabulary: Any) -> None:
    if not isinstance(vocabulary, dict) or not 3 <= len(vocabulary) <= MAX_VOCABULARY:
        raise ValueError(f"the vocabulary is no group of 3 to {MAX_VOCABULARY:,} tokens")
    if set(map(type, vocabulary.values())) != {int} or sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("the vocabulary does not number its tokens from 0 up")
    if max(map(len, vocabulary)) > MAX_TOKEN:
        raise ValueError(f"the vocabulary has a token of more than {MAX_TOKEN} characters")


def _pair(merge: Any, vocabulary: Mapping[str, int]) -> tuple[str, str]:
    """A merge as a pair, which versions of the library before 0.20 wrote as one text with a space."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise ValueError("a merge is no pair of tokens")
    if any(token not in vocabulary for token in (*parts, "".join(parts))):
        raise ValueError(f"a merge has a token that the vocabulary lacks: {str(parts)[:60]}")
    return parts[0], parts[1]


def _check_part(part: Any, name: str, depth: int = 0) -> None:
    """A part of a tokenizer, and the parts in it."""
    if part is None:
        return
    if depth > 3 or not isinstance(part, dict) or part.get("type") not in PARTS:
        kind = part.get("type") if isinstance(part, dict) else part
        raise ValueError(f"tokenizer.json has a {name} {str(kind)[:40]!r}, which is not one of those that are accepted")
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and "Regex" in pattern and pattern["Regex"] not in PATTERNS:
        raise ValueError(
            f"tokenizer.json has a {name} with a regular expression that is not known: {str(pattern)[:60]}"
        )
    if len(str(part.get("content", ""))) > 1 or (isinstance(pattern, dict) and not next(iter(pattern.values()), "")):
        raise ValueError(f"tokenizer.json has a {name} that makes captions longer")
    for inner in (value for value in part.values() if isinstance(value, list)):
        if len(inner) > MAX_STEPS:
            raise ValueError(f"tokenizer.json has a {name} of {len(inner):,} steps; {MAX_STEPS} at most are accepted")
        for step in inner:
            if isinstance(step, dict) and "type" in step:
                _check_part(step, name, depth + 1)
