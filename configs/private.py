"""Differential privacy, experimental: pixel avatars whose pictures are private and whose captions are public.

    t2igan train --config=private --workdir=runs/private

Needs `pip install 't2igan[privacy]'`. Cost: 90 s of CPU time. Result (seed 0, test captions, epsilon 10, delta 1e-5):
attributes right 0.416 / all at once 0.000, against 0.981 / 0.896 of noisy linear means and 0.523 / 0.001 without
privacy: too short, and no match for the baseline (docs/privacy.md).

The text encoder is not taught by pictures: it is a bag of pairs of words, drawn at random. Only the discriminator sees
pictures, and it is small, since each of its parameters gets noise.
"""

import t2igan


def get_config():
    """Returns the default configuration with a small discriminator that learns by private updates."""
    config = t2igan.get_config("base")
    config.phases = ("adversarial",)
    config.privacy.epsilon = 10.0
    config.loss.adversarial = "non_saturating"
    config.text_encoder.kind = "bag"
    config.text_encoder.width = 128
    config.text_encoder.sentence_dim = 64
    config.discriminator.channels = (16,)  # on patches of 4 x 4 pixels; each parameter gets noise, so there are few
    config.discriminator.patch_px = 4
    config.discriminator.features = 64
    config.generator.kind = "mlp"
    config.generator.channels = (128, 256, 512)
    config.train.steps = 300
    config.train.batch_images = 64
    config.train.discriminator_steps = 3
    config.train.warmup_steps = 20
    config.train.learning_rate_end = 0.3
    return config
