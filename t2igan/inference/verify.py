"""What a picture or a snapshot says of itself, and what of that was checked and how."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.pictures import enlarge, sheet
from t2igan.inference.provenance import EDITED, GENERATED, Claims, read_claims
from t2igan.inference.sample import Model, PromptWarning, load
from t2igan.inference.signatures import signed

MAX_DRAWN = 64  # pictures that are drawn again for one file
TOLERANCE_LEVELS = 1  # of 255, by which the compiled batch size may tip a rounding
_SOURCES = {
    GENERATED: "it was drawn by a model that learned from pictures",
    EDITED: "a model that learned from pictures drew a part of it",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is known of a file: lines that begin with "says", "checked" or "not checked", and whether a check failed."""

    lines: tuple[str, ...]
    failed: bool = False


def verify(path: Path, model: Model | None = None, trusted: Path | None = None) -> Verdict:
    """Returns what a file says and what was checked.

    Args:
      path: a snapshot (`.safetensors`), or a picture.
      model: with which pictures are drawn again from their recipes.
      trusted: the public key that a snapshot's signature has to be of.

    Raises:
      UserError: there is no such file, it is no picture that can be opened, or a key cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; give pictures, or snapshots (.safetensors)")
    if path.suffix == ".safetensors":
        return _of_snapshot(path, trusted)
    return _of_picture(path, model)


def _of_snapshot(path: Path, trusted: Path | None) -> Verdict:
    signature = signed(path, trusted)
    failed = signature.state == "invalid" or (trusted is not None and signature.state == "none")
    lines = [f"checked: {signature.text}"]
    if signature.state == "valid" and trusted is None:
        lines.append("not checked: whose key that is; --key=FILE.pub says which one it has to be")
    try:
        model = load(path)
    except UserError as error:
        return Verdict((*lines, f"checked: it does not load: {error}"), failed=True)
    size, channels, info = model.config["data"]["image_size_px"], model.config["data"]["channels"], model.info
    lines += [
        f"says: t2igan {info.get('t2igan', '?')} made it, at step {info.get('step', '?')}, of the data "
        f"{str(info.get('data', '?'))[:100]!r}; pictures of {size} x {size} x {channels}",
        f"checked: the hash of its weights is {model.digest}, as it says; all are finite",
        "checked: weights, configuration and tokenizer fit each other",
    ]
    figures = model.metrics.get("figures")
    if isinstance(figures, dict) and figures:
        lines.append(
            f"not checked: its {len(figures)} figures; `evaluate` measures them again where the data is at hand"
        )
    return Verdict(tuple(lines), failed)


def _of_picture(path: Path, model: Model | None) -> Verdict:
    claims = read_claims(path)
    if not (claims.source_type or claims.facts):
        return Verdict(
            (f"says: nothing of how it was made ({claims.form}); what a file had is lost when it is saved anew",)
        )
    lines = []
    if claims.source_type:
        lines.append(f"says: {_SOURCES.get(claims.source_type, f'digital source type {claims.source_type!r}')} (XMP)")
    if claims.facts:
        lines.append(f"says: {_recipe(claims.facts)}")
    if model is None or not claims.facts:
        lines.append("not checked: anybody can write this; with --workdir of the model the picture is drawn again")
        return Verdict(tuple(lines))
    drawn, failed = _drawn_again(path, claims, model)
    return Verdict((*lines, drawn), failed)


def _recipe(facts: dict[str, Any]) -> str:
    prompt = facts.get("prompt", facts.get("prompts", facts.get("captions", "?")))
    seed = facts.get("seed", facts.get("seeds", "?"))
    return f"model {str(facts.get('model', '?'))[:40]}, prompt {str(prompt)[:200]!r}, seed {str(seed)[:60]}"


def _drawn_again(path: Path, claims: Claims, model: Model) -> tuple[str, bool]:
    """Draws a picture, or a sheet, from its recipe and compares; returns what came of it, and whether that failed."""
    facts = claims.facts
    if facts.get("model") != model.digest:
        return (
            f"not checked: it names the model {str(facts.get('model'))[:40]!r}, and this one is {model.digest}",
            False,
        )
    if "verb" in facts or not {"prompt", "prompts"} & facts.keys():
        return f"not checked: its recipe is not one of `sample` ({str(facts.get('verb', 'no prompt'))[:40]})", False
    prompts, seeds = facts.get("prompts", [facts.get("prompt")]), facts.get("seeds", [facts.get("seed")])
    if not isinstance(prompts, list) or not isinstance(seeds, list) or not 0 < len(prompts) * len(seeds) <= MAX_DRAWN:
        return f"not checked: its recipe is not one of 1 to {MAX_DRAWN} pictures", False
    if not all(isinstance(prompt, str) for prompt in prompts) or not all(type(seed) is int for seed in seeds):
        return "checked: its recipe has a prompt that is no text, or a seed that is no whole number", True
    if not isinstance(facts.get("negative", ""), str):
        return "checked: its recipe has a negative prompt that is no text", True
    if "prompts" in facts and len(seeds) * max(_scale(facts), 1) * model.config["data"]["image_size_px"] > max(
        claims.size_px
    ):
        return f"not checked: it has {claims.size_px} px, which is smaller than the sheet of its recipe", False
    how = {name: facts[name] for name in ("truncation", "guidance", "negative") if name in facts}
    try:
        each = [(prompt, seed) for prompt in prompts for seed in seeds]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptWarning)
            images = model.sample([p for p, _ in each], [s for _, s in each], **how)
        wanted = _laid_out(images, facts, len(seeds), claims.size_px)
    except UserError as error:
        return f"checked: its recipe cannot be drawn: {error}", True
    found = _pixels(path, wanted.shape[-1])
    if found.shape != wanted.shape:
        return f"not checked: it has {claims.size_px} px, and drawn again it has {wanted.shape[1::-1]}", False
    off = np.abs(found.astype(int) - wanted)
    if off.max() <= TOLERANCE_LEVELS:
        return f"checked: drawn again by {model.digest} from its recipe, it is the same in every pixel", False
    if claims.form != "PNG":  # lossy forms are another picture in every pixel
        return (
            f"checked: drawn again by {model.digest}, it is {off.mean():.1f} levels of 255 away (mean; {claims.form})",
            False,
        )
    share = float((off.max(-1) > TOLERANCE_LEVELS).mean())
    return f"checked: drawn again by {model.digest}, {share:.1%} of its pixels are others: it was changed", True


def _laid_out(images: np.ndarray, facts: dict[str, Any], num_seeds: int, size_px: tuple[int, int]) -> np.ndarray:
    if "prompts" not in facts:
        return enlarge(images, max(min(size_px) // images.shape[2], 1))[0]
    return sheet(images, [str(p) for p in facts["prompts"]], num_seeds, _scale(facts))


def _scale(facts: dict[str, Any]) -> int:
    scale = facts.get("scale", 0)
    return scale if scale in range(65) else 0


def _pixels(path: Path, channels: int) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert({1: "L", 4: "RGBA"}.get(channels, "RGB")))
    except Exception as error:  # Pillow raises errors of many kinds for damaged files
        raise UserError(f"{path} is no whole picture ({type(error).__name__}); get it anew") from error
    return pixels[..., None] if channels == 1 else pixels
