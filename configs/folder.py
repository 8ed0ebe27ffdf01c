"""Your own pictures with captions, at 64 px.

    python run.py --config=configs/folder.py --config.data.source=PATH --workdir=runs/mine

PATH is a folder of pictures with a .txt of the same name beside each, or with a metadata.jsonl or .csv (`file_name`,
`text`), or a Parquet file in the Hugging Face convention (docs/data.md).
"""

from configs import base


def get_config():
    """Returns the default configuration with networks for 64 px; the source has to be given."""
    config = base.get_config()
    config.data.source = ""
    config.data.image_size_px = 64
    config.tokenizer.vocab_size = 2048
    config.image_encoder.channels = (96, 64, 40)
    config.image_encoder.patch_px = 4
    config.generator.channels = (128, 96, 64, 32)  # 4, 8, 16, 32 px, and patches of 2
    config.generator.patch_px = 2
    config.discriminator.channels = (128, 96, 64, 32)
    config.discriminator.patch_px = 2
    config.pretrain_text.images = 128_000
    config.train.images = 1_000_000
    config.train.generator_learning_rate = 5e-4
    config.train.discriminator_learning_rate = 5e-4
    config.loss.penalty_weight = 0.5
    return config
