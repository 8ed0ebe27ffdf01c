"""A tiny configuration of the real kind."""


def shrink(config):
    """Makes a configuration small: networks of a few channels, phases of a few steps."""
    with config.unlocked():
        config.tokenizer.vocab_size = 300
        config.tokenizer.max_tokens = 32
        config.text_encoder.update(width=8, layers=1, heads=2, pooling_queries=2, sentence_dim=8)
        config.image_encoder.update(channels=(8, 8), features=8)
        config.generator.update(z_dim=4, channels=(8, 8, 8), style_dim=8, attention_heads=2)
        config.discriminator.update(channels=(8, 8, 8), features=8)
        config.inverter.update(channels=(8, 8), features=8)
        config.train.update(steps=6, images=0, batch_images=8)
        config.pretrain_text.update(steps=4, images=0, batch_images=8, warmup_steps=1)
        for section in ("pretrain_generator", "pretrain_discriminator", "text_matching", "joint"):
            config[section].update(steps=4, images=0, batch_images=8, warmup_steps=1)
        config.log.every_images = 16
        config.sample.update(every_images=0, num_captions=2, num_seeds=2)
        config.evaluate.update(every_images=0, num_images=16, at_end=False)
        config.checkpoint.every_images = 16
    return config
