"""The layers of `t2igan.nets.layers` as nodes of an ONNX graph.

Maps are [N, C, H, W] here, as ONNX has them. A leaky ReLU's gain, sqrt(2 / 1.04), is multiplied into the weights of the
linear map behind it (`gain=GAIN`), which saves a pass over the map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from t2igan.inference.export.graph import Graph
from t2igan.nets.layers import SLOPE

GAIN = math.sqrt(2 / (1 + SLOPE**2))
EPSILON = 1e-6  # of flax.linen.LayerNorm
MASKED = -1e9  # added to a logit, it leaves exactly nothing in float32

Params = Mapping[str, Any]  # of a layer, or of a network: nested by the names that linen gives


class AutoNames:
    """The names that linen gives to layers without one: "Dense_0", "Dense_1"..., by their kind."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def __call__(self, kind: str) -> str:
        """Returns the next name of a kind."""
        number = self._next.get(kind, 0)
        self._next[kind] = number + 1
        return f"{kind}_{number}"


def dense(g: Graph, x: str, params: Params, name: str, gain: float = 1.0) -> str:
    """x W + b over the last axis; `gain` stands for a factor of x."""
    y = g.op("MatMul", x, g.weight(f"{name}.kernel", params["kernel"] * np.float32(gain)))
    return g.op("Add", y, g.weight(f"{name}.bias", params["bias"])) if "bias" in params else y


def pointwise(g: Graph, x: str, params: Params, name: str, gain: float = 1.0) -> str:
    """The same over the channels of a map [N, C, H, W]."""
    kernel = (params["kernel"] * np.float32(gain)).T[:, :, None, None]
    return _convolution(g, x, kernel, params, name, kernel_shape=[1, 1])


def conv3x3(g: Graph, x: str, params: Params, name: str, gain: float = 1.0) -> str:
    """A 3x3 convolution with zero padding; the kernel is [3, 3, in, out] as linen has it."""
    kernel = (params["kernel"] * np.float32(gain)).transpose(3, 2, 0, 1)
    return _convolution(g, x, kernel, params, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _convolution(g: Graph, x: str, kernel: np.ndarray, params: Params, name: str, **attributes: Any) -> str:
    inputs = [x, g.weight(f"{name}.kernel", kernel, channel_axis=0)]
    if "bias" in params:
        inputs.append(g.weight(f"{name}.bias", params["bias"]))
    return g.op("Conv", *inputs, **attributes)


def relu(g: Graph, x: str) -> str:
    """A leaky ReLU without its gain, which the next linear map takes on."""
    return g.op("LeakyRelu", x, alpha=SLOPE)


def gelu(g: Graph, x: str) -> str:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as `jax.nn.gelu` computes it; opset 20 has a node for it."""
    cubed = g.op("Mul", g.op("Mul", g.op("Mul", x, x), x), g.constant(0.044715))
    bent = g.op("Tanh", g.op("Mul", g.op("Add", x, cubed), g.constant(math.sqrt(2 / math.pi))))
    return g.op("Mul", g.op("Mul", x, g.constant(0.5)), g.op("Add", bent, g.constant(1.0)))


def layer_norm(g: Graph, x: str, params: Params, name: str) -> str:
    """`flax.linen.LayerNorm` with scale and bias."""
    scale, bias = (g.weight(f"{name}.{key}", params[key]) for key in ("scale", "bias"))
    return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def plain_norm(g: Graph, x: str, features: int) -> str:
    """The same without scale and bias."""
    return g.op("LayerNormalization", x, g.constant(np.ones(features)), axis=-1, epsilon=EPSILON)


def attend(g: Graph, query: str, key: str, value: str, bias: str, head_dim: int) -> str:
    """softmax(q k / sqrt(d) + bias) v of q [N, h, P, d], k [N, h, d, T], v [N, h, T, d] -> [N, h, P, d]."""
    logits = g.op("Mul", g.op("MatMul", query, key), g.constant(1 / math.sqrt(head_dim)))
    return g.op("MatMul", g.op("Softmax", g.op("Add", logits, bias), axis=-1), value)


def modulate(g: Graph, x: str, style: str, params: Params, name: str, channels: int) -> str:
    """x (1 + scale(style)) + shift(style); the 1 is added to the bias."""
    one = np.repeat(np.array([1, 0], np.float32), channels)
    dense_params = {"kernel": params["Dense_0"]["kernel"], "bias": params["Dense_0"]["bias"] + one}
    both = g.op("Unsqueeze", dense(g, style, dense_params, name, GAIN), g.ints(2, 3))
    scale, shift = g.op("Split", both, g.ints(channels, channels), outputs=2, axis=1)
    return g.op("Add", g.op("Mul", x, scale), shift)


def upsample(g: Graph, x: str) -> str:
    """Doubles height and width by repeating pixels."""
    how: Any = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g.op("Resize", x, "", g.constant([1, 1, 2, 2]), **how)


def depth_to_space(g: Graph, x: str, patch_px: int) -> str:
    """Unfolds channels, ordered by (row in the patch, column in the patch, channel), into patches."""
    return g.op("DepthToSpace", x, blocksize=patch_px, mode="DCR") if patch_px > 1 else x


def channels_last(g: Graph, x: str) -> str:
    """[N, C, H, W] -> [N, H, W, C]."""
    return g.op("Transpose", x, perm=[0, 2, 3, 1])


def channels_first(g: Graph, x: str) -> str:
    """[N, H, W, C] -> [N, C, H, W]."""
    return g.op("Transpose", x, perm=[0, 3, 1, 2])


def to_bytes(g: Graph, images: str, channels: int) -> str:
    """`t2igan.inference.drawing.to_bytes` of pictures [N, H, W, C]; of four channels colours are divided by alpha."""
    levels = g.op("Add", g.op("Mul", images, g.constant(127.5)), g.constant(127.5))
    levels = g.op("Clip", levels, g.constant(0.0), g.constant(255.0))
    if channels == 4:
        colours, alpha = g.op("Split", levels, g.ints(3, 1), outputs=2, axis=3)
        alpha = g.op("Round", alpha)
        straight = g.op("Div", g.op("Mul", colours, g.constant(255.0)), g.op("Max", alpha, g.constant(1.0)))
        seen = g.op("Greater", alpha, g.constant(0.0))
        straight = g.op("Where", seen, g.op("Min", straight, g.constant(255.0)), g.constant(0.0))
        levels = g.op("Concat", straight, alpha, axis=3)
    return g.op("Cast", g.op("Round", levels), to=TensorProto.UINT8)  # halves to even, as in JAX
