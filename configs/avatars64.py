"""Toon avatars, or other pictures of one kind, at 64 px: some thousands of pictures, one GPU.

    t2igan train --config=avatars64 --config.data.source=PATH --workdir=runs/avatars64

PATH is a Parquet file, a folder or anything else that docs/data.md lists. What it takes, before it runs:

    t2igan train --config=avatars64 --dry_run --dry_run_devices=1

Its step was timed on a GPU (docs/performance.md), it was never trained to an end. From R3GAN (Huang et al. 2024,
arXiv:2501.05441) are the loss with both penalties, the fall of their weight to a tenth, the learning rates and beta2.
The weight itself is 1 for ImageNet and 2 for FFHQ at 64 px there and follows no rule that we know; 1 is a guess here,
as are batch, lengths, the average's half-life and the augmentation for a few thousand pictures. Colours stay as they
are, because captions name them, and so do left and right.

52 M parameters in the two players, 84 GFLOP a picture, 5 M pictures: 4.2e17 FLOP, which is 20 minutes of an H100 at
0.35 of its bfloat16 peak, if it reaches that. Memory: docs/scaling.md, "Memory and --dry_run".
"""

import t2igan

DEVICES = 1  # what the settings are meant for


def get_config():
    """Returns the default configuration with networks for 64 px on a GPU; the source has to be given."""
    config = t2igan.get_config("base")
    config.phases = ("text", "adversarial")
    config.data.source = ""
    config.data.image_size_px = 64
    config.compute_dtype = "bfloat16"

    config.tokenizer.vocab_size = 1024
    config.text_encoder.update(width=128, layers=3, sentence_dim=256)
    config.image_encoder.update(channels=(192, 128, 96, 64), features=256, patch_px=2)  # 4, 8, 16, 32
    channels = (512, 384, 256, 128, 64)  # 4, 8, 16, 32, 64
    config.generator.update(channels=channels, blocks=2, style_dim=512)
    config.discriminator.update(channels=channels, blocks=2, features=512)
    config.inverter.update(channels=(192, 128, 96, 64), features=512, patch_px=2)

    # A relativistic pair with R1 and R2, everything on one cosine.
    config.loss.update(adversarial="relativistic", penalty="r1_r2", penalty_weight=1.0, penalty_weight_end=0.1)
    config.augment.update(kinds=("translate", "scale", "rotate", "cutout"), probability=0.3, caption_dropout=0.1)
    train = config.train
    train.update(images=5_000_000, batch_images=128, warmup_steps=500)
    train.update(generator_learning_rate=2e-4, discriminator_learning_rate=2e-4, learning_rate_end=0.25)
    train.update(beta2=0.9, beta2_end=0.99, ema_half_life_images=50_000.0, ema_half_life_images_end=50_000.0)
    config.pretrain_text.update(images=500_000, batch_images=256, learning_rate=1e-3, warmup_steps=200)

    config.log.every_images = 25_600
    for section in (config.sample, config.evaluate, config.checkpoint):
        section.every_images = 250_000
    config.evaluate.num_images = 1_000
    return config
