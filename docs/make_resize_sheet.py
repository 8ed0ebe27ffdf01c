"""Draws docs/images/resize.png: what each way to make squares does to a wide picture, and each filter to pixel art.

python docs/make_resize_sheet.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from t2igan.data.decode import Decoding, decode
from t2igan.data.sources.avatars import Avatars
from t2igan.inference.pictures import save_png, sheet


def scene(width: int = 480, height: int = 240) -> np.ndarray:
    """A sun over hills beside a house, wider than high."""
    sky = np.linspace([120, 180, 255], [250, 230, 200], height).astype(np.uint8)
    picture = Image.fromarray(np.repeat(sky[:, None], width, axis=1))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 30, 110, 100), fill=(255, 210, 60))
    draw.ellipse((-120, 150, 260, 420), fill=(90, 160, 80))
    draw.ellipse((180, 170, 620, 460), fill=(60, 130, 70))
    draw.rectangle((350, 110, 440, 200), fill=(200, 80, 60))
    draw.polygon(((340, 110), (395, 60), (450, 110)), fill=(110, 60, 50))
    draw.rectangle((385, 150, 410, 200), fill=(70, 40, 30))
    return np.asarray(picture)


def main() -> None:
    """Writes the sheet."""
    wide = scene()
    avatar = Avatars().records("train")[0][4].image.read()
    shown = [(f'resize="{name}"', decode(wide, Decoding(64, resize=name))[0]) for name in ("crop", "pad", "stretch")]
    shown += [(f'resample="{name}"', decode(wide, Decoding(64, resample=name))[0]) for name in ("lanczos", "nearest")]
    shown += [('resample="area"', decode(wide, Decoding(64, resample="area"))[0])]
    shown += [
        (f"16 px -> 64 px, {name}", decode(avatar, Decoding(64, resample=name))[0])
        for name in ("auto", "lanczos", "area", "nearest")
    ]
    shown += [
        (f"16 px -> 12 px, {name}", _at_64(decode(avatar, Decoding(12, resample=name))[0]))
        for name in ("auto", "nearest")
    ]
    captions, images = zip(*shown, strict=True)
    save_png(Path(__file__).parent / "images" / "resize.png", sheet(np.stack(images), captions, columns=6))


def _at_64(image: np.ndarray) -> np.ndarray:
    """Shows a smaller picture at the size of the others."""
    return np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.NEAREST))


if __name__ == "__main__":
    main()
