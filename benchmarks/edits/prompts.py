"""Prompts that say more, variations and mixes: what is known of them is what has to be seen."""

from __future__ import annotations

import numpy as np

from benchmarks.edits.codes import SHOWN, Figures, error_of_mean
from benchmarks.edits.judge import Judged
from benchmarks.edits.wording import Attributes, Wording, without
from t2igan.inference.editing import diversity_levels, invert, mix, vary
from t2igan.inference.editing.mixing import steps_between

WEIGHTS = (0.0, 0.5, 0.75, 1.0, 1.3)
VARIATIONS = 4
PLACES = ("first", "quarter", "middle", "three_quarters", "last")  # on the way between two pictures


def prompts(judged: Judged, num: int) -> Figures:
    """Weights of a part; two parts joined by AND; a part that is not wanted. Each attribute judged, by the same noises.

    Of pixel avatars the part is the hat, and the other a beard; of toon avatars a beard, and long hair.
    """
    model, names, wording = judged.model, judged.names, judged.wording
    if wording is None or not judged.judges:
        return {}
    some = [a for a in judged.test.attributes if wording.needed <= a.keys()][:num]
    seeds = list(range(len(some)))
    weighed = wording.weighed
    of_part = [names.index(name) for name in weighed.names]
    others = [i for i in range(len(names)) if i not in of_part]
    bare = [without(a, *weighed.names) for a in some]
    found: Figures = {"captions": len(some)}
    for weight in WEIGHTS:
        said = [_weighted(wording, a, weight) for a in some]
        right = judged.right(model.sample(said, seeds), bare if weight == 0 else some)
        found[f"weight_{weight:g}_part"] = float(right[:, of_part].all(1).mean())
        found[f"weight_{weight:g}_others"] = float(right[:, others].all(1).mean())
    said = [wording.caption(a, 0) for a in some]
    found["caption_all"] = float(judged.right(model.sample(said, seeds), some).all(1).mean())
    one, other = wording.joined
    plain = [wording.base(a) for a in some]
    firsts = [a | one.of(of) for a, of in zip(plain, some, strict=True)]
    more = [wording.second or other.of(of) for of in some]
    seconds = [a | of for a, of in zip(plain, more, strict=True)]
    both = [a | of for a, of in zip(firsts, more, strict=True)]
    joined = [f"{wording.caption(a, 0)} AND {wording.caption(b, 0)}" for a, b in zip(firsts, seconds, strict=True)]
    phrased = [f"{wording.caption(a, 0)} AND {other.said(b)}" for a, b in zip(firsts, both, strict=True)]
    for name, said in (
        ("and", joined),
        ("and_phrase", phrased),
        ("one_caption", [wording.caption(a, 0) for a in both]),
    ):
        found[f"{name}_all"] = float(judged.right(model.sample(said, seeds), both).all(1).mean())
    word, is_one = wording.negative
    for name, negative in (("negative", word), ("negative_in_full", None)):
        meant = [(a, b, seed) for a, b, seed in zip(some, bare, seeds, strict=True) if negative is None or is_one(a)]
        drawn = [
            model.sample(wording.caption(a, 0), seed, negative=negative or weighed.said(a)) for a, _, seed in meant
        ]
        right = judged.right(np.concatenate(drawn), [b for _, b, _ in meant])
        found[f"{name}_gone"] = float(right[:, of_part[0]].mean())
        found[f"{name}_others"] = float(right[:, others].all(1).mean())
    return found


def _weighted(wording: Wording, attributes: Attributes, weight: float) -> str:
    said = wording.weighed.said(attributes)
    return wording.caption(attributes, 0).replace(said, f"({said}:{weight:g})")


def variations(judged: Judged, num: int) -> Figures:
    """Whether variations keep the caption, and how much they differ, by strength."""
    model = judged.model
    images, captions = judged.test.images[:num], [of[0] for of in judged.test.captions[:num]]
    attributes = [a for a in judged.test.attributes[:num] for _ in range(VARIATIONS)]
    codes = invert(model, images, captions)
    found: Figures = {}
    for strength in (0.25, 0.5, 0.75, 1.0):
        made = [vary(model, codes[i : i + 1], strength, num=VARIATIONS, seed=100 * i) for i in range(num)]
        if judged.judges:
            right = judged.right(np.concatenate(made), attributes)
            found[f"strength_{strength:g}_all"] = float(right.all(1).mean())
            found[f"strength_{strength:g}_mean"] = float(right.mean())
        found[f"strength_{strength:g}_found"] = judged.found(
            np.concatenate(made), [caption for caption in captions for _ in range(VARIATIONS)]
        )
        found[f"strength_{strength:g}_differ_levels"] = float(np.mean([diversity_levels(x) for x in made]))
        lines = ["; ".join(captions[:SHOWN]), *[f"strength {strength:g}"] * VARIATIONS]
        rows = [images[:SHOWN], *np.stack(made[:SHOWN], axis=1)]
        judged.show(f"variations_{strength:g}", rows, lines)
    return found


def mixes(judged: Judged, num: int) -> Figures:
    """Of pictures on the way between two, the share of attributes that are those of one end or the other.

    Beside the same of the real ends; of real pictures of other pairs, which is chance; and of the two laid one over the
    other, half and half. "..._found" is how often the nearest real picture is one end, or has a caption that is said
    on the way.
    """
    model = judged.model
    images, captions = judged.test.images[: 2 * num], [of[0] for of in judged.test.captions[: 2 * num]]
    codes = invert(model, images, captions)
    frames = np.stack([mix(model, codes[i : i + 1], codes[num + i : num + i + 1], num=5) for i in range(num)])
    faded = ((images[:num].astype(int) + images[num:]) // 2).astype(np.uint8)
    between = {
        **{name: frames[:, place] for place, name in enumerate(PLACES)},
        "faded": faded,
        "real": images[:num],
        "another": np.roll(images[:num], 1, axis=0),
    }
    found: Figures = {}
    said = [steps_between(*ends) for ends in zip(captions[:num], captions[num:], strict=True)]
    if judged.judges:
        ends = judged.labels(images, judged.test.attributes[: 2 * num])
    for name, of in between.items():
        nearest = judged.nearest_captions(of)
        found[f"{name}_found"] = float(np.mean([one in some for one, some in zip(nearest, said, strict=True)]))
        if judged.judges:
            seen = judged.seen(of)
            right = ((seen == ends[:num]) | (seen == ends[num:])).mean(1)
            found |= {f"{name}_one_end": float(right.mean()), f"{name}_one_end_error": error_of_mean(right)}
    rows = [[images[i], *frames[i], images[num + i]] for i in range(min(SHOWN, num))]
    judged.show("mixes", rows, [f"{captions[i]} / {captions[num + i]}" for i in range(len(rows))])
    return found
