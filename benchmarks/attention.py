"""Whether the places where a word is read are the pixels that it changes: attention beside the experiment.

    python -m benchmarks.attention --workdirs=models/pixel_avatars,models/toon_avatars --num=64

Captions are spread evenly over a split. Of each, every word that the training captions have another for at its place is
exchanged for that, with the same noise, the mean over two seeds. Figures, for each model, over all words whose exchange
changes pixels: the rank correlation of the pixels that change and the attention to the word, and how much of the change
lies in the tenth of the places that read the word most (0.1 = attention says nothing of it).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import t2igan
from benchmarks.timing import publish, table
from t2igan.data import open_dataset
from t2igan.evaluation.explain import Change, explain
from t2igan.evaluation.report.explanation import agreement, attention_maps, moved_by_place
from t2igan.evaluation.runs import configuration

SEEDS = (0, 1)
MOST_READ = 0.1  # share of the places


def main() -> None:
    """Prints a row a model."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--workdirs", required=True, help="runs' folders or snapshots, with commas between")
    arguments.add_argument("--split", default="", help="of the captions; '' = the configuration's test split")
    arguments.add_argument("--num", type=int, default=64, help="captions")
    arguments.add_argument("--out", type=Path, help="a file that gets the table too")
    given = arguments.parse_args()
    rows = [measure(workdir, given.split, given.num) for workdir in given.workdirs.split(",")]
    head = ["model", "split", "captions", "words", "rank correlation: mean", "10 %, 90 %", "above 0.3", "below 0"]
    publish(table([*head, "change in the tenth most read"], rows), given.out)


def measure(workdir: str, split: str, num: int) -> list[str]:
    """Returns the row of a model."""
    model = t2igan.load(workdir)
    data = configuration(workdir, model).data
    split = split or data.test_split
    captions = [of_one[0] for of_one in open_dataset(data, split).captions]
    chosen = [captions[i] for i in np.unique(np.linspace(0, len(captions) - 1, num).astype(int))]
    known = [caption for of_one in open_dataset(data, data.train_split).captions for caption in of_one]
    correlations: list[float] = []
    shares: list[float] = []
    for caption in chosen:
        found = explain(model, caption, SEEDS, captions=known)
        attention = attention_maps(model, caption, SEEDS)
        if attention is None:
            raise SystemExit(f"{workdir} does not attend to words; nothing can be compared")
        for change, correlation in zip(found.changes, agreement(found, attention), strict=True):
            if change.variant.instead and not np.isnan(correlation):
                correlations.append(correlation)
                shares.append(in_most_read(change, attention[change.variant.place]))
    of_all = np.array(correlations)
    low, high = np.quantile(of_all, (0.1, 0.9))
    return [
        workdir, split, str(len(chosen)), str(len(of_all)), f"{of_all.mean():.2f}", f"{low:.2f}, {high:.2f}",
        f"{(of_all > 0.3).mean():.2f}", f"{(of_all < 0).mean():.2f}", f"{np.mean(shares):.2f}",
    ]  # fmt: skip


def in_most_read(change: Change, weights: np.ndarray) -> float:
    """Returns which share of what a word moves lies in the places that read it most; 0.1 of them."""
    moved = moved_by_place(change.moved, len(weights)).reshape(-1)
    most = np.argsort(-weights.reshape(-1), kind="stable")[: round(MOST_READ * weights.size)]
    return float(moved[most].sum() / moved.sum())


if __name__ == "__main__":
    main()
