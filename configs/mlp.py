"""The classical fully connected pair: noise and text concatenated, 128 -> 256 -> 512 -> pixels (Goodfellow 2014).

    t2igan train --config=mlp --workdir=runs/mlp

Cost: 2 min of one CPU core after the text phase. Result (seed 0, test captions): attributes right 0.965 / all at once
0.807, against 0.998 / 0.984 of `base.py`'s networks with this loss; the pictures are speckled.

Binary cross-entropy with the non-saturating generator, Adam at 2e-4, no penalty: the textbook's settings.
"""

import t2igan


def get_config():
    """Returns the default configuration with fully connected networks."""
    config = t2igan.get_config("base")
    config.phases = ("text", "adversarial")
    config.generator.kind = "mlp"
    config.generator.channels = (128, 256, 512)
    config.discriminator.kind = "mlp"
    config.discriminator.channels = (512, 256, 128)
    config.loss.adversarial = "non_saturating"  # as in the original
    config.loss.penalty = "none"
    config.train.generator_learning_rate = 2e-4
    config.train.discriminator_learning_rate = 2e-4
    config.train.beta1 = 0.5
    config.train.beta2 = config.train.beta2_end = 0.999
    return config
