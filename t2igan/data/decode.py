"""Encoded pictures of any kind -> uint8 squares of one size; how, docs/data.md shows in pictures."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs, where it only warns
PIXEL_ART_MAX_PX = 32  # pictures up to this side keep hard edges: nearest neighbour up, area down
# What Pillow may open. Not all that it can: EPS, for one, runs a program on what is in the file.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "PFM", "TGA", "QOI"),
    *("ICO", "ICNS", "PCX", "SGI", "SUN", "DDS", "PSD", "XBM", "XPM"),
)
DEPTHS_BITS = (8, 10, 12, 14, 16)  # of grey values that sensors and programs write
NEARLY_BLACK = 32
RESIZES = ("crop", "pad", "stretch")
RESAMPLING = {
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class Decoding:
    """How pictures become arrays: uint8 [size_px, size_px, channels]; `config.data` has a key for each."""

    size_px: int
    channels: int = 3
    background: tuple[int, int, int] = (255, 255, 255)
    resize: str = "crop"
    resample: str = "auto"

    @classmethod
    def of(cls, data_config: Any) -> Decoding:
        """Returns what the `data` group of a configuration asks for."""
        return cls(
            size_px=data_config.image_size_px,
            channels=data_config.channels,
            background=tuple(data_config.background),
            resize=data_config.resize,
            resample=data_config.resample,
        )


class Unusable(ValueError):
    """A picture that cannot be decoded; the message is the reason, for the user."""


def decode(picture: bytes | np.ndarray, how: Decoding) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns uint8 [size_px, size_px, channels], and the width and height that the picture had, in pixels.

    The first frame, upright, in sRGB. Transparent pixels show `background`. `picture` is an encoded one, or
    uint8 [H, W] or [H, W, 1, 3 or 4]. Raises `Unusable` for whatever is none.
    """
    try:
        return _from_array(picture, how) if isinstance(picture, np.ndarray) else _from_bytes(picture, how)
    except Unusable:
        raise
    except Image.UnidentifiedImageError as error:
        raise Unusable("not a picture that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"too big: {MAX_PIXELS} pixels are accepted") from error
    except Exception as error:  # a broken file makes Pillow raise almost anything
        text = " ".join(str(error).split()) or type(error).__name__
        raise Unusable(f"cannot be decoded: {text[:300]}") from error


def transparency(picture: bytes) -> np.ndarray | None:
    """Returns how transparent an encoded picture is, uint8 [H, W] with 255 for wholly; None where it is opaque.

    None, too, for whatever is no picture or too big: `decode` says so.
    """
    try:
        with Image.open(io.BytesIO(picture), formats=_formats()) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS or not opened.has_transparency_data:
                return None
            return 255 - np.asarray(_upright(opened).convert("RGBA"))[..., 3]
    except Exception:
        return None


def _from_bytes(picture: bytes, how: Decoding) -> tuple[np.ndarray, tuple[int, int]]:
    with Image.open(io.BytesIO(picture), formats=_formats()) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise Unusable(f"too big: {width}x{height} pixels, {MAX_PIXELS} are accepted")
        # JPEG decodes at 1/2, 1/4, 1/8 of its size much faster; 3x leaves the filter enough to work on.
        opened.draft(None, (3 * how.size_px, 3 * how.size_px))
        return _finish(_upright(opened), opened.info.get("icc_profile"), how), (width, height)


def _from_array(pixels: np.ndarray, how: Decoding) -> tuple[np.ndarray, tuple[int, int]]:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise Unusable(f"not a picture: {pixels.dtype} {pixels.shape}, uint8 [H, W] or [H, W, 1, 3 or 4] is accepted")
    size = (pixels.shape[1], pixels.shape[0])
    if pixels.shape == (how.size_px, how.size_px, how.channels):
        return pixels, size
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return _finish(Image.fromarray(flat), None, how), size


@functools.cache
def _formats() -> tuple[str, ...]:
    """Returns those of FORMATS that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _finish(picture: Image.Image, profile: bytes | None, how: Decoding) -> np.ndarray:
    picture = _opaque(picture, how.background)
    # Colours are converted when the picture is small: a profile costs time by the pixel.
    picture = _in_srgb(_square(picture, how), profile)
    picture = picture.convert("L" if how.channels == 1 else "RGB")
    return np.asarray(picture, np.uint8).reshape(how.size_px, how.size_px, how.channels)


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # outside the try: a truncated picture is an error, broken EXIF data is not
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _opaque(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Returns the picture in a mode without transparency or palette that can be resized: L, RGB or CMYK."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep_grey(picture)
    if picture.mode == "LAB":
        return _converted(picture, ImageCms.createProfile("LAB"))
    if picture.has_transparency_data:
        canvas = Image.new("RGBA", picture.size, (*background, 255))
        return Image.alpha_composite(canvas, picture.convert("RGBA")).convert("RGB")
    return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _deep_grey(picture: Image.Image) -> Image.Image:
    """Returns grey of more than 8 bits, or of floats, in 8 bits: as docs/data.md says, by the picture's own range.

    Pillow would clip it to 255 instead. Files seldom say which range is meant: sensors of 10, 12 or 14 bits write the
    same 16-bit files as others.
    """
    values = np.asarray(picture, np.float64)
    finite = np.isfinite(values)
    low, high = grey_range(values[finite], whole=picture.mode != "F")
    scaled = (np.where(finite, values, low) - low) * (255 / (high - low))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def grey_range(values: np.ndarray, whole: bool) -> tuple[float, float]:
    """Returns what becomes black and what becomes white of finite grey values of any shape; the latter is larger.

    Values from 0 up to 2^b - 1 with b = 8, 10, 12, 14 or 16: 0 and the smallest of these numbers that is no less than
    the largest value. Floats from 0 to 1: 0 and 1; from -1 to 1: -1 and 1. Others, and such as would be nearly black by
    these rules (all below 32): the smallest (at most 0) and the largest value.
    """
    if not values.size:
        return 0.0, 1.0
    low, high = min(float(values.min()), 0.0), float(values.max())
    if not whole and high <= 1 and low >= -1:
        return (0.0 if low == 0 else -1.0), 1.0
    if low == 0 and NEARLY_BLACK <= high <= 2**16 - 1:
        return 0.0, next(2.0**bits - 1 for bits in DEPTHS_BITS if high <= 2**bits - 1)
    return (low, high) if high > low else (low, low + 1)


def _converted(picture: Image.Image, profile: Any) -> Image.Image:
    """Returns the picture in sRGB, from the colours of a profile."""
    converted = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # it is None where a picture is converted in place
    return converted


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns the picture in sRGB (or grey); a profile that is broken or of another kind of picture counts as none."""
    if profile is None or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(embedded):
            return picture
        return _converted(picture, embedded)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def _square(picture: Image.Image, how: Decoding) -> Image.Image:
    width, height = picture.size
    size = how.size_px
    if how.resize == "stretch":
        return _resized(picture, (size, size), (0, 0, width, height), how)
    if how.resize == "pad":
        longer = max(width, height)
        inner = (max(round(size * width / longer), 1), max(round(size * height / longer), 1))
        background = Image.new("RGB", (1, 1), how.background).convert(picture.mode).getpixel((0, 0))
        canvas = Image.new(picture.mode, (size, size), background)
        resized = _resized(picture, inner, (0, 0, width, height), how)
        canvas.paste(resized, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return canvas
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return _resized(picture, (size, size), (left, top, left + side, top + side), how)


def _resized(picture: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], how: Decoding) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == size:
        return picture.crop(box)
    if how.resample != "auto":
        return picture.resize(size, RESAMPLING[how.resample], box, reducing_gap=_gap(how.resample))
    if max(width, height) <= PIXEL_ART_MAX_PX:
        if size[0] % width == 0 and size[1] % height == 0:
            return picture.resize(size, Image.Resampling.NEAREST, box)
        if size[0] <= width and size[1] <= height:
            return picture.resize(size, Image.Resampling.BOX, box)
    return picture.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=_gap("lanczos"))


def _gap(resample: str) -> float | None:
    # Large reductions begin with a cheap exact one, down to three times the size; Pillow has none for nearest.
    return 3.0 if resample == "lanczos" else None
