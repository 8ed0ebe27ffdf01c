"""Picture files: sheets with captions under the pictures, and PNGs that carry how they were made."""

from __future__ import annotations

import json
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.errors import UserError

SHOWN_PX = 128  # a picture smaller than this is shown enlarged, by whole factors, so that its pixels stay sharp
PNG_KEY = "t2igan"
_MARGIN_PX = 6
_FONT_PX = 13
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf")


def enlarge(images: np.ndarray, scale: int = 0) -> np.ndarray:
    """Repeats pixels `scale` times each way; 0 chooses the factor that brings a picture to at least 128 px.

    Args:
      images: uint8 [N, H, W, C].
      scale: a factor from 1 up, or 0.
    """
    scale = scale or -(-SHOWN_PX // images.shape[1])
    return images.repeat(scale, axis=1).repeat(scale, axis=2)


def sheet(images: np.ndarray, captions: Sequence[str], columns: int, scale: int = 0) -> np.ndarray:
    """Lays pictures out in rows of `columns`, with captions under them.

    Args:
      images: uint8 [N, H, W, C], row after row; one or three channels.
      captions: one a picture, under it, or one a row, under the whole row; "" for none.
      columns: pictures a row.
      scale: as in `enlarge`.

    Returns:
      uint8 [H, W, 3].
    """
    from PIL import Image, ImageDraw

    images = enlarge(images, scale)
    if images.shape[-1] == 1:
        images = images.repeat(3, axis=-1)
    rows = -(-len(images) // columns)
    height, width = images.shape[1:3]
    sheet_width = columns * (width + _MARGIN_PX) + _MARGIN_PX
    font, of_many_languages = _font()
    if not of_many_languages:
        captions = [_plain(caption) for caption in captions]
    each = len(captions) == len(images)
    characters = max(int((width if each else sheet_width) / (_FONT_PX * 0.5)), 8)
    lines = 6 if each else 4
    texts = [textwrap.wrap(caption, characters, max_lines=lines, placeholder=" …") for caption in captions]
    a_row = columns if each else 1  # captions
    texts = [texts[row * a_row : (row + 1) * a_row] for row in range(rows)]
    line_px = _FONT_PX + 3
    most_lines = [max(map(len, of_row), default=0) for of_row in texts]
    row_heights = [height + _MARGIN_PX + line_px * lines + (4 if lines else 0) for lines in most_lines]
    canvas = Image.new("RGB", (sheet_width, sum(row_heights) + _MARGIN_PX), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    top = _MARGIN_PX
    for row in range(rows):
        for column, image in enumerate(images[row * columns : (row + 1) * columns]):
            canvas.paste(Image.fromarray(image), (_MARGIN_PX + column * (width + _MARGIN_PX), top))
        for column, lines in enumerate(texts[row]):
            for i, line in enumerate(lines):
                left = _MARGIN_PX + column * (width + _MARGIN_PX)
                draw.text((left, top + height + 2 + i * line_px), line, fill=(30, 30, 30), font=font)
        top += row_heights[row]
    return np.asarray(canvas)


def _font() -> tuple[Any, bool]:
    """Returns a font of the system with the letters of many languages and True, otherwise Pillow's own and False."""
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, _FONT_PX), True
        except OSError:
            continue
    return ImageFont.load_default(_FONT_PX), False


def _plain(text: str) -> str:
    """Returns a text in the letters that Pillow's own font has: "Löwe" becomes "Lowe"."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def save_png(path: Path, image: np.ndarray, facts: Mapping[str, Any] | None = None) -> None:
    """Writes uint8 [H, W, C] as PNG; `facts` go in as JSON text under the key "t2igan", read back by `read_facts`."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    if facts:
        info.add_itxt(PNG_KEY, json.dumps(facts, ensure_ascii=False))
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG", pnginfo=info)
    except OSError as error:
        raise UserError(f"could not write {path}: {error.strerror or error}; choose another --out") from error


def read_facts(path: Path) -> dict[str, Any]:
    """Returns the facts that `save_png` put into a picture; empty for any other picture."""
    from PIL import Image

    with Image.open(path) as picture:
        return json.loads(getattr(picture, "text", {}).get(PNG_KEY, "{}"))
