"""x"""
from configs import base

DEVICES = 1

def get_config():
    config = base.get_config()
    config.data.source = ""
    config.data.image_size_px = 64
    config.compute_dtype = "bfloat16"
    config.tokenizer.vocab_size = 1024
    config.text_encoder.update(width=128, layers=3, heads=4, sentence_dim=256)
    config.image_encoder.channels = (192, 128, 96, 64)
    config.image_encoder.patch_px = 2
    config.image_encoder.features = 256
    config.generator.channels = (512, 384, 256, 128, 64)
    config.generator.blocks = 2
    config.generator.style_dim = 512
    config.discriminator.channels = (512, 384, 256, 128, 64)
    config.discriminator.blocks = 2
    config.discriminator.features = 512
    config.inverter.channels = (192, 128, 96, 64)
    config.loss.adversarial = "relativistic"
    config.loss.penalty = "r1_r2"
    config.train.batch_images = 128
    return config
