"""COCO captions at 256 px on eight GPUs or more: 96 M parameters in the two players.

    t2igan train --config=coco256 --config.data.source=coco --workdir=runs/coco256

What it takes, before it runs; on eight GPUs, and on sixty-four with eight times the pictures a step:

    t2igan train --config=coco256 --dry_run --dry_run_devices=8
    t2igan train --config=coco256 --dry_run --dry_run_devices=64 --config.train.batch_images=2048

Never trained by us. As coco64.py, with larger maps on top. The penalty's weight is a guess, sixteen times
that of coco64.py for sixteen times as many pixels. R3GAN's weights follow no such rule (0.5 and 1 for 32 and 64 px of
ImageNet, 2 and 150 for 64 and 256 px of FFHQ): try 4, 16 and 64 on a tenth of the training first.

Eight devices, one machine's, share a copy of parameters, averages and optimizer states, and blocks are recomputed in
the backward pass. Without that (--config.shard_devices=1 --config.remat=False) it is faster, where the memory is there.

Decoded pictures take 23 GB on disk. Memory, parameters and work a step: docs/scaling.md, "Memory and --dry_run".
"""

import t2igan

DEVICES = 8  # what the settings are meant for


def get_config():
    """Returns the configuration of coco64.py with networks for photographs of 256 px; the source has to be given."""
    config = t2igan.get_config("coco64")
    config.data.image_size_px = 256
    config.data.cache_gb = 30.0
    config.shard_devices = 8
    config.remat = True

    config.image_encoder.update(channels=(384, 256, 192, 128, 96), patch_px=4)  # 4, 8, 16, 32, 64
    channels = (512, 512, 512, 384, 256, 128, 64)  # 4, 8, 16, 32, 64, 128, 256
    config.generator.update(channels=channels, attention_from_px=16)
    config.discriminator.channels = channels
    config.inverter.update(channels=(384, 256, 192, 128, 96), patch_px=4)

    config.loss.update(penalty_weight=16.0, penalty_weight_end=1.6)
    config.train.update(images=25_000_000, batch_images=256)
    config.pretrain_text.batch_images = 512
    return config
