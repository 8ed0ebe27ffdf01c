"""Your own pictures with captions at 256 px, on one GPU: thousands of pictures or more.

    t2igan train --config=gpu256 --config.data.source=PATH --workdir=runs/mine

PATH is a folder of pictures with a .txt of the same name beside each, or anything else that docs/data.md lists. What it
takes, before it runs:

    t2igan train --config=gpu256 --dry_run --dry_run_devices=1

Never trained by us. The game is that of gpu128.py, on maps of 32 x 32 codes; the autoencoder makes a place
of 8 x 8 pixels. Work, parameters and memory: docs/auto.md, "Presets".
"""

import t2igan

DEVICES = 1  # what the settings are meant for


def get_config():
    """Returns the configuration of gpu128.py with an autoencoder for 256 px; the source has to be given."""
    config = t2igan.get_config("gpu128")
    config.data.image_size_px = 256
    config.space.update(factor=8, encoder_channels=(160, 96, 64), decoder_channels=(256, 128, 64))
    config.pretrain_autoencoder.update(images=1_500_000, batch_images=32)
    return config
