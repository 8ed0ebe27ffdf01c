"""A picture of which a part is hidden, completed in one pass.

A completer is applied as `apply(params, z, images, visible, text)`, with z float32 [B, Z], and returns the whole
picture as it draws it, float32 [B, H, W, C]; who wants to keep what is visible puts it over that. Its parameters hold
those of a generator under "generator", which a training begins with the run's.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.config.constraints import require_positive
from t2igan.errors import UserError
from t2igan.nets.kinds import COMPLETERS, GENERATORS, Common, NetworkKind
from t2igan.nets.layers import ResidualTower, Text, dense, leaky_relu


class CoModulated(nn.Module):
    """A generator that also sees what is visible (co-modulation; Zhao et al. 2021, arXiv:2103.10428).

    An encoder, the generator's mirror image, reads the visible part and the mask. Its map of each size is added to the
    generator's, and its global features, joined with noise and sentence, to the generator's styles, by layers that are
    zero at first: a fresh completer draws what its generator draws.
    """

    generator: Any  # a linen module whose `draw` takes `added`
    channels: tuple[int, ...]  # of the encoder, from the smallest map up, one for each of the generator's levels
    features: int = 256
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, z: Float[Array, "B Z"], images: Float[Array, "B H W C"], visible: Float[Array, "B H W 1"], text: Text
    ) -> Float[Array, "B H W C"]:
        draws = self.generator
        tower = ResidualTower(self.channels, draws.blocks, draws.patch_px, self.dtype, all_maps=True, remat=draws.remat)
        maps = [leaky_relu(x) for x in tower(jnp.concatenate([images * visible, visible], axis=-1))]
        added = [
            dense(channels, scale=0.0, dtype=self.dtype, name=f"skip_{level}")(x)
            for level, (x, channels) in enumerate(zip(maps[::-1], draws.channels, strict=True))
        ]
        read = {"seen": maps[-1].reshape(len(z), -1), "sentence": text.sentence, "noise": z}
        f = sum(dense(self.features, dtype=self.dtype, name=name)(x) for name, x in read.items())
        f = leaky_relu(dense(self.features, dtype=self.dtype, name="joined")(leaky_relu(f * len(read) ** -0.5)))
        styles = draws.styles(z, text.sentence)
        offsets = dense(styles.shape[1] * styles.shape[2], scale=0.0, dtype=self.dtype, name="styles")(f)
        return draws.draw(styles + offsets.reshape(styles.shape), text, added=added)


def _build(section: Any, common: Common) -> CoModulated | None:
    """Returns None where the generator has nothing to add maps to; `_check` says so to whoever asks for one."""
    if common.generator is None:
        return None
    return CoModulated(
        generator=common.generator,
        channels=tuple(max(round(section.width * channels), 1) for channels in common.generator.channels),
        features=section.features,
        dtype=common.dtype,
    )


def _check(config: Any, section: str) -> None:
    require_positive(config, f"{section}.width", f"{section}.features")
    kind = config.generator.kind
    if not GENERATORS[kind].skips:
        able = ", ".join(repr(name) for name, of in GENERATORS.items() if of.skips)
        raise UserError(
            f"config.generator.kind={kind!r} cannot be told what is visible of a picture, which a completer does; "
            f"set it to {able}, or leave the phase 'completion' out of config.phases"
        )


COMPLETERS.register("comodulated", NetworkKind(_build, _check))
