"""What was written is opened as its user opens it, in a process of its own, and compared with JAX."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from t2igan.errors import UserError

TIMEOUT_S = 600  # for a program that opens an export and draws some dozens of pictures


@dataclasses.dataclass(frozen=True)
class Target:
    """How far an export's pictures may be from JAX's.

    A maximum of 1e-5 is out of reach for whatever computes in float32: JAX itself differs by 2.5e-5 from float64, and
    by 2.2e-5 between batches of 1 and of 64 pictures.
    """

    largest: float = 5e-5  # of pictures in [-1, 1]; where they reach beyond, of their largest value
    most: float = 1e-5  # 99.9 % of the values
    levels: int = 1  # of 255, of pictures as bytes
    share: float = 1e-4  # of the values that may differ as bytes
    mean_levels: float = 1.0


TARGETS = {
    "float32": Target(),
    # Weights rounded to 11 bits, or to 8 bits a channel; arithmetic stays float32. A value near a sharp edge may move
    # far, so the mean says more than the maximum.
    "float16": Target(largest=0.5, most=0.02, levels=64, share=0.25, mean_levels=0.1),
    "int8": Target(largest=2.0, most=1.0, levels=255, share=1.0, mean_levels=2.0),
}


def compare_floats(
    name: str, found: Float[np.ndarray, "*found"], expected: Float[np.ndarray, "*shape"], target: Target
) -> str:
    """Returns a line that says how far two sets of pictures are apart; `UserError` where it is too far."""
    _check_shapes(name, found, expected)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = np.abs(found.astype(np.float64) - expected) / scale
    largest, most = float(difference.max()), float(np.quantile(difference, 0.999))
    line = f"{name}: {len(found)} pictures, largest difference {largest:.1e}, 99.9 % below {most:.1e}"
    if not (largest <= target.largest and most <= target.most):  # nan is neither
        raise _too_far(line, f"{target.largest:.0e} and {target.most:.0e}")
    return line


def compare_bytes(
    name: str, found: UInt8[np.ndarray, "*found"], expected: UInt8[np.ndarray, "*shape"], target: Target
) -> str:
    """Returns a line that says how many levels of 255 two sets of pictures are apart; `UserError` for too many."""
    _check_shapes(name, found, expected)
    difference = np.abs(_seen(found) - _seen(expected))
    largest, differ, mean = int(difference.max()), int((difference > 0).sum()), float(difference.mean())
    line = (
        f"{name}: {len(found)} pictures, {differ} of {difference.size} values differ, by {largest} of 255 at most, "
        f"by {mean:.3g} on average"
    )
    # Of a share of few values that many may differ by chance: four standard deviations above their mean.
    expected_to = target.share * difference.size
    if largest > target.levels or differ > expected_to + 4 * math.sqrt(expected_to) or mean > target.mean_levels:
        raise _too_far(line, f"{target.levels} levels, {target.share:g} of the values, {target.mean_levels:g} levels")
    return line


def _seen(images: UInt8[np.ndarray, "*shape"]) -> np.ndarray:
    """Bytes as whole numbers; of RGBA what is seen of the colours, which mean nothing where little is seen."""
    levels = images.astype(np.int64)
    if images.shape[-1] == 4:
        levels[..., :3] = np.round(levels[..., :3] * levels[..., 3:] / 255)
    return levels


def _check_shapes(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise UserError(
            f"{name} gave {found.dtype} {found.shape}, and JAX {expected.dtype} {expected.shape}; please report this"
        )


def _too_far(line: str, allowed: str) -> UserError:
    return UserError(
        f"the export is not the model: {line}; allowed are {allowed}. Nothing was written; try --dtype=float16 or "
        f"float32, and where that one says so too, please report this"
    )


def run_alone(program: str, given: Mapping[str, Any], folder: Path, modules: Sequence[str]) -> dict[str, np.ndarray]:
    """Runs a Python program in a process of its own, without t2igan, and returns the arrays that it saves.

    Args:
      program: its text. It finds `given` and `folder` as names, and calls `save(**arrays)`.
      given: what it is given, for JSON; arrays as lists.
      folder: what was written.
      modules: names that must not be imported by the end, besides "t2igan".

    Raises:
      UserError: it fails, or has imported what an export must do without.
    """
    with tempfile.TemporaryDirectory(prefix="t2igan-export-") as scratch:
        place = Path(scratch)
        (place / "given.json").write_text(json.dumps(given), encoding="utf-8")
        (place / "program.py").write_text(_AROUND.replace("# PROGRAM", program), encoding="utf-8")
        command = [sys.executable, "-I", str(place / "program.py"), str(folder.absolute()), *modules]
        done = run_in(place, command, f"what was written to {folder}")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"what was written to {folder} cannot be opened without t2igan: {last}")
        with np.load(place / "found.npz") as found:
            return {name: found[name] for name in found.files}


def run_in(place: Path, command: Sequence[str], what: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a folder and returns what it said; `UserError` where `what` it opens keeps it too long."""
    try:
        return subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{what} drew nothing within {TIMEOUT_S} s") from error


# -I: neither the current folder nor PYTHONPATH is searched, so that only what is installed can be imported.
_AROUND = """
import json, sys
from pathlib import Path

import numpy as np

given = json.loads(Path("given.json").read_text(encoding="utf-8"))
folder = Path(sys.argv[1])


def save(**arrays):
    np.savez("found.npz", **arrays)


# PROGRAM

unwanted = {"t2igan", *sys.argv[2:]} & {name.partition(".")[0] for name in sys.modules}
if unwanted:
    sys.exit(f"it imported {', '.join(sorted(unwanted))}")
"""
