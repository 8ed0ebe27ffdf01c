"""Encoded pictures of any kind -> uint8 squares of one size; how, docs/data.md shows in pictures."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

from t2igan.data.alpha import ALPHA_CHANNELS, clean, straight

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


class Picture(NamedTuple):
    """A decoded picture, and what is known of the one that it was."""

    pixels: np.ndarray  # uint8 [size_px, size_px, channels]
    size_px: tuple[int, int]  # width and height before
    is_transparent: bool  # somewhere, before


class Unusable(ValueError):
    """A picture that cannot be decoded; the message is the reason, for the user."""


def decode(picture: bytes | np.ndarray, how: Decoding) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns uint8 [size_px, size_px, channels], and the width and height that the picture had, in pixels.

    The first frame, upright, in sRGB. Transparent pixels show `background`; with four channels they stay transparent,
    colours are straight, and black where nothing is seen (`t2igan.data.alpha`). `picture` is an encoded one, or
    uint8 [H, W] or [H, W, 1, 3 or 4]. Raises `Unusable` for whatever is none.
    """
    decoded = read_picture(picture, how)
    return decoded.pixels, decoded.size_px


def read_picture(picture: bytes | np.ndarray, how: Decoding) -> Picture:
    """Returns what `decode` does, and whether anything of the picture was transparent; raises as that does."""
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
        with Image.open(io.BytesIO(picture), formats=formats()) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS or not opened.has_transparency_data:
                return None
            return 255 - np.asarray(_upright(opened).convert("RGBA"))[..., 3]
    except Exception:
        return None


def _from_bytes(picture: bytes, how: Decoding) -> Picture:
    with Image.open(io.BytesIO(picture), formats=formats()) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise Unusable(f"too big: {width}x{height} pixels, {MAX_PIXELS} are accepted")
        # JPEG decodes at 1/2, 1/4, 1/8 of its size much faster; 3x leaves the filter enough to work on.
        opened.draft(None, (3 * how.size_px, 3 * how.size_px))
        pixels, is_transparent = _finish(_upright(opened), opened.info.get("icc_profile"), how)
        return Picture(pixels, (width, height), is_transparent)


def _from_array(pixels: np.ndarray, how: Decoding) -> Picture:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise Unusable(f"not a picture: {pixels.dtype} {pixels.shape}, uint8 [H, W] or [H, W, 1, 3 or 4] is accepted")
    size = (pixels.shape[1], pixels.shape[0])
    if pixels.shape == (how.size_px, how.size_px, how.channels):
        if how.channels != ALPHA_CHANNELS:
            return Picture(pixels, size, is_transparent=False)
        return Picture(clean(pixels), size, is_transparent=bool((pixels[..., 3] < 255).any()))
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    finished, is_transparent = _finish(Image.fromarray(flat), None, how)
    return Picture(finished, size, is_transparent)


@functools.cache
def formats() -> tuple[str, ...]:
    """Returns those of FORMATS that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _finish(picture: Image.Image, profile: bytes | None, how: Decoding) -> tuple[np.ndarray, bool]:
    layer = _transparent_layer(picture)
    is_transparent = layer is not None and bool((np.asarray(layer.getchannel("A")) < 255).any())
    if layer is None:
        picture = _opaque(picture)
    else:
        picture = layer if how.channels == ALPHA_CHANNELS else _on_background(layer, how.background)
    # Colours are converted when the picture is small: a profile costs time by the pixel.
    squared = _in_srgb(_square(picture, how), profile)
    if how.channels == ALPHA_CHANNELS:
        return _with_alpha(squared, picture.size, how), is_transparent
    squared = squared.convert("L" if how.channels == 1 else "RGB")
    return np.asarray(squared, np.uint8).reshape(how.size_px, how.size_px, how.channels), is_transparent


def _with_alpha(squared: Image.Image, size: tuple[int, int], how: Decoding) -> np.ndarray:
    """Returns four channels of a square picture; of an opaque one only what was added around it is transparent."""
    as_rgba = squared if squared.mode == "RGBA" else squared.convert("RGB").convert("RGBA")
    pixels = np.array(as_rgba, np.uint8)
    if squared.mode != "RGBA" and how.resize == "pad":
        left, top, width, height = _inner(size, how.size_px)
        seen = np.zeros((how.size_px, how.size_px), bool)
        seen[top : top + height, left : left + width] = True
        pixels[..., 3] = np.where(seen, 255, 0)
    return clean(pixels)


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # outside the try: a truncated picture is an error, broken EXIF data is not
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _transparent_layer(picture: Image.Image) -> Image.Image | None:
    """Returns a picture that may be transparent as RGBA, colours straight; None for any other."""
    deep = picture.mode.startswith("I") or picture.mode in ("F", "LAB")
    return None if deep or not picture.has_transparency_data else picture.convert("RGBA")


def _on_background(layer: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    canvas = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(canvas, layer).convert("RGB")


def _opaque(picture: Image.Image) -> Image.Image:
    """Returns a picture without transparency in a mode without palette that can be resized: L, RGB or CMYK."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep_grey(picture)
    if picture.mode == "LAB":
        return _converted(picture, ImageCms.createProfile("LAB"))
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
    if profile is None or picture.mode not in ("RGB", "CMYK", "RGBA"):
        return picture
    if picture.mode == "RGBA":
        colours = _in_srgb(picture.convert("RGB"), profile)
        colours.putalpha(picture.getchannel("A"))
        return colours
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
        left, top, inner_width, inner_height = _inner(picture.size, size)
        canvas = Image.new(picture.mode, (size, size), _around(picture.mode, how.background))
        resized = _resized(picture, (inner_width, inner_height), (0, 0, width, height), how)
        canvas.paste(resized, (left, top))
        return canvas
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return _resized(picture, (size, size), (left, top, left + side, top + side), how)


def _inner(size: tuple[int, int], square_px: int) -> tuple[int, int, int, int]:
    """Returns where a whole picture lies in a square: left, top, width and height."""
    longer = max(size)
    width, height = (max(round(square_px * side / longer), 1) for side in size)
    return (square_px - width) // 2, (square_px - height) // 2, width, height


def _around(mode: str, background: tuple[int, int, int]) -> Any:
    """Returns the colour beside a picture that is padded: the background, or nothing where it can be transparent."""
    if mode == "RGBA":
        return (0, 0, 0, 0)
    return Image.new("RGB", (1, 1), background).convert(mode).getpixel((0, 0))


def _resized(picture: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], how: Decoding) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == size:
        return picture.crop(box)
    if how.resample != "auto":
        return _scaled(picture, size, how.resample, box)
    if max(width, height) <= PIXEL_ART_MAX_PX:
        if size[0] % width == 0 and size[1] % height == 0:
            return _scaled(picture, size, "nearest", box)
        if size[0] <= width and size[1] <= height:
            return _scaled(picture, size, "area", box)
    return _scaled(picture, size, "lanczos", box)


def _scaled(picture: Image.Image, size: tuple[int, int], resample: str, box: tuple[int, int, int, int]) -> Image.Image:
    # Large reductions begin with a cheap exact one, down to three times the size; Pillow has none for nearest.
    gap = 3.0 if resample == "lanczos" else None
    if picture.mode != "RGBA" or resample == "nearest":
        return picture.resize(size, RESAMPLING[resample], box, reducing_gap=gap)
    # Colours are mixed by how much of them is seen. Pillow does so too, but cuts fractions off on the way back.
    mixed = picture.convert("RGBa").resize(size, RESAMPLING[resample], box, reducing_gap=gap)
    return Image.fromarray(straight(np.asarray(mixed)))
