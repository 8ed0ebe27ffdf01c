"""All six phases in order: self-supervision for each network, the adversarial game, the text encoder, all together.

    t2igan train --config=classic --workdir=runs/classic

The order of the classical recipe for text-to-image GANs. docs/method.md says what each phase does, docs/results.md what
it brought: attributes right on `test`, mean / all eight at once, 0.999 / 0.995 (seed 0; base.py 0.999 / 0.993), after
19 minutes on two CPU cores.
"""

import t2igan


def get_config():
    """Returns the default configuration with all phases, of lengths for a laptop CPU."""
    config = t2igan.get_config("base")
    config.phases = ("text", "generator", "discriminator", "adversarial", "text_matching", "joint")
    config.inverter.kind = "residual"
    config.pretrain_generator.images = 64_000
    config.pretrain_discriminator.images = 16_000
    config.train.images = 104_000
    config.text_matching.images = 8_000
    config.joint.images = 24_000
    return config
