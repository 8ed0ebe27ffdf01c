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
_LINE_PX = _FONT_PX + 3
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
    height, width = images.shape[1:3]
    each = columns > 1 and len(captions) == len(images)
    layout = _Layout(height, width, captions, columns, each)
    canvas = Image.new("RGB", layout.size_px, (255, 255, 255))
    draw, (font, of_many_languages) = ImageDraw.Draw(canvas), _font()
    for i, image in enumerate(images):
        canvas.paste(Image.fromarray(image), layout.place(i))
    for i, lines in enumerate(layout.lines):
        left, top = layout.place(i if each else i * columns)
        for number, line in enumerate(lines):
            line = line if of_many_languages else _plain(line)
            draw.text((left, top + height + 2 + number * _LINE_PX), line, fill=(30, 30, 30), font=font)
    return np.asarray(canvas)


def cut_sheet(picture: np.ndarray, captions: Sequence[str], columns: int, image_px: int) -> np.ndarray:
    """Returns the pictures of a sheet that `sheet` laid out at its default scale: the inverse of it.

    Args:
      picture: uint8 [H, W, 3], the sheet.
      captions: those that it was made with, one a row.
      columns: pictures a row.
      image_px: the size of a picture before it was enlarged.

    Returns:
      uint8 [rows * columns, image_px, image_px, 3].

    Raises:
      ValueError: the sheet has another size than these would give.
    """
    scale = -(-SHOWN_PX // image_px)
    shown_px = scale * image_px
    layout = _Layout(shown_px, shown_px, captions, columns)
    if picture.shape != (*layout.size_px[::-1], 3):
        raise ValueError(f"a sheet of {len(captions)} captions in {columns} columns is not {picture.shape[:2]} px")
    places = [layout.place(i) for i in range(len(captions) * columns)]
    return np.stack([picture[top : top + shown_px : scale, left : left + shown_px : scale] for left, top in places])


class _Layout:
    """Where the pictures and the lines of a sheet are, in pixels; `each` picture has a caption, or each row."""

    def __init__(self, height: int, width: int, captions: Sequence[str], columns: int, each: bool = False):
        sheet_width = columns * (width + _MARGIN_PX) + _MARGIN_PX
        characters = max(int((width if each else sheet_width) / (_FONT_PX * 0.5)), 8)
        most = 6 if each else 4
        self.lines = [textwrap.wrap(caption, characters, max_lines=most, placeholder=" …") for caption in captions]
        a_row = columns if each else 1
        most_lines = [max(map(len, self.lines[i : i + a_row])) for i in range(0, len(captions), a_row)]
        heights = [height + _MARGIN_PX + _LINE_PX * lines + (4 if lines else 0) for lines in most_lines]
        self.tops = [_MARGIN_PX + sum(heights[:row]) for row in range(len(heights))]
        self.size_px = (sheet_width, sum(heights) + _MARGIN_PX)
        self._columns, self._step_px = columns, width + _MARGIN_PX

    def place(self, i: int) -> tuple[int, int]:
        """The left and upper edge of picture `i`."""
        row, column = divmod(i, self._columns)
        return _MARGIN_PX + column * self._step_px, self.tops[row]


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
