"""Emoji at 256 px: emoji64.py with an autoencoder that makes one place of 16 x 16 pixels.

    t2igan train --config=emoji256 --config.data.source=noto_emoji_256.parquet --workdir=runs/emoji256

The pictures are not embedded; docs/embedded_pictures.md says how to make them, from packages of npm, within a minute.
Others of a kind, such as a set of icons, are given in the same way, with --config.data.test_split=test.

The codes are 16 x 16 places as at 64 px, three times as many numbers each. The decoder convolves maps of 64 x 64 at
most, as at 128 px, and unfolds each of their places into 4 x 4 pixels. docs/space.md has what was measured.
"""

import t2igan


def get_config():
    """Returns the configuration of emoji128.py for 256 px; the source has to be given."""
    config = t2igan.get_config("emoji128")
    config.data.image_size_px = 256
    config.space.update(factor=16, channels=48, decoder_channels=(128, 64, 48))
    config.discriminator.patch_px = 16
    config.pretrain_autoencoder.images = 64_000
    return config
