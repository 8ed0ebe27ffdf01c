"""What a picture or a snapshot says of itself, and what of that was checked and how."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.credentials import Credentials, read_credentials
from t2igan.inference.pictures import enlarge, sheet
from t2igan.inference.provenance import EDITED, GENERATED, Claims, read_claims
from t2igan.inference.sample import Model, PromptWarning, load
from t2igan.inference.signatures import signed
from t2igan.inference.watermark import FALSE_ALARMS, Secret, find, mark

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


def verify(
    path: Path,
    model: Model | None = None,
    trusted: Path | None = None,
    roots: Path | None = None,
    secret: Secret | None = None,
) -> Verdict:
    """Returns what a file says and what was checked.

    Args:
      path: a snapshot (`.safetensors`), or a picture.
      model: with which pictures are drawn again from their recipes.
      trusted: the public key that a snapshot's signature has to be of.
      roots: the certificates (PEM) that signers of pictures have to come from.
      secret: whose watermark is looked for in pictures.

    Raises:
      UserError: there is no such file, it is no picture that can be opened, or a key cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; give pictures, or snapshots (.safetensors)")
    if path.suffix == ".safetensors":
        return _of_snapshot(path, trusted)
    return _of_picture(path, model, roots, secret)


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


def _of_picture(path: Path, model: Model | None, roots: Path | None, secret: Secret | None) -> Verdict:
    claims = read_claims(path)
    lines, failed = _of_credentials(read_credentials(path, claims.form, roots), claims, roots)
    if secret is not None:
        lines.append(_of_watermark(path, secret))
    if not (claims.source_type or claims.facts):
        nothing = f"says: nothing of how it was made ({claims.form}); what a file had is lost when it is saved anew"
        return Verdict((nothing, *lines), failed)
    if claims.facts:
        lines.insert(0, f"says: {_recipe(claims.facts)}")
    if claims.source_type:
        source = _SOURCES.get(claims.source_type, f"digital source type {claims.source_type!r}")
        lines.insert(0, f"says: {source} (XMP)")
    if model is None or not claims.facts:
        lines.append(
            "not checked: the model and the recipe, which anybody can write; with --workdir of the model the picture "
            "is drawn again"
        )
        return Verdict(tuple(lines), failed)
    drawn, other = _drawn_again(path, claims, model, secret)
    return Verdict((*lines, drawn), failed or other)


def _of_credentials(found: Credentials, claims: Claims, roots: Path | None) -> tuple[list[str], bool]:
    """What content credentials come to, in lines, and whether they fail."""
    if found.state == "none":
        if not claims.facts.get("c2pa"):
            return [], False
        return ["checked: its recipe says that it has content credentials (C2PA), and they were taken out"], True
    if found.state == "unread":
        return [f"not checked: it has content credentials (C2PA); {found.why}"], False
    if found.state == "unreadable":
        return [f"checked: its content credentials (C2PA) cannot be read: {found.why}"], True
    if found.state == "invalid":
        return [f"checked: its content credentials (C2PA) do not hold: {found.why}"], True
    lines = [
        f"checked: content credentials (C2PA) of {found.signer!r} hold: the file is, byte by byte, what was signed"
        f"{f' with {found.tool}' if found.tool else ''}"
    ]
    if found.state == "trusted":
        return [*lines, f"checked: the signer's certificate comes from {roots}"], False
    if roots is not None:
        return [
            *lines,
            f"checked: the signer's certificate does not come from {roots}: whoever it is, it is untrusted",
        ], True
    unknown = (
        "not checked: who that is: anybody can make a certificate with any name; --trust=FILE.pem has those that count"
    )
    return [*lines, unknown], False


def _of_watermark(path: Path, secret: Secret) -> str:
    found = find(_pixels(path), secret)
    whose = f"the watermark {secret.fingerprint}"
    if found.there:
        return (
            f"checked: {whose} is in it ({found.how}): it fits by {found.score:.0f} standard deviations better than "
            f"other secrets; of pictures without it at most {found.by_chance:.1%} seem to have it"
        )
    return (
        f"checked: {whose} was not found (at {FALSE_ALARMS:.0%} false alarms): it never had it, or the picture was "
        f"changed too much"
    )


def _recipe(facts: dict[str, Any]) -> str:
    prompt = facts.get("prompt", facts.get("prompts", facts.get("captions", "?")))
    seed = facts.get("seed", facts.get("seeds", "?"))
    return f"model {str(facts.get('model', '?'))[:40]}, prompt {str(prompt)[:200]!r}, seed {str(seed)[:60]}"


def _drawn_again(path: Path, claims: Claims, model: Model, secret: Secret | None) -> tuple[str, bool]:
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
    drawn_px = max(_scale(facts), 1) * model.config["data"]["image_size_px"]
    if "prompts" in facts and len(prompts) * len(seeds) * drawn_px**2 > claims.size_px[0] * claims.size_px[1]:
        return f"not checked: it has {claims.size_px} px, which is smaller than the sheet of its recipe", False
    how: dict[str, Any] = {"cut_long": facts.get("cut_long") is True}
    how |= {name: _real(facts[name]) for name in ("truncation", "guidance", "negative") if name in facts}
    try:
        each = [(prompt, seed) for prompt in prompts for seed in seeds]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptWarning)
            images = model.sample([p for p, _ in each], [s for _, s in each], **how)
        if marked := facts.get("watermark"):
            known = secret is not None and secret.fingerprint == marked
            images = mark(images, secret) if known and secret else images
        wanted = _laid_out(images, facts, len(seeds), claims.size_px)
    except UserError as error:
        return f"checked: its recipe cannot be drawn: {error}", True
    found = _pixels(path, wanted.shape[-1])
    if found.shape != wanted.shape:
        return f"not checked: it has {claims.size_px} px, and drawn again it has {wanted.shape[1::-1]}", False
    off = np.abs(found.astype(int) - wanted)
    if marked and not known:
        return (
            f"not checked to the pixel: it says that it has the watermark {str(marked)[:16]}, and --watermark does not "
            f"give that; drawn again by {model.digest} it is {off.mean():.1f} levels of 255 away (mean)",
            False,
        )
    if off.max() <= TOLERANCE_LEVELS:
        return f"checked: drawn again by {model.digest} from its recipe, it is the same in every pixel", False
    if about := _inexact(claims, model):
        return (
            f"checked: drawn again by {model.digest}, it is {off.mean():.1f} levels of 255 away (mean; {about})",
            False,
        )
    share = float((off.max(-1) > TOLERANCE_LEVELS).mean())
    return f"checked: drawn again by {model.digest}, {share:.1%} of its pixels are others: it was changed", True


def _real(value: Any) -> Any:
    """A setting, as a float where it is a whole number: JavaScript writes 1.0 as 1."""
    return float(value) if type(value) is int and abs(value) < 2**53 else value


def _inexact(claims: Claims, model: Model) -> str:
    """Why a picture may be another one in every pixel, although nobody changed it; "" where it may not."""
    if claims.form != "PNG":
        return claims.form
    dtype = claims.facts.get("dtype")  # of the weights of an export, which computes in float32
    if dtype in ("float16", "int8"):
        return f"it says that an export with {dtype} weights drew it"
    computed = model.config.get("compute_dtype", "float32")
    return (
        f"it says that an export drew it, and the model computes in {computed}"
        if dtype and computed != "float32"
        else ""
    )


def _laid_out(images: np.ndarray, facts: dict[str, Any], num_seeds: int, size_px: tuple[int, int]) -> np.ndarray:
    if "prompts" not in facts:
        return enlarge(images, max(min(size_px) // images.shape[2], 1))[0]
    if facts.get("layout") == "row":  # of the program beside an ONNX model: no captions, nothing between
        return np.concatenate(list(enlarge(images, _scale(facts) or 1)), axis=1)
    return sheet(images, [str(p) for p in facts["prompts"]], num_seeds, _scale(facts))


def _scale(facts: dict[str, Any]) -> int:
    scale = facts.get("scale", 0)
    return scale if scale in range(65) else 0


def _pixels(path: Path, channels: int | None = None) -> np.ndarray:
    """A picture's pixels, uint8 [H, W, C]; None = with transparency where it has any, and else in colour."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if channels is None:
                channels = 4 if picture.has_transparency_data else 3
            pixels = np.asarray(picture.convert({1: "L", 4: "RGBA"}.get(channels, "RGB")))
    except Exception as error:  # Pillow raises errors of many kinds for damaged files
        raise UserError(f"{path} is no whole picture ({type(error).__name__}); get it anew") from error
    return pixels[..., None] if channels == 1 else pixels
