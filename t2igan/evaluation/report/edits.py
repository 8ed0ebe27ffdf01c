"""What a report shows of editing: pictures reproduced, completed, changed by a caption, and described."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2igan.data import Dataset
from t2igan.data.spread import evenly_spread
from t2igan.errors import UserError
from t2igan.evaluation.report.sections import Strip, clip, picture
from t2igan.inference.editing import (
    complete,
    describe,
    diversity_levels,
    edit,
    has_captioner,
    has_completer,
    invert,
    vary,
)
from t2igan.inference.sample import Model

MAX_PICTURES = 4  # each is looked for step by step
MAX_DESCRIBED = 8
VERSIONS = 4
NEAR_CAPTIONS = 256  # among which the caption of an edit is chosen
GREY = 160  # stands for what is hidden


def draw(model: Model, shown: Dataset) -> dict[str, tuple[Strip, ...]]:
    """Returns strips by section; only those for which the model has the networks.

    Inversion, completion and edits are shown of a model with an inverter, completion of one with a completer too, and
    descriptions of one with a captioner.
    """
    found: dict[str, tuple[Strip, ...]] = {}
    rows = [row for row in range(len(shown)) if _fits(model, shown.captions[row][0])]
    if not rows:
        return found
    rows = [rows[i] for i in evenly_spread(len(rows), MAX_DESCRIBED)]
    images, captions = np.asarray(shown.images[rows]), [shown.captions[row][0] for row in rows]
    few, said = images[:MAX_PICTURES], captions[:MAX_PICTURES]
    inverts = "inverter" in model.params and hasattr(model.networks.generator, "styles")
    if inverts or has_completer(model):
        found["completion"] = tuple(_completion(model, *of) for of in zip(few, said, strict=True))
    if inverts:
        fast, good = (invert(model, few, said, quality) for quality in ("fast", "good"))
        found["inversion"] = _inversion(model, few, said, {"fast": fast, "good": good})
        others = [of[0] for of in shown.captions[:NEAR_CAPTIONS] if _fits(model, of[0])]
        found["edits"] = tuple(
            _edit(model, image, caption, good[i : i + 1], nearest(model, caption, others))
            for i, (image, caption) in enumerate(zip(few, said, strict=True))
        )
    if has_captioner(model):
        found["descriptions"] = tuple(
            Strip(
                clip(of.caption if of.caption == caption else f"{of.caption} (its caption: {caption})"),
                (picture(image, caption),),
                f"{of.confidence:.0%} sure, strangeness {of.strangeness:.1f}",
            )
            for image, caption, of in zip(images, captions, describe(model, images), strict=True)
        )
    return found


def _fits(model: Model, caption: str) -> bool:
    """Whether the model reads all of a caption."""
    try:
        model.understood([caption])
    except UserError:
        return False
    return True


def nearest(model: Model, caption: str, others: list[str]) -> str:
    """Returns the caption that differs from another in the fewest tokens, but does differ; "" where none does."""
    others = [other for other in dict.fromkeys(others) if other != caption]
    if not others:
        return ""
    tokens = model.tokenizer.own.encode([caption, *others])
    return others[int((tokens[1:] != tokens[0]).sum(1).argmin())]


def _inversion(model: Model, images: np.ndarray, captions: list[str], codes: dict[str, Any]) -> tuple[Strip, ...]:
    strips = []
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        shown = [picture(image, "the picture")]
        shown += [picture(vary(model, of[i : i + 1], 0.0)[0], f"as {name} draws it") for name, of in codes.items()]
        reached = ", ".join(f"{name} {of.psnr_db[i]:.1f} dB" for name, of in codes.items())
        strips.append(Strip(clip(caption), tuple(shown), reached))
    return tuple(strips)


def _completion(model: Model, image: np.ndarray, caption: str) -> Strip:
    hidden = np.zeros((*image.shape[:2], 1), np.float32)
    hidden[len(image) // 2 :] = 1
    versions = complete(model, image, hidden, caption, num=VERSIONS, quality="fast")
    covered = np.where(hidden == 1, GREY, image).astype(np.uint8)
    if image.shape[-1] == 4:
        covered[..., 3] = 255
    names = ["the picture", "what is shown of it", *(f"seed {i}" for i in range(VERSIONS))]
    pictures = tuple(picture(*of) for of in zip([image, covered, *versions], names, strict=True))
    levels = diversity_levels(versions, hidden[..., 0] == 1)
    return Strip(clip(caption), pictures, f"versions differ by {levels:.1f} levels of 255")


def _edit(model: Model, image: np.ndarray, caption: str, codes: Any, prompt: str) -> Strip:
    if not prompt:
        return Strip(clip(caption), (picture(image, "the picture"),), "there is no other caption")
    edited = edit(model, image, prompt, caption=caption, codes=codes)
    share = float((edited.hidden > 0).mean())
    pictures = (picture(image, "the picture"), picture(edited.image, prompt))
    return Strip(f"{clip(caption)} → {clip(prompt)}", pictures, f"{share:.0%} of the pixels drawn anew")
