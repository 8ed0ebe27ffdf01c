"""What a shrunk model loses: pruned by sensitivity against a random start, several seeds, on several splits.

python -m benchmarks.shrink --workdir=models/pixel_avatars --splits=test,unseen_pairs
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import parser, publish, table

FIGURES = (
    *("attributes/mean", "attributes/all", "frechet_distance/"),
    *("diversity_within/pixels", "diversity_within/attributes"),
)


def main() -> None:
    """Prints a row for the teacher and one for each start and seed, then means over seeds."""
    from t2igan import config as config_lib
    from t2igan.data import open_datasets
    from t2igan.evaluation.evaluate import evaluate
    from t2igan.evaluation.runs import draw_with
    from t2igan.inference.export.source import in_float32
    from t2igan.inference.sample import snapshot_path
    from t2igan.inference.snapshot import load_snapshot
    from t2igan.training.shrink.distil import IMAGES, distilled
    from t2igan.training.shrink.figures import agreement, extractors_of
    from t2igan.training.shrink.student import pruned_student, random_student

    arguments = parser(__doc__)
    arguments.add_argument("--workdir", type=Path, required=True, help="a snapshot, or models/NAME")
    arguments.add_argument("--splits", default="test")
    arguments.add_argument("--share", type=float, default=0.6)
    arguments.add_argument("--images", type=int, default=IMAGES)
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--starts", default="pruned,random")
    given = arguments.parse_args()
    snapshot = load_snapshot(snapshot_path(given.workdir))
    teacher, config = in_float32(snapshot), config_lib.from_dict(snapshot.config)
    splits = given.splits.split(",")
    train, *measured = open_datasets(config.data, [config.data.train_split, *splits])
    captions = [caption for of_one in train.captions for caption in of_one]
    extractors = extractors_of(config, train, teacher, None)

    def figures(model) -> list[float]:
        found = []
        for dataset in measured:
            groups = ("attributes" if extractors.main == "attributes" else "retrieval", "frechet_distance", "diversity")
            how = {"num_images": len(dataset), "seed": 0, "metrics": groups, "extractor_names": (extractors.main,)}
            of_split = evaluate(draw_with(model), dataset, extractors, resamples=0, **how)["figures"]
            names = [next((key for key in of_split if key.startswith(name)), "") for name in FIGURES]
            found += [of_split[name]["value"] if name else float("nan") for name in names]
        return found

    starts = {"pruned": pruned_student, "random": random_student}
    rows = [("teacher", "", "", "", *figures(teacher))]
    print(*rows[0], flush=True)
    for seed in map(int, given.seeds.split(",")):
        for start in given.starts.split(","):
            begun, wall = time.process_time(), time.perf_counter()
            make = (teacher, given.share) if start == "random" else (teacher, given.share, captions)
            student = distilled(teacher, starts[start](*make, seed=seed), captions, given.images, seed)
            seconds = (time.process_time() - begun, time.perf_counter() - wall)
            generator = dict(snapshot.config["generator"]) | student.changed
            params = snapshot.params | {"generator": student.params}
            small = dataclasses.replace(
                snapshot, params=params, config=dict(snapshot.config) | {"generator": generator}
            )
            model = in_float32(small)
            times = "/".join(f"{s:.0f}" for s in seconds)
            rows.append((start, seed, times, f"{agreement(teacher, model, captions)[0]:.2f}", *figures(model)))
            print(*rows[-1], flush=True)
    for start in given.starts.split(","):
        of_start = np.array([row[4:] for row in rows if row[0] == start], float)
        rows.append((f"{start}, mean", "", "", "", *of_start.mean(0)))
    shown = [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    columns = ("start", "seed", "s CPU/wall", "levels", *(f"{split} {name}" for split in splits for name in FIGURES))
    heading = f"{given.workdir}, share {given.share}, {given.images:,} pictures, {len(captions):,} captions\n\n"
    publish(heading + table(columns, shown), given.out)


if __name__ == "__main__":
    main()
