"""Draws the pictures of docs/editing.md: prompts that say more, and what can be done with a picture.

    python docs/make_editing_sheets.py RUN_FOLDER_OR_SNAPSHOT

The run is one of pixel avatars, toon avatars or emoji (`SHOWN`). Pictures are those of its test split.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import t2igan
from t2igan.config.stored import from_dict
from t2igan.data import open_dataset
from t2igan.inference.editing import complete, edit, invert, mix, vary
from t2igan.inference.editing.inverting import drawn_codes
from t2igan.inference.pictures import sheet

IMAGES = Path(__file__).parent / "images"
WEIGHTS = ("0", "0.5", "0.75", "1", "1.3", "1.5")


@dataclasses.dataclass(frozen=True)
class Shown:
    """What is drawn of a data set.

    Attributes:
      name: of the files, editing_NAMEprompts.png and editing_NAMEpictures.png.
      scale: how often pixels are repeated.
      weighed: a prompt with a place for a phrase, and the phrase.
      joined: captions joined by AND.
      negative: a prompt, and what is not wanted of it.
      wanted: words of the caption of the first picture; that with most of them is taken.
      changes: words of that caption and others, of which those that apply are exchanged one by one.
      mixed: two prompts.
    """

    name: str
    scale: int
    weighed: tuple[str, str]
    joined: tuple[str, str]
    negative: tuple[str, str]
    wanted: tuple[str, ...]
    changes: tuple[tuple[str, str], ...]
    mixed: tuple[str, str]


_PIXEL = "a pixel person with long blond hair, {} and a green top, light skin"
_TOON = "a smiling person with {} wearing a green t-shirt, light skin"
SHOWN = {
    "pixel_avatars": Shown(
        name="",
        scale=6,
        weighed=(_PIXEL.format("glasses, {}"), "a red cap"),
        joined=(_PIXEL.format("a red cap"), _PIXEL.format("a beard")),
        negative=(_PIXEL.format("glasses, a red cap"), "glasses"),
        wanted=("green top", "light skin", "blond", "glasses"),
        changes=(
            *(("green top", "red top"), ("light skin", "dark skin")),
            *(("blond hair", "black hair"), (", sunglasses", "")),
        ),
        mixed=(
            _PIXEL.format("glasses, a red cap"),
            _PIXEL.replace("blond", "black").format("glasses, a blue striped hat"),
        ),
    ),
    "toon_avatars": Shown(
        name="toon_",
        scale=2,
        weighed=(_TOON.format("long blond hair in a bun and {}"), "a full beard"),
        joined=(_TOON.format("long wavy brown spiky hair"), _TOON.format("brown spiky hair and a full beard")),
        negative=(_TOON.format("brown spiky hair and a full beard"), "a full beard"),
        wanted=("t-shirt", "light skin", "long blond", "full beard", "smiling"),
        changes=(
            *(("light skin", "dark skin"), ("blond", "black"), ("full beard", "twirled moustache")),
            *(("t-shirt", "dress"), ("smiling", "surprised")),
        ),
        mixed=(
            _TOON.format("long blond hair in a bun"),
            "a sad person with black spiky hair and a full beard wearing a red dress, dark skin",
        ),
    ),
    "noto_emoji": Shown(
        name="emoji_",
        scale=2,
        weighed=("woman running: {}", "dark skin tone"),
        joined=("man: dark skin tone, red hair", "man: dark skin tone, beard"),
        negative=("man: dark skin tone, beard", "beard"),
        wanted=("woman", "medium skin tone"),
        changes=tuple(
            ("medium skin tone", f"{tone} skin tone") for tone in ("light", "medium-light", "medium-dark", "dark")
        ),
        mixed=("cat face", "tiger face"),
    ),
}


def prompts(model, shown):
    """Weights, AND and a negative, a row each."""
    prompt, phrase = shown.weighed
    plain, unwanted = shown.negative
    rows = {
        f"({phrase}:w), w = {', '.join(WEIGHTS)}": [prompt.format(f"({phrase}:{w})") for w in WEIGHTS],
        " AND ".join(shown.joined): [" AND ".join(shown.joined)] * 6,
        f'{plain}; --negative="{unwanted}"': [plain] * 6,
    }
    images = [
        model.sample(said, seed=0 if i == 0 else list(range(6)), negative=unwanted if i == 2 else "")
        for i, said in enumerate(rows.values())
    ]
    return np.concatenate(images), list(rows)


def pictures(model, shown, images, captions):
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
        grey = np.where(hidden == 1, 160, images[0]).astype(np.uint8)
        rows.append([images[0], grey, *complete(model, images[0], hidden, captions[0], num=4)])
        lines.append(f"complete: {name} hidden, four seeds")
    edited = [images[0]]
    for before, after in shown.changes:
        prompt = captions[0].replace(before, after)
        if prompt != captions[0]:
            edited.append(edit(model, images[0], prompt, caption=captions[0], codes=codes[:1]).image)
    rows.append((edited + [np.full_like(images[0], 255)] * 6)[:6])
    lines.append(f"edit: {captions[0]}; other words, one by one")
    rows.append([images[2], *vary(model, codes[2:3], 0.5, num=5)])
    lines.append("vary: strength 0.5")
    rows.append(list(mix(model, codes[:1], codes[1:2], num=6)))
    lines.append(f"mix: to {captions[1]}")
    drawn = drawn_codes(model, shown.mixed, 3)
    rows.append(list(mix(model, drawn[:1], drawn[1:], num=6)))
    lines.append(f"mix of two prompts: {' / '.join(shown.mixed)}")
    return np.concatenate([np.stack(row) for row in rows]), lines


def save(path, image):
    """Writes a PNG of at most 256 colours, which is small."""
    few = Image.fromarray(image).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Writes editing_*prompts.png and editing_*pictures.png into docs/images."""
    model = t2igan.load(sys.argv[1])
    data = from_dict(model.config).data
    shown = SHOWN[data.source]
    test = open_dataset(data, data.test_split)
    scores = [sum(word in captions[0] for word in shown.wanted) for captions in test.captions]
    first = int(np.argmax(scores))
    rows = [(first + i) % len(test) for i in (0, 7, 20, 40)]
    save(IMAGES / f"editing_{shown.name}prompts.png", sheet(*prompts(model, shown), columns=6, scale=shown.scale))
    made = pictures(model, shown, test.images[rows], [test.captions[row][0] for row in rows])
    save(IMAGES / f"editing_{shown.name}pictures.png", sheet(*made, columns=6, scale=shown.scale))


if __name__ == "__main__":
    main()
