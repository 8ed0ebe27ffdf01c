"""Edits by caption against an exact truth: the same picture with one thing changed, and captions that say so."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.edits.codes import SHOWN, Figures, error_of_mean, measured
from benchmarks.edits.judge import Judged
from benchmarks.edits.wording import TONED, TONES, Attributes
from t2igan.data import Dataset
from t2igan.data.decode import Decoding
from t2igan.evaluation.metrics.edits import edit_scores, psnr_db
from t2igan.inference.editing import decoding_of, edit, invert, read_picture

_WHO = re.compile(r"^(woman|man|women|men)\b")
_OTHER = {"man": "woman", "woman": "man", "men": "women", "women": "men"}
_HAIRS = ("red hair", "white hair", "curly hair", "bald", "beard")
_HAIR = re.compile(rf"({'|'.join(_HAIRS)})$")


@dataclasses.dataclass(frozen=True)
class Side:
    """A picture uint8 [S, S, C], its name, caption and attributes."""

    name: str
    pixels: np.ndarray
    text: str
    attributes: Attributes


@dataclasses.dataclass(frozen=True)
class Pair:
    """A picture before and after a change, and the kind of it."""

    change: str
    before: Side
    after: Side


def read_pairs(folder: Path, num: int, how: Decoding) -> list[Pair]:
    """Returns the pairs of the first `num` avatars that docs/make_*_avatar_pairs.mjs made."""
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    first = list(dict.fromkeys(line["before"]["image"] for line in lines))[:num]

    def side(of: dict) -> Side:
        return Side(of["image"], read_picture(folder / of["image"], how).pixels, of["text"], of["attributes"])

    chosen = [line for line in lines if line["before"]["image"] in first]
    return [Pair(line["change"], side(line["before"]), side(line["after"])) for line in chosen]


def emoji_pairs(train: Dataset, held_out: Dataset, num: int) -> list[Pair]:
    """Returns pairs of emoji: a person of the training, and the same as it was held out, with one thing exchanged.

    Of each kind of change `num` held-out pictures are taken, spread over all of which the training has the other one.
    """
    rows = {captions[0]: row for row, captions in enumerate(train.captions)}
    found: list[Pair] = []
    for change, befores in _BEFORES.items():
        of_kind = []
        for row, (caption, *_) in enumerate(held_out.captions):
            known = next((text for text in befores(caption) if text in rows), None)
            if known is not None:
                sides = [
                    Side(f"{name} {at}", data.images[at], data.captions[at][0], dict(data.attributes[at]))
                    for name, data, at in (("train", train, rows[known]), ("held out", held_out, row))
                ]
                of_kind.append(Pair(change, *sides))
        found += [of_kind[i] for i in np.linspace(0, len(of_kind) - 1, min(num, len(of_kind))).astype(int)]
    return found


def _other_tones(caption: str) -> list[str]:
    """Returns the caption in other skin tones, the farthest first; [] of two people, each with a tone."""
    tones = [match[1] for match in TONED.finditer(caption)]
    if len(tones) != 1:
        return []
    away = lambda tone: abs(TONES.index(tone) - TONES.index(tones[0]))
    return [TONED.sub(f"{tone} skin tone", caption) for tone in sorted(TONES, key=away, reverse=True) if away(tone)]


def _others(pattern: re.Pattern, choices: Callable[[str], Iterable[str]], caption: str) -> list[str]:
    """Returns the caption with other words where the pattern is."""
    match = pattern.search(caption)
    others = choices(match[1]) if match else ()
    return [pattern.sub(other, caption) for other in others if other != match[1]]


# Captions of the picture before a change, the best first, by the kind of change and the caption after it.
_BEFORES: dict[str, Callable[[str], list[str]]] = {
    "tone": _other_tones,
    "who": lambda caption: _others(_WHO, lambda word: (_OTHER[word],), caption),
    "hair": lambda caption: _others(_HAIR, lambda _: _HAIRS, caption),
}


def pairs_of(judged: Judged, folder: Path | None, num: int) -> list[Pair]:
    """Returns the pairs of `num` pictures: those in a folder, or, of emoji, those that the data itself has."""
    if folder is not None:
        return read_pairs(folder, num, decoding_of(judged.model.config))
    return emoji_pairs(judged.train, judged.test, num) if judged.wording is None else []


def edits(judged: Judged, pairs: Sequence[Pair], quality: str) -> Figures:
    """Returns the figures of all edits, and of each kind of them; {} where there are no pairs.

    Standard errors are those of a mean over the pictures that were edited, whose edits are not independent.
    """
    if not pairs:
        return {}
    model = judged.model
    before, truth = (
        np.stack([of.pixels for of in sides]) for sides in zip(*((p.before, p.after) for p in pairs), strict=True)
    )
    names = [pair.before.name for pair in pairs]
    rows = [names.index(name) for name in dict.fromkeys(names)]
    codes, inversion_s = measured(lambda: invert(model, before[rows], [pairs[i].before.text for i in rows], quality))
    number = {names[row]: i for i, row in enumerate(rows)}

    def edited_one(pair: Pair) -> np.ndarray:
        i = number[pair.before.name]
        how = {"caption": pair.before.text, "codes": codes[i : i + 1]}
        return edit(model, pair.before.pixels, pair.after.text, **how).image

    edited, edit_s = measured(lambda: np.stack([edited_one(pair) for pair in pairs]))
    some = np.linspace(0, len(pairs) - 1, min(SHOWN, len(pairs))).astype(int)
    lines = ["; ".join(pairs[i].after.text for i in some), "edited", "the truth"]
    judged.show("edits", [before[some], edited[some], truth[some]], lines)
    scores, nothing = edit_scores(before, edited, truth), edit_scores(before, before, truth)
    each: dict[str, np.ndarray] = {
        "whole_db": scores.whole_db,
        "inside_db": scores.inside_db,
        "outside_exact": scores.outside_exact,
        "nothing_done_db": nothing.whole_db,
        "caption_drawn_db": psnr_db(model.sample([pair.after.text for pair in pairs], seed=0), truth),
    }
    if judged.judges and judged.wording is not None:  # attributes that captions say
        wanted = judged.labels(truth, [pair.after.attributes for pair in pairs])
        moved = wanted != judged.labels(before, [pair.before.attributes for pair in pairs])
        for name, images in (("", edited), ("truth_", truth)):
            right = judged.seen(images) == wanted
            each |= {f"{name}changed": np.where(moved, right, True).all(1), f"{name}kept": (moved | right).all(1)}
    found: Figures = {
        "edits": len(pairs),
        "pictures": len(rows),
        "inversion_db": float(codes.psnr_db.mean()),
        "inversion_cpu_s": inversion_s / len(rows),
        "edit_cpu_s": edit_s / len(pairs),
        "found": judged.found(edited, [pair.after.text for pair in pairs]),
    }
    kinds, of_picture = np.array([pair.change for pair in pairs]), np.array([number[name] for name in names])
    for name, values in each.items():
        found[name] = float(np.nanmean(values))
        found[f"{name}_error"] = error_of_mean(
            np.array([np.nanmean(values[of_picture == i]) for i in range(len(rows))])
        )
        for kind in sorted(set(kinds)):
            of_kind = values[kinds == kind]
            found |= {f"{name}_{kind}": float(np.nanmean(of_kind)), f"{name}_{kind}_error": error_of_mean(of_kind)}
    return found
