"""Checks the section `privacy`, and that nothing else of the configuration would look at private pictures."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from t2igan.config.constraints import listed, require_among, require_not_negative, require_positive
from t2igan.config.values import get
from t2igan.errors import UserError
from t2igan.method.losses import ADVERSARIAL
from t2igan.method.privacy.accounting import ACCOUNTANTS

MEANS_FEATURES = ("auto", "attributes", "phrases")
PENALTIES = ("r1", "none")  # those whose gradient by a single picture has a norm here
# What must be as it stands here, and why.
ONLY: dict[str, tuple[Any, str]] = {
    "compute_dtype": ("float32", "norms are computed in float32"),
    "remat": (False, "norms follow from what layers were given, which recomputation hides"),
    "space.kind": ("pixels", "other spaces are learned from the pictures"),
    "data.unlabelled_source": ("", "those pictures would not be private"),
    "loss.penalty_every": (1, "each update costs the same, with or without a penalty"),
    "loss.mismatch_weight": (0.0, "it compares pictures of a batch"),
    "loss.contrastive_weight": (0.0, "it wants a tower that has learned from the pictures"),
    "loss.cycle_weight": (0.0, "it wants a tower that has learned from the pictures"),
    "loss.reconstruction_weight": (0.0, "it shows the pictures to the generator"),
    "loss.drifting_weight": (0.0, "it shows the pictures to the generator"),
    "loss.diversity_weight": (0.0, "it is not made private"),
    "loss.attack_steps": (0, "it is not made private"),
    "augment.target": (0.0, "it looks at the logits of the pictures; set config.augment.probability instead"),
    "train.microbatches": (1, "config.privacy.microbatch_images divides these batches"),
    "train.grow_share": (0.0, "it is not made private"),
    "train.ema_tracks": ((), "the choice among averages looks at pictures"),
    "guard.rollbacks": (0, "going back spends twice"),
}
# What only watches, and is switched off: its value then, and what it does.
WATCHING: dict[str, tuple[Any, str]] = {
    "evaluate.every_images": (0, "figures on the way, and the choice of the best"),
    "evaluate.at_end": (False, "figures at the end"),
    "guard.num_images": (0, "signs of overfitting and collapse"),
}


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a value that is not accepted, or what would look at private pictures."""
    at_least_zero = ("epsilon", "means_epsilon", "noise_multiplier", "microbatch_images")
    require_not_negative(config, *(f"privacy.{key}" for key in at_least_zero))
    require_positive(config, "privacy.clip_norm", "privacy.batch_images", "privacy.delta", "privacy.residual_norm")
    require_among(config, "privacy.accountant", ACCOUNTANTS)
    require_among(config, "privacy.means_features", MEANS_FEATURES)
    if not config.privacy.delta < 1:
        raise UserError(f"config.privacy.delta={config.privacy.delta} must be below 1; 1e-5 is usual")
    if config.privacy.epsilon:
        _check_private(config)
    elif config.privacy.means_epsilon:
        raise UserError(
            f"config.privacy.means_epsilon={config.privacy.means_epsilon:g} is a part of config.privacy.epsilon, which "
            f"is 0, so that nothing would be private; set that too"
        )


def _check_private(config: ConfigDict) -> None:
    asked = f"config.privacy.epsilon={config.privacy.epsilon:g}"
    if not config.privacy.epsilon <= 1_000:
        raise UserError(f"{asked} protects nothing; set it to 10 or less, or to 0 for no privacy")
    _check_phases(config, asked)
    pair, penalty = ADVERSARIAL[config.loss.adversarial], config.loss.penalty
    if pair.relative or pair.of_real is None:
        apart = listed(name for name, one in ADVERSARIAL.items() if not one.relative and one.of_real is not None)
        raise UserError(
            f"{asked} wants a loss of real pictures apart from that of generated ones, which config.loss.adversarial="
            f"{config.loss.adversarial!r} does not have; set it to {apart}"
        )
    if penalty not in PENALTIES:
        raise UserError(f"{asked} wants config.loss.penalty to be {listed(PENALTIES)}; it is {penalty!r}")
    for key in ("loss.penalty_weight", "loss.penalty_weight_end", "loss.paired_weight"):
        if get(config, key) == "auto":
            raise UserError(f"{asked} wants a number for config.{key}: 'auto' measures the private pictures")
    for key, (value, why) in ONLY.items():
        found = get(config, key)
        if (tuple(found) if isinstance(value, tuple) else found) != value:
            raise UserError(f"{asked} does not go with config.{key}={found!r}: {why}; set it to {value!r}")


def _check_phases(config: ConfigDict, asked: str) -> None:
    """Raises `UserError` for phases that would look at private pictures, and for means that nothing learns from."""
    phases, means = tuple(config.phases), config.privacy.means_epsilon
    with_means = "generator" in phases
    if set(phases) - {"adversarial", "generator"}:
        raise UserError(
            f"{asked} goes with the phases 'generator' and 'adversarial' alone, and the others of config.phases="
            f"{phases} would look at private pictures; leave them out, and begin, if at all, with a run on public data "
            f"(config.init_from)"
        )
    if with_means != bool(means):
        raise UserError(
            f"{asked} with config.phases={phases} does not go with config.privacy.means_epsilon={means:g}: the phase "
            f"'generator' learns from released means, and from nothing else; set both, or neither"
        )
    if with_means and config.pretrain_generator.task != "regress":
        raise UserError(
            f"{asked} does not go with config.pretrain_generator.task={config.pretrain_generator.task!r}: the "
            f"generator sees released means alone; set it to 'regress'"
        )
    if means > config.privacy.epsilon or (means == config.privacy.epsilon and "adversarial" in phases):
        raise UserError(
            f"config.privacy.means_epsilon={means:g} leaves nothing of config.privacy.epsilon="
            f"{config.privacy.epsilon:g} to the game; lower it"
        )
    if config.augment.partial_captions:
        raise UserError(
            f"{asked} does not go with config.augment.partial_captions={config.augment.partial_captions}: its batches "
            f"have captions as they are; set it to 0.0"
        )
    if config.loss.paired_weight and not means:
        raise UserError(
            f"{asked} does not go with config.loss.paired_weight={config.loss.paired_weight!r}: it shows the pictures "
            f"to the generator, unless means are released; set it to 0.0, or config.privacy.means_epsilon"
        )


def unwatched(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Returns a configuration in which nothing watches private pictures, and a line that says what is off."""
    on = {key: value for key, (value, _) in WATCHING.items() if get(config, key) != value}
    if not config.privacy.epsilon or not on:
        return config, []
    config = config.copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(on)
    what = "; ".join(f"{WATCHING[key][1]} (config.{key})" for key in on)
    return config.lock(), [f"privacy: off, since it would look at private pictures: {what}"]
