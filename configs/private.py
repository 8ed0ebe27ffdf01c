"""Differential privacy, experimental: pixel avatars whose pictures are private and whose captions are public.

    t2igan train --config=private --workdir=runs/private

Needs `pip install 't2igan[privacy]'`. Cost: 58 s of CPU time. Result at epsilon 10, delta 1e-5, worst of seeds 0, 1, 2
on test captions: attributes right 0.980 / all at once 0.889, Frechet 3.6 by the classifier and 3.2 by the probe; noisy
linear means have 0.982 / 0.899, 5.7 and 3.9 (docs/privacy.md). Neither has any diversity within a caption to speak of.

It draws what captions look like on average, by sums of pictures that are released once, with noise; a generator learns
these by heart. With the game after it, which sees pictures by way of a small discriminator, it did no better:

    t2igan train --config=private --config.phases='("generator", "adversarial")' --config.privacy.means_epsilon=8 \
        --config.loss.paired_weight=20 --workdir=runs/private_game

The text encoder is not taught by pictures: it is a bag of pairs of words, drawn at random. The discriminator is small,
since each of its parameters gets noise.
"""

import t2igan


def get_config():
    """Returns the default configuration with a generator that learns from means, and what a private game would want."""
    config = t2igan.get_config("base")
    config.phases = ("generator",)
    config.privacy.epsilon = 10.0
    config.privacy.means_epsilon = 10.0
    config.text_encoder.kind = "bag"
    config.text_encoder.width = 128
    config.text_encoder.sentence_dim = 128
    config.generator.kind = "mlp"
    config.generator.z_dim = 16
    config.generator.channels = (128, 256, 512)
    config.pretrain_generator.update(task="regress", steps=4_000, images=0, batch_images=64)

    # Of a game, if there is one.
    config.loss.adversarial = "non_saturating"
    config.discriminator.channels = (16,)  # on patches of 4 x 4 pixels; each parameter gets noise, so there are few
    config.discriminator.patch_px = 4
    config.discriminator.features = 64
    config.train.steps = 300
    config.train.batch_images = 64
    config.train.discriminator_steps = 3
    config.train.generator_learning_rate = 1e-4
    config.train.warmup_steps = 20
    config.train.learning_rate_end = 0.3
    return config
