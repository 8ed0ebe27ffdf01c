"""Checks the sections of the adversarial game: `loss`, `augment`, `guard`, and batches of the phases that play it."""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan.config.auto import PENALTY_WEIGHTS, check_auto, is_auto
from t2igan.config.constraints import (
    listed,
    require_among,
    require_below_one,
    require_exponential_ends,
    require_not_negative,
    require_positive,
    require_share,
)
from t2igan.errors import UserError
from t2igan.method.losses import ADVERSARIAL, PENALTIES, smoothable
from t2igan.method.losses.variety import FEATURES
from t2igan.method.phases import PHASES
from t2igan.method.techniques.augment import AUGMENTATIONS

NOT_NEGATIVE = (
    "cycle_weight attack_steps attack_size penalty_weight penalty_weight_end mismatch_weight contrastive_weight "
    "reconstruction_weight paired_weight paired_noises paired_pixel_weight drifting_weight drifting_captions "
    "diversity_weight"
).split()


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a value that is not accepted or a combination that cannot work."""
    _check_losses(config)
    _check_augment(config)
    _check_guard(config)
    for phase, kind in PHASES.items():
        if kind.game and (phase in config.phases or phase == "adversarial"):
            _check_batch(config, kind.section)


def _check_losses(config: ConfigDict) -> None:
    loss = config.loss
    pair = ADVERSARIAL[loss.adversarial]
    PENALTIES.find(loss.penalty)
    check_auto(config)
    _check_penalty(config)
    require_positive(config, "loss.penalty_every")
    numbers = [f"loss.{key}" for key in NOT_NEGATIVE if not is_auto(config, f"loss.{key}")]
    require_not_negative(config, *numbers)
    require_below_one(config, "loss.label_smoothing")
    require_share(config, "loss.mismatch_weight")
    if not is_auto(config, "loss.penalty_weight"):
        require_exponential_ends(config, "loss.penalty_weight", "loss.penalty_weight_end")
    require_among(config, "loss.drifting_features", FEATURES)
    teaches_images = any("image" in PHASES[phase].trains(config) for phase in config.phases)
    towers = ["contrastive_weight", "cycle_weight", *["drifting_weight"] * (loss.drifting_features == "tower")]
    for key in towers:
        if loss[key] and not teaches_images and not config.init_from:
            raise UserError(
                f"config.loss.{key}={loss[key]} needs the image tower of the phase 'text', which "
                f"config.phases={tuple(config.phases)} leaves out; set it to 0 or add the phase"
            )
    regresses = "generator" in config.phases and config.pretrain_generator.task != "complete"
    if loss.paired_noises != 1 and not (loss.paired_weight or regresses):
        raise UserError(
            f"config.loss.paired_noises={loss.paired_noises} has nothing to choose for: set it to 1, "
            f"config.loss.paired_weight to 'auto' or above 0, or config.pretrain_generator.task to 'regress'"
        )
    if loss.paired_noises == 0 and "generator" not in config.phases and not config.init_from:
        raise UserError(
            f"config.loss.paired_noises=0 reads noise by an inverter that the phase 'generator' teaches, which "
            f"config.phases={tuple(config.phases)} leaves out; set it to 1 or more, or add the phase"
        )
    if loss.label_smoothing and pair.of_real is None:
        raise UserError(
            f"config.loss.label_smoothing={loss.label_smoothing} has no meaning for config.loss.adversarial="
            f"{loss.adversarial!r}, which has no labels; set it to 0, or choose one of "
            f"{', '.join(map(repr, smoothable()))}"
        )


def _check_penalty(config: ConfigDict) -> None:
    """What is known of the penalty that was chosen fits the rest."""
    penalty, traits = config.loss.penalty, PENALTIES.traits(config.loss.penalty)
    if is_auto(config, PENALTY_WEIGHTS[0]) and not traits.square_of_gradient:
        fitting = listed(name for name in PENALTIES if PENALTIES.traits(name).square_of_gradient)
        raise UserError(
            f"config.loss.penalty_weight='auto' is for {fitting}, but config.loss.penalty={penalty!r}; give a number"
        )
    if traits.float32_only and config.compute_dtype != "float32":
        raise UserError(
            f"config.loss.penalty={penalty!r} with config.compute_dtype={config.compute_dtype!r} measures rounding: it "
            f"compares logits of pictures that are close together; set the type to 'float32', or the penalty to 'r1_r2'"
        )


def _check_augment(config: ConfigDict) -> None:
    augment = config.augment
    require_not_negative(config, *(f"augment.{key}" for key in ("instance_noise", "instance_noise_end")))
    require_not_negative(config, "augment.sentence_noise")
    require_positive(config, "augment.adapt_images")
    require_below_one(config, "augment.caption_dropout")
    require_share(config, "augment.partial_captions")
    if not 0 <= augment.probability <= 1:
        raise UserError(f"config.augment.probability={augment.probability} must lie between 0 and 1")
    if not 0 <= augment.target < 1:
        raise UserError(
            f"config.augment.target={augment.target} must be at least 0 and less than 1: the mean sign of the "
            f"discriminator's logits of real pictures; 0.6 is usual, 0 is not adaptive"
        )
    AUGMENTATIONS.check(augment.kinds)
    if not augment.kinds and (augment.probability or augment.target):
        raise UserError(f"config.augment.kinds is empty; give one or more of {AUGMENTATIONS.listed()}")
    require_exponential_ends(config, "augment.instance_noise", "augment.instance_noise_end")


def _check_guard(config: ConfigDict) -> None:
    if not 0 < config.guard.rate_factor < 1:
        raise UserError(f"config.guard.rate_factor={config.guard.rate_factor} must lie between 0 and 1")
    require_not_negative(config, *(f"guard.{key}" for key in ("num_images", "max_overfit", "min_spread", "rollbacks")))


def _check_batch(config: ConfigDict, section: str) -> None:
    """What a game computes at a time, a microbatch, must be whole and have what its losses compare."""
    batch_images, microbatches = config[section].batch_images, config.train.microbatches
    require_positive(config, f"{section}.batch_images", "train.microbatches")
    if batch_images % microbatches:
        raise UserError(
            f"config.{section}.batch_images={batch_images} cannot be divided into config.train.microbatches="
            f"{microbatches} equal parts"
        )
    for key in ("mismatch_weight", "contrastive_weight", "drifting_weight"):
        if config.loss[key] and batch_images // microbatches < 2:
            raise UserError(
                f"config.loss.{key}={config.loss[key]} compares pairs, but config.{section}.batch_images="
                f"{batch_images} in config.train.microbatches={microbatches} parts has one at a time; set the batch to "
                f"{2 * microbatches} or more, or have fewer parts"
            )
