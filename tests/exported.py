"""Models with random weights, of any kind, whose pictures lie around [-1, 1] as those of trained ones."""

import json
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
from tiny import shrink

from configs.base import get_config
from t2igan import config as config_lib
from t2igan import nets
from t2igan.config.checks import check
from t2igan.data.tokenizer import Tokenizer
from t2igan.inference.export.web_page import engine, node_path
from t2igan.inference.snapshot import Snapshot
from t2igan.nets.init import init_network
from t2igan.nets.kinds import game_size_px

SMALLER = {"Modulate": 0.1, "'pixels": 0.3, "decoder": 0.7}  # parts whose values would grow from layer to layer
NODE = node_path()
KINDS = {
    "residual": {},
    "growing, patches, guidance": {
        "train.grow_share": 0.5,
        "generator.channels": (8, 12),
        "discriminator.channels": (8, 12),
        "discriminator.patch_px": 2,
        "generator.patch_px": 2,
        "generator.attention_from_px": 16,
        "augment.caption_dropout": 0.1,
    },
    "grey, two blocks, no words": {
        "data.channels": 1,
        "generator.blocks": 2,
        "generator.attention_from_px": 0,
        "text_encoder.layers": 2,
    },
    "transparent": {"data.channels": 4, "generator.attention_from_px": 0},
    "fully connected, guidance": {
        "generator.kind": "mlp",
        "generator.channels": (8, 16),
        "discriminator.kind": "mlp",
        "augment.caption_dropout": 0.1,
    },
    "components of patches": {
        "space.kind": "patches",
        "space.channels": 5,
        "generator.channels": (8,),
        "discriminator.channels": (8,),
        "image_encoder.channels": (8,),
        "inverter.channels": (8,),
        "generator.attention_from_px": 1,
    },
    "codes of an autoencoder": {
        "space.kind": "autoencoder",
        "space.decoder_channels": (12, 8),
        "phases": ("autoencoder", "text", "adversarial"),
        "generator.channels": (8,),
        "discriminator.channels": (8,),
        "image_encoder.channels": (8,),
        "inverter.channels": (8,),
    },
}


def run_node(program, folder, describes=False, **given) -> bytes:
    """Runs JavaScript behind the page's engine; returns the bytes of the typed arrays that it gives to `save`."""
    (folder / "given.json").write_text(json.dumps(given))
    around = """
import { readFileSync, writeFileSync } from 'node:fs';
const given = JSON.parse(readFileSync('given.json', 'utf-8'));
const save = (...arrays) => writeFileSync('found.bin', Buffer.concat(arrays.map((a) => Buffer.from(a.buffer))));
"""
    (folder / "program.mjs").write_text(around + engine(describes=describes) + program)
    done = subprocess.run([NODE, "program.mjs"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return (folder / "found.bin").read_bytes()


def random_model(captions, captioner=False, **changes) -> Snapshot:
    """A snapshot of the tiny configuration with changes, {"generator.blocks": 2}, in which every weight is random."""
    config = shrink(get_config())
    with config.unlocked():
        for key, value in ({"tokenizer.max_tokens": 16} | changes).items():
            section, _, name = key.rpartition(".")
            (config_lib.get(config, section) if section else config)[name] = value
    check(config)
    tokenizer = Tokenizer.train(captions, 300, config.tokenizer.max_tokens)
    networks = nets.build(config, tokenizer.vocab_size)
    size_px, channels = game_size_px(config), config.data.channels
    game_channels = channels if networks.space is None else config.space.channels
    batch = {
        "tokens": jax.ShapeDtypeStruct((1, config.tokenizer.max_tokens), jnp.int32),
        "images": jax.ShapeDtypeStruct((1, size_px, size_px, game_channels), jnp.float32),
    }
    names = ["text", "generator"] + ["space"] * (networks.space is not None) + ["image", "captioner"] * captioner
    shapes = {
        name: jax.eval_shape(lambda k, n=name: init_network(networks, n, k, batch), jax.random.key(0)) for name in names
    }
    random = np.random.default_rng(0)

    def drawn(path, like):
        """As large as keeps activations of the size that they have."""
        fan_in = np.prod(like.shape[:-1]) if len(like.shape) > 1 else 16
        values = random.normal(size=like.shape) / np.sqrt(fan_in)
        values *= next((small for part, small in SMALLER.items() if part in str(path)), 1.0)
        return (values + 1 if "scale" in str(path[-1]) else values).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(drawn, shapes)
    if captioner:
        of, seen = params["captioner"]["params"], random.normal(size=(20, config.image_encoder.features)) + 1
        of |= {"reference_mean": seen.mean(0).astype(np.float32), "reference_second": np.float32(seen.T @ seen / 20)}
        of["logits"]["kernel"] *= 5  # sure of something
    info = {"step": 4, "t2igan": "1", "data": "caps"}
    return Snapshot(params, config.to_dict(), tokenizer.to_json(), {}, info)
