"""Pictures of every kind become the squares that are expected, and what is none is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from t2igan.data.decode import Decoding, Unusable, decode


def png(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data, size_px: int, channels: int = 3, **how) -> np.ndarray:
    return decode(data, Decoding(size_px, channels, **how))[0]


def test_transparency_shows_the_background():
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    grey_alpha = Image.new("LA", (8, 8), (0, 0))
    files = [
        png(clear), png(palette, transparency=0), png(grey_alpha), png(palette, "GIF", transparency=0),
        png(clear, "WEBP", lossless=True), png(Image.new("RGB", (8, 8)), transparency=(0, 0, 0)),
    ]  # fmt: skip
    for data in files:
        assert (pixels(data, 8, background=(10, 200, 30)) == (10, 200, 30)).all()
    half = png(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    assert abs(int(pixels(half, 8, 1)[0, 0, 0]) - 127) <= 1


def test_all_kinds_of_pixels():
    deep = np.full((8, 8), 128 * 257, np.uint16)
    expected = 128
    for data in (
        png(Image.fromarray(deep)),
        png(Image.fromarray(np.uint8(deep >> 8))),
        png(Image.fromarray(np.full((8, 8), 128 / 255, np.float32)), "TIFF"),
        png(Image.new("CMYK", (8, 8), (0, 0, 0, 127)), "JPEG", quality=100),
        png(Image.new("RGB", (8, 8), (128,) * 3), "BMP"),
    ):
        for channels in (1, 3):
            got = pixels(data, 8, channels)
            assert got.shape == (8, 8, channels) and got.dtype == np.uint8
            assert np.abs(got.astype(int) - expected).max() <= 2
    assert pixels(png(Image.new("1", (8, 8), 1)), 8, 3).min() == 255


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize("top", [255, 1023, 4095, 16383, 65535, 3900, 60_000, 900])
def test_deep_greys_are_neither_black_nor_clipped(top):
    """Sensors of 10, 12 and 14 bits write the same 16-bit files as others."""
    deep = np.round(RAMP * top).astype(np.uint16)
    depth = next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if top <= 2**bits - 1)
    expected = np.round(deep / depth * 255)
    as_int32 = Image.fromarray(deep.astype(np.int32))
    files = [png(Image.fromarray(deep)), png(Image.fromarray(deep), "TIFF"), png(as_int32, "TIFF")]
    files.append(png(Image.fromarray(deep.astype(np.float32)), "TIFF"))
    for data in files:
        for channels in (1, 3):
            got = pixels(data, 8, channels).astype(int)
            assert np.abs(got - expected[..., None]).max() <= 1 and got.max() > 200
            np.testing.assert_array_equal(got, pixels(data, 8, channels))


@pytest.mark.parametrize(
    "low, high, black, white",
    [
        *((0, 1, 0, 1), (0, 0.4, 0, 1), (-1, 1, -1, 1), (-0.5, 0.5, -1, 1), (0, 255, 0, 255), (0, 200, 0, 255)),
        *((0, 4095, 0, 4095), (0, 1.5, 0, 1.5), (0, 20, 0, 20), (-1000, 3000, -1000, 3000), (0, 1e6, 0, 1e6)),
        *((200, 1000, 0, 1023), (-8, -4, -8, -4)),
    ],
)
def test_greys_of_floats_have_a_rule_for_every_range(low, high, black, white):
    values = (low + RAMP * (high - low)).astype(np.float32)

    def expected(values):
        return np.clip((values.astype(np.float64) - black) / (white - black) * 255, 0, 255)

    def read(values):
        return pixels(png(Image.fromarray(values), "TIFF"), 8, 1)[..., 0].astype(int)

    assert np.abs(read(values) - expected(values)).max() <= 1
    with_gap = values.copy()
    with_gap[3, 3] = np.nan
    gap = read(with_gap)
    assert gap[3, 3] == 0 and np.abs(gap - expected(values))[np.isfinite(with_gap)].max() <= 1
    if float(high).is_integer() and high > 1:
        whole = np.round(values).astype(np.int32)
        assert np.abs(read(whole) - expected(whole)).max() <= 1


def test_greys_without_any_range():
    for value in (0, 7, 65535):
        assert len(np.unique(pixels(png(Image.fromarray(np.full((8, 8), value, np.uint16))), 8))) == 1
    nothing = np.full((8, 8), np.nan, np.float32)
    assert pixels(png(Image.fromarray(nothing), "TIFF"), 8).max() == 0


def test_upright_first_frame_central_square():
    wide = Image.new("RGB", (64, 32), (255, 0, 0))
    wide.paste((0, 255, 0), (16, 0, 48, 32))
    assert (pixels(png(wide), 16, 3) == (0, 255, 0)).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: what is left in the file is the top
    sideways = Image.new("RGB", (32, 32), (0, 0, 255))
    sideways.paste((255, 255, 0), (0, 0, 16, 32))
    upright = pixels(png(sideways, "PNG", exif=exif), 32, 3)
    assert (upright[0] == (255, 255, 0)).all() and (upright[-1] == (0, 0, 255)).all()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    animated = png(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels(animated, 8, 3) == (255, 0, 0)).all()


def test_sizes():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (301, 200, 3), np.uint8))
    for data in (png(photo), png(photo, "JPEG")):
        for size_px in (1, 16, 200, 201, 512):
            assert pixels(data, size_px, 3).shape == (size_px, size_px, 3)
    assert abs(pixels(png(photo), 4, 1).mean() - 127) < 12
    tiny = rng.integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(pixels(png(Image.fromarray(tiny)), 24, 3), tiny.repeat(3, 0).repeat(3, 1))


# Resize policies


def test_crop_pad_and_stretch():
    wide = Image.new("RGB", (60, 20), (255, 0, 0))
    wide.paste((0, 255, 0), (20, 0, 40, 20))
    data = png(wide)
    assert (pixels(data, 10) == (0, 255, 0)).all()
    padded = pixels(data, 30, resize="pad", background=(1, 2, 3), resample="area")
    assert (padded[[0, 9, 20, 29]] == (1, 2, 3)).all() and (padded[15, 15] == (0, 255, 0)).all()
    assert (padded[10:20, 0] == (255, 0, 0)).all()  # the whole width is there
    stretched = pixels(data, 30, resize="stretch", resample="area")
    assert (stretched[:, :10] == (255, 0, 0)).all() and (stretched[:, 10:20] == (0, 255, 0)).all()
    grey = pixels(png(wide.convert("L")), 30, 1, resize="pad", background=(255, 255, 255))
    assert (grey[0] == 255).all()
    thin = pixels(png(Image.new("RGB", (1000, 2))), 16, resize="pad")  # never less than a pixel
    assert (thin == 0).all(-1).sum() == 16


def test_resampling_is_what_was_asked_for():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    data = png(Image.fromarray(checks.astype(np.uint8)))
    assert set(np.unique(pixels(data, 32, resample="nearest"))) <= {0, 255}
    assert set(np.unique(pixels(data, 32, resample="area"))) <= {127, 128}
    small = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    data = png(Image.fromarray(small))
    np.testing.assert_array_equal(pixels(data, 8, 1)[..., 0], small.repeat(2, 0).repeat(2, 1))  # pixel art: auto
    assert not np.array_equal(pixels(data, 8, 1, resample="lanczos")[..., 0], small.repeat(2, 0).repeat(2, 1))


def test_arrays_are_pictures_too():
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(pixels(array, 8), array)
    assert decode(np.zeros((6, 4), np.uint8), Decoding(2, 1))[0].shape == (2, 2, 1)
    assert decode(np.zeros((6, 4), np.uint8), Decoding(2, 1))[1] == (4, 6)
    clear = np.zeros((4, 4, 4), np.uint8)
    assert (pixels(clear, 4, background=(9, 8, 7)) == (9, 8, 7)).all()
    for wrong in (np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match="not a picture"):
            pixels(wrong, 4)


# Colours


def test_colour_profiles_count():
    """The same numbers in another colour space are another colour; sRGB and broken profiles change nothing."""
    red = Image.new("RGB", (8, 8), (200, 60, 30))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    plain = pixels(png(red), 8)
    for profile in (srgb, b"broken", xyz):
        np.testing.assert_array_equal(pixels(png(red, icc_profile=profile), 8), plain)
    swapped = swapped_primaries(srgb)
    assert pixels(png(red, icc_profile=swapped), 8)[0, 0, 2] > pixels(png(red, icc_profile=swapped), 8)[0, 0, 0]


def swapped_primaries(profile: bytes) -> bytes:
    """Returns an sRGB profile with the red and the blue primary exchanged, and another name."""
    tags = bytearray(profile)
    count = struct.unpack(">I", tags[128:132])[0]
    entries = {bytes(tags[132 + 12 * i : 136 + 12 * i]): 136 + 12 * i for i in range(count)}
    red, blue = (entries[name] for name in (b"rXYZ", b"bXYZ"))
    tags[red : red + 8], tags[blue : blue + 8] = tags[blue : blue + 8], tags[red : red + 8]
    return (
        bytes(tags)
        .replace("sRGB".encode("utf-16-be"), "RGBs".encode("utf-16-be"))
        .replace(b"sRGB built", b"RGBs built")
    )


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif():
    assert (
        np.abs(pixels(png(Image.new("RGB", (32, 32), (250, 10, 10)), "AVIF"), 8).astype(int) - (250, 10, 10)) < 9
    ).all()


def test_premultiplied_edges_do_not_darken():
    """What is composited before it is resized has no dark fringe from the colour of transparent pixels."""
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    half.paste((255, 255, 255, 255), (0, 0, 32, 64))
    assert pixels(png(half), 16).min() == 255


# What is refused


def refused(data, size_px: int = 4) -> str:
    with pytest.raises(Unusable) as error:
        pixels(data, size_px)
    return str(error.value)


def test_what_cannot_be_decoded_is_said(monkeypatch):
    good = png(Image.new("RGB", (9, 9), "red"))
    assert refused(b"") == refused(b"not a picture") == "not a picture that Pillow can read"
    assert refused(good[:-30]).startswith("cannot be decoded:")
    monkeypatch.setattr("t2igan.data.decode.MAX_PIXELS", 80)
    assert "9x9" in refused(good)


def test_decompression_bombs_are_refused():
    small = png(Image.new("1", (8, 8)))
    header = b"IHDR" + struct.pack(">II", 30000, 30000) + small[24:29]
    bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    assert "too big" in refused(bomb)


def test_no_program_is_run_for_a_picture():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\n%%EOF\n"
    with Image.open(io.BytesIO(eps)) as opened:
        assert opened.format == "EPS"  # Pillow would, by Ghostscript
    assert refused(eps) == "not a picture that Pillow can read"
