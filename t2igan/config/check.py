"""Checks a configuration once, early, before anything compiles.

A configuration is the `ConfigDict` of a file in `configs/`. What is wrong with it is a `UserError` of one line that
names the key, its value, what is accepted and what to do.
"""

from __future__ import annotations

import math
from typing import Any

from ml_collections import ConfigDict

from t2igan.config.values import get
from t2igan.errors import UserError, nearest

# The phases in their order, and the section of each.
SECTIONS = {
    "text": "pretrain_text",
    "generator": "pretrain_generator",
    "discriminator": "pretrain_discriminator",
    "adversarial": "train",
    "text_matching": "text_matching",
    "joint": "joint",
}
PHASES = tuple(SECTIONS)
MASKS = ("whole", "box", "half", "stroke")
TASKS = ("auto", "labels", "transforms")
NETWORK_KINDS = ("residual", "mlp")
SCHEDULES = ("constant", "cosine", "linear", "exponential")
ADVERSARIAL = ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic")
PENALTIES = ("none", "r1", "r2", "r1_r2", "wgan_gp", "ma_gp", "finite_difference")
DATA_CHOICES = {
    "channels": (1, 3),
    "resize": ("crop", "pad", "stretch"),
    "resample": ("auto", "lanczos", "area", "nearest"),
    "captions": ("all", "first"),
}
SMOOTHABLE = ("minimax", "non_saturating", "least_squares", "hinge")  # pairs whose losses have a label
NORMALISATIONS = ("none", "spectral", "weight")
OPTIMIZERS = ("adam", "optimistic_adam")
AUGMENTATIONS = ("flip", "translate", "scale", "rotate", "colour", "cutout")
DTYPES = ("float32", "bfloat16")
EXTRACTORS = ("attributes", "probe", "pixels", "inception", "clip")
BEST_METRICS = (
    "",
    "attributes/mean",
    "attributes/all",
    *(f"{metric}/{extractor}" for metric in ("frechet", "kernel") for extractor in EXTRACTORS),
)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a value that is not accepted or a combination that cannot work."""
    _check_choices(config)
    _check_phases(config)
    _check_numbers(config)
    _check_sizes(config)
    _check_losses(config)
    _check_techniques(config)
    check_data(config.data)


def check_data(data: ConfigDict) -> None:
    """Raises `UserError` for a value of the group `data` that is not accepted; for who opens data without the rest."""
    for key, known in DATA_CHOICES.items():
        if data[key] not in known:
            near = nearest(str(data[key]), known)
            raise UserError(f"config.data.{key}={data[key]!r} is none of {_listed(known)}{near}")
    if not data.image_size_px > 0:
        raise UserError(f"config.data.image_size_px={data.image_size_px} must be greater than 0")
    for key in ("cache_gb", "workers"):
        if not data[key] >= 0:
            raise UserError(f"config.data.{key}={data[key]} must be 0 or greater")
    if not 0 <= data.min_usable <= 1:
        raise UserError(f"config.data.min_usable={data.min_usable} must be a share from 0 to 1")
    if not 0 <= data.test_fraction < 1:
        raise UserError(f"config.data.test_fraction={data.test_fraction} must be at least 0 and less than 1")
    if len(data.background) != 3 or not all(_whole(v) and 0 <= v <= 255 for v in data.background):
        raise UserError(f"config.data.background={data.background} must be three whole numbers from 0 to 255")


def _check_choices(config: ConfigDict) -> None:
    _among(config, "compute_dtype", DTYPES)
    if not config.phases:
        raise UserError(f"config.phases is empty; give one or more of {_listed(PHASES)}")
    for phase in config.phases:
        if phase not in PHASES:
            raise UserError(
                f"config.phases has {phase!r}{nearest(str(phase), PHASES)} Phases are {_listed(PHASES)}, in this order"
            )
    phases = tuple(config.phases)
    if phases != tuple(phase for phase in PHASES if phase in phases):
        raise UserError(f"config.phases={phases} must name each phase once, in the order {_listed(PHASES)}")
    _among(config, "generator.kind", NETWORK_KINDS)
    _among(config, "discriminator.kind", NETWORK_KINDS)
    _among(config, "loss.adversarial", ADVERSARIAL)
    _among(config, "loss.penalty", PENALTIES)
    _among(config, "discriminator.normalisation", NORMALISATIONS)
    _among(config, "train.optimizer", OPTIMIZERS)
    _among(config, "checkpoint.best_metric", BEST_METRICS)
    _among(config, "init_which", ("latest", "best"))


def _check_phases(config: ConfigDict) -> None:
    """The keys that the sections of phases have in common, and those of one section only."""
    for phase, section in SECTIONS.items():
        values = config[section]
        _among(config, f"{section}.schedule", SCHEDULES)
        for key, value in values.items():
            positive = key == "batch_images" or (key.endswith("learning_rate") and key != "text_learning_rate")
            if positive and not value > 0:
                raise UserError(f"config.{section}.{key}={value} must be greater than 0")
            if isinstance(value, int | float) and not value >= 0:
                raise UserError(f"config.{section}.{key}={value} must be 0 or greater")
            if key.startswith("beta") and not value < 1:
                raise UserError(f"config.{section}.{key}={value} must be at least 0 and less than 1")
        if phase in config.phases and not (values.steps or values.images or values.epochs):
            raise UserError(
                f"config.{section} has no length: steps, images and epochs are 0; give one of them, or leave "
                f"{phase!r} out of config.phases"
            )
        if values.schedule == "exponential" and not values.learning_rate_end > 0:
            raise UserError(
                f"config.{section}.learning_rate_end={values.learning_rate_end} must be above 0 for the exponential "
                f"schedule"
            )
    _among(config, "pretrain_discriminator.task", TASKS)
    masks = tuple(config.pretrain_generator.masks)
    if not masks or any(kind not in MASKS for kind in masks):
        raise UserError(f"config.pretrain_generator.masks={masks} must be one or more of {_listed(MASKS)}")
    if not config.pretrain_generator.caption_dropout <= 1:
        dropout = config.pretrain_generator.caption_dropout
        raise UserError(f"config.pretrain_generator.caption_dropout={dropout} must be a share from 0 to 1")
    if "text_matching" in config.phases and not config.init_from:
        for needed in ("text", "adversarial"):
            if needed not in config.phases:
                raise UserError(
                    f"config.phases has 'text_matching', which needs what the phase {needed!r} leaves behind; add that "
                    f"phase, or give a run that had it by config.init_from"
                )


def _check_numbers(config: ConfigDict) -> None:
    for key in (
        "tokenizer.max_tokens text_encoder.width text_encoder.layers text_encoder.heads "
        "text_encoder.pooling_queries text_encoder.sentence_dim image_encoder.features image_encoder.blocks "
        "image_encoder.patch_px generator.z_dim generator.base_px generator.patch_px generator.blocks "
        "generator.style_dim generator.attention_heads discriminator.features discriminator.blocks "
        "discriminator.patch_px inverter.features inverter.blocks inverter.patch_px "
        "loss.penalty_every train.discriminator_steps train.microbatches augment.adapt_images log.every_images "
        "sample.num_captions sample.num_seeds evaluate.num_images "
        "evaluate.classifier_steps evaluate.probe_steps shard_devices"
    ).split():
        if not get(config, key) > 0:
            raise UserError(f"config.{key}={get(config, key)} must be greater than 0")
    for key in (
        "loss.cycle_weight loss.label_smoothing "
        "loss.attack_steps loss.attack_size augment.instance_noise augment.instance_noise_end "
        "augment.sentence_noise loss.penalty_weight loss.penalty_weight_end "
        "loss.mismatch_weight loss.contrastive_weight loss.reconstruction_weight inverter.prior_weight "
        "inverter.perceptual_weight "
        "generator.attention_from_px sample.every_images evaluate.every_images checkpoint.every_images"
        " checkpoint.keep_every_images devices"
    ).split():
        if not get(config, key) >= 0:
            raise UserError(f"config.{key}={get(config, key)} must be 0 or greater")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"config.seed={config.seed} must lie between 0 and 4294967295")
    if config.tokenizer.vocab_size < 259:
        raise UserError(
            f"config.tokenizer.vocab_size={config.tokenizer.vocab_size} must be at least 259: 256 bytes and 3 marks"
        )
    if config.tokenizer.max_tokens < 3:
        raise UserError(f"config.tokenizer.max_tokens={config.tokenizer.max_tokens} must be at least 3")


def _check_sizes(config: ConfigDict) -> None:
    size = config.data.image_size_px
    for name in ("generator", "discriminator", "image_encoder", "inverter"):
        net = config[name]
        if not net.channels or not all(_whole(c) and c > 0 for c in net.channels):
            raise UserError(f"config.{name}.channels={tuple(net.channels)} must be one or more whole numbers above 0")
        used = {
            "image_encoder": "text" in config.phases or bool(config.init_from),
            "inverter": "generator" in config.phases or config.loss.reconstruction_weight > 0 or bool(config.init_from),
        }
        if net.get("kind", "residual") == "mlp" or not used.get(name, True):
            continue
        doublings = len(net.channels) - 1
        if name == "generator":
            makes = net.base_px * 2**doublings * net.patch_px
            if makes != size:
                raise UserError(
                    f"config.data.image_size_px={size} is not what the generator makes: base_px * 2^(channels - 1) * "
                    f"patch_px = {net.base_px} * 2^{doublings} * {net.patch_px} = {makes}.\n{_advice(size, net)}"
                )
        elif size % (2**doublings * net.patch_px):
            raise UserError(
                f"config.data.image_size_px={size} cannot be halved {doublings} times by config.{name}: "
                f"give {name}.channels fewer entries or choose a size divisible by {2**doublings * net.patch_px}"
            )
    if config.generator.kind == "residual" and config.generator.attention_from_px:
        for channels in config.generator.channels:
            if channels % config.generator.attention_heads:
                raise UserError(
                    f"config.generator.channels={tuple(config.generator.channels)} must be divisible by "
                    f"config.generator.attention_heads={config.generator.attention_heads}"
                )
    if config.text_encoder.width % config.text_encoder.heads:
        raise UserError(
            f"config.text_encoder.width={config.text_encoder.width} must be divisible by "
            f"config.text_encoder.heads={config.text_encoder.heads}"
        )


def _advice(size_px: int, net: Any) -> str:
    """Says which base and how many channels make a picture of this size."""
    for base_px in (4, 5, 6, 7, 3):
        maps = math.log2(size_px / net.patch_px / base_px) + 1
        if maps >= 1 and maps == int(maps):
            return (
                f"For {size_px} px set config.generator.base_px={base_px} and give config.generator.channels "
                f"{int(maps)} entries (smallest map first)."
            )
    return "Choose a size such as 16, 28, 32, 64, 128 or 256."


def _check_losses(config: ConfigDict) -> None:
    if config.loss.contrastive_weight and "text" not in config.phases and not config.init_from:
        raise UserError(
            f"config.loss.contrastive_weight={config.loss.contrastive_weight} needs the image tower of the phase "
            f"'text', which config.phases={tuple(config.phases)} leaves out; set it to 0 or add the phase"
        )
    if config.loss.penalty == "finite_difference" and config.compute_dtype == "bfloat16":
        raise UserError(
            "config.loss.penalty='finite_difference' with config.compute_dtype='bfloat16' measures rounding: pictures "
            "are 0.01 apart; set the type to 'float32', or the penalty to 'r1_r2'"
        )
    if config.loss.mismatch_weight > 1:
        raise UserError(f"config.loss.mismatch_weight={config.loss.mismatch_weight} must be a share from 0 to 1")
    for key in ("loss.penalty_weight", "train.beta2", "train.ema_half_life_images"):
        start, end = get(config, key), get(config, f"{key}_end")
        if config.train.schedule == "exponential" and start != end and not min(start, end) > 0:
            raise UserError(
                f"config.{key}={start} and config.{key}_end={end} must both be above 0 for the exponential schedule"
            )


def _check_techniques(config: ConfigDict) -> None:
    if config.loss.cycle_weight and "text" not in config.phases and not config.init_from:
        raise UserError(
            f"config.loss.cycle_weight={config.loss.cycle_weight} needs the image tower of the phase 'text', which "
            f"config.phases={tuple(config.phases)} leaves out; set it to 0 or add the phase"
        )
    if config.loss.label_smoothing and config.loss.adversarial not in SMOOTHABLE:
        raise UserError(
            f"config.loss.label_smoothing={config.loss.label_smoothing} has no meaning for config.loss.adversarial="
            f"{config.loss.adversarial!r}, which has no labels; set it to 0, or choose one of {_listed(SMOOTHABLE)}"
        )
    if config.train.grow_share:
        kinds = config.generator.kind, config.discriminator.kind
        levels = len(config.generator.channels), len(config.discriminator.channels)
        if not 0 < config.train.grow_share < 1 or not 0 <= config.train.fade_share <= 1:
            raise UserError(
                f"config.train.grow_share={config.train.grow_share} and fade_share={config.train.fade_share} must be "
                f"shares from 0 to 1; a half each is usual"
            )
        if kinds != ("residual", "residual") or levels[0] != levels[1] or config.discriminator.multi_scale:
            raise UserError(
                f"config.train.grow_share={config.train.grow_share} wants residual networks with as many channels each "
                f"and no discriminator.multi_scale; there are {kinds} with {levels[0]} and {levels[1]}. "
                f"Change them, or set it to 0"
            )
    if not 0 < config.guard.rate_factor < 1:
        raise UserError(f"config.guard.rate_factor={config.guard.rate_factor} must lie between 0 and 1")
    for key in ("guard.num_images", "guard.max_overfit", "guard.min_spread", "guard.rollbacks"):
        if not get(config, key) >= 0:
            raise UserError(f"config.{key}={get(config, key)} must be 0 or greater")
    for key in ("loss.label_smoothing", "augment.caption_dropout", "discriminator.dropout"):
        if not 0 <= get(config, key) < 1:
            raise UserError(f"config.{key}={get(config, key)} must be at least 0 and less than 1")
    if not 0 <= config.augment.probability <= 1:
        raise UserError(f"config.augment.probability={config.augment.probability} must lie between 0 and 1")
    if not 0 <= config.augment.target < 1:
        raise UserError(
            f"config.augment.target={config.augment.target} must be at least 0 and less than 1: the mean sign of the "
            f"discriminator's logits of real pictures; 0.6 is usual, 0 is not adaptive"
        )
    for kind in config.augment.kinds:
        if kind not in AUGMENTATIONS:
            raise UserError(
                f"config.augment.kinds has {kind!r}{nearest(str(kind), AUGMENTATIONS)} There are "
                f"{_listed(AUGMENTATIONS)}"
            )
    if not config.augment.kinds and (config.augment.probability or config.augment.target):
        raise UserError(f"config.augment.kinds is empty; give one or more of {_listed(AUGMENTATIONS)}")
    noise = config.augment.instance_noise, config.augment.instance_noise_end
    if config.train.schedule == "exponential" and noise[0] != noise[1] and not min(noise) > 0:
        raise UserError(
            f"config.augment.instance_noise={noise[0]} and config.augment.instance_noise_end={noise[1]} must both be "
            f"above 0 for the exponential schedule"
        )
    for section in ("train", "joint") if "joint" in config.phases else ("train",):
        _check_batch(config, section)
    if config.discriminator.multi_scale and config.discriminator.kind != "residual":
        raise UserError(
            f"config.discriminator.multi_scale=True wants maps of several sizes, and config.discriminator.kind="
            f"{config.discriminator.kind!r} has none; set it to False, or the kind to 'residual'"
        )
    for factor in config.train.ema_tracks:
        if not (isinstance(factor, int | float) and factor > 0) or config.train.ema_tracks.count(factor) > 1:
            raise UserError(
                f"config.train.ema_tracks={tuple(config.train.ema_tracks)} must be different numbers above 0: "
                f"half-lives as multiples of config.train.ema_half_life_images, such as (0.25, 4.0)"
            )


def _check_batch(config: ConfigDict, section: str) -> None:
    """What a game computes at a time, a microbatch, must be whole and have what its losses compare."""
    batch_images, microbatches = config[section].batch_images, config.train.microbatches
    if batch_images % microbatches:
        raise UserError(
            f"config.{section}.batch_images={batch_images} cannot be divided into config.train.microbatches="
            f"{microbatches} equal parts"
        )
    for key in ("mismatch_weight", "contrastive_weight"):
        if config.loss[key] and batch_images // microbatches < 2:
            raise UserError(
                f"config.loss.{key}={config.loss[key]} compares captions, but config.{section}.batch_images="
                f"{batch_images} in config.train.microbatches={microbatches} parts has one at a time; set the batch to "
                f"{2 * microbatches} or more, or have fewer parts"
            )


def check_devices(batch_images: int, devices: int, key: str) -> None:
    """Raises `UserError` where a batch cannot be shared out evenly."""
    if batch_images % devices:
        smaller = max(batch_images // devices, 1) * devices
        raise UserError(
            f"config.{key}={batch_images} cannot be divided among {devices} devices; "
            f"set it to a multiple such as {smaller} or {smaller + devices}, or set config.devices"
        )


def _among(config: ConfigDict, key: str, known: tuple) -> None:
    value = get(config, key)
    if value not in known:
        raise UserError(f"config.{key}={value!r} is none of {_listed(known)}{nearest(str(value), known)}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(names: tuple) -> str:
    return ", ".join(repr(name) for name in names)
