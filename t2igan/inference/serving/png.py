"""PNG files of pictures whose pixels are repeated, without a search for what repeats.

Where a picture was enlarged by a whole factor, what repeats is known. Pictures of few pixels are written into a
template: a stream of deflate (RFC 1951) in which every value takes 9 bits, so that what repeats them stands in the same
places for all pictures of a size, and only the values are filled in. Pictures of more pixels are left to zlib, which
counts how often values come, and makes smaller files of them.
"""

from __future__ import annotations

import functools
import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # by channels: grey, RGB, RGBA
_NONE, _SUB, _UP = 0, 1, 2  # filters: the value, its difference from the pixel on the left, from the row above
_TEMPLATE_PIXELS = 32 * 32  # more are left to zlib
_ADLER = 65521  # the modulus of zlib's checksum
_END = 256  # the symbol that ends a block of deflate
_SHORTEST, _LONGEST = 3, 258  # bytes that one symbol can have repeated
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)).view(np.uint64)  # of each value: a byte a bit
_CODE_LENGTHS_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


def repeated_png(image: UInt8[np.ndarray, "H W C"], factor: int, texts: Mapping[str, str]) -> bytes:
    """Returns a PNG in which each pixel of a picture is a square of `factor` pixels.

    Args:
      image: one channel, three, or four with transparency.
      factor: 1 or more.
      texts: iTXt chunks by keyword (PNG, third edition, 11.3.2.4).
    """
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width * factor, height * factor, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    data = _filled(image, factor) if fits_template(image, factor) else _packed(image, factor)
    said = [_chunk(b"iTXt", key.encode("latin-1") + bytes(5) + text.encode()) for key, text in texts.items()]
    return b"".join((_SIGNATURE, _chunk(b"IHDR", header), *said, _chunk(b"IDAT", data), _chunk(b"IEND", b"")))


def fits_template(image: UInt8[np.ndarray, "H W C"], factor: int) -> bool:
    """Whether `repeated_png` fills a template, which takes no longer for a larger file."""
    height, width, channels = image.shape
    return height * width <= _TEMPLATE_PIXELS and (factor - 1) * channels >= _SHORTEST


def _packed(image: np.ndarray, factor: int) -> bytes:
    """The rows, packed by zlib: "Sub" leaves one value a pixel in the first of each block, "Up" nothing of the rest."""
    height, width, channels = image.shape
    rows = np.zeros((height, factor, 1 + width * factor * channels), np.uint8)
    rows[:, 0, 0], rows[:, 1:, 0] = _SUB, _UP
    firsts = rows[:, 0, 1:].reshape(height, width, factor, channels)[:, :, 0]  # a view
    firsts[:] = image
    firsts[:, 1:] -= image[:, :-1]
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return packer.compress(rows.data) + packer.flush()


def _filled(image: np.ndarray, factor: int) -> bytes:
    """The rows in a template: the first of each block as it is, and the others "Up"."""
    height, width, channels = image.shape
    template = _template(height, width, channels, factor)
    bits = template.bits.copy()
    first = template.begins + template.row_begins + 1
    strides = (template.row_bits, template.pixel_bits, 9)
    places = np.ndarray((height, width, channels), np.uint64, bits, first, strides)
    places[...] = _BITS[image]  # eight bits, of a byte each, are written as one number
    low, high = image.reshape(-1).astype(np.float64) @ template.weights  # exact: far below 2**53
    low, high = (template.low + int(low)) % _ADLER, (template.high + int(high)) % _ADLER
    return b"\x78\x01" + np.packbits(bits, bitorder="little").tobytes() + struct.pack(">HH", high, low)


class _Template(NamedTuple):
    """A stream of deflate with the values of all pixels left out."""

    bits: UInt8[np.ndarray, " bits"]
    begins: int  # the bit at which the first row does
    row_bits: int
    row_begins: int  # the bit of a row at which its first pixel does
    pixel_bits: int
    low: int  # what zlib's checksum begins with: its lower half,
    high: int  # its upper half,
    weights: Float64[np.ndarray, "values 2"]  # and by how much each value counts in both


@functools.lru_cache(maxsize=16)
def _template(height: int, width: int, channels: int, factor: int) -> _Template:
    """Returns the template for a size; its code gives 9 bits to each value, and fewer to what repeats.

    Of a complete code, 256 values of 9 bits leave one half, which is for what repeats and for the end. Codes are
    canonical, so that the one of a value is a bit that is set and the value itself.
    """
    row_bytes = 1 + width * factor * channels
    of_pixel, of_row = _pieces((factor - 1) * channels), _pieces(row_bytes - 2)
    used = list(dict.fromkeys(_length_symbol(length)[0] for length in (*of_row, *of_pixel)))
    lengths = {symbol: i for i, symbol in enumerate([*used, _END], start=2)}
    lengths[_END] = lengths[used[-1]]
    codes = _canonical(lengths)
    distances = dict.fromkeys((0, channels - 1), 1)  # one byte back, and a pixel: symbols without bits that follow
    backs = _canonical(distances)
    repeated = lambda pieces, distance: "".join(
        codes[symbol] + more + backs[distance - 1] for symbol, more in map(_length_symbol, pieces)
    )
    value = lambda byte: f"1{byte:08b}"
    pixel = channels * value(0) + repeated(of_pixel, channels)
    row = value(_NONE) + width * pixel + (factor - 1) * (value(_UP) + value(0) + repeated(of_row, 1))
    head = _header(lengths, distances)
    # The upper half of the checksum counts each byte as often as there are bytes from it to the end.
    num_bytes = height * factor * row_bytes
    of_rows = num_bytes - row_bytes * np.arange(height * factor).reshape(height, factor)
    of_values = of_rows[:, :1] - np.arange(1, row_bytes)
    in_high = of_values.reshape(height, width, factor, channels).sum(2).reshape(-1) % _ADLER
    return _Template(
        np.frombuffer((head + height * row + codes[_END]).encode(), np.uint8) - ord("0"),
        len(head),
        len(row),
        len(value(_NONE)),
        len(pixel),
        1 + _UP * height * (factor - 1),
        num_bytes + _UP * int(of_rows[:, 1:].sum()),
        np.stack([np.full_like(in_high, factor), in_high], axis=1).astype(np.float64),
    )


def _pieces(length: int) -> list[int]:
    """Cuts so many bytes into what one symbol each can have repeated, 3 to 258."""
    whole, rest = divmod(length, _LONGEST)
    pieces = [_LONGEST] * whole
    if 0 < rest < _SHORTEST:  # too short: the one before gives some
        pieces[-1], rest = _LONGEST - _SHORTEST, rest + _SHORTEST
    return pieces + ([rest] if rest else [])


def _length_symbol(length: int) -> tuple[int, str]:
    """Returns the symbol of a length and the bits that follow it (RFC 1951, 3.2.5)."""
    if length == _LONGEST:
        return 285, ""
    if length < 11:
        return 254 + length, ""
    more = (length - 3).bit_length() - 3
    return 257 + 4 * more + ((length - 3) >> more), _number((length - 3) & ((1 << more) - 1), more)


def _number(value: int, bits: int) -> str:
    """A number as deflate has it, the lowest bit first."""
    return f"{value:0{bits}b}"[::-1] if bits else ""


def _canonical(lengths: Mapping[int, int]) -> dict[int, str]:
    """Returns the code of each symbol, from the lengths of all but the values, whose codes come last (3.2.2)."""
    codes, code, before = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - before
        codes[symbol], before = f"{code:0{length}b}", length
        code += 1
    return codes


def _header(lengths: Mapping[int, int], distances: Mapping[int, int]) -> str:
    """What a block begins with: that it is the last, and the lengths of all codes (3.2.7)."""
    listed = [9] * 256 + [lengths.get(symbol, 0) for symbol in range(256, max(lengths) + 1)]
    num_lengths = len(listed)
    listed += [distances.get(symbol, 0) for symbol in range(max(distances) + 1)]
    own = {symbol: 4 if i < 13 else 5 for i, symbol in enumerate(_CODE_LENGTHS_ORDER)}  # a complete code
    codes = _canonical(own)
    sizes = _number(num_lengths - 257, 5) + _number(len(listed) - num_lengths - 1, 5) + _number(len(own) - 4, 4)
    begins = "1" + _number(2, 2) + sizes + "".join(_number(own[symbol], 3) for symbol in _CODE_LENGTHS_ORDER)
    return begins + "".join(codes[symbol] + more for symbol, more in _in_runs(listed))


def _in_runs(listed: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yields symbols, and the bits that follow each, for lengths of codes: 16 repeats the one before, 17 is zeros."""
    for value, group in itertools.groupby(listed):
        left = len(list(group))
        repeat, most, bits = (16, 6, 2) if value else (17, 10, 3)
        if value:
            yield value, ""
            left -= 1
        while left:
            num = min(left, most)
            if num < 3:
                yield value, ""
                left -= 1
            else:
                yield repeat, _number(num - 3, bits)
                left -= num


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
