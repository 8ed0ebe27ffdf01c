"""All six phases in order: self-supervision for each network, the adversarial game, the text encoder, all together.

    python run.py --config=configs/classic.py --workdir=runs/classic

The order of the classical recipe for text-to-image GANs. docs/method.md says what each phase does, and what it brought.
"""

from configs import base


def get_config():
    """Returns the default configuration with all phases, at about 25 minutes on two CPU cores."""
    config = base.get_config()
    config.phases = ("text", "generator", "discriminator", "adversarial", "text_matching", "joint")
    config.pretrain_generator.images = 64_000
    config.pretrain_discriminator.images = 16_000
    config.train.images = 104_000
    config.text_matching.images = 8_000
    config.joint.images = 24_000
    return config
