"""Between two pictures: frames from one to the other, or the styles of both."""

from __future__ import annotations

import difflib

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.editing.changing import check_codes
from t2igan.inference.editing.codes import Codes
from t2igan.inference.editing.inverting import draw_noise, draw_styles
from t2igan.inference.editing.tuning import model_of
from t2igan.inference.prompts import Prompt
from t2igan.inference.sample import Model


def mix(model: Model, one: Codes, other: Codes, num: int = 16) -> np.ndarray:
    """Returns frames from one picture to another, uint8 [num, S, S, C]; first and last are the pictures as drawn.

    Noise goes along the great circle (White 2016, arXiv:1609.04468), offsets, and by what the generator was
    tuned, in a straight line. The caption changes
    one difference at a time, from the first to the last, so that every frame is near to a caption; straight from one to
    the other the middle would be of none.

    Args:
      model: its generator has styles.
      one: codes of the first picture.
      other: of the last.
      num: frames, 2 or more.

    Raises:
      UserError: codes of another model or of several pictures, or too few frames.
    """
    _check_pair(model, one, other)
    if num < 2:
        raise UserError(f"frames={num} must be 2 or more: the two pictures are the first and the last")
    along = np.linspace(0, 1, num)
    z = np.concatenate([great_circle(one.noise, other.noise, t) for t in along])
    offsets = np.concatenate([(1 - t) * one.offsets + t * other.offsets for t in along])
    meant = [caption_between(one.captions[0], other.captions[0], t) for t in along]
    if not (one.tuned or other.tuned):
        return draw_noise(model, z, meant, offsets)
    frames = []
    for i, t in enumerate(along):  # each by a generator of its own
        between = model_of(model, [(1 - t, one.tuning()), (t, other.tuning())])
        frames.append(draw_noise(between, z[i : i + 1], meant[i : i + 1], offsets[i : i + 1]))
    return np.concatenate(frames)


def mix_styles(model: Model, content: Codes, style: Codes, levels: int) -> np.ndarray:
    """Returns the picture of the first `levels` styles of one picture and the rest of another's; uint8 [1, S, S, C].

    What is first says more of shapes, what is last of colours (Karras et al. 2019, arXiv:1812.04948). Words are those
    of the first.

    Raises:
      UserError: codes of another model or of several pictures, or levels that there are not.
    """
    _check_pair(model, content, style)
    uses = content.styles.shape[1]
    if not 0 <= levels <= uses:
        raise UserError(f"levels={levels} must lie between 0 and {uses}: so many styles a picture of this model has")
    first, last = content.styles + content.offsets, style.styles + style.offsets
    mixed = np.concatenate([first[:, :levels], last[:, levels:]], axis=1)
    share = levels / uses
    model = model_of(model, [(share, content.tuning()), (1 - share, style.tuning())])
    return draw_styles(model, mixed, [Prompt.plain(content.captions[0])])


def caption_between(one: str, other: str, share: float) -> Prompt:
    """Returns what is said at a share of the way from a caption to another, changed one difference at a time."""
    captions = steps_between(one, other)
    place = share * (len(captions) - 1)
    step = min(int(place), max(len(captions) - 2, 0))
    rest = place - step
    nearer = captions[min(step + (rest >= 0.5), len(captions) - 1)]
    if rest in (0, 1) or len(captions) == 1:
        return Prompt.plain(nearer)
    return Prompt((captions[step], captions[step + 1]), (1 - rest, rest), (nearer,))


def steps_between(one: str, other: str) -> list[str]:
    """Returns captions from one to the other, each with one more of the differences, word by word."""
    a, b = one.split(), other.split()
    if a == b:
        return [one]
    differences = [op for op in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes() if op[0] != "equal"]
    captions, shift, words = [one], 0, list(a)
    for _, start, end, other_start, other_end in differences:
        words[start + shift : end + shift] = b[other_start:other_end]
        shift += (other_end - other_start) - (end - start)
        captions.append(" ".join(words))
    captions[-1] = other  # with its own white space
    return captions


def great_circle(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Returns vectors [N, Z] on the great circle between two; straight where these are alike."""
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (one, other)]
    cosine = np.clip((one * other).sum(-1, keepdims=True) / np.maximum(lengths[0] * lengths[1], 1e-12), -1, 1)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    straight = sine < 1e-4
    safe = np.where(straight, 1.0, sine)
    weights = [np.where(straight, w, np.sin(w * angle) / safe) for w in (1 - share, share)]
    unit = [x / np.maximum(length, 1e-12) for x, length in zip((one, other), lengths, strict=True)]
    length = (1 - share) * lengths[0] + share * lengths[1]
    return (length * (weights[0] * unit[0] + weights[1] * unit[1])).astype(np.float32)


def _check_pair(model: Model, one: Codes, other: Codes) -> None:
    for codes in (one, other):
        check_codes(model, codes)
