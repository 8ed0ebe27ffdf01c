"""Seeded weights for the pretrained networks, the same for the independent implementations in torch and for ours.

The streams of `RandomState` are frozen by NumPy's compatibility policy, so golden values stay golden.
"""

import hashlib

import numpy as np


def seeded(shapes):
    """Name -> float32 array of the given shape; a function of name and shape only."""
    weights = {}
    for name, shape in shapes.items():
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        random = np.random.RandomState(seed)
        if name.endswith("running_var"):
            array = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1 and "embedding" not in name:
            array = random.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("weight") and len(shape) == 1:
            array = random.uniform(0.8, 1.2, shape)
        else:
            array = 0.1 * random.standard_normal(shape)
        weights[name] = np.asarray(array, np.float32)
    return weights


def pictures(num, px, channels=3):
    """uint8 pictures of waves, smooth enough that interpolation matters and rounding does not."""
    y, x = np.mgrid[:px, :px] / px
    waves = [
        np.sin(2 * np.pi * ((i + 1) * x * (c + 1) / 2 + y * (2 - c) + i / 3))
        for i in range(num)
        for c in range(channels)
    ]
    images = np.stack(waves).reshape(num, channels, px, px).transpose(0, 2, 3, 1)
    return np.round(127.5 + 120 * images).astype(np.uint8)


CLIP_CONFIG = {
    "projection_dim": 12,
    "text_config": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
        "vocab_size": 300, "max_position_embeddings": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        "bos_token_id": 298, "eos_token_id": 299, "pad_token_id": 299,
    },
    "vision_config": {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32,
        "image_size": 20, "patch_size": 5, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    },
}  # fmt: skip
