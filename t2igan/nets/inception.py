"""Inception-v3 as the Fréchet Inception distance uses it: pictures to the 2,048 features of its last pooling.

The network of `pt_inception-2015-12-05`, that is of the TensorFlow graph of Heusel et al. 2017 (arXiv:1706.08500). It
differs from Szegedy et al. 2015 (arXiv:1512.00567) as torchvision has it: averages leave out the padding, and the last
block pools by maximum. Modules have the names of the weights file, so that loading is a matter of layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SIZE_PX = 299
EPSILON = 1e-3  # of the normalisation


class ConvNorm(nn.Module):
    """Convolution without bias, normalisation by stored statistics, ReLU."""

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: tuple[int, int] = (0, 0)

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        shape = (*self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        scale, variance = (self.param(name, nn.initializers.ones, (self.channels,)) for name in ("scale", "variance"))
        bias, mean = (self.param(name, nn.initializers.zeros, (self.channels,)) for name in ("bias", "mean"))
        padding = [(p, p) for p in self.padding]
        dimensions = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (self.stride, self.stride), padding, dimension_numbers=dimensions)
        factor = scale * jax.lax.rsqrt(variance + EPSILON)
        return nn.relu(x * factor + (bias - mean * factor))


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), padding=((1, 1), (1, 1)), count_include_pad=False)


def _halve(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2))


class BlockA(nn.Module):
    """Mixed_5: 1x1, 5x5, two 3x3, pooling."""

    pool_channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        a = ConvNorm(64, name="branch1x1")(x)
        b = ConvNorm(48, name="branch5x5_1")(x)
        b = ConvNorm(64, (5, 5), padding=(2, 2), name="branch5x5_2")(b)
        c = ConvNorm(64, name="branch3x3dbl_1")(x)
        c = ConvNorm(96, (3, 3), padding=(1, 1), name="branch3x3dbl_2")(c)
        c = ConvNorm(96, (3, 3), padding=(1, 1), name="branch3x3dbl_3")(c)
        d = ConvNorm(self.pool_channels, name="branch_pool")(_average(x))
        return jnp.concatenate([a, b, c, d], axis=-1)


class BlockB(nn.Module):
    """Mixed_6a: to half the size."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        a = ConvNorm(384, (3, 3), stride=2, name="branch3x3")(x)
        b = ConvNorm(64, name="branch3x3dbl_1")(x)
        b = ConvNorm(96, (3, 3), padding=(1, 1), name="branch3x3dbl_2")(b)
        b = ConvNorm(96, (3, 3), stride=2, name="branch3x3dbl_3")(b)
        return jnp.concatenate([a, b, _halve(x)], axis=-1)


class BlockC(nn.Module):
    """Mixed_6b to 6e: 7x7 as rows and columns."""

    channels_7x7: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c, row, column = self.channels_7x7, {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        a = ConvNorm(192, name="branch1x1")(x)
        b = ConvNorm(c, name="branch7x7_1")(x)
        b = ConvNorm(c, **row, name="branch7x7_2")(b)
        b = ConvNorm(192, **column, name="branch7x7_3")(b)
        d = ConvNorm(c, name="branch7x7dbl_1")(x)
        d = ConvNorm(c, **column, name="branch7x7dbl_2")(d)
        d = ConvNorm(c, **row, name="branch7x7dbl_3")(d)
        d = ConvNorm(c, **column, name="branch7x7dbl_4")(d)
        d = ConvNorm(192, **row, name="branch7x7dbl_5")(d)
        e = ConvNorm(192, name="branch_pool")(_average(x))
        return jnp.concatenate([a, b, d, e], axis=-1)


class BlockD(nn.Module):
    """Mixed_7a: to half the size."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        a = ConvNorm(192, name="branch3x3_1")(x)
        a = ConvNorm(320, (3, 3), stride=2, name="branch3x3_2")(a)
        b = ConvNorm(192, name="branch7x7x3_1")(x)
        b = ConvNorm(192, (1, 7), padding=(0, 3), name="branch7x7x3_2")(b)
        b = ConvNorm(192, (7, 1), padding=(3, 0), name="branch7x7x3_3")(b)
        b = ConvNorm(192, (3, 3), stride=2, name="branch7x7x3_4")(b)
        return jnp.concatenate([a, b, _halve(x)], axis=-1)


class BlockE(nn.Module):
    """Mixed_7b and 7c: 3x3 as row beside column."""

    pools_maximum: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        row, column = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
        a = ConvNorm(320, name="branch1x1")(x)
        b = ConvNorm(384, name="branch3x3_1")(x)
        b = [ConvNorm(384, **row, name="branch3x3_2a")(b), ConvNorm(384, **column, name="branch3x3_2b")(b)]
        c = ConvNorm(448, name="branch3x3dbl_1")(x)
        c = ConvNorm(384, (3, 3), padding=(1, 1), name="branch3x3dbl_2")(c)
        c = [ConvNorm(384, **row, name="branch3x3dbl_3a")(c), ConvNorm(384, **column, name="branch3x3dbl_3b")(c)]
        pooled = nn.max_pool(x, (3, 3), padding=((1, 1), (1, 1))) if self.pools_maximum else _average(x)
        d = ConvNorm(192, name="branch_pool")(pooled)
        return jnp.concatenate([a, *b, *c, d], axis=-1)


class Inception(nn.Module):
    """Pictures in -1..1, 1 or 3 channels and any size, to 2,048 features; resized to 299 px bilinearly."""

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B 2048"]:
        x = jax.image.resize(images, (len(images), SIZE_PX, SIZE_PX, images.shape[-1]), "bilinear", antialias=False)
        x = jnp.broadcast_to(x, (*x.shape[:-1], 3))
        x = ConvNorm(32, (3, 3), stride=2, name="Conv2d_1a_3x3")(x)
        x = ConvNorm(32, (3, 3), name="Conv2d_2a_3x3")(x)
        x = ConvNorm(64, (3, 3), padding=(1, 1), name="Conv2d_2b_3x3")(x)
        x = ConvNorm(80, name="Conv2d_3b_1x1")(_halve(x))
        x = ConvNorm(192, (3, 3), name="Conv2d_4a_3x3")(x)
        x = _halve(x)
        for name, pool_channels in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = BlockA(pool_channels, name=name)(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, channels in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = BlockC(channels, name=name)(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(pools_maximum=False, name="Mixed_7b")(x)
        x = BlockE(pools_maximum=True, name="Mixed_7c")(x)
        return x.mean((1, 2))


def params_of_torch(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns parameters from weights named and laid out as in pytorch-fid; ValueError for missing or odd ones.

    "MODULE.conv.weight" [O, I, H, W] and "MODULE.bn.weight", "bias", "running_mean", "running_var" [O]. What else there
    is (the classifier) is left out.
    """
    shapes = jax.eval_shape(Inception().init, jax.random.key(0), jnp.zeros((1, 8, 8, 3), jnp.float32))["params"]
    names = {"kernel": "conv.weight", "scale": "bn.weight", "bias": "bn.bias"}
    names |= {"mean": "bn.running_mean", "variance": "bn.running_var"}

    def fill(tree: Mapping, path: str) -> dict[str, Any]:
        filled = {}
        for key, value in tree.items():
            if isinstance(value, Mapping):
                filled[key] = fill(value, f"{path}{key}.")
                continue
            name = path + names[key]
            if name not in weights:
                raise ValueError(f"there is no {name!r}")
            array = np.asarray(weights[name], np.float32)
            array = array.transpose(2, 3, 1, 0) if key == "kernel" and array.ndim == 4 else array
            if array.shape != value.shape:
                raise ValueError(f"{name!r} has shape {array.shape}, not {value.shape}")
            filled[key] = array
        return filled

    return {"params": fill(shapes, "")}
