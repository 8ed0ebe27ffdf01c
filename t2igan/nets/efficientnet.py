"""EfficientNet-lite0: pictures to maps of features at five sizes, and to one vector (Tan & Le 2019, arXiv:1905.11946).

The "lite" variant has no squeeze-and-excitation and ReLU6 for Swish. Normalisation by stored statistics is folded into
the convolutions when weights are read. A depthwise convolution is k x k shifted products, which XLA runs on a CPU about
ten times as fast as a convolution with feature groups; padding is TensorFlow's SAME.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

EPSILON = 1e-3  # of the normalisation
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


class Stage(NamedTuple):
    """Blocks of one size of map."""

    expansion: int  # of the channels inside a block
    kernel: int
    stride: int  # of the first block
    channels: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
TAPS = (1, 2, 4, 6)  # the last stage of each size of map: 1/4, 1/8, 1/16 and 1/32 of the picture's
TAP_CHANNELS = tuple(STAGES[i].channels for i in TAPS)


class Convolution(nn.Module):
    """A convolution with bias and SAME padding, and ReLU6 where `activated`."""

    channels: int
    kernel: int = 1
    stride: int = 1
    activated: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        weight = self.param("weight", nn.initializers.he_normal(), shape).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,)).astype(x.dtype)
        if self.kernel == 1:
            x = x @ weight[0, 0] + bias
        else:
            padding = [same_padding(n, self.kernel, self.stride) for n in x.shape[1:3]]
            strides = (self.stride, self.stride)
            dimensions = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, weight, strides, padding, dimension_numbers=dimensions) + bias
        return jnp.clip(x, 0, 6) if self.activated else x


class DepthwiseConvolution(nn.Module):
    """A convolution of each channel by itself with bias, SAME padding and ReLU6."""

    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
        k, s = self.kernel, self.stride
        weight = self.param("weight", nn.initializers.he_normal(), (k, k, x.shape[-1])).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],)).astype(x.dtype)
        height, width = x.shape[1:3]
        padded = jnp.pad(x, ((0, 0), same_padding(height, k, s), same_padding(width, k, s), (0, 0)))
        rows, columns = -(-height // s), -(-width // s)
        shifted = lambda i, j: padded[:, i : i + s * (rows - 1) + 1 : s, j : j + s * (columns - 1) + 1 : s]
        x = sum(shifted(i, j) * weight[i, j] for i, j in itertools.product(range(k), repeat=2))
        return jnp.clip(x + bias, 0, 6)


class Block(nn.Module):
    """Inverted bottleneck: more channels, a depthwise convolution, fewer channels, beside a shortcut."""

    expansion: int
    kernel: int
    stride: int
    channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        y = x
        if self.expansion > 1:
            y = Convolution(self.expansion * x.shape[-1], name="expand")(y)
        y = DepthwiseConvolution(self.kernel, self.stride, name="depthwise")(y)
        y = Convolution(self.channels, activated=False, name="project")(y)
        return x + y if y.shape == x.shape else y


class EfficientNet(nn.Module):
    """Pictures in [-1, 1] to the maps of `TAPS` and, with `with_vector`, the mean of 1,280 features over the picture.

    Pictures of any size with 1 or 3 channels; grey ones get three equal channels. `num_taps` leaves out what only the
    further maps need.
    """

    num_taps: int = len(TAPS)
    with_vector: bool = False

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"]
    ) -> tuple[list[Float[Array, "B _ _ _"]], Float[Array, "B 1280"] | None]:
        images = jnp.broadcast_to(images, (*images.shape[:-1], 3))
        x = (127.5 * images + 0.5) / 128  # it learned from (byte - 127) / 128
        x = Convolution(STEM_CHANNELS, 3, 2, name="stem")(x)
        maps, number = [], 0
        last = len(STAGES) - 1 if self.with_vector else TAPS[self.num_taps - 1]
        for i, stage in enumerate(STAGES[: last + 1]):
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                x = Block(stage.expansion, stage.kernel, stride, stage.channels, name=f"block_{number}")(x)
                number += 1
            if i in TAPS[: self.num_taps]:
                maps.append(x)
        vector = Convolution(HEAD_CHANNELS, name="head")(x).mean((1, 2)) if self.with_vector else None
        return maps, vector


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns TensorFlow's SAME padding, before and after: an output of ceil(size / stride), the odd one after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def params_of_torch(weights: Mapping[str, np.ndarray], network: EfficientNet) -> dict[str, Any]:
    """Returns a network's parameters from weights named as in `efficientnet_lite_pytorch`, normalisation folded in.

    "MODULE.weight" is [O, I, H, W], the normalisation behind it "NORM.weight", "bias", "running_mean", "running_var"
    [O]. What else there is (the classifier, further stages) is left out.

    Raises:
      ValueError: a tensor is missing or of another shape.
    """
    like = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3), jnp.float32))["params"]
    params: dict[str, Any] = {}
    for name, module in like.items():
        if name == "stem":
            params[name] = _folded(weights, "_conv_stem", "_bn0", module)
        elif name == "head":
            params[name] = _folded(weights, "_conv_head", "_bn1", module)
        else:
            block = f"_blocks.{name.removeprefix('block_')}."
            norms = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
            params[name] = {
                part: _folded(weights, f"{block}_{part}_conv", block + norms[part], inner)
                for part, inner in module.items()
            }
    return {"params": params}


def _folded(weights: Mapping[str, np.ndarray], module: str, norm: str, like: Mapping[str, Any]) -> dict[str, Any]:
    """w x -> gamma (w x - mean) / sqrt(variance + epsilon) + beta, as one convolution with bias."""
    parts = [f"{module}.weight", *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))]
    for name in parts:
        if name not in weights:
            raise ValueError(f"there is no {name!r}")
    weight, gamma, beta, mean, variance = (np.asarray(weights[name], np.float64) for name in parts)
    kernel = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight
    if kernel.ndim == 4 and len(like["weight"].shape) == 3:  # depthwise: one input channel each
        kernel = kernel[:, :, 0] if kernel.shape[2] == 1 else kernel
    for name, array, shape in [(parts[0], kernel, like["weight"].shape)] + [
        (name, array, like["bias"].shape) for name, array in zip(parts[1:], (gamma, beta, mean, variance), strict=True)
    ]:
        if array.shape != shape:
            raise ValueError(f"{name!r} has shape {array.shape}, not {shape}, in the order of this network")
    factor = gamma / np.sqrt(variance + EPSILON)
    return {"weight": np.float32(kernel * factor), "bias": np.float32(beta - mean * factor)}
