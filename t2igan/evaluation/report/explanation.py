"""An explanation as a sheet: picture, the same with a word changed, which pixels that moves, where the word was read.

Beside the experiment stands what the generator reads: its attention to the word. The two need not agree: a sentence
vector carries each word too, and goes everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from t2igan.data import Dataset
from t2igan.data.alpha import on_checkerboard
from t2igan.evaluation.explain import Change, Explanation, nearest_training, rank_correlation
from t2igan.evaluation.report.drawings import attend
from t2igan.inference.pictures import sheet
from t2igan.inference.sample import Model

COLUMNS = 4  # picture, variant, change, attention
LIMITS = (
    "A change is an experiment with this prompt and these seeds, no statement of what the word means elsewhere. "
    "Attention is what the generator reads, not what it uses: part of each word reaches it through the sentence vector."
)
_HOT = np.array([(255, 255, 255), (255, 200, 80), (220, 50, 30), (60, 0, 20)], np.float32)  # from 0 to the largest


def attention_maps(model: Model, prompt: str, seeds: Sequence[int]) -> Float[np.ndarray, "N h w"] | None:
    """Returns how much each place of the picture reads each word, mean over seeds; None for a generator without."""
    found = [attend(model, prompt, seed) for seed in seeds]
    maps = [one.weights for one in found if one is not None]
    return np.mean(maps, axis=0) if maps else None


def agreement(explanation: Explanation, attention: np.ndarray | None) -> list[float]:
    """Returns for each change the rank correlation of pixels that move with places that read the word; NaN for none."""
    if attention is None:
        return [float("nan")] * len(explanation.changes)
    found = []
    for change in explanation.changes:
        weights = attention[change.variant.place]
        found.append(rank_correlation(moved_by_place(change.moved, len(weights)), weights))
    return found


def moved_by_place(moved: np.ndarray, size: int) -> Float[np.ndarray, "h w"]:
    """Returns the mean of `moved`, levels by which pixels change, in each of `size` x `size` places."""
    factor = len(moved) // size
    return moved.reshape(size, factor, size, factor).mean((1, 3))


def change_rows(
    explanation: Explanation, attention: np.ndarray | None
) -> list[tuple[str, tuple[UInt8[np.ndarray, "H W C"], ...]]]:
    """Returns for each change what it did, in a line, and the pictures that show it.

    These are the picture of the first seed, the changed one, the pixels that change and, where there is `attention`,
    where the word is read; the latter two are means over the seeds.
    """
    size_px = explanation.images.shape[1]
    strongest = max((float(change.moved.max()) for change in explanation.changes), default=1.0)
    rows = []
    for change, correlation in zip(explanation.changes, agreement(explanation, attention), strict=True):
        maps = [_hot(change.moved / max(strongest, 1e-6), relative=False)]
        maps += [] if attention is None else [_hot(_to_size(attention[change.variant.place], size_px))]
        rows.append((describe(change, correlation), (explanation.images[0], change.images[0], *maps)))
    return rows


def explanation_sheet(
    explanation: Explanation,
    attention: np.ndarray | None,
    train: Dataset | None = None,
    scale: int = 0,
) -> UInt8[np.ndarray, "H W 3"]:
    """Returns the sheet: a row a change, then, where the training pictures are at hand, the nearest of them.

    Args:
      explanation: what was drawn.
      attention: what `attention_maps` gave.
      train: the training split.
      scale: as in `t2igan.inference.pictures.enlarge`.
    """
    size_px = explanation.images.shape[1]
    blank = np.full((size_px, size_px, 3), 255, np.uint8)
    rows, captions = [], []
    for said, pictures in change_rows(explanation, attention):
        rows += [*map(_rgb, pictures), *[blank] * (COLUMNS - len(pictures))]
        captions.append(said)
    if train is not None and len(train):
        found, distances = nearest_training(explanation.images[:1], train, COLUMNS - 1)
        rows += [_rgb(explanation.images[0]), *(_rgb(np.asarray(train.images[row])) for row in found[0])]
        rows += [blank] * (COLUMNS - 1 - len(found[0]))
        said = "; ".join(f"{d:.3f} {train.captions[row][0]}" for row, d in zip(found[0], distances[0], strict=True))
        captions.append(f"nearest training pictures (rms of pixels, 0 = the same): {said}")
    return sheet(np.stack(rows), captions, COLUMNS, scale)


def describe(change: Change, correlation: float) -> str:
    """Returns what a change did, in a line."""
    said = f"{change.variant.label}: {change.share:.0%} of the pixels change"
    moved = {name: share for name, share in change.attributes.items() if share > 0}
    if change.attributes:
        listed = ", ".join(f"{name} {share:.0%}" for name, share in sorted(moved.items(), key=lambda item: -item[1]))
        said += f"; attributes that change: {listed or 'none'}"
    return said if np.isnan(correlation) else f"{said}; rank correlation with attention {correlation:.2f}"


def _hot(values: np.ndarray, relative: bool = True) -> UInt8[np.ndarray, "H W 3"]:
    """A map as colours, white for 0; `relative` to its own largest value."""
    top = float(values.max()) if relative else 1.0
    at = np.clip(values / max(top, 1e-9), 0, 1) * (len(_HOT) - 1)
    low = np.minimum(at.astype(int), len(_HOT) - 2)
    share = (at - low)[..., None]
    return np.round(_HOT[low] * (1 - share) + _HOT[low + 1] * share).astype(np.uint8)


def _to_size(weights: np.ndarray, size_px: int) -> np.ndarray:
    factor = size_px // weights.shape[0]
    return weights.repeat(factor, 0).repeat(factor, 1)


def _rgb(image: np.ndarray) -> np.ndarray:
    image = on_checkerboard(image)
    return image.repeat(3, -1) if image.shape[-1] == 1 else image
