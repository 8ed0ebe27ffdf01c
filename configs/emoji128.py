"""Emoji at 128 px: emoji64.py with an autoencoder that makes one place of 8 x 8 pixels.

    t2igan train --config=emoji128 --config.data.source=noto_emoji_128.parquet --workdir=runs/emoji128

The pictures are not embedded; docs/embedded_pictures.md says how to make them, from packages of npm, within a minute.
Others of a kind, such as a set of icons, are given in the same way, with --config.data.test_split=test.

The codes are 16 x 16 places as at 64 px, twice as many numbers each, so text, regression and most of the game cost what
they do there; the autoencoder takes three times as long, and the game twice. docs/space.md has what was measured.
"""

import t2igan


def get_config():
    """Returns the configuration of emoji64.py for 128 px; the source has to be given."""
    config = t2igan.get_config("emoji64")
    config.data.update(source="", image_size_px=128)
    config.space.update(factor=8, channels=32, encoder_channels=(64, 48), decoder_channels=(128, 64, 32))
    config.discriminator.patch_px = 8
    config.image_encoder.patch_px = 4
    return config
