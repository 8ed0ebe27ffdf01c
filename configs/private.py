"""Differential privacy, experimental: pixel avatars whose pictures are private and whose captions are public.

    t2igan train --config=private --workdir=runs/private

TBD
"""

import t2igan


def get_config():
    """Returns the default configuration with a generator that learns from private means, and a small private game."""
    config = t2igan.get_config("base")
    config.phases = ("generator", "adversarial")
    config.privacy.epsilon = 10.0
    config.privacy.means_epsilon = 8.0
    config.loss.adversarial = "non_saturating"
    config.loss.paired_weight = 20.0
    config.text_encoder.kind = "bag"
    config.text_encoder.width = 128
    config.text_encoder.sentence_dim = 128
    config.discriminator.channels = (16,)  # on patches of 4 x 4 pixels; each parameter gets noise, so there are few
    config.discriminator.patch_px = 4
    config.discriminator.features = 64
    config.generator.kind = "mlp"
    config.generator.z_dim = 16
    config.generator.channels = (128, 256, 512)
    config.pretrain_generator.update(task="regress", steps=2_000, images=0, batch_images=64)
    config.train.steps = 300
    config.train.batch_images = 64
    config.train.discriminator_steps = 3
    config.train.generator_learning_rate = 1e-4
    config.train.warmup_steps = 20
    config.train.learning_rate_end = 0.3
    return config
