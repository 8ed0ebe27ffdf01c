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

BERT_CONFIG = {
    "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 40, "vocab_size": 60, "max_position_embeddings": 14, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0,
}  # fmt: skip
ROBERTA_CONFIG = BERT_CONFIG | {"model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 1}
WORDS = "a red blue green big small square circle picture of the with and on in smiling face cat dog kitten".split()


def bert_shapes(config):
    """Names and shapes as Hugging Face's BertModel and RobertaModel have them, without the pooler."""
    d, wide = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], d),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], d),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], d),
    }
    linear = {f"attention.self.{name}": (d, d) for name in ("query", "key", "value")}
    linear |= {"attention.output.dense": (d, d), "intermediate.dense": (wide, d), "output.dense": (d, wide)}
    norms = ["embeddings.LayerNorm"]
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for name, shape in linear.items():
            shapes[f"{layer}.{name}.weight"], shapes[f"{layer}.{name}.bias"] = shape, shape[:1]
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (d,)
    return shapes


def bert_folder(folder, config=BERT_CONFIG, prefix="", dtype=np.float32):
    """A small BERT as one downloads it: a vocabulary of some words, `WORDS`, and letters that go on; begin 2, end 3."""
    import json

    from safetensors.numpy import save_file

    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {prefix + name: array.astype(dtype) for name, array in seeded(bert_shapes(config)).items()}
    save_file(weights, folder / "model.safetensors")
    return folder


def efficientnet_shapes():
    """Names and shapes as `efficientnet_lite_pytorch` has them."""
    shapes, width, number = {"_conv_stem.weight": (32, 3, 3, 3)}, 32, 0
    norms = {"_bn0": 32, "_bn1": 1280}
    stages = [
        (1, 3, 16, 1),
        (6, 3, 24, 2),
        (6, 5, 40, 2),
        (6, 3, 80, 3),
        (6, 5, 112, 3),
        (6, 5, 192, 4),
        (6, 3, 320, 1),
    ]
    for expansion, kernel, channels, blocks in stages:
        for _ in range(blocks):
            block, inside = f"_blocks.{number}", expansion * width
            if expansion > 1:
                shapes[f"{block}._expand_conv.weight"] = (inside, width, 1, 1)
                norms[f"{block}._bn0"] = inside
            shapes[f"{block}._depthwise_conv.weight"] = (inside, 1, kernel, kernel)
            shapes[f"{block}._project_conv.weight"] = (channels, inside, 1, 1)
            norms |= {f"{block}._bn1": inside, f"{block}._bn2": channels}
            width, number = channels, number + 1
    shapes["_conv_head.weight"] = (1280, 320, 1, 1)
    for name, size in norms.items():
        shapes |= {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes
