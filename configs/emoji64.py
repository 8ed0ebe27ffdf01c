"""Emoji at 64 px, on a laptop: thousands of things with a name each, and one picture of each.

    t2igan train --config=emoji64 --workdir=runs/emoji64

The pictures are embedded: 3,708 of Noto Emoji (Google, Apache-2.0), with their Unicode names. Others of a kind, such as
a set of icons, are given by --config.data.source=PATH.parquet --config.data.test_split=test.

What is asked for is recombination: `heldout_combo` has people whose skin tone was left out (a man walking, of whom all
other tones are there). `heldout_concept` has things that were left out altogether, and is not learned. Every caption
has one picture, so most is learned by regression; a game that is short, and sees the decoded pictures, makes them
crisp. docs/space.md has the method and what was measured.
"""

import t2igan


def get_config():
    """Returns the configuration of toon64.py, with more words, more regression, and a game that sees pictures."""
    config = t2igan.get_config("toon64")
    config.data.update(source="noto_emoji", test_split="heldout_combo")
    config.tokenizer.vocab_size = 1024
    config.pretrain_text.images = 96_000
    config.pretrain_autoencoder.images = 80_000
    config.pretrain_generator.images = 320_000
    # A few captions are cut short, and several noises tried for these: short prompts are understood, and vary.
    config.augment.partial_captions = 0.15
    config.loss.paired_noises = 4
    # The game sees pictures, not codes, and goes on teaching the decoder: it makes edges sharp and areas flat.
    config.discriminator.update(sees="pictures", patch_px=4)
    config.train.update(tune_decoder=True, generator_learning_rate=5e-4)
    config.loss.paired_pixel_weight = 20.0
    config.evaluate.num_images = 365
    # Attributes say little of an emoji; which picture belongs to which caption says more.
    config.checkpoint.best_metric = "frechet_distance/probe"
    return config
