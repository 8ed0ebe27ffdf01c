"""Your own pictures with captions at 128 px, on one GPU: thousands of pictures or more.

    t2igan train --config=gpu128 --config.data.source=PATH --workdir=runs/mine

PATH is a folder of pictures with a .txt of the same name beside each, or anything else that docs/data.md lists. What it
takes, before it runs:

    t2igan train --config=gpu128 --dry_run --dry_run_devices=1

Never trained by us. The method is that of toon64.py, with maps of 32 x 32 codes and wider networks: an
autoencoder, the text encoder, the generator by regression where captions have one picture each, then the game on codes.
Work, parameters and memory: docs/auto.md, "Presets".
"""

import t2igan

DEVICES = 1  # what the settings are meant for


def get_config():
    """Returns the method of toon64.py with networks for 128 px on a GPU; the source has to be given."""
    config = t2igan.get_config("folder64")
    config.data.image_size_px = 128
    config.compute_dtype = "bfloat16"
    config.tokenizer.update(vocab_size=4096, max_tokens=64)
    config.text_encoder.update(width=128, layers=3, sentence_dim=256)
    config.image_encoder.update(channels=(192, 128, 96), features=256, patch_px=2)  # 4, 8, 16

    config.space.update(factor=4, channels=16, encoder_channels=(160, 80), decoder_channels=(256, 128))
    channels = (384, 384, 256, 160)  # 4, 8, 16, 32
    config.generator.update(z_dim=128, channels=channels, blocks=2, style_dim=512)
    config.discriminator.update(channels=channels, blocks=2, features=512)
    config.inverter.update(channels=(192, 128, 96, 64), features=512)

    config.pretrain_autoencoder.update(images=1_500_000, batch_images=64, learning_rate=1e-3, warmup_steps=500)
    config.pretrain_text.update(images=1_000_000, batch_images=256, learning_rate=1e-3, warmup_steps=200)
    config.pretrain_generator.update(images=1_000_000, batch_images=128, learning_rate=1e-3, warmup_steps=500)
    config.augment.update(adapt_images=500_000, caption_dropout=0.1)
    train = config.train
    train.update(images=2_000_000, batch_images=128, warmup_steps=500)
    train.update(generator_learning_rate=3e-4, discriminator_learning_rate=3e-4)
    train.update(ema_half_life_images=20_000.0, ema_half_life_images_end=20_000.0)

    config.log.every_images = 25_600
    for section in (config.sample, config.evaluate, config.checkpoint):
        section.every_images = 250_000
    config.evaluate.num_images = 1_000
    return config
