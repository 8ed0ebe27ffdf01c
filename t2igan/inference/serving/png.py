"""PNG files of pictures whose pixels are repeated, without a search for what repeats.

Pillow tries five filters on each row and looks for repetitions. Where a picture was enlarged by a whole factor they are
known: in the first row of each block "Sub" leaves one value a pixel, and "Up" leaves nothing of the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # by channels: grey, RGB, RGBA
_SUB, _UP = 1, 2  # filters: the difference from the pixel on the left, from the row above


def repeated_png(image: UInt8[np.ndarray, "H W C"], factor: int, texts: Mapping[str, str]) -> bytes:
    """Returns a PNG in which each pixel of a picture is a square of `factor` pixels.

    Args:
      image: one channel, three, or four with transparency.
      factor: 1 or more.
      texts: iTXt chunks by keyword (PNG, third edition, 11.3.2.4).
    """
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width * factor, height * factor, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = np.zeros((height, factor, 1 + width * factor * channels), np.uint8)
    rows[:, 0, 0], rows[:, 1:, 0] = _SUB, _UP
    firsts = rows[:, 0, 1:].reshape(height, width, factor, channels)[:, :, 0]  # a view
    firsts[:] = image
    firsts[:, 1:] -= image[:, :-1]
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    data = packer.compress(rows.data) + packer.flush()
    said = [_chunk(b"iTXt", key.encode("latin-1") + bytes(5) + text.encode()) for key, text in texts.items()]
    return b"".join((_SIGNATURE, _chunk(b"IHDR", header), *said, _chunk(b"IDAT", data), _chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
