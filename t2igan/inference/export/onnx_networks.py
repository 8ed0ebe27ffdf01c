"""Text encoder, generators and decoders of `t2igan.nets` as ONNX, each written from its linen module and parameters.

A writer is registered for a class of module, so that a network of one's own can have one:

    GENERATOR_WRITERS[MyGenerator] = write_mine  # (graph, module, params, z, text, guidance) -> images [N, C, H, W]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.export import onnx_layers as layers
from t2igan.inference.export.graph import Graph
from t2igan.inference.export.onnx_layers import GAIN, MASKED, AutoNames, Params
from t2igan.nets.autoencoder import Autoencoder, PatchComponents
from t2igan.nets.generator import Generator, MLPGenerator
from t2igan.nets.text_encoder import PADDING, TextEncoder


class TextValues(NamedTuple):
    """An encoded caption in the graph: sentence [N, D], words [N, T, W], and what masks padding: 0 or -1e9."""

    sentence: str
    words: str
    bias: str  # [N, T]


def write_text(g: Graph, module: TextEncoder, params: Params, tokens: str) -> TextValues:
    """`TextEncoder` of tokens int64 [N, T] of any T up to `max_tokens`."""
    params, width, auto = params["params"], module.width, AutoNames()
    head_dim = width // module.heads
    padding = g.op("Equal", tokens, g.constant(PADDING, np.int64))
    bias = g.op("Where", padding, g.constant(MASKED), g.constant(0.0))  # [N, T]
    over_heads = g.op("Unsqueeze", bias, g.ints(1, 2))  # [N, 1, 1, T]
    length = g.op("Slice", g.op("Shape", tokens), g.ints(1), g.ints(2), g.ints(0))
    positions = g.weight("text.positions", params["positions"], channel_axis=0)
    embedding = g.weight("text.tokens", params["tokens"]["embedding"], channel_axis=0)
    x = g.op("Gather", embedding, tokens, axis=0)
    x = g.op("Add", x, g.op("Slice", positions, g.ints(0), length, g.ints(0)))

    def norm(x: str) -> str:
        name = auto("LayerNorm")
        return layers.layer_norm(g, x, params[name], f"text.{name}")

    def linear(x: str) -> str:
        name = auto("Dense")
        return layers.dense(g, x, params[name], f"text.{name}")

    def self_attention(x: str) -> str:
        name = auto("SelfAttention")
        qkv = layers.dense(g, x, params[name]["qkv"], f"text.{name}.qkv")
        qkv = g.op(
            "Reshape", qkv, g.ints(0, 0, module.heads, 3 * head_dim)
        )  # query, key, value of a head are neighbours
        query, key, value = g.op("Split", qkv, g.ints(*[head_dim] * 3), outputs=3, axis=3)
        turned = [g.op("Transpose", y, perm=perm) for y, perm in zip((query, key, value), HEADS_FIRST, strict=True)]
        y = layers.attend(g, turned[0], turned[1], turned[2], over_heads, head_dim)
        y = g.op("Transpose", y, perm=[0, 2, 1, 3])
        return layers.dense(g, g.op("Reshape", y, g.ints(0, 0, width)), params[name]["out"], f"text.{name}.out")

    for _ in range(module.layers):
        x = g.op("Add", x, self_attention(norm(x)))
        x = g.op("Add", x, linear(layers.gelu(g, linear(norm(x)))))
    words = norm(x)
    queries = g.op("Transpose", layers.dense(g, words, params["pooling"], "text.pooling"), perm=[0, 2, 1])  # [N, Q, T]
    weights = g.op("Softmax", g.op("Add", queries, g.op("Unsqueeze", bias, g.ints(1))), axis=-1)
    pooled = g.op("Reshape", g.op("MatMul", weights, words), g.ints(0, module.pooling_queries * width))
    sentence = layers.dense(g, pooled, params["sentence"], "text.sentence")
    return TextValues(layers.plain_norm(g, sentence, module.sentence_dim), words, bias)


HEADS_FIRST = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])  # of query, key and value, from [N, T, h, d]


def without_caption(g: Graph, text: TextValues, guidance: str) -> TextValues:
    """`text` where guidance is above 0, or else what stands for no caption: zeros, of which the first word counts."""
    leads = g.op("Greater", guidance, g.constant(0.0))
    zero = g.constant(0.0)
    length = g.op("Shape", g.op("Slice", text.bias, g.ints(0), g.ints(1), g.ints(0)))  # [1, T]
    place = g.op("CumSum", g.op("Expand", g.constant(1, np.int64), length), g.constant(1, np.int64))
    first = g.op("Where", g.op("Equal", place, g.constant(1, np.int64)), zero, g.constant(MASKED))
    pick = lambda value, other: g.op("Where", leads, value, other)
    return TextValues(pick(text.sentence, zero), pick(text.words, zero), pick(text.bias, first))


def write_residual(g: Graph, module: Generator, params: Params, z: str, text: TextValues, guidance: str | None) -> str:
    """`Generator`, grown to full size where it grew."""
    return _Residual(g, module, params["params"], text).write(z, guidance)


class _Residual:
    """A `Generator` as it is written, level by level."""

    def __init__(self, g: Graph, module: Generator, params: Params, text: TextValues):
        self.g, self.module, self.params, self.text, self.auto = g, module, params, text, AutoNames()
        self.bias = g.op("Unsqueeze", text.bias, g.ints(1, 2))  # [N, 1, 1, T]

    def write(self, z: str, guidance: str | None) -> str:
        """Returns the pictures [N, C, H, W]."""
        g, module = self.g, self.module
        self.style = self._style(z, self.text.sentence)
        if guidance is not None:
            zeros = g.op("Mul", self.text.sentence, g.constant(0.0))
            without = self._style(z, zeros)
            leaning = g.op("Mul", guidance, g.op("Sub", self.style, without))
            self.style = g.op("Add", without, leaning)
        size_px, images = module.base_px, ""
        x = layers.dense(g, self.style, self.params["base"], "generator.base", GAIN)
        x = layers.channels_first(g, g.op("Reshape", x, g.ints(0, size_px, size_px, module.channels[0])))
        for level, channels in enumerate(module.channels):
            if level:
                name = f"transition_{level}"
                x = layers.upsample(g, layers.pointwise(g, x, self.params[name], f"generator.{name}"))
                size_px *= 2
            for _ in range(module.blocks):
                x = self._block(x, channels)
            if size_px * module.patch_px >= module.attention_from_px > 0:
                x = self._read(x, channels, size_px)
            if module.growing:
                added = self._pixels(x, channels, f"pixels_{level}")
                images = g.op("Add", layers.upsample(g, images), added) if level else added
        return images if module.growing else self._pixels(x, module.channels[-1], "pixels")

    def _style(self, z: str, sentence: str) -> str:
        """Without the last leaky ReLU's gain."""
        style = self.g.op("Concat", z, sentence, axis=1)
        for number, gain in enumerate((1.0, GAIN)):
            name = f"style_{number}"
            style = layers.relu(self.g, layers.dense(self.g, style, self.params[name], f"generator.{name}", gain))
        return style

    def _modulate(self, x: str, channels: int) -> str:
        name = self.auto("Modulate")
        modulated = layers.modulate(self.g, x, self.style, self.params[name], f"generator.{name}", channels)
        return layers.relu(self.g, modulated)

    def _block(self, x: str, channels: int) -> str:
        h = x
        for _ in range(2):
            modulated, name = self._modulate(h, channels), self.auto("Conv")
            h = layers.conv3x3(self.g, modulated, self.params[name], f"generator.{name}", GAIN)
        return self.g.op("Add", x, h)

    def _read(self, x: str, channels: int, size_px: int) -> str:
        g, name, heads = self.g, self.auto("WordAttention"), self.module.attention_heads
        params, label, head_dim = self.params[name], f"generator.{name}", channels // heads
        query = layers.pointwise(g, layers.relu(g, x), params["query"], f"{label}.query", GAIN)
        query = g.op("Reshape", query, g.ints(0, heads, head_dim, size_px**2))
        query = g.op("Transpose", query, perm=[0, 1, 3, 2])
        key, value = (layers.dense(g, self.text.words, params[part], f"{label}.{part}") for part in ("key", "value"))
        split = lambda y, perm: g.op("Transpose", g.op("Reshape", y, g.ints(0, 0, heads, head_dim)), perm=perm)
        attended = layers.attend(g, query, split(key, [0, 2, 3, 1]), split(value, [0, 2, 1, 3]), self.bias, head_dim)
        attended = g.op("Transpose", attended, perm=[0, 1, 3, 2])
        attended = g.op("Reshape", attended, g.ints(0, channels, size_px, size_px))
        return g.op("Add", x, layers.pointwise(g, attended, params["out"], f"{label}.out"))

    def _pixels(self, x: str, channels: int, name: str) -> str:
        x = layers.pointwise(self.g, self._modulate(x, channels), self.params[name], f"generator.{name}", GAIN)
        return layers.depth_to_space(self.g, x, self.module.patch_px)


def write_mlp(g: Graph, module: MLPGenerator, params: Params, z: str, text: TextValues, guidance: str | None) -> str:
    """`MLPGenerator`."""
    params, sentence = params["params"], text.sentence
    if guidance is not None:
        sentence = g.op("Mul", guidance, sentence)
    x, gain = g.op("Concat", z, sentence, axis=1), 1.0
    for number in range(len(module.widths)):
        name = f"Dense_{number}"
        x, gain = layers.relu(g, layers.dense(g, x, params[name], f"generator.{name}", gain)), GAIN
    x = g.op("Tanh", layers.dense(g, x, params["pixels"], "generator.pixels", gain))
    return layers.channels_first(
        g, g.op("Reshape", x, g.ints(0, module.image_px, module.image_px, module.image_channels))
    )


def write_autoencoder(g: Graph, module: Autoencoder, params: Params, codes: str) -> str:
    """The decoder of an `Autoencoder`: codes [N, c, h, w] to pictures [N, C, H, W]."""
    params, auto, widths = params["params"]["decoder"], AutoNames(), module.decoder_widths
    label = lambda name: f"space.{name}"
    name = auto("Conv")
    x = layers.conv3x3(g, codes, params[name], label(name))
    for level in range(len(widths)):
        if level:
            name = auto("Dense")
            x = layers.upsample(g, layers.pointwise(g, x, params[name], label(name)))
        for _ in range(1 if level else module.blocks):
            name, h = auto("Block"), x
            for conv in ("Conv_0", "Conv_1"):
                h = layers.conv3x3(g, layers.relu(g, h), params[name][conv], f"{label(name)}.{conv}", GAIN)
            x = g.op("Add", x, h)
    name = auto("Dense")
    x = layers.pointwise(g, layers.relu(g, x), params[name], label(name), GAIN)
    return layers.depth_to_space(g, x, module.factor // 2 ** (len(widths) - 1))


def write_patches(g: Graph, module: PatchComponents, params: Params, codes: str) -> str:
    """(codes * scale) basis^T + mean, unfolded; the scale is multiplied into the basis."""
    params = params["params"]
    linear = {"kernel": (params["basis"] * params["scale"]).T, "bias": params["mean"]}
    return layers.depth_to_space(g, layers.pointwise(g, codes, linear, "space.basis"), module.factor)


TEXT_WRITERS: dict[type, Callable] = {TextEncoder: write_text}
GENERATOR_WRITERS: dict[type, Callable] = {Generator: write_residual, MLPGenerator: write_mlp}
SPACE_WRITERS: dict[type, Callable] = {Autoencoder: write_autoencoder, PatchComponents: write_patches}


def writer_of(module: Any, writers: dict[type, Callable]) -> Callable:
    """Returns the writer of a module; `UserError` where none is registered."""
    if type(module) not in writers:
        raise UserError(
            f"{type(module).__name__} has no ONNX form; register one (t2igan.inference.export.onnx_networks), or give "
            f"--format=stablehlo, which takes any network"
        )
    return writers[type(module)]
