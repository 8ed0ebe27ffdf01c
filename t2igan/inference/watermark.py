"""A watermark in the pixels that is there or not: a secret pattern, so faint that it is not seen, found by its key.

Spread spectrum (Cox et al. 1997, doi:10.1109/83.650120): a pattern of a secret's own is added to the picture, and who
has the secret correlates a picture with it. The pattern is laid over the whole picture whatever its size, at 4 to 14
waves a side: coarse enough to survive JPEG and resizing. It carries no message: nobody learns from it when, by whom or
from what the picture was drawn.

How a picture correlates with a secret is compared with how it correlates with other secrets, drawn at random. A picture
without the mark cannot know which one is ours, so a share of false alarms is kept whatever the picture shows.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import secrets
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, UInt8

from t2igan.data.alpha import clean, has_alpha
from t2igan.errors import UserError
from t2igan.inference.files import read_small, write_secret

LEAST_PX = 64  # of a side; below, so faint a pattern is not found again
PSNR_DB = 40.0  # of a marked picture against the same without: 2.55 levels of 255
MAX_LEVELS = 5.0  # root mean square of the pattern where it is strongest: where white and black leave it half
FALSE_ALARMS = 0.01  # of pictures without the mark
SUFFIX = ".mark"
_GRID_PX = 64  # the size at which a picture is compared with patterns
_WAVES = (4.0, 14.0)  # a side, of the pattern
_REACH_PX, _ALIKE_LEVELS = 4, 12.0  # of neighbours from which a pixel is guessed, and how much they may differ
_LIMIT_LEVELS = 4.0  # from which on what was not guessed counts for less: it is the picture's own
_OTHERS, _FEWER_OTHERS = 999, 199  # secrets that a picture is compared with, in place and where it is searched for
_CUTS = tuple(np.arange(1.0, 0.69, -0.02).round(2).tolist())  # sides that may be left of a picture that was cut
_FORMAT = "t2igan watermark 1"


class Secret(NamedTuple):
    """What a watermark is made and found with."""

    key: bytes  # 32 bytes

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the secret without giving it away."""
        return hashlib.sha256(f"{_FORMAT} name".encode() + self.key).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Found:
    """Whether a picture has the watermark of a secret."""

    there: bool
    by_chance: float  # at most this share of pictures without the mark correlate as well with the secret
    score: float  # standard deviations by which it correlates better than with other secrets
    how: str  # "in place", "mirrored", "cut", "cut and mirrored": how the picture is laid against the pattern


def make_secret(out: Path) -> tuple[Path, Secret]:
    """Writes a new secret to OUT.mark, which only its owner may read; UserError where there is one already."""
    path = out.with_name(out.name + SUFFIX)
    made = Secret(secrets.token_bytes(32))
    write_secret(path, f"{_FORMAT}\n{made.key.hex()}\n".encode())
    return path, made


def read_secret(path: Path) -> Secret:
    """Returns the secret of a file that `make_secret` wrote; UserError for any other."""
    form, _, key = read_small(path).decode("ascii", "replace").partition("\n")
    try:
        found = Secret(bytes.fromhex(key.strip()))
    except ValueError:
        found = Secret(b"")
    if form.strip() != _FORMAT or len(found.key) != 32:
        raise UserError(f"{path} holds no secret of a watermark; `t2igan keys --kind=watermark --out=NAME` makes one")
    return found


def check_size(px: int, what: str) -> None:
    """Raises `UserError` for pictures that are too small for a watermark."""
    if px < LEAST_PX:
        raise UserError(
            f"{what} draws {px} px, and a watermark wants {LEAST_PX} px at least: in smaller pictures it would either "
            f"be seen or not be found again"
        )


def mark(images: UInt8[np.ndarray, "N H W C"], secret: Secret) -> UInt8[np.ndarray, "N H W C"]:
    """Returns pictures with the watermark of a secret.

    Args:
      images: square, of `LEAST_PX` or more; transparency stays as it is.
      secret: the secret.

    Returns:
      The pictures, at `PSNR_DB` where they are neither white nor black in most places.

    Raises:
      UserError: the pictures are too small.
    """
    check_size(images.shape[1], "the model")
    pattern = _at(_spectra(secret.key, 1)[0], images.shape[1])[..., None]
    return np.stack([_marked(image, pattern) for image in images])


def _marked(image: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """One picture with the pattern, as strong as `PSNR_DB` allows; found by halving."""
    colours = image[..., :3] if has_alpha(image) else image
    seen = image[..., 3:] / 255 if has_alpha(image) else np.ones(image.shape[:2] + (1,))
    added = lambda levels: np.clip(np.round(colours + levels * pattern), 0, 255)
    error = lambda levels: float((seen * (added(levels) - colours) ** 2).sum() / max(seen.sum() * colours.shape[-1], 1))
    allowed = 255**2 / 10 ** (PSNR_DB / 10)
    low, high = 0.0, MAX_LEVELS
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) <= allowed else (low, middle)
    marked = image.copy()
    marked[..., : colours.shape[-1]] = added(low)
    return clean(marked) if has_alpha(image) else marked


def find(image: UInt8[np.ndarray, "H W C"], secret: Secret, also_cut: bool = True) -> Found:
    """Returns whether a picture has the watermark of a secret; of those without it, `FALSE_ALARMS` seem to.

    It is looked for in place first, at any size and also mirrored; then, at half of the false alarms each, in what is
    left of a picture that was cut, down to 0.7 of its sides. It is not looked for in rotated pictures.

    Args:
      image: one, three or four channels, of any size.
      secret: the secret.
      also_cut: whether to look in what is left of a larger picture, too, which takes ten times as long.
    """
    rest = _unexpected(_seen(image))
    spectra = _spectra(secret.key, 1 + _OTHERS)
    by_chance, score, how = 1.0, 0.0, ""
    for cuts, others in (((None,), _OTHERS), (_CUTS, _FEWER_OTHERS))[: 1 + also_cut]:
        scores = np.full(1 + others, -np.inf)
        place = ""
        for mirrored in (False, True):
            laid = np.ascontiguousarray(rest[:, ::-1]) if mirrored else rest
            for cut in cuts:
                found = _scores(laid, spectra[: 1 + others], cut)
                if found[0] > scores[0]:
                    place = _named(cut, mirrored)
                scores = np.maximum(scores, found)
        chance = 2 * (1 + int((scores[1:] >= scores[0]).sum())) / (1 + others)  # twice: it is looked for in two ways
        if chance < by_chance:
            spread = max(float(scores[1:].std()), 1e-9)  # 0 of a picture of one colour, which is like no pattern
            by_chance, score, how = chance, float(scores[0] - scores[1:].mean()) / spread, place
        if by_chance <= FALSE_ALARMS:
            return Found(True, by_chance, score, how)
    return Found(False, by_chance, score, how)


def _named(cut: float | None, mirrored: bool) -> str:
    if cut is None:
        return "mirrored" if mirrored else "in place"
    return "cut and mirrored" if mirrored else "cut"


@functools.lru_cache(maxsize=2)
def _spectra(key: bytes, number: int) -> Complex[np.ndarray, "K G F"]:
    """The Fourier coefficients of the pattern of a secret and of others that follow from it, each of energy 1.

    Phases are bits of SHAKE-256 (FIPS 202): the same in every version of every library.
    """
    y, x = np.fft.fftfreq(_GRID_PX, 1 / _GRID_PX)[:, None], np.fft.rfftfreq(_GRID_PX, 1 / _GRID_PX)[None]
    waves = np.hypot(y, x)
    band = (waves >= _WAVES[0]) & (waves <= _WAVES[1]) & (x > 0)
    made = np.zeros((number, *band.shape), np.complex64)
    for i in range(number):
        raw = hashlib.shake_256(f"{_FORMAT} {i} ".encode() + key).digest(2 * int(band.sum()))
        made[i][band] = np.exp(2j * np.pi * np.frombuffer(raw, "<u2") / 2**16)
    return made


def _at(spectrum: Complex[np.ndarray, "G F"], px: int) -> Float[np.ndarray, "P P"]:
    """The pattern at a size, with a mean square of 1; its waves lie alike over the middles of pixels of all sizes."""
    y, x = np.nonzero(spectrum)
    rows = np.where(y < _GRID_PX // 2, y, y - _GRID_PX)
    whole = np.zeros((px, px // 2 + 1), np.complex128)
    whole[rows, x] = spectrum[y, x] * np.exp(1j * np.pi * (rows + x) * (1 / px - 1 / _GRID_PX))
    pattern = np.fft.irfft2(whole, s=(px, px))
    return pattern / pattern.std()


def _seen(image: np.ndarray) -> Float[np.ndarray, "H W C"]:
    """What a picture shows, from 0 to 255, its longer side 64 px; what is transparent on the middle grey."""
    from PIL import Image

    pixels: np.ndarray = image.astype(np.float32)
    if has_alpha(image):
        share = pixels[..., 3:] / 255
        pixels = pixels[..., :3] * share + 128 * (1 - share)
    factor = _GRID_PX / max(image.shape[:2])
    if factor == 1:
        return pixels
    size = tuple(max(round(side * factor), 1) for side in image.shape[1::-1])
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(of_one).resize(size, how)) for of_one in np.moveaxis(pixels, 2, 0)], -1)


def _unexpected(pixels: np.ndarray) -> Float[np.ndarray, "H W"]:
    """The luma of what cannot be guessed from like neighbours, limited: of a drawing little, of a pattern nearly all.

    The guess is a bilateral filter's (Tomasi & Manduchi 1998): the mean of neighbours, counted by how much they look
    alike, so that edges, which would outweigh all the rest, are no surprise.
    """
    height, width = pixels.shape[:2]
    around = np.pad(pixels, ((_REACH_PX,) * 2, (_REACH_PX,) * 2, (0, 0)), mode="symmetric")
    total, weights = np.zeros_like(pixels), np.zeros((height, width, 1), np.float32)
    for y in range(2 * _REACH_PX + 1):
        for x in range(2 * _REACH_PX + 1):
            other = around[y : y + height, x : x + width]
            alike = np.exp(((other - pixels) ** 2).mean(-1, keepdims=True) / (-2 * _ALIKE_LEVELS**2))
            total += alike * other
            weights += alike
    rest = pixels - total / weights
    grey = rest[..., 0] if rest.shape[-1] == 1 else rest @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey / (1 + (grey / _LIMIT_LEVELS) ** 2)


def _scores(rest: np.ndarray, spectra: np.ndarray, cut: float | None) -> Float[np.ndarray, " K"]:
    """How a picture's `_unexpected` correlates with patterns.

    Laid over the whole (None), or, as a part of a larger picture that has that share of its longer side, where it fits
    best.
    """
    from PIL import Image

    size = (_GRID_PX, _GRID_PX)
    if cut is not None:
        size = tuple(max(round(_GRID_PX * cut * side / max(rest.shape)), 1) for side in rest.shape)
    laid = np.zeros((_GRID_PX, _GRID_PX), np.float32)
    same = rest.shape == size
    laid[: size[0], : size[1]] = (
        rest if same else np.asarray(Image.fromarray(rest).resize(size[::-1], Image.Resampling.BICUBIC))
    )
    products = np.fft.rfft2(laid).astype(np.complex64) * spectra.conj()
    if cut is None:
        return 2 * products.real.sum((1, 2))
    return np.fft.irfft2(products, s=laid.shape).max((1, 2)) * laid.size
