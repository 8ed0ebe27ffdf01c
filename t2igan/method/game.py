"""What the adversarial step needs to know and never changes: networks, losses, schedules, techniques."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from t2igan.method import losses
from t2igan.method.losses.inversion import InversionWeights
from t2igan.method.losses.variety import VarietyWeights
from t2igan.method.optim import optimizers
from t2igan.method.optim.schedules import ema_decay, schedule
from t2igan.method.techniques import regularize
from t2igan.method.techniques.growing import Growth
from t2igan.nets import Networks


@dataclasses.dataclass(frozen=True)
class Method:
    """The settings of a step, read from a configuration once. Made by `Method.create`.

    A technique that is off is a 0, an empty tuple or "none" here, and leaves no trace in the compiled step.
    """

    networks: Networks
    seed: int
    batch_images: int
    microbatches: int
    discriminator_steps: int
    adversarial: losses.Adversarial
    penalty: Callable[..., losses.Scores]  # logits and penalty
    penalty_every: int
    penalty_due: bool | None  # whether it is this time; None = by the number of the step
    mismatch_weight: float
    contrastive_weight: float
    cycle_weight: float
    reconstruction_weight: float
    paired_weight: float
    paired_noises: int  # that are tried for a picture; 0 = the inverter's
    paired_pixel_weight: float
    inversion: InversionWeights
    variety: VarietyWeights  # false where there is no such term
    attack_size: float
    attack_steps: int
    normalise: Callable[[Any], Any]  # the discriminator's parameters, as they are used
    tune_text: bool
    tune_decoder: bool
    augment_kinds: tuple[str, ...]
    augment_probability: float
    augment_target: float
    augment_images: int
    augment_alpha: bool  # whether what is augmented has transparency: pictures with four channels, not codes
    instance_noise: Callable | None
    sentence_noise: float
    caption_dropout: float
    generator_rate: Callable  # step -> learning rate; likewise below
    discriminator_rate: Callable
    text_rate: Callable
    optimizer_kind: str
    beta1: float
    beta2: Callable
    weight_decay: float
    clip_norm: float
    adaptive_clip: float
    penalty_weight: Callable
    ema_decay: Callable
    ema_tracks: tuple[float, ...]  # further averages: their half-lives as multiples of the first one's
    growth: Growth

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> Method:
        """Reads `train`, `loss` and `augment` (checked by `t2igan.config`) for a phase of `total_steps` steps."""
        train, loss, augment = config.train, config.loss, config.augment

        def over_training(start: float, end: float, warmup_steps: int = 0) -> Callable:
            return schedule(train.schedule, start, end, total_steps, warmup_steps)

        def rate(peak: float) -> Callable:
            return over_training(peak, peak * train.learning_rate_end, min(train.warmup_steps, total_steps // 2))

        noise = augment.instance_noise, augment.instance_noise_end
        return cls(
            networks=networks,
            seed=config.seed,
            batch_images=train.batch_images,
            microbatches=train.microbatches,
            discriminator_steps=train.discriminator_steps,
            adversarial=losses.smoothed(loss.adversarial, loss.label_smoothing),
            penalty=losses.PENALTIES[loss.penalty],
            penalty_every=loss.penalty_every,
            penalty_due=None,
            mismatch_weight=loss.mismatch_weight,
            contrastive_weight=loss.contrastive_weight,
            cycle_weight=loss.cycle_weight,
            reconstruction_weight=loss.reconstruction_weight,
            paired_weight=loss.paired_weight,
            paired_noises=loss.paired_noises,
            paired_pixel_weight=loss.paired_pixel_weight,
            inversion=InversionWeights.of(config),
            variety=VarietyWeights.of(config),
            attack_size=loss.attack_size,
            attack_steps=loss.attack_steps,
            normalise=regularize.NORMALISATIONS[config.discriminator.normalisation],
            tune_text=train.tune_text,
            tune_decoder=train.tune_decoder,
            augment_kinds=tuple(augment.kinds) if augment.probability or augment.target else (),
            augment_probability=augment.probability,
            augment_target=augment.target,
            augment_images=augment.adapt_images,
            augment_alpha=config.data.channels == 4 and (networks.space is None or networks.judges_pictures),
            instance_noise=over_training(*noise) if any(noise) else None,
            sentence_noise=augment.sentence_noise,
            caption_dropout=augment.caption_dropout,
            generator_rate=rate(train.generator_learning_rate),
            discriminator_rate=rate(train.discriminator_learning_rate),
            text_rate=rate(train.text_learning_rate),
            optimizer_kind=train.optimizer,
            beta1=train.beta1,
            beta2=over_training(train.beta2, train.beta2_end),
            weight_decay=train.weight_decay,
            clip_norm=train.clip_norm,
            adaptive_clip=train.adaptive_clip,
            penalty_weight=over_training(loss.penalty_weight, loss.penalty_weight_end),
            ema_decay=ema_decay(
                over_training(train.ema_half_life_images, train.ema_half_life_images_end),
                train.ema_ramp,
                train.batch_images,
            ),
            ema_tracks=tuple(train.ema_tracks),
            growth=Growth.of(config, total_steps),
        )

    @property
    def reads_noise(self) -> bool:
        """Whether an inverter that does not learn in the game says what noise pictures are drawn from."""
        return bool(self.paired_weight) and self.paired_noises == 0 and not self.reconstruction_weight

    def generator_rates(self) -> dict[str, Callable]:
        """The learning rates of all that moves down the generator's loss, by network."""
        rates = {"generator": self.generator_rate}
        rates |= {"text": self.text_rate} if self.tune_text else {}
        rates |= {"inverter": self.generator_rate} if self.reconstruction_weight else {}
        rates |= {"space": self.generator_rate} if self.tune_decoder else {}  # its encoder has no gradient, and stays
        return rates

    def first_control(self) -> dict[str, Any]:
        """What controllers begin with (`t2igan.step.State.control`)."""
        return {"augment_probability": jnp.float32(self.augment_probability)} if self.augment_target else {}

    def optimizer(self, rate: jax.Array | float, step: jax.Array | int) -> optax.GradientTransformation:
        """The optimizer at the rates of this step; its state does not depend on them."""
        return optimizers.adam(
            rate,
            beta1=self.beta1,
            beta2=self.beta2(step),
            clip_norm=self.clip_norm,
            adaptive_clip=self.adaptive_clip,
            weight_decay=self.weight_decay,
            kind=self.optimizer_kind,
        )
