"""Which pictures are one picture, stored twice: byte by byte, or as PNG here and as JPEG or WebP there.

A decoded picture has a *signature*: its luma on a grid of 8x8 and its colour on one of 2x2. Lossy formats change these
by a level or two. Two pictures count as the same one where the signatures differ by no more than that, measured against
the picture's own contrast, so that two faint drawings on white are still two. Pictures that differ only within a cell
of the grid do count as one: they are near enough to be kept on one side of a split.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from t2igan.data.alpha import composited, has_alpha

GRID = 8
COLOUR_GRID = 2
SIGNATURE_BYTES = GRID * GRID + 2 * COLOUR_GRID * COLOUR_GRID
MAX_RMS = 3.0  # levels of luma; JPEG of quality 75 moves the signature of a 64 px picture by up to 1.4 (rms)
RMS_OF_CONTRAST = 0.15  # share of the picture's own standard deviation
MAX_COLOUR = 5  # half levels of red or blue minus luma
# Candidates are found by hashing: projections of the signature, in cells of CELL levels, TABLES times over.
PROJECTIONS, CELL, TABLES, NEIGHBOURS = 5, 24.0, 8, 12


def signature(pixels: np.ndarray) -> np.ndarray:
    """Returns the signature of a decoded picture.

    Args:
      pixels: uint8 [H, W, C] with C 3, 1 or 4; of four, as it looks on a board of black and white, a square a cell.

    Returns:
      uint8 [SIGNATURE_BYTES]: luma [8, 8], then half of red minus luma and of blue minus luma, plus 128, [2, 2, 2].
    """
    if has_alpha(pixels):
        pixels = composited(pixels, _board(*pixels.shape[:2]))
    grey = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    luma = np.asarray(picture.convert("L").resize((GRID, GRID), Image.Resampling.BOX))
    if grey:
        return np.concatenate([luma.reshape(-1), np.full(SIGNATURE_BYTES - luma.size, 128, np.uint8)])
    coarse = picture.resize((COLOUR_GRID, COLOUR_GRID), Image.Resampling.BOX)
    grey_coarse = np.asarray(coarse.convert("L"), np.int16)[..., None]
    colour = (np.asarray(coarse, np.int16)[..., ::2] - grey_coarse) // 2 + 128
    return np.concatenate([luma.reshape(-1), np.clip(colour, 0, 255).astype(np.uint8).reshape(-1)])


def _board(height: int, width: int) -> np.ndarray:
    """Black and white in turns, int [H, W, 1]: on one background alone, all white icons would be one picture."""
    rows, columns = (np.arange(side) * GRID // side for side in (height, width))
    return 255 * ((rows[:, None, None] + columns[:, None]) % 2)


def same_picture(content: np.ndarray, signatures: np.ndarray) -> np.ndarray:
    """Returns int64 [N], the row of the first picture that each one is the same as: its own where there is none.

    Args:
      content: uint8 [N, 16], equal for the same encoded bytes.
      signatures: uint8 [N, SIGNATURE_BYTES].

    Sameness is passed on: a picture that is the same as two others makes those the same. Of pictures that are the same
    by their signatures alone, one in a thousand pairs at the limit of the tolerance may be missed.
    """
    num = len(content)
    if num < 2:
        return np.arange(num)
    order = np.lexsort(content.T)
    equal = (content[order[1:]] == content[order[:-1]]).all(1)
    pairs = [np.stack([order[:-1][equal], order[1:][equal]], 1), _alike_pairs(signatures)]
    return _first_of_each(num, np.concatenate(pairs))


def _alike_pairs(signatures: np.ndarray) -> np.ndarray:
    """Returns int64 [P, 2], rows of pictures whose signatures are those of one picture."""
    luma = signatures[:, : GRID * GRID].astype(np.float32)
    colour = signatures[:, GRID * GRID :].astype(np.int16)
    contrast = luma.std(1)
    allowed = np.minimum(MAX_RMS, RMS_OF_CONTRAST * contrast)
    allowed_colour = np.minimum(MAX_COLOUR, contrast)
    random = np.random.default_rng(0)
    # Slow waves: there pictures differ most, and compression least.
    waves = np.cos(np.pi * (np.arange(GRID) + 0.5) * np.arange(4)[:, None] / GRID)
    waves = np.einsum("ay,bx->abyx", waves, waves).reshape(16, GRID * GRID)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    found = []
    for _ in range(TABLES):
        rotation = np.linalg.qr(random.normal(size=(16, 16)))[0][: PROJECTIONS + 1]
        values = luma @ (rotation @ waves).T.astype(np.float32)
        cells = np.floor(values[:, :PROJECTIONS] / CELL + random.random(PROJECTIONS)).astype(np.int64)
        order = np.lexsort((values[:, -1], *cells.T))
        sorted_cells = cells[order]
        for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            near = np.flatnonzero((sorted_cells[step:] == sorted_cells[:-step]).all(1))
            one, other = order[near], order[near + step]
            rms = np.sqrt(((luma[one] - luma[other]) ** 2).mean(1))
            same = rms <= np.minimum(allowed[one], allowed[other])
            colours = np.abs(colour[one] - colour[other]).max(1, initial=0)
            same &= colours <= np.minimum(allowed_colour[one], allowed_colour[other])
            found.append(np.stack([one[same], other[same]], 1))
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def _first_of_each(num: int, pairs: np.ndarray) -> np.ndarray:
    """Returns the smallest row of the connected part that each row is in."""
    first = np.arange(num)
    if not len(pairs):
        return first
    one, other = pairs.T
    while True:
        smaller = np.minimum(first[one], first[other])
        new = first.copy()
        np.minimum.at(new, one, smaller)
        np.minimum.at(new, other, smaller)
        new = new[new]
        if (new == first).all():
            return first
        first = new
