"""Draws the pictures of docs/editing.md: prompts that say more, and what can be done with a picture.

python docs/make_editing_sheets.py RUN_FOLDER_OR_SNAPSHOT

The run is one of pixel avatars. Pictures are those of its test split.
"""

import sys
from pathlib import Path

import numpy as np

import t2igan
from t2igan.config.stored import from_dict
from t2igan.data import open_dataset
from t2igan.inference.editing import complete, edit, invert, mix, vary
from t2igan.inference.editing.inverting import drawn_codes
from t2igan.inference.pictures import save_png, sheet

IMAGES = Path(__file__).parent / "images"
SAID = "a pixel person with long blond hair, glasses, {} and a green top, light skin"
PLAIN = SAID.format("a red cap")


def prompts(model):
    """Weights, AND and a negative, a row each."""
    weights = ("0", "0.5", "0.75", "1", "1.3", "1.5")
    bald = "a pixel person with long blond hair, {} and a green top, light skin"
    joined = f"{bald.format('a red cap')} AND {bald.format('a beard')}"
    rows = {
        f"(a red cap:w), w = {', '.join(weights)}": [SAID.format(f"(a red cap:{w})") for w in weights],
        "... a red cap ... AND ... a beard ...": [joined] * 6,
        f'{PLAIN}; --negative="glasses"': [PLAIN] * 6,
    }
    images = [
        model.sample(said, seed=0 if i == 0 else list(range(6)), negative="glasses" if i == 2 else "")
        for i, said in enumerate(rows.values())
    ]
    return np.concatenate(images), list(rows)


def pictures(model, images, captions):
    """A picture, what is hidden of it, completed; edited; varied; mixed."""
    side = images.shape[1]
    codes = invert(model, images, captions)
    print(f"reproduced to {', '.join(f'{value:.1f}' for value in codes.psnr_db)} dB")
    lower = np.zeros((side, side, 1), np.float32)
    lower[side // 2 :] = 1
    around = np.ones((side, side, 1), np.float32)
    around[side // 4 : -side // 4, side // 4 : -side // 4] = 0
    rows, lines = [], []
    for name, hidden in (("the lower half", lower), ("all but the middle", around)):
        shown = np.where(hidden == 1, 160, images[0]).astype(np.uint8)
        rows.append([images[0], shown, *complete(model, images[0], hidden, captions[0], num=4)])
        lines.append(f"complete: {name} hidden, four seeds")
    changes = (
        *(("green top", "red top"), ("light skin", "dark skin")),
        *(("blond hair", "black hair"), (", sunglasses", "")),
    )
    edited = [images[0]]
    for before, after in changes:
        prompt = captions[0].replace(before, after)
        if prompt != captions[0]:
            edited.append(edit(model, images[0], prompt, caption=captions[0], codes=codes[:1]).image)
    rows.append((edited + [np.full_like(images[0], 255)] * 6)[:6])
    lines.append(f"edit: {captions[0]}; other words, one by one")
    rows.append([images[2], *vary(model, codes[2:3], 0.5, num=5)])
    lines.append("vary: strength 0.5")
    rows.append(list(mix(model, codes[:1], codes[1:2], num=6)))
    lines.append(f"mix: to {captions[1]}")
    drawn = drawn_codes(model, [PLAIN, SAID.format("a blue striped hat").replace("blond", "black")], 3)
    rows.append(list(mix(model, drawn[:1], drawn[1:], num=6)))
    lines.append("mix of two prompts")
    return np.concatenate([np.stack(row) for row in rows]), lines


def main() -> None:
    """Writes docs/images/editing_prompts.png and docs/images/editing_pictures.png."""
    model = t2igan.load(sys.argv[1])
    data = from_dict(model.config).data
    test = open_dataset(data, data.test_split)
    wanted = ("green top", "light skin", "blond", "glasses")
    scores = [sum(word in captions[0] for word in wanted) for captions in test.captions]
    first = int(np.argmax(scores))
    rows = [(first + i) % len(test) for i in (0, 7, 20, 40)]
    save_png(IMAGES / "editing_prompts.png", sheet(*prompts(model), columns=6, scale=6))
    made = pictures(model, test.images[rows], [test.captions[row][0] for row in rows])
    save_png(IMAGES / "editing_pictures.png", sheet(*made, columns=6, scale=6))


if __name__ == "__main__":
    main()
