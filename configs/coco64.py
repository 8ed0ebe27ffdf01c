"""COCO captions at 64 px on eight GPUs: 118,000 photographs of everything, five captions each.

    t2igan train --config=coco64 --config.data.source=coco --workdir=runs/coco64

`coco` is the folder with `annotations` and `train2017`, `val2017` (docs/data.md). What it takes, before it runs:

    t2igan train --config=coco64 --dry_run --dry_run_devices=8

Its step was timed on one GPU (docs/performance.md), it was never trained. From R3GAN (Huang et al. 2024,
arXiv:2501.05441) are the loss with both penalties, their weight (1 for ImageNet at 64 px, falling to a tenth), the
learning rates and beta2; batch, lengths, the average's half-life and the networks are ours, and guesses. Captions are
brought in as text-to-image GANs do on this data:
mismatched ones count as fakes (DF-GAN, Tao et al. 2022, arXiv:2008.05865), and the text phase's image tower finds the
caption of a generated picture (XMC-GAN, Zhang et al. 2021, arXiv:2101.04702). Text encoder and tower learn from COCO
alone, so expect less of the captions' meaning than from peers with a pretrained CLIP.

Memory, parameters and work a step: docs/scaling.md, "Memory and --dry_run".
"""

import t2igan

DEVICES = 8  # what the settings are meant for


def get_config():
    """Returns the default configuration with networks for photographs of 64 px; the source has to be given."""
    config = t2igan.get_config("base")
    config.phases = ("text", "adversarial")
    config.data.source = ""
    config.data.image_size_px = 64
    config.data.val_split = "minival"  # held out of COCO's training pictures
    config.data.test_split = "val"
    config.compute_dtype = "bfloat16"

    config.tokenizer.vocab_size = 8192
    config.text_encoder.update(width=256, layers=4, sentence_dim=256)
    config.image_encoder.update(channels=(384, 256, 192, 96), features=512, blocks=2, patch_px=2)  # 4, 8, 16, 32
    channels = (512, 384, 256, 192, 128)  # 4, 8, 16, 32, 64
    config.generator.update(z_dim=128, channels=channels, blocks=2, style_dim=512)
    config.discriminator.update(channels=channels, blocks=2, features=512)
    config.inverter.update(channels=(384, 256, 192, 96), features=512, patch_px=2)

    config.loss.update(adversarial="relativistic", penalty="r1_r2", penalty_weight=1.0, penalty_weight_end=0.1)
    config.loss.update(mismatch_weight=0.5, contrastive_weight=0.5)
    config.augment.update(kinds=("flip", "translate", "scale", "cutout"), probability=0.2, caption_dropout=0.1)
    train = config.train
    train.update(images=50_000_000, batch_images=512, warmup_steps=1_000)
    train.update(generator_learning_rate=2e-4, discriminator_learning_rate=2e-4, learning_rate_end=0.25)
    train.update(beta2=0.9, beta2_end=0.99, ema_half_life_images=500_000.0, ema_half_life_images_end=500_000.0)
    config.pretrain_text.update(images=6_000_000, batch_images=1024, learning_rate=1e-3, warmup_steps=1_000)

    config.log.every_images = 102_400
    for section in (config.sample, config.evaluate, config.checkpoint):
        section.every_images = 1_000_000
    config.evaluate.update(num_images=5_000, probe_steps=2_000)
    return config
