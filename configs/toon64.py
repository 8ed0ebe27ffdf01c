"""Toon avatars at 64 px, on a laptop: clean pictures that follow their captions, from nothing.

    t2igan train --config=toon64 --workdir=runs/toon64

The pictures are embedded: 5,000 cartoon people (Johan Melin, CC BY 4.0), captions made from the parts. Others:

    t2igan train --config=toon64 --config.data.source=PATH --config.data.test_split=test --workdir=runs/mine

An autoencoder learns to code a picture as 16 x 16 places of 16 numbers, the text encoder learns what captions mean, the
generator learns, with it, to draw a caption's codes by regression, and then plays the game of base.py, on codes. All
drawings of a caption are one picture. docs/space.md has the method and what was measured, and, under "Short prompts",
the keys by which a model reads what people type, and draws it differently each time, as models/toon_avatars does.
"""

import t2igan


def get_config():
    """Returns the default configuration with a game of 64 px on codes."""
    config = t2igan.get_config("base")
    config.phases = ("autoencoder", "text", "generator", "adversarial")
    config.data.update(source="toon_avatars", image_size_px=64, test_split="heldout_random")
    config.tokenizer.max_tokens = 32

    config.space.update(kind="autoencoder", factor=4, channels=16)
    config.pretrain_autoencoder.update(images=64_000, batch_images=8, squared_weight=4.0, noise=0.1)
    config.image_encoder.update(channels=(64, 40), patch_px=2)

    # The game of base.py on maps of 16 x 16, a little larger; every weight by what the data is like.
    config.generator.channels = (96, 64, 48)
    config.discriminator.channels = (96, 64, 48)
    config.inverter.update(kind="residual", channels=(64, 48, 32))
    config.pretrain_generator.update(task="auto", images=256_000, batch_images=32, learning_rate=2e-3)
    config.pretrain_generator.update(learning_rate_end=0.1, text_rate=1.0)
    config.loss.update(penalty_weight="auto", penalty_weight_end="auto", paired_weight="auto")
    config.train.update(images=24_000, generator_learning_rate=1.5e-4, discriminator_learning_rate=5e-4)
    config.pretrain_text.images = 48_000

    for section in (config.sample, config.evaluate, config.checkpoint):
        section.every_images = 16_000
    config.evaluate.num_images = 188
    return config
