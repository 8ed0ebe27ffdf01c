"""Edits by caption against an exact truth: the same avatar with one option changed (docs/editing.md).

    npm install @dicebear/core@9.4.3 @dicebear/pixel-art@9.4.3
    node docs/make_pixel_avatar_pairs.mjs /tmp/pairs
    python -m benchmarks.edits --workdir=runs/base --pairs=/tmp/pairs

Attributes are judged by the run's own classifier, which is learned from real pictures and shares nothing with the GAN.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import t2igan
from t2igan.config.stored import from_dict
from t2igan.data import Dataset, open_dataset
from t2igan.evaluation.extractors import FeatureExtractors
from t2igan.evaluation.metrics.edits import edit_scores
from t2igan.inference.editing import decoding_of, edit, invert, read_picture


def read_pairs(folder: Path, num: int) -> list[dict]:
    """Returns the pairs of the first `num` avatars."""
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    first = list(dict.fromkeys(pair["before"]["image"] for pair in pairs))[:num]
    return [pair for pair in pairs if pair["before"]["image"] in first]


def labels_of(images: np.ndarray, rows: list[dict], vocabulary: dict) -> np.ndarray:
    """Returns the true labels of pictures, [N, A]."""
    attributes = tuple(row["attributes"] for row in rows)
    captions = tuple((row["text"],) for row in rows)
    return Dataset("pairs", "pairs", images, captions, attributes).attribute_labels(vocabulary)


def main() -> None:
    """Prints the figures of all edits, and of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--avatars", type=int, default=40)
    parser.add_argument("--quality", default="good")
    given = parser.parse_args()
    model = t2igan.load(given.workdir)
    config = from_dict(model.config)
    train = open_dataset(config.data, config.data.train_split)
    classifier = FeatureExtractors.of_run(config, train, model.tokenizer, given.workdir, {}).classifier
    how = decoding_of(model.config)
    pairs = read_pairs(given.pairs, given.avatars)
    read = lambda side: np.stack([read_picture(given.pairs / pair[side]["image"], how).pixels for pair in pairs])
    before, truth = read("before"), read("after")
    names = [pair["before"]["image"] for pair in pairs]
    rows = [names.index(name) for name in dict.fromkeys(names)]
    start = time.process_time()
    codes = invert(model, before[rows], [pairs[row]["before"]["text"] for row in rows], given.quality)
    inversion_s = (time.process_time() - start) / len(rows)
    print(f"inversion {given.quality}: {codes.psnr_db.mean():.1f} dB (least {codes.psnr_db.min():.1f}), "
          f"{inversion_s:.2f} CPU s a picture of {len(rows)}, compilation included")  # fmt: skip
    number = {names[row]: i for i, row in enumerate(rows)}
    start = time.process_time()
    edited = np.stack(
        [
            edit(
                model, image, pair["after"]["text"], caption=pair["before"]["text"],
                codes=codes[number[name] : number[name] + 1],
            ).image
            for image, pair, name in zip(before, pairs, names, strict=True)
        ]
    )  # fmt: skip
    edit_s = (time.process_time() - start) / len(pairs)
    scores = edit_scores(before, edited, truth)
    nothing = edit_scores(before, before, truth)
    print(f"{len(pairs)} edits, {edit_s:.3f} CPU s each; doing nothing: {nothing.whole_db.mean():.1f} dB whole")
    figures = [("whole_db", scores.whole_db), ("inside_db", scores.inside_db), ("outside_exact", scores.outside_exact)]
    if classifier is not None:
        vocabulary = classifier.vocabulary
        wanted = labels_of(truth, [pair["after"] for pair in pairs], vocabulary)
        were = labels_of(before, [pair["before"] for pair in pairs], vocabulary)
        for name, images in (("edited", edited), ("truth", truth)):
            right = classifier.classify(images).labels == wanted
            moved = wanted != were
            figures += [
                (f"{name} changed", np.where(moved, right, True).all(1)),
                (f"{name} kept", np.where(moved, True, right).all(1)),
            ]
    kinds = np.array([pair["change"] for pair in pairs])
    for name, values in figures:
        each = ", ".join(f"{kind} {np.nanmean(values[kinds == kind]):.3g}" for kind in sorted(set(kinds)))
        print(f"{name}: {np.nanmean(values):.4g} ({each})")


if __name__ == "__main__":
    main()
