"""Draws docs/images/emoji64_combo.png: captions of `heldout_combo` by lot, drawings above the real pictures.

python docs/make_combo_sheet.py RUN_FOLDER_OR_SNAPSHOT [emoji64_combo.png] [DATA]

DATA is where the pictures lie, if no longer where the training found them.
"""

import sys
from pathlib import Path

import numpy as np

import t2igan
from t2igan.config.stored import from_dict
from t2igan.data import open_dataset
from t2igan.inference.pictures import save_png

IMAGES = Path(__file__).parent / "images"
COLUMNS, ROWS, GAP_PX = 12, 2, 10


def main(source: str, name: str = "emoji64_combo.png", data: str = "") -> None:
    """Draws the sheet; the lot is the same each time."""
    model = t2igan.load(source)
    config = from_dict(model.config)
    with config.unlocked():
        config.data.source = data or config.data.source
    dataset = open_dataset(config, "heldout_combo")
    chosen = np.sort(np.random.default_rng(1).choice(len(dataset), COLUMNS * ROWS, replace=False))
    captions = [dataset.captions[i][0] for i in chosen]
    drawn = model.sample(captions, seed=0, cut_long=True)
    real = np.stack([dataset.images[i] for i in chosen])
    side = drawn.shape[1]
    canvas = np.full((ROWS * (2 * side + 2 * GAP_PX), COLUMNS * (side + 2 * GAP_PX), 3), 255, np.uint8)
    for i, pair in enumerate(zip(drawn, real, strict=True)):
        row, column = divmod(i, COLUMNS)
        for below, picture in enumerate(pair):
            top = row * (2 * side + 2 * GAP_PX) + below * (side + 5)
            left = column * (side + 2 * GAP_PX) + GAP_PX
            canvas[top : top + side, left : left + side] = picture
    save_png(IMAGES / name, canvas, {"model": model.digest, "prompts": captions})


if __name__ == "__main__":
    main(*sys.argv[1:])
