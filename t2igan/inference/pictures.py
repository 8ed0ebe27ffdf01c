"""Picture files: sheets with captions under the pictures, and PNGs that carry how they were made."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.data.alpha import on_checkerboard
from t2igan.errors import UserError
from t2igan.inference.credentials import Signer
from t2igan.inference.files import whole
from t2igan.inference.lettering import LINE_PX, lettering
from t2igan.inference.provenance import GENERATED, picture_bytes, read_claims

SHOWN_PX = 128  # a picture smaller than this is shown enlarged, by whole factors, so that its pixels stay sharp
_MARGIN_PX = 6
_INK = (30, 30, 30)


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
      images: uint8 [N, H, W, C], row after row; one, three or four channels. Behind what is transparent there is a
        checkerboard.
      captions: one a picture, under it, or one a row, under the whole row; "" for none.
      columns: pictures a row.
      scale: as in `enlarge`.

    Returns:
      uint8 [H, W, 3].
    """
    from PIL import Image

    images = enlarge(on_checkerboard(images), scale)
    if images.shape[-1] == 1:
        images = images.repeat(3, axis=-1)
    height, width = images.shape[1:3]
    each = columns > 1 and len(captions) == len(images)
    layout = _Layout(height, width, captions, columns, each)
    canvas = Image.new("RGB", layout.size_px, (255, 255, 255))
    letters = lettering()
    for i, image in enumerate(images):
        canvas.paste(Image.fromarray(image), layout.place(i))
    for i, lines in enumerate(layout.lines):
        left, top = layout.place(i if each else i * columns)
        for number, line in enumerate(lines):
            letters.draw(canvas, left, top + height + 2 + number * LINE_PX, line, _INK)
    return np.asarray(canvas)


def row_tops(captions: Sequence[str], columns: int, image_px: int) -> list[int]:
    """Returns where the rows of such a sheet begin, in pixels: it depends on the fonts of the system that draws it."""
    shown_px = -(-SHOWN_PX // image_px) * image_px
    return _Layout(shown_px, shown_px, captions, columns).tops


def cut_sheet(
    picture: np.ndarray, captions: Sequence[str], columns: int, image_px: int, tops: Sequence[int] | None = None
) -> np.ndarray:
    """Returns the pictures of a sheet that `sheet` laid out at its default scale: the inverse of it.

    Args:
      picture: uint8 [H, W, 3], the sheet.
      captions: those that it was made with, one a row.
      columns: pictures a row.
      image_px: the size of a picture before it was enlarged.
      tops: what `row_tops` gave where the sheet was made; by default as this system would lay it out.

    Returns:
      uint8 [rows * columns, image_px, image_px, 3].

    Raises:
      ValueError: the sheet has another size than these would give.
    """
    scale = -(-SHOWN_PX // image_px)
    shown_px = scale * image_px
    layout = _Layout(shown_px, shown_px, captions, columns)
    width_px, height_px = layout.size_px
    if tops is not None:
        layout.tops, height_px = list(tops), len(picture)
    enough = len(layout.tops) == len(captions) and layout.tops[-1] + shown_px <= height_px
    if picture.shape != (height_px, width_px, 3) or not enough:
        raise ValueError(f"a sheet of {len(captions)} captions in {columns} columns is not {picture.shape[:2]} px")
    places = [layout.place(i) for i in range(len(captions) * columns)]
    return np.stack([picture[top : top + shown_px : scale, left : left + shown_px : scale] for left, top in places])


def only_picture(picture: np.ndarray) -> np.ndarray:
    """Returns the picture of a sheet that has one, enlarged as it is there: uint8 [S, S, C] of uint8 [H, W, C].

    Raises:
      ValueError: the sheet is too low for its width.
    """
    side = picture.shape[1] - 2 * _MARGIN_PX
    if side < 1 or picture.shape[0] < side + 2 * _MARGIN_PX:
        raise ValueError(f"{picture.shape[:2]} px are no sheet of one picture")
    return picture[_MARGIN_PX : _MARGIN_PX + side, _MARGIN_PX:-_MARGIN_PX].copy()


class _Layout:
    """Where the pictures and the lines of a sheet are, in pixels; `each` picture has a caption, or each row."""

    def __init__(self, height: int, width: int, captions: Sequence[str], columns: int, each: bool = False):
        sheet_width = columns * (width + _MARGIN_PX) + _MARGIN_PX
        width_px, most = (width, 6) if each else (sheet_width - 2 * _MARGIN_PX, 4)
        self.lines = [lettering().wrapped(caption, width_px, most) for caption in captions]
        a_row = columns if each else 1
        most_lines = [max(map(len, self.lines[i : i + a_row])) for i in range(0, len(captions), a_row)]
        heights = [height + _MARGIN_PX + LINE_PX * lines + (4 if lines else 0) for lines in most_lines]
        self.tops = [_MARGIN_PX + sum(heights[:row]) for row in range(len(heights))]
        self.size_px = (sheet_width, sum(heights) + _MARGIN_PX)
        self._columns, self._step_px = columns, width + _MARGIN_PX

    def place(self, i: int) -> tuple[int, int]:
        """The left and upper edge of picture `i`."""
        row, column = divmod(i, self._columns)
        return _MARGIN_PX + column * self._step_px, self.tops[row]


def save_png(
    path: Path,
    image: np.ndarray,
    facts: Mapping[str, Any] | None = None,
    source_type: str | None = None,
    signer: Signer | None = None,
) -> None:
    """Writes uint8 [H, W, C], also with transparency, as PNG; `facts` and `source_type` as in `picture_bytes`.

    A `signer` puts content credentials (C2PA) into it.
    """
    raw = picture_bytes(image, "PNG", facts, source_type)
    if signer is not None:
        source_type = (GENERATED if facts else "") if source_type is None else source_type
        raw = signer.signed(raw, "PNG", source_type, str((facts or {}).get("t2igan", "")))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as place:
            place.write_bytes(raw)
    except OSError as error:
        raise UserError(f"could not write {path}: {error.strerror or error}; choose another --out") from error


def gif_bytes(images: np.ndarray, frame_ms: int, comment: str = "") -> bytes:
    """Returns a GIF of frames uint8 [N, H, W, C], there and back for ever; what is transparent is on a checkerboard."""
    from PIL import Image

    shown = on_checkerboard(np.asarray(images))
    frames = [Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x) for x in [*shown, *shown[-2:0:-1]]]
    file = io.BytesIO()
    how: dict[str, Any] = {"duration": frame_ms, "loop": 0} | ({"comment": comment.encode()} if comment else {})
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], **how)
    return file.getvalue()


def png_bytes(image: np.ndarray, facts: Mapping[str, Any] | None = None, compress_level: int = 6) -> bytes:
    """Returns the file that `save_png` writes; `compress_level` is zlib's, from 0 to 9."""
    return picture_bytes(image, "PNG", facts, compress_level=compress_level)


def read_facts(path: Path) -> dict[str, Any]:
    """Returns the facts that `save_png` put into a picture, {} for any other; `UserError` for what is no picture."""
    return read_claims(path).facts
