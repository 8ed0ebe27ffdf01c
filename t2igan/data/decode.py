"""Encoded pictures of any kind -> uint8 squares of one size."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs, where it only warns
PIXEL_ART_MAX_PX = 32  # pictures up to this side keep hard edges: nearest neighbour up, area down
PROGRESS_MIN_PICTURES = 2000
CHUNK_PICTURES = 64  # a thread takes this many at a time
SMALL_BYTES = 4096


def decode(
    image: bytes | Path | str, size_px: int, channels: int = 3, background: Sequence[int] = (255, 255, 255)
) -> np.ndarray:
    """Returns uint8 [size_px, size_px, channels]: the first frame, upright, cropped to its central square.

    Transparent pixels show `background` (RGB). ValueError or OSError where there is no such picture.
    """
    stream = io.BytesIO(image) if isinstance(image, bytes) else image
    with Image.open(stream) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"too big: {width}x{height} pixels, {MAX_PIXELS} are accepted")
        # JPEG decodes at 1/2, 1/4, 1/8 of its size much faster; 3x leaves the filter enough to work on.
        opened.draft(None, (3 * size_px, 3 * size_px))
        picture = _upright(opened)
        picture = _opaque(picture, tuple(background))
    picture = picture.convert("L" if channels == 1 else "RGB")
    return np.asarray(_square(picture, size_px), np.uint8).reshape(size_px, size_px, channels)


def decode_many(
    images: Sequence[bytes | Path],
    *,
    size_px: int,
    channels: int,
    background: Sequence[int],
    workers: int | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Returns uint8 [M, size_px, size_px, channels], in order, and index -> reason for what is not in it.

    Runs on `workers` threads (default: one a core, at most 16; only one where all pictures are tiny).
    """
    decoded = np.empty((len(images), size_px, size_px, channels), np.uint8)
    failures: dict[int, str] = {}

    def decode_chunk(start: int) -> int:
        stop = min(start + CHUNK_PICTURES, len(images))
        for i in range(start, stop):
            try:
                decoded[i] = decode(images[i], size_px, channels, background)
            except Exception as error:  # a broken file makes Pillow raise almost anything
                failures[i] = _reason(error)
        return stop - start

    # Threads only get in each other's way where a picture is decoded in 0.1 ms.
    small = all(isinstance(image, bytes) and len(image) < SMALL_BYTES for image in images)
    workers = workers or (1 if small else min(16, os.cpu_count() or 1))
    # disable=None: no bar where stderr is not a terminal; delay: none for what is done in a moment.
    quiet = True if len(images) <= PROGRESS_MIN_PICTURES else None
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(images), desc="decoding", unit=" pictures", disable=quiet, delay=1.0) as bar,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what is unusable is reported anyway
        for count in pool.map(decode_chunk, range(0, len(images), CHUNK_PICTURES)):
            bar.update(count)
    if failures:
        decoded = np.delete(decoded, sorted(failures), axis=0)
    return decoded, dict(sorted(failures.items()))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture that Pillow can read"
    if isinstance(error, Image.DecompressionBombError):
        return f"too big: {MAX_PIXELS} pixels are accepted"
    return f"cannot be decoded: {error or type(error).__name__}"


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # outside the try: a truncated picture is an error, broken EXIF data is not
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _opaque(picture: Image.Image, background: tuple[int, ...]) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep_grey(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB") if picture.mode in ("P", "CMYK") else picture
    canvas = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(canvas, picture.convert("RGBA"))


def _deep_grey(picture: Image.Image) -> Image.Image:
    # Pillow clips these to 255 when it converts them, which turns 16-bit grey white.
    values = np.asarray(picture, np.float32)
    if picture.mode.startswith("I"):
        values = values * (255 / 65535)
    elif values.size and values.max() <= 1:
        values = values * 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _square(picture: Image.Image, size_px: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size_px:
        return picture.crop(box)
    if side <= PIXEL_ART_MAX_PX and size_px % side == 0:
        return picture.resize((size_px, size_px), Image.Resampling.NEAREST, box)
    if side <= PIXEL_ART_MAX_PX and size_px < side:
        return picture.resize((size_px, size_px), Image.Resampling.BOX, box)
    return picture.resize((size_px, size_px), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
