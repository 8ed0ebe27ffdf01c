"""A DF-GAN-shaped configuration at 64 px, to be timed: the published one's channels, loss and batch in our networks.

DF-GAN (Tao et al. 2022, arXiv:2008.05865) at 64 px has 32 channels at the picture and 256 at 4x4 in both networks, one
residual block a size, the hinge loss with mismatched captions and MA-GP on batches of 32. With these channels our
generator has 5.0 M parameters (theirs 4.9 M) and our discriminator 3.9 M (theirs 3.5 M). It is no recipe: nothing was
trained with it.

    python -m benchmarks.peer --config=benchmarks/dfgan64.py
"""

from configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.phases = ("text", "adversarial")
    config.data.image_size_px = 64
    config.image_encoder.patch_px = 8
    config.generator.z_dim = 100
    config.generator.channels = (256, 256, 128, 64, 32)  # 4, 8, 16, 32, 64 px
    config.discriminator.channels = (256, 256, 128, 64, 32)
    config.loss.adversarial = "hinge"
    config.loss.penalty = "ma_gp"
    config.loss.penalty_weight = config.loss.penalty_weight_end = 2.0
    config.loss.mismatch_weight = 0.5
    config.train.batch_images = 32
    config.train.generator_learning_rate = 1e-4
    config.train.discriminator_learning_rate = 4e-4
    config.train.beta2 = config.train.beta2_end = 0.9
    return config
