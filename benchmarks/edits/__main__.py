"""Prints the figures of the parts that were asked for, and writes them into a file."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks import edits as package
from benchmarks.edits import codes, pairs, prompts
from benchmarks.edits.judge import Judged

PARTS = ("inversion", "completion", "descriptions", "prompts", "variations", "mixes", "edits")


def main() -> None:
    """Measures a run part by part."""
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, help="what docs/make_*_avatar_pairs.mjs wrote; emoji need none")
    parser.add_argument("--avatars", type=int, default=40, help="of the pairs; pictures, where they are none")
    parser.add_argument("--num", type=int, default=32, help="pictures of the other parts")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--pixels", action="store_true", help="no figures of attributes: no classifier is learned")
    parser.add_argument("--qualities", nargs="+", default=("fast", "good"))
    parser.add_argument("--without", nargs="+", default=(), help="networks of the snapshot that are left out")
    parser.add_argument("--sheets", type=Path, help="a folder for pictures of what is measured, PART.png")
    parser.add_argument("--out", type=Path, help="a .json file for the figures")
    given = parser.parse_args()
    judged = Judged.of_run(given.workdir, not given.pixels, given.without, given.sheets)
    qualities = tuple(given.qualities)
    work = {
        "inversion": lambda: codes.inversion(judged, given.num, qualities),
        "completion": lambda: codes.completion(judged, given.num, qualities),
        "descriptions": lambda: codes.descriptions(judged, 8 * given.num),
        "prompts": lambda: prompts.prompts(judged, 3 * given.num),
        "variations": lambda: prompts.variations(judged, given.num),
        "mixes": lambda: prompts.mixes(judged, given.num),
        "edits": lambda: pairs.edits(judged, pairs.pairs_of(judged, given.pairs, given.avatars), qualities[-1]),
    }
    found = {"model": judged.model.digest}
    for part in given.parts:
        start = time.process_time()
        found[part] = work[part]()
        print(f"{part} ({time.process_time() - start:.0f} CPU s)", flush=True)
        for name, value in found[part].items():
            print(f"  {name}: {value:.4g}", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
