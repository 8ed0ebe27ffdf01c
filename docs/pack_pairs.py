"""Packs pairs that docs/make_*_avatar_pairs.mjs made into one small file, such as tests/pixel_avatar_pairs.npz.

    node docs/make_pixel_avatar_pairs.mjs /tmp/pairs 6
    python docs/pack_pairs.py /tmp/pairs tests/pixel_avatar_pairs.npz
    node docs/make_toon_avatar_pairs.mjs /tmp/toon_pairs 2
    python docs/pack_pairs.py /tmp/toon_pairs tests/toon_avatar_pairs.npz 64

Pictures are resized to so many pixels where a third word says so, as for a training. The file has `images` uint8
[N, S, S, C], each picture once, and `pairs`, JSON: what changes, and of both sides the row of the picture, its caption
and its attributes.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from t2igan.data.decode import Decoding
from t2igan.inference.editing import read_picture


def pixels(path: Path, size_px: int) -> np.ndarray:
    """Returns a picture, uint8 [S, S, 3]; of its own size for 0."""
    if not size_px:
        return np.asarray(Image.open(path).convert("RGB"))
    how = Decoding(size_px=size_px, channels=3, background=(255, 255, 255), resize="crop", resample="auto")
    return read_picture(path, how).pixels


def main(folder: Path, target: Path, size_px: int = 0) -> None:
    """Reads a folder of pairs and writes the file."""
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(pair[side]["image"] for pair in pairs for side in ("before", "after")))
    images = np.stack([pixels(folder / name, size_px) for name in names])
    rows = {name: row for row, name in enumerate(names)}
    for pair in pairs:
        for side in ("before", "after"):
            pair[side] = pair[side] | {"image": rows[pair[side]["image"]]}
    facts = np.frombuffer(json.dumps(pairs, ensure_ascii=False).encode(), np.uint8)
    np.savez_compressed(target, images=images, pairs=facts)
    print(f"{target}: {len(pairs)} pairs, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
