"""Edits by caption against an exact truth: the same avatar with one option changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.edits.codes import Figures, measured
from benchmarks.edits.judge import Judged
from t2igan.evaluation.metrics.edits import edit_scores
from t2igan.inference.editing import decoding_of, edit, invert, read_picture
from t2igan.inference.sample import Model


def read_pairs(folder: Path, num: int) -> list[dict[str, Any]]:
    """Returns the pairs of the first `num` avatars that docs/make_pixel_avatar_pairs.mjs made."""
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    first = list(dict.fromkeys(pair["before"]["image"] for pair in pairs))[:num]
    return [pair for pair in pairs if pair["before"]["image"] in first]


def pictures_of(model: Model, folder: Path, pairs: Sequence[dict[str, Any]], side: str) -> np.ndarray:
    """Returns one side of all pairs, "before" or "after", uint8 [N, S, S, C]."""
    how = decoding_of(model.config)
    return np.stack([read_picture(folder / pair[side]["image"], how).pixels for pair in pairs])


def edits(judged: Judged, folder: Path, num: int, quality: str) -> Figures:
    """Returns the figures of all edits, and of each kind of them."""
    model, pairs = judged.model, read_pairs(folder, num)
    before, truth = (pictures_of(model, folder, pairs, side) for side in ("before", "after"))
    names = [pair["before"]["image"] for pair in pairs]
    rows = [names.index(name) for name in dict.fromkeys(names)]
    texts = [pairs[row]["before"]["text"] for row in rows]
    codes, inversion_s = measured(lambda: invert(model, before[rows], texts, quality))
    number = {names[row]: i for i, row in enumerate(rows)}

    def edited_one(image: np.ndarray, pair: dict[str, Any]) -> np.ndarray:
        i = number[pair["before"]["image"]]
        how = {"caption": pair["before"]["text"], "codes": codes[i : i + 1]}
        return edit(model, image, pair["after"]["text"], **how).image

    edited, edit_s = measured(lambda: np.stack([edited_one(*of) for of in zip(before, pairs, strict=True)]))
    scores, nothing = edit_scores(before, edited, truth), edit_scores(before, before, truth)
    wanted = judged.labels(truth, [pair["after"]["attributes"] for pair in pairs])
    moved = wanted != judged.labels(before, [pair["before"]["attributes"] for pair in pairs])
    each: dict[str, np.ndarray] = {
        "whole_db": scores.whole_db,
        "inside_db": scores.inside_db,
        "outside_exact": scores.outside_exact,
        "nothing_done_db": nothing.whole_db,
    }
    for name, images in (("", edited), ("truth_", truth)):
        right = judged.seen(images) == wanted
        each |= {f"{name}changed": np.where(moved, right, True).all(1), f"{name}kept": (moved | right).all(1)}
    found: Figures = {
        "edits": len(pairs),
        "inversion_db": float(codes.psnr_db.mean()),
        "inversion_cpu_s": inversion_s / len(rows),
        "edit_cpu_s": edit_s / len(pairs),
    }
    kinds = np.array([pair["change"] for pair in pairs])
    for name, values in each.items():
        found[name] = float(np.nanmean(values))
        found |= {f"{name}_{kind}": float(np.nanmean(values[kinds == kind])) for kind in sorted(set(kinds))}
    return found
