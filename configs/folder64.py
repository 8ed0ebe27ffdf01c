"""Your own pictures with captions, at 64 px, on two cores: half an hour from nothing to pictures.

    t2igan train --config=folder64 --config.data.source=PATH --workdir=runs/mine

PATH is a folder of pictures with a .txt of the same name beside each, or anything else that docs/data.md lists;
`t2igan data` with the same flags shows what was found in it. `--config=auto` chooses more than this file can, from the
pictures and the machine (docs/auto.md), and ends within the minutes that it is given.

The method and the networks are those of toon64.py. Augmentation adapts itself (ADA, Karras et al. 2020,
arXiv:2006.06676), because a folder is often small: its probability rises where the discriminator tells training
pictures from drawings too surely, and stays near 0 where it does not. Where several pictures have one caption,
`--config.loss.paired_noises=4` keeps them from being mixed (docs/auto.md shows it). What it takes, before it runs:

    t2igan train --config=folder64 --dry_run

Not trained to its end by us; docs/space.md has what was measured of toon64.py.
"""

import t2igan


def get_config():
    """Returns the configuration of toon64.py for any pictures; the source has to be given."""
    config = t2igan.get_config("toon64")
    config.data.update(source="", test_split="test")
    config.tokenizer.update(vocab_size=2048, max_tokens=48)
    config.augment.update(kinds=("translate", "cutout"), target=0.6, adapt_images=50_000)
    return config
