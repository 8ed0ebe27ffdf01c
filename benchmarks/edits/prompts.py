"""Prompts that say more, variations and mixes: what is known of them is what has to be seen."""

from __future__ import annotations

import numpy as np

from benchmarks.edits.codes import Figures
from benchmarks.edits.judge import Judged, caption_of, without
from t2igan.inference.editing import diversity_levels, invert, mix, vary

WEIGHTS = (0.0, 0.5, 0.75, 1.0, 1.3)
VARIATIONS = 4


def prompts(judged: Judged, num: int) -> Figures:
    """Weights of a hat; a hat AND a beard; a hat that is not wanted. Each attribute judged, by the same noises."""
    model, names = judged.model, judged.names
    some = [a for a in judged.test.attributes if {"hat", "hair"} <= a.keys()][:num]
    seeds = list(range(len(some)))
    of_hat = [names.index(name) for name in ("hat", "hatColor")]
    others = [i for i in range(len(names)) if i not in of_hat]
    bare = [without(a, "hat", "hatColor") for a in some]
    found: Figures = {}
    for weight in WEIGHTS:
        said = [_weighted(a, weight) for a in some]
        right = judged.right(model.sample(said, seeds), bare if weight == 0 else some)
        found[f"weight_{weight:g}_hat"] = float(right[:, of_hat].all(1).mean())
        found[f"weight_{weight:g}_others"] = float(right[:, others].all(1).mean())
    plain = [without(a, "hat", "hatColor", "beard", "glasses") | {"hair": "long"} for a in some]
    hats = [a | {"hat": of["hat"], "hatColor": of["hatColor"]} for a, of in zip(plain, some, strict=True)]
    beards = [a | {"beard": "beard"} for a in plain]
    both = [a | {"beard": "beard"} for a in hats]
    joined = [f"{caption_of(a)} AND {caption_of(b)}" for a, b in zip(hats, beards, strict=True)]
    phrased = [f"{caption_of(a)} AND a beard" for a in hats]
    for name, said in (("and", joined), ("and_phrase", phrased), ("one_caption", [caption_of(a) for a in both])):
        found[f"{name}_all"] = float(judged.right(model.sample(said, seeds), both).all(1).mean())
    for name, negative in (("negative", "a hat"), ("negative_in_full", None)):
        images = np.concatenate(
            [
                model.sample(caption_of(a), seed, negative=negative or f"a {a['hatColor']} {a['hat']}")
                for a, seed in zip(some, seeds, strict=True)
                if negative is None or a["hat"] == "hat"
            ]
        )
        left = [b for a, b in zip(some, bare, strict=True) if negative is None or a["hat"] == "hat"]
        right = judged.right(images, left)
        found[f"{name}_gone"] = float(right[:, names.index("hat")].mean())
        found[f"{name}_others"] = float(right[:, others].all(1).mean())
    return found


def _weighted(attributes: dict[str, str], weight: float) -> str:
    hat = f"a {attributes['hatColor']} {attributes['hat']}"
    return caption_of(attributes).replace(hat, f"({hat}:{weight:g})")


def variations(judged: Judged, num: int) -> Figures:
    """Whether variations keep the caption, and how much they differ, by strength."""
    model = judged.model
    images, captions = judged.test.images[:num], [of[0] for of in judged.test.captions[:num]]
    attributes = [a for a in judged.test.attributes[:num] for _ in range(VARIATIONS)]
    codes = invert(model, images, captions)
    found: Figures = {}
    for strength in (0.25, 0.5, 0.75, 1.0):
        made = [vary(model, codes[i : i + 1], strength, num=VARIATIONS, seed=100 * i) for i in range(num)]
        right = judged.right(np.concatenate(made), attributes)
        found[f"strength_{strength:g}_all"] = float(right.all(1).mean())
        found[f"strength_{strength:g}_mean"] = float(right.mean())
        found[f"strength_{strength:g}_differ_levels"] = float(np.mean([diversity_levels(x) for x in made]))
    return found


def mixes(judged: Judged, num: int) -> Figures:
    """Of pictures on the way between two, the share of attributes that are those of one end or the other."""
    model = judged.model
    images, captions = judged.test.images[: 2 * num], [of[0] for of in judged.test.captions[: 2 * num]]
    ends = judged.labels(images, judged.test.attributes[: 2 * num])
    codes = invert(model, images, captions)
    frames = np.stack([mix(model, codes[i : i + 1], codes[num + i : num + i + 1], num=5) for i in range(num)])
    found: Figures = {}
    for place, name in ((0, "first"), (1, "quarter"), (2, "middle"), (3, "three_quarters"), (4, "last")):
        seen = judged.seen(frames[:, place])
        found[f"{name}_one_end"] = float(((seen == ends[:num]) | (seen == ends[num:])).mean())
    return found
