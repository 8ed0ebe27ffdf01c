"""What a run draws for captions of which a part is left out: what they say, and how much of what they leave open.

    python -m benchmarks.partial --workdir=runs/toon64 --sheet=partial.png --out=partial.json

A partial caption (`t2igan.data.partial`) matches the training pictures with a caption that it is a part of. Prompts are
those that match at least `--least` pictures, `--num` by lot; each is drawn with `--seeds` seeds. Beside the drawings,
`real` are as many pictures by lot of those that match. Figures, means over prompts:

    matching     share whose nearest of all training pictures, at 16 x 16, is one that matches
    different    how many different pictures those nearest ones are, as a share of what real ones by lot could be
    variance     within a prompt at 16 x 16, as a share of that among all pictures that match
    stated       share of attributes right that all matching pictures agree in, by the judge of `benchmarks.judge64`
    open         entropy of the other attributes within a prompt, as a share of that among the real ones by lot
    frechet      the distance of all prompts' pictures together to as many by lot, in the judge's features: blends count
    edges        mean edge energy, as a share of theirs

Three of these, `stated` to `frechet`, are there for data with attributes that have a few values each.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.judge64 import frechet, laplacian, line, look, opened, projected, small, squared_distances
from t2igan.data import Dataset
from t2igan.data.partial import partial_captions
from t2igan.inference.pictures import save_png, sheet

ALL = 64  # partial captions of a caption that are looked at: of five parts, all


def matches(data: Dataset, least: int) -> dict[str, list[int]]:
    """Returns the rows that each partial caption matches, of those with at least `least`."""
    found = defaultdict(set)
    for row, captions in enumerate(data.captions):
        for caption in captions:
            for partial in (caption, *partial_captions(caption, ALL)):
                found[partial].add(row)
    return {partial: sorted(rows) for partial, rows in sorted(found.items()) if len(rows) >= least}


def entropy(answers: np.ndarray) -> float:
    """Returns the entropy of whole numbers, in nats."""
    share = np.unique(answers, return_counts=True)[1] / len(answers)
    return float(-(share * np.log(share)).sum())


def of_pictures(images: np.ndarray, rows: list[int], of_all: np.ndarray) -> dict[str, float]:
    """Returns the figures of one prompt's pictures that need no attributes."""
    x = small(images)
    nearest, matching = squared_distances(x, of_all).argmin(1), of_all[rows]
    by_lot = len(rows) * (1 - (1 - 1 / len(rows)) ** len(images))  # different ones, of draws with repetition
    return {
        "matching": float(np.isin(nearest, rows).mean()),
        "different": len(set(nearest)) / by_lot,
        "variance": float(x.var(0).sum() / matching.var(0).sum()),
    }


def of_attributes(answers: np.ndarray, of_real: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Returns how many stated attributes are right, and how varied the open ones are.

    Args:
      answers: of the judge, of one prompt's pictures.
      of_real: likewise, of as many that match.
      expected: what is right for all that match.
    """
    stated = (expected == expected[0]).all(0)
    found = {"stated": float((answers[:, stated] == expected[0, stated]).mean())} if stated.any() else {}
    spread = sum(entropy(column) for column in of_real.T[~stated])
    if spread:
        found["open"] = sum(entropy(column) for column in answers.T[~stated]) / spread
    return found


def main() -> None:
    """Draws and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="a run's folder")
    parser.add_argument("--num", type=int, default=48, help="prompts")
    parser.add_argument("--seeds", type=int, default=16, help="drawings of each")
    parser.add_argument("--least", type=int, default=5, help="training pictures that a prompt matches")
    parser.add_argument("--sheet", default="", help="a .png file for six drawings of each of the first 16 prompts")
    parser.add_argument("--out", default="", help="a .json file for the figures")
    options = parser.parse_args()
    model, _, train, judge = opened(options.workdir)
    images, labels = np.asarray(train.images), judge.labels(train)
    of_all, known = small(images), matches(train, options.least)
    random = np.random.default_rng(0)
    prompts = [str(one) for one in random.choice(list(known), min(options.num, len(known)), replace=False)]
    seeds = list(range(options.seeds))
    drawn = np.stack([model.sample([prompt] * len(seeds), seeds, cut_long=True) for prompt in prompts])
    lots = np.stack([random.choice(known[prompt], (2, len(seeds))) for prompt in prompts])  # rows of two lots
    pictures = {"drawn": drawn, "real": images[lots[:, 0]], "other": images[lots[:, 1]]}
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    looks = {kind: look(judge, flat(x)) for kind, x in pictures.items()}
    answers = {kind: answer.reshape(*pictures[kind].shape[:2], -1) for kind, (answer, _) in looks.items()}
    features = {kind: projected(judge, units) for kind, (_, units) in looks.items()}
    means = {}
    for kind in ("drawn", "real"):
        found = defaultdict(list)
        for i, prompt in enumerate(prompts):
            rows = known[prompt]
            figures = of_pictures(pictures[kind][i], rows, of_all)
            for name, value in (figures | of_attributes(answers[kind][i], answers["other"][i], labels[rows])).items():
                found[name].append(value)
        means[kind] = {name: float(np.mean(of_one)) for name, of_one in found.items()} | {
            "frechet": frechet(features[kind], features["other"]),
            "edges": laplacian(flat(pictures[kind])) / laplacian(flat(pictures["other"])),
        }
        print(line(f"{kind:<8}", means[kind]), flush=True)
    if options.sheet:
        save_png(Path(options.sheet), sheet(flat(drawn[:16, :6]), prompts[:16], columns=6))
    if options.out:
        written = {"workdir": options.workdir, "model": model.digest, "prompts": prompts, "figures": means}
        Path(options.out).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
