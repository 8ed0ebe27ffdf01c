"""A trained generator in use: `load` a run or a snapshot, `sample` pictures from prompts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8, UInt32

from t2igan import config as config_lib
from t2igan import nets
from t2igan.data.seen import Seen, Unseen
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, command
from t2igan.inference.fitting import check_kinds, networks_of_stranger
from t2igan.inference.forked import check_not_forked
from t2igan.inference.pretrained.opening import WEIGHTS, reader_of_snapshot
from t2igan.inference.snapshot import Snapshot, open_snapshot
from t2igan.method.techniques.regularize import no_caption

SNAPSHOT_NAME = "snapshot.safetensors"  # the latest
BEST_SNAPSHOT_NAME = "snapshot_best.safetensors"  # the best of those that were evaluated
KEPT_FOLDER = "snapshots"  # those of `config.checkpoint.keep_every_images`
WHICH = {"latest": SNAPSHOT_NAME, "best": BEST_SNAPSHOT_NAME}
# Compiled once each, when first needed: a call is cut into pieces of these sizes, the last one padded.
BATCH_SIZES = tuple(2**i for i in range(7))


class Model:
    """Draws pictures from prompts.

    The picture of (prompt, seed, truncation) is always the same, whatever else is drawn with it (the last bit may
    depend on the compiled size, which is a power of two up to 64; a level of 255 at most).
    """

    def __init__(self, networks: nets.Networks, params: dict[str, Any], tokenizer: Tokenizer, snapshot: Snapshot):
        self.networks = networks
        self.params = params
        self.tokenizer = tokenizer
        self.config = snapshot.config
        self.metrics = snapshot.metrics
        self.info = snapshot.info
        self.digest = snapshot.digest
        self.seen = Seen.from_json(snapshot.seen)  # of the training captions; None where the snapshot does not say
        self._draw = jax.jit(_draw, static_argnums=0)

    def sample(
        self,
        prompts: str | Iterable[str],
        seed: int | Sequence[int] = 0,
        truncation: float = 1.0,
        cut_long: bool = False,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """Returns a picture a prompt: uint8 [N, H, W, C].

        Args:
          prompts: one or several captions in the style of the training captions.
          seed: from 0 to 2**32 - 1, for all prompts; or one for each.
          truncation: scales the noise; below 1 gives more typical pictures, 0 the same one for every seed.
          cut_long: cut prompts that are longer than the model's, as training captions are, instead of refusing them.
          guidance: above 1 leans towards the caption, 0 draws without it; other than 1 only for a model whose training
            left captions out (`config.augment.caption_dropout`).

        Raises:
          UserError: a prompt is empty or longer than the model's, or a number is out of range.

        Warns:
          PromptWarning: a prompt has words, or words side by side, that no training caption had.
        """
        return np.concatenate(list(self.sample_batches(prompts, seed, truncation, cut_long, guidance)))

    def unseen(self, prompts: str | Iterable[str]) -> list[Unseen]:
        """Returns, of each prompt with words or neighbours that no training caption had, which these are.

        They mean little to the model, and are no error. [] for all prompts where the snapshot keeps no words.
        """
        if self.seen is None:
            return []
        found = (self.seen.unseen(prompt, self.tokenizer) for prompt in dict.fromkeys(as_prompts(prompts)))
        return [one for one in found if one]

    def sample_batches(
        self,
        prompts: str | Iterable[str],
        seed: int | Sequence[int] = 0,
        truncation: float = 1.0,
        cut_long: bool = False,
        guidance: float = 1.0,
    ) -> Iterator[np.ndarray]:
        """Yields the pictures of `sample` piece by piece, for more of them than fit in memory."""
        check_not_forked()
        prompts = as_prompts(prompts)
        seeds = as_seeds(seed, len(prompts))
        check_number("truncation", truncation, 2, "1 is the noise of training")
        check_number("guidance", guidance, 10, "1 is the caption as it is")
        if guidance != 1 and not self.config.get("augment", {}).get("caption_dropout"):
            raise UserError(
                f"guidance={guidance} wants a model that can also draw without a caption; leave it at 1, or train one "
                f"with config.augment.caption_dropout=0.1"
            )
        if not cut_long:
            self.tokenizer.check_prompts(prompts)
            warn_of(self.unseen(prompts))
        start = 0
        while start < len(prompts):
            left = len(prompts) - start
            size = min(s for s in BATCH_SIZES if s >= min(left, BATCH_SIZES[-1]))
            piece = slice(start, start + size)
            tokens = self.tokenizer.encode(prompts[piece])
            filled = len(tokens)
            padding = ((0, size - filled), *[(0, 0)] * (tokens.ndim - 1))
            images = self._draw(
                self.networks,
                self.params,
                np.pad(tokens, padding, mode="edge"),
                np.pad(np.asarray(seeds[piece], np.uint32), padding[0], mode="edge"),
                np.float32(truncation),
                None if guidance == 1 else np.float32(guidance),
            )
            yield np.asarray(images)[:filled]
            start += size


class PromptWarning(UserWarning):
    """A prompt has what no training caption had."""


def warn_of(unseen: Sequence[Unseen]) -> None:
    """Warns, as Python does, of prompts with what was never seen: once for all of a call."""
    if unseen:
        more = f" (and {len(unseen) - 1:,} more prompts)" if len(unseen) > 1 else ""
        warnings.warn(f"{unseen[0].text}{more}; it means little to this model", PromptWarning, stacklevel=4)


def as_prompts(prompts: Any) -> list[str]:
    """Returns one or several prompts as a list; UserError where there is none, or one that is no text."""
    listed = [prompts] if isinstance(prompts, str) or not isinstance(prompts, Iterable) else list(prompts)
    if not listed:
        raise UserError("there is no prompt; give at least one")
    for prompt in listed:
        if not isinstance(prompt, str):
            raise UserError(f"a prompt is {prompt!r}; each must be a text")
    return listed


def as_seeds(seed: Any, num: int) -> list[int]:
    """Returns a seed for each of `num` pictures; UserError where they are not as many, or no whole numbers in range."""
    one = isinstance(seed, str) or not isinstance(seed, Iterable)
    seeds = [seed] * num if one else list(seed)
    if len(seeds) != num:
        raise UserError(f"{num} prompts but {len(seeds)} seeds; give one seed for all or one each")
    for value in seeds:
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 0 <= value < 2**32:
            raise UserError(f"seed={value!r} must be a whole number from 0 to 4294967295; any other is another picture")
    return [int(value) for value in seeds]


def check_number(name: str, value: Any, most: int, usual: str) -> None:
    """Raises `UserError` where a setting of `sample` is no number from 0 to `most`."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        raise UserError(f"{name}={value!r} must lie between 0 and {most}; {usual}")


def _draw(networks: nets.Networks, params, tokens, seeds, truncation, guidance=None) -> jax.Array:
    """Tokens [N, T] and seeds [N] to pictures, uint8 [N, H, W, C]."""
    text = networks.text_encoder.apply(params["text"], tokens)
    z = truncation * noise(seeds, networks.z_dim)
    if guidance is None:
        images = networks.generator.apply(params["generator"], z, text)
    else:
        text = jax.tree.map(lambda with_it, without: jnp.where(guidance > 0, with_it, without), text, no_caption(text))
        images = networks.generator.apply(params["generator"], z, text, guidance)
    return to_bytes(networks.to_pixels(params, images))


def noise(seeds: UInt32[Array, " N"], z_dim: int) -> Float[Array, "N {z_dim}"]:
    """Returns the standard normal noise of each seed, the same wherever it is asked for."""
    return jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), (z_dim,)))(seeds)


def to_bytes(images: Float[Array, "N H W C"]) -> UInt8[Array, "N H W C"]:
    """Returns pictures in [-1, 1] as bytes; what lies outside is clipped."""
    return jnp.round(jnp.clip(images * 127.5 + 127.5, 0, 255)).astype(jnp.uint8)


def load(path: str | Path, which: str = "latest") -> Model:
    """Returns the generator of a run's folder or of a snapshot file.

    Args:
      path: the run's folder, or a `.safetensors` file.
      which: of a run's folder, "latest" (the final one, once training is done) or "best" (of those that were evaluated
        on the way, by `config.checkpoint.best_metric` on held-out pictures).

    Raises:
      UserError: there is none, the file is damaged, or this process was forked from one that had used a model.
    """
    check_not_forked()
    found = snapshot_path(path, which)
    beside = found.parent.parent if found.parent.name == KEPT_FOLDER else found.parent
    with open_snapshot(found) as file:
        networks, tokenizer = networks_of_stranger(file.described, beside, str(found))
        snapshot = file.read()
    if WEIGHTS in snapshot.params:  # it reads captions with them, and so far there were only shapes
        tokenizer = reader_of_snapshot(snapshot, tokenizer.max_tokens, beside)
    return _model(networks, tokenizer, snapshot)


def snapshot_path(path: str | Path, which: str = "latest") -> Path:
    """Returns the snapshot file that `load` reads. Raises `UserError` where there is none."""
    path = config_lib.expanded(path, "workdir")
    if which not in WHICH:
        raise UserError(f"which={which!r} is none of {', '.join(map(repr, WHICH))}")
    if not path.exists():
        raise UserError(f"there is no {path}; give a run's folder or a .safetensors file that t2igan wrote")
    if not path.is_dir():
        return path
    found = path / WHICH[which]
    if found.is_file():
        return found
    if which == "best":
        raise UserError(
            f"{path} has no {BEST_SNAPSHOT_NAME}: nothing was evaluated on the way (config.evaluate.every_images), or "
            f"not yet; take the latest"
        )
    raise UserError(
        f"{path} has no {SNAPSHOT_NAME} yet; the training writes one at every evaluation and at its end. "
        f"Run `{command('train', config='...', workdir=path)}` first (again = go on)"
    )


def from_snapshot(snapshot: Snapshot, tokenizer: Tokenizer | None = None, beside: Path | None = None) -> Model:
    """Returns the generator that a snapshot describes.

    Args:
      snapshot: the snapshot.
      tokenizer: what its text encoder reads captions with, where the snapshot is one's own and that is at hand; None =
        as the snapshot says, and nothing that it says is believed.
      beside: the folder that it lies in, where a pretrained text encoder that it does not hold is looked for.

    Raises:
      UserError: a pretrained text encoder is nowhere to be found, a kind of network is not registered, or weights,
        configuration and tokenizer do not fit each other.
    """
    if tokenizer is None:
        networks, tokenizer = networks_of_stranger(snapshot, beside, "the snapshot")
    else:
        config = config_lib.from_dict(snapshot.config)
        check_kinds(config)
        networks = nets.build(config, tokenizer.vocab_size, tokenizer.pretrained)
    return _model(networks, tokenizer, snapshot)


def _model(networks: nets.Networks, tokenizer: Tokenizer, snapshot: Snapshot) -> Model:
    params = {name: of_one for name, of_one in snapshot.params.items() if name != WEIGHTS}
    return Model(networks, jax.tree.map(jnp.asarray, params), tokenizer, snapshot)
