"""Spaces in which a game is played other than pixels: a learned autoencoder, and principal components of patches.

Both map pictures in [-1, 1] to codes, smaller maps of more channels, and back; both are linen modules with the methods
`encode` and `decode`, and keep in their parameters whatever statistics bring codes to unit variance.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.constraints import is_whole, require_positive, require_share
from t2igan.errors import UserError
from t2igan.nets import patches
from t2igan.nets.kinds import SPACES, Common, SpaceKind
from t2igan.nets.layers import conv3x3, dense, depth_to_space, downsample, leaky_relu, space_to_depth, upsample

STATISTICS = "statistics"  # the collection of what is measured of codes, not trained
MIN_STD = 1e-4  # of a channel of codes that never changes


class Block(nn.Module):
    """Two convolutions that add to what they are given; nothing at first."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        h = conv3x3(x.shape[-1], dtype=self.dtype)(leaky_relu(x))
        return x + conv3x3(x.shape[-1], scale=0.0, dtype=self.dtype)(leaky_relu(h))


class Encoder(nn.Module):
    """Pictures to codes of no particular scale: patches folded into channels, then residual blocks, level by level.

    `widths` are given from the codes' map size up, as everywhere; the largest map is reached by folding, the next ones
    by the mean of 2x2. `blocks` residual blocks at the codes' size, one at each other.
    """

    channels: int
    widths: tuple[int, ...]
    factor: int
    blocks: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B h w c"]:
        last = len(self.widths) - 1
        x = space_to_depth(images.astype(self.dtype), self.factor // 2**last)
        x = conv3x3(self.widths[-1], dtype=self.dtype)(x)
        for level in range(last, -1, -1):
            if level < last:
                x = dense(self.widths[level], use_bias=False, dtype=self.dtype)(downsample(x))
            for _ in range(1 if level else self.blocks):
                x = Block(self.dtype)(x)
        return dense(self.channels, dtype=self.dtype)(leaky_relu(x)).astype(jnp.float32)


class Decoder(nn.Module):
    """Codes to pictures: residual blocks, level by level; the last level's places are unfolded into pixels.

    So there is no convolution at the pictures' full size, where most of the time would go.
    """

    image_channels: int
    widths: tuple[int, ...]
    factor: int
    blocks: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, codes: Float[Array, "B h w c"]) -> Float[Array, "B H W C"]:
        x = conv3x3(self.widths[0], dtype=self.dtype)(codes.astype(self.dtype))
        for level, width in enumerate(self.widths):
            if level:
                x = upsample(dense(width, use_bias=False, dtype=self.dtype)(x))
            for _ in range(1 if level else self.blocks):
                x = Block(self.dtype)(x)
        patch_px = self.factor // 2 ** (len(self.widths) - 1)
        x = dense(patch_px**2 * self.image_channels, scale=0.5, dtype=self.dtype)(leaky_relu(x))
        return depth_to_space(x, patch_px).astype(jnp.float32)


class Autoencoder(nn.Module):
    """A learned space: `channels` numbers for each `factor` x `factor` pixels.

    Codes have mean 0 and variance 1 in every channel, by the collection "statistics" (the means of codes and of their
    squares), which the phase `autoencoder` keeps. `apply(params, x, method="encode")` and `"decode"`; "raw" gives the
    encoder's output before that normalisation.
    """

    image_channels: int
    factor: int = 4
    channels: int = 8
    encoder_widths: tuple[int, ...] = (64,)
    decoder_widths: tuple[int, ...] = (96, 48)
    blocks: int = 2
    dtype: Any = jnp.float32

    def setup(self):
        """Makes the two halves and the statistics."""
        options = {"blocks": self.blocks, "dtype": self.dtype}
        self.encoder = Encoder(self.channels, self.encoder_widths, self.factor, **options)
        self.decoder = Decoder(self.image_channels, self.decoder_widths, self.factor, **options)
        self.mean = self.variable(STATISTICS, "mean", jnp.zeros, (self.channels,))
        self.mean_square = self.variable(STATISTICS, "mean_square", jnp.ones, (self.channels,))

    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Returns pictures coded and decoded."""
        return self.decode(self.encode(images))

    def raw(self, images: Float[Array, "B H W C"]) -> Float[Array, "B h w c"]:
        """Returns codes of whatever scale the encoder gives them."""
        return self.encoder(images)

    def encode(self, images: Float[Array, "B H W C"]) -> Float[Array, "B h w c"]:
        """Returns codes of unit variance."""
        return normalised(self.encoder(images), self.mean.value, self.mean_square.value)

    def decode(self, codes: Float[Array, "B h w c"]) -> Float[Array, "B H W C"]:
        """Returns the pictures that codes stand for; a little beyond [-1, 1] at times."""
        return self.decoder(codes)


class PatchComponents(nn.Module):
    """A linear space: the first `channels` principal components of patches of `factor` x `factor` pixels.

    `t2igan.nets.patches.fit` gives the parameters; a fresh module has those of an arbitrary basis.
    """

    image_channels: int
    factor: int = 4
    channels: int = 24

    def setup(self):
        """Makes room for the basis."""
        values = self.factor**2 * self.image_channels
        self.mean = self.param("mean", nn.initializers.zeros, (values,))
        self.basis = self.param("basis", nn.initializers.orthogonal(), (values, self.channels))
        self.scale = self.param("scale", nn.initializers.ones, (self.channels,))

    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Returns the part of pictures that lies in the space."""
        return self.decode(self.encode(images))

    def encode(self, images: Float[Array, "B H W C"]) -> Float[Array, "B h w c"]:
        """(patch - mean) basis / scale."""
        patches = space_to_depth(images.astype(jnp.float32), self.factor)
        return jnp.matmul(patches - self.mean, self.basis, precision="highest") / self.scale

    def decode(self, codes: Float[Array, "B h w c"]) -> Float[Array, "B H W C"]:
        """(codes * scale) basis^T + mean."""
        patches = jnp.matmul(codes.astype(jnp.float32) * self.scale, self.basis.T, precision="highest") + self.mean
        return depth_to_space(patches, self.factor)


def normalised(
    raw: Float[Array, "B h w c"], mean: Float[Array, " c"], mean_square: Float[Array, " c"]
) -> Float[Array, "B h w c"]:
    """Returns codes of mean 0 and variance 1 in each channel, if `mean` and `mean_square` are those of `raw`."""
    variance = jnp.maximum(mean_square - mean**2, 0.0)
    return (raw - mean) / (jnp.sqrt(variance + MIN_STD**2))


def statistics_of(raw: Float[Array, "B h w c"]) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """Returns the mean of each channel of codes and of its square, over a batch and all places."""
    return raw.mean((0, 1, 2)), jax.lax.square(raw).mean((0, 1, 2))


def largest_map_values(section: Any, image_px: int) -> int:
    """Returns places times channels of the largest map that a learned space convolves, of a picture of `image_px`.

    Args:
      section: `config.space`, of the kind "autoencoder".
      image_px: height and width of pictures, in pixels.
    """
    size = image_px // section.factor
    levels = [*enumerate(section.encoder_channels), *enumerate(section.decoder_channels)]
    return max((size * 2**level) ** 2 * channels for level, channels in levels)


def _build_autoencoder(section: Any, common: Common) -> Autoencoder:
    return Autoencoder(
        image_channels=common.image_channels,
        factor=section.factor,
        channels=section.channels,
        encoder_widths=tuple(section.encoder_channels),
        decoder_widths=tuple(section.decoder_channels),
        blocks=section.blocks,
        dtype=common.dtype,
    )


def _check_autoencoder(config: Any, section: str) -> None:
    _check_codes(config, section)
    require_positive(config, f"{section}.blocks")
    for key in ("encoder_channels", "decoder_channels"):
        channels, factor = tuple(config[section][key]), config[section].factor
        if not channels or not all(is_whole(c) and c > 0 for c in channels):
            raise UserError(f"config.{section}.{key}={channels} must be one or more whole numbers above 0")
        if factor % 2 ** (len(channels) - 1):
            raise UserError(
                f"config.{section}.{key}={channels} doubles the map {len(channels) - 1} times, which config.{section}."
                f"factor={factor} does not allow; give it fewer entries"
            )


def _build_patches(section: Any, common: Common) -> PatchComponents:
    return PatchComponents(common.image_channels, section.factor, section.channels)


def _fit_patches(images: Any, section: Any) -> dict[str, Any]:
    return patches.fit(images, section.factor, section.channels, section.whitening)


def _check_patches(config: Any, section: str) -> None:
    _check_codes(config, section)
    require_share(config, f"{section}.whitening")
    factor, channels = config[section].factor, config[section].channels
    most = factor**2 * config.data.channels
    if channels > most:
        raise UserError(
            f"config.{section}.channels={channels}: patches of {factor} x {factor} pixels have {most} "
            f"components at most"
        )


def _check_codes(config: Any, section: str) -> None:
    require_positive(config, f"{section}.factor", f"{section}.channels")
    size, factor = config.data.image_size_px, config[section].factor
    if size % factor:
        raise UserError(
            f"config.data.image_size_px={size} cannot be divided into patches of config.{section}.factor={factor} "
            f"pixels; choose a divisor of it, such as 4"
        )


SPACES.register("pixels", SpaceKind(lambda section, common: None, codes=False))  # noqa: ARG005
SPACES.register("patches", SpaceKind(_build_patches, _check_patches, fit=_fit_patches))
SPACES.register("autoencoder", SpaceKind(_build_autoencoder, _check_autoencoder, learns=True))
