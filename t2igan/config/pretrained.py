"""Checks what a configuration takes from others: pretrained text encoders, and features of pictures.

What is checked here needs no file to be there; that is said when it is read (`t2igan.inference.pretrained`).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from t2igan.config.paths import expanded
from t2igan.errors import UserError, nearest

MODES = ("frozen", "tuned")


def check_pretrained(config: ConfigDict) -> None:
    """Raises `UserError` for a value that is not accepted, and where the same features would train and measure."""
    text, d = config.text_encoder, config.discriminator
    if text.pretrained_mode not in MODES:
        near = nearest(str(text.pretrained_mode), MODES)
        raise UserError(
            f"config.text_encoder.pretrained_mode={text.pretrained_mode!r} is none of 'frozen', 'tuned'{near}"
        )
    if not 0 < text.pretrained_rate <= 1:
        raise UserError(
            f"config.text_encoder.pretrained_rate={text.pretrained_rate} must be above 0 and at most 1: a share of "
            f"config.pretrain_text.learning_rate"
        )
    if d.features_from and d.kind != "projected":
        raise UserError(
            f"config.discriminator.features_from={d.features_from!r} is for config.discriminator.kind='projected', and "
            f"that is {d.kind!r}; change one of them"
        )
    require_separate(config, {name: config.evaluate[f"{name}_weights"] for name in ("clip", "efficientnet")})


def require_separate(config: ConfigDict, weights: dict[str, str]) -> None:
    """Raises `UserError` where an extractor has the pretrained weights that trained: such figures flatter.

    `weights` are those of extractors by name: "" = not used.
    """
    for extractor, key in (("clip", "text_encoder.pretrained"), ("efficientnet", "discriminator.features_from")):
        trained = trained_on(config).get(key)
        if trained and weights.get(extractor) and _same(trained, weights[extractor], any_file=extractor != "clip"):
            raise UserError(
                f"config.evaluate.{extractor}_weights={weights[extractor]!r} would measure with what config.{key}="
                f"{trained!r} trains with, and such figures flatter; leave one of them out"
            )


def trained_on(config: ConfigDict) -> dict[str, str]:
    """Returns the pretrained weights that a configuration trains with, by dotted key; without those not used."""
    keys = {"text_encoder": "pretrained", "discriminator": "features_from"}
    return {f"{group}.{key}": config[group][key] for group, key in keys.items() if config[group].get(key)}


def _same(trained: str, judging: str, any_file: bool) -> bool:
    # Every file of EfficientNet-lite0's weights is taken for the same network: there is one published set of them.
    return any_file or expanded(trained, "weights").absolute() == expanded(judging, "weights").absolute()
