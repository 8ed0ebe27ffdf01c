"""Packs pairs that docs/make_pixel_avatar_pairs.mjs made into one small file, such as tests/pixel_avatar_pairs.npz.

    node docs/make_pixel_avatar_pairs.mjs /tmp/pairs 6
    python docs/pack_pairs.py /tmp/pairs tests/pixel_avatar_pairs.npz

The file has `images` uint8 [N, S, S, C], each picture once, and `pairs`, JSON: what changes, and of both sides the row
of the picture, its caption and its attributes.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main(folder: Path, target: Path) -> None:
    """Reads a folder of pairs and writes the file."""
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(pair[side]["image"] for pair in pairs for side in ("before", "after")))
    images = np.stack([np.asarray(Image.open(folder / name).convert("RGB")) for name in names])
    rows = {name: row for row, name in enumerate(names)}
    for pair in pairs:
        for side in ("before", "after"):
            pair[side] = pair[side] | {"image": rows[pair[side]["image"]]}
    facts = np.frombuffer(json.dumps(pairs, ensure_ascii=False).encode(), np.uint8)
    np.savez_compressed(target, images=images, pairs=facts)
    print(f"{target}: {len(pairs)} pairs, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
