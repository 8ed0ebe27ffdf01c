"""Your own pictures with captions, at 32 px: small enough for a laptop.

    t2igan train --config=folder --config.data.source=PATH --workdir=runs/mine

PATH is a folder of pictures with a .txt of the same name beside each, or anything else that docs/data.md lists;
`t2igan data` with the same flags shows what was found in it. With a GPU, go larger:

    --config.data.image_size_px=64 --config.generator.channels='(256,192,128,64)' --config.train.images=2000000
    --config.discriminator.channels='(256,192,128,64)' --config.image_encoder.patch_px=4
"""

import t2igan


def get_config():
    """Returns the default configuration with networks for 32 px in patches of 2; the source has to be given."""
    config = t2igan.get_config("base")
    config.phases = ("text", "adversarial")
    config.data.source = ""
    config.data.image_size_px = 32
    config.tokenizer.vocab_size = 2048
    config.image_encoder.channels = (96, 64)
    config.image_encoder.patch_px = 4
    config.generator.channels = (96, 64, 48)  # 4, 8, 16, and patches of 2 at the edge
    config.generator.patch_px = 2
    config.discriminator.channels = (96, 64, 48)
    config.discriminator.patch_px = 2
    config.loss.adversarial = "non_saturating"  # what docs/results.md was measured with
    config.train.images = 200_000
    return config
