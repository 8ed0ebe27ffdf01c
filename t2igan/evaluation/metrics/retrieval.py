"""Do pictures and captions find each other?"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

TIE = 1e-9  # cosines nearer to each other than this are equal but for rounding


class Ranks(NamedTuple):
    """The rank of each query's own target, 1 = found at once, and among how many candidates."""

    ranks: Int[np.ndarray, " N"]
    candidates: int


def match_ranks(
    queries: Shaped[np.ndarray, "N E"],
    targets: Shaped[np.ndarray, "N E"],
    *,
    captions: Sequence[Hashable],
    candidates: int = 100,
    seed: int,
) -> Ranks:
    """The rank, by cosine, of each query's own target among `candidates`; 1..candidates, lower is better.

    With pictures as queries and captions as targets, the share of ranks up to k is R-precision at k (AttnGAN, Xu et
    al. 2018, arXiv:1711.10485, section 4, with k = 1); the other way round it is the retrieval of pictures by captions.
    Row i of both embeds picture i and its caption, and `captions[i]` is that caption or anything that is equal for
    equal captions. The other candidates are drawn at random from different texts, each text once; where there are too
    few texts, all of them, and the number in the result is smaller. A tie counts against. By chance all ranks are
    equally likely. Fewer candidates make it easier: compare like with like. ValueError for fewer than two texts.
    """
    queries, targets = _unit(queries), _unit(targets)
    if not len(queries) == len(targets) == len(captions):
        raise ValueError(f"{len(queries)} queries, {len(targets)} targets and {len(captions)} captions")
    first_of: dict[Hashable, int] = {}
    text_of = np.array([first_of.setdefault(caption, len(first_of)) for caption in captions])  # [N]
    num_texts = len(first_of)
    candidates = min(candidates, num_texts)
    if candidates < 2:
        raise ValueError(f"finding a caption among {candidates} says nothing: two different captions are needed")
    # Targets in the order of their texts: those of text t are by_text[start[t] : start[t] + size[t]].
    by_text = np.argsort(text_of, kind="stable")
    size = np.bincount(text_of)
    start = np.cumsum(size) - size
    random = np.random.default_rng(seed)
    ranks = np.empty(len(queries), np.int64)
    for i, (query, text) in enumerate(zip(queries, text_of, strict=True)):
        others = random.choice(num_texts - 1, candidates - 1, replace=False, shuffle=False)
        others += others >= text  # skips its own
        others = by_text[start[others] + random.integers(size[others])]
        ranks[i] = 1 + (targets[others] @ query >= query @ targets[i] - TIE).sum()
    return Ranks(ranks, candidates)


def nearest_texts(texts: Sequence[Collection[str]], known: Sequence[Collection[str]]) -> Int[np.ndarray, " N"]:
    """For each text, given by its words, the known one with most words in common (Jaccard); the first of equals.

    The similarity is the number of words that both have over the number that either has, 0..1. ValueError where no text
    is known.
    """
    if not known:
        raise ValueError("there is no known text")
    with_word: dict[str, list[int]] = {}
    for row, words in enumerate(known):
        for word in set(words):
            with_word.setdefault(word, []).append(row)
    rows = {word: np.array(of_one) for word, of_one in with_word.items()}
    sizes = np.array([len(set(words)) for words in known])
    found: dict[frozenset[str], int] = {}
    for words in {frozenset(words) for words in texts}:
        both = np.zeros(len(known), np.int64)
        for word in words & rows.keys():
            both[rows[word]] += 1
        found[words] = int((both / np.maximum(sizes + len(words) - both, 1)).argmax())
    return np.array([found[frozenset(words)] for words in texts], np.int64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
