"""A trained generator in use: `load` a run or a snapshot, `sample` pictures from prompts."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import config as config_lib
from t2igan import nets
from t2igan.data.seen import Seen, Unseen
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, command
from t2igan.inference import shipped
from t2igan.inference.arguments import as_prompts, as_seeds, check_number
from t2igan.inference.checkpoint import said_of, saved_steps
from t2igan.inference.drawing import (
    BATCH_SIZES,
    ENCODED_SIZES,
    Encoded,
    draw,
    draw_composed,
    draw_encoded,
    encode,
    encode_composed,
    padded,
    several_at_once,
)
from t2igan.inference.fitting import check_kinds, networks_of_stranger
from t2igan.inference.forked import check_not_forked
from t2igan.inference.pretrained.opening import WEIGHTS, reader_of_snapshot
from t2igan.inference.prompts import Prompt, parse
from t2igan.inference.snapshot import Snapshot, open_snapshot

SNAPSHOT_NAME = "snapshot.safetensors"  # the latest
BEST_SNAPSHOT_NAME = "snapshot_best.safetensors"  # the best of those that were evaluated
MODEL_NAME = "model.safetensors"  # the same file in a folder in the layout of the Hugging Face Hub
KEPT_FOLDER = "snapshots"  # those of `config.checkpoint.keep_every_images`
WHICH = {"latest": SNAPSHOT_NAME, "best": BEST_SNAPSHOT_NAME}


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
        self._encode = jax.jit(encode, static_argnums=0)
        self._draw_encoded = jax.jit(draw_encoded, static_argnums=0)
        self._draw = jax.jit(draw, static_argnums=0)
        self._draw_composed = jax.jit(draw_composed, static_argnums=0)

    def sample(
        self,
        prompts: str | Iterable[str],
        seed: int | Sequence[int] = 0,
        truncation: float = 1.0,
        cut_long: bool = False,
        guidance: float = 1.0,
        negative: str = "",
    ) -> np.ndarray:
        """Returns a picture a prompt: uint8 [N, H, W, C]; with four channels, RGBA whose colours are not premultiplied.

        Args:
          prompts: one or several captions in the style of the training captions, or more in the language of
            `t2igan.inference.prompts`: "(a red hat:1.3)", AND.
          seed: from 0 to 2**32 - 1, for all prompts; or one for each.
          truncation: scales the noise; below 1 gives more typical pictures, 0 the same one for every seed.
          cut_long: take prompts for captions of a data set: cut those that are longer than the model's, as training
            captions are, instead of refusing them, and read them as they stand, brackets and all.
          guidance: above 1 leans towards the caption, 0 draws without it; other than 1 only for a model whose training
            left captions out (`config.augment.caption_dropout`).
          negative: what is not wanted, phrases between commas.

        Raises:
          UserError: a prompt is empty or longer than the model's, its brackets are wrong, or a number is out of range.

        Warns:
          PromptWarning: a prompt has words, or words side by side, that no training caption had.
        """
        return np.concatenate(list(self.sample_batches(prompts, seed, truncation, cut_long, guidance, negative)))

    def compile(self, images: int, guidance: float = 1.0) -> None:
        """Compiles what `sample_encoded` draws so many pictures with at once, and draws nothing; on any thread.

        `encoded` has a program of its own, which is compiled where `images` are one of `ENCODED_SIZES`.

        Args:
          images: one of `t2igan.inference.drawing.BATCH_SIZES`.
          guidance: as in `sample`; only whether it is 1 counts.
        """
        if images in ENCODED_SIZES and guidance == 1:
            self._encode.lower(self.networks, self.params, self.tokenizer.encode(["a"] * images)).compile()
        captions = tuple(jax.ShapeDtypeStruct((images, *row.shape[1:]), row.dtype) for row in self._encoded_shapes)
        arguments = (np.zeros(images, np.uint32), *_how(1.0, guidance))
        self._draw_encoded.lower(self.networks, self.params, captions, *arguments).compile()

    @functools.cached_property
    def _encoded_shapes(self) -> Encoded:
        """The shapes and types of one caption, encoded."""
        return jax.eval_shape(functools.partial(encode, self.networks), self.params, self.tokenizer.encode(["a"]))

    def encoded(self, captions: Sequence[str]) -> Encoded:
        """Returns captions as the generator reads them, for `sample_encoded`: NumPy arrays, a row a caption.

        Those that are too long are cut.
        """
        tokens, parts = self.tokenizer.encode(captions), []
        while len(tokens):
            filled = max(size for size in ENCODED_SIZES if size <= len(tokens))
            num = filled if filled > 1 else len(tokens)  # a few that are left are padded
            encoded = self._encode(self.networks, self.params, padded(tokens[:num], ENCODED_SIZES))
            parts.append([np.asarray(x)[:num] for x in encoded])
            tokens = tokens[num:]
        return tuple(np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))

    def sample_encoded(
        self, captions: Encoded, seeds: np.ndarray, truncation: float = 1.0, guidance: float = 1.0
    ) -> np.ndarray:
        """Returns the pictures of `sample`, uint8 [N, H, W, C], of captions that `encoded` has read.

        Args:
          captions: at most 64 rows.
          seeds: uint32 [N].
          truncation, guidance: as in `sample`, and not checked.
        """
        arguments = padded((captions, seeds))
        images = self._draw_encoded(self.networks, self.params, *arguments, *_how(truncation, guidance))
        return np.asarray(images)[: len(seeds)]

    def unseen(self, prompts: str | Iterable[str]) -> list[Unseen]:
        """Returns, of each prompt with words or neighbours that no training caption had, which these are.

        They mean little to the model, and are no error. [] for all prompts where the snapshot keeps no words.
        """
        return self._unseen({prompt: parse(prompt) for prompt in as_prompts(prompts)})

    def _unseen(self, meant: dict[str, Prompt]) -> list[Unseen]:
        if self.seen is None:
            return []
        found = [self.seen.unseen_of(prompt, of.captions, self.tokenizer) for prompt, of in meant.items()]
        return [one for one in found if one]

    def sample_batches(
        self,
        prompts: str | Iterable[str],
        seed: int | Sequence[int] = 0,
        truncation: float = 1.0,
        cut_long: bool = False,
        guidance: float = 1.0,
        negative: str = "",
    ) -> Iterator[np.ndarray]:
        """Yields the pictures of `sample` piece by piece, for more of them than fit in memory."""
        check_not_forked()
        prompts = as_prompts(prompts)
        seeds = as_seeds(seed, len(prompts))
        check_number("truncation", truncation, 2, "1 is the noise of training")
        self.check_guidance(guidance)
        if cut_long and not negative:
            meant = [Prompt.plain(prompt) for prompt in prompts]
        else:
            meant = self.understood(prompts, negative)
            warn_of(self.unseen(prompts) if negative else self._unseen(dict(zip(prompts, meant, strict=True))))

        def draw(piece: slice) -> np.ndarray:
            return self._drawn(meant[piece], np.asarray(seeds[piece], np.uint32), truncation, guidance)

        most = BATCH_SIZES[-1]
        yield from several_at_once(draw, [slice(start, start + most) for start in range(0, len(prompts), most)])

    def understood(self, prompts: Sequence[str], negative: str = "") -> list[Prompt]:
        """Returns what prompts mean. Raises `UserError` for one that cannot be read or is too long."""
        meant = [parse(prompt, negative) for prompt in prompts]
        for i, of in enumerate(meant):
            if "AND" in prompts[i] and self.tokenizer.lengths(of.captions).max() > self.tokenizer.max_tokens:
                meant[i] = parse(prompts[i], negative, unite=False)
        # Each caption of which one is made up has to fit.
        self.tokenizer.check_prompts([caption for of in meant for caption in dict.fromkeys(of.captions + of.read)])
        return meant

    def check_guidance(self, guidance: float) -> None:
        """Raises `UserError` for a guidance that is out of range, or that the model was not trained for."""
        check_number("guidance", guidance, 10, "1 is the caption as it is")
        if guidance != 1 and not self.config.get("augment", {}).get("caption_dropout"):
            raise UserError(
                f"guidance={guidance} wants a model that can also draw without a caption; leave it at 1, or train one "
                f"with config.augment.caption_dropout=0.1"
            )

    def _drawn(self, meant: list[Prompt], seeds: np.ndarray, truncation: float, guidance: float) -> np.ndarray:
        """The pictures of at most 64 prompts; those that are plain captions go the short way, as ever."""
        how = _how(truncation, guidance)
        plain = [i for i, prompt in enumerate(meant) if prompt.caption is not None]
        composed = [i for i, prompt in enumerate(meant) if prompt.caption is None]
        drawn: dict[int, np.ndarray] = {}
        if plain:
            tokens = self.tokenizer.encode([str(meant[i].caption) for i in plain])
            arguments: tuple[np.ndarray, ...] = padded((tokens, seeds[plain]))
            drawn |= zip(plain, np.asarray(self._draw(self.networks, self.params, *arguments, *how)), strict=False)
        if composed:
            self.check_styled("a prompt with weights, AND or a negative")
            arguments = padded((*encode_composed(self.tokenizer, [meant[i] for i in composed]), seeds[composed]))
            images = self._draw_composed(self.networks, self.params, *arguments, *how)
            drawn |= zip(composed, np.asarray(images), strict=False)
        return np.stack([drawn[i] for i in range(len(meant))])

    def check_styled(self, what: str) -> None:
        """Raises `UserError` where the generator has no styles to work on."""
        if not hasattr(self.networks.generator, "styles"):
            kind = self.config["generator"]["kind"]
            raise UserError(
                f"{what} needs a generator with styles, and this model's is of the kind {kind!r}; train one with "
                f"config.generator.kind='residual'"
            )


def _how(truncation: float, guidance: float) -> tuple[np.float32, np.float32 | None]:
    """The last arguments of what draws; without guidance it is another program, which draws no second caption."""
    return np.float32(truncation), None if guidance == 1 else np.float32(guidance)


class PromptWarning(UserWarning):
    """A prompt has what no training caption had."""


def warn_of(unseen: Sequence[Unseen]) -> None:
    """Warns, as Python does, of prompts with what was never seen: once for all of a call."""
    if unseen:
        more = f" (and {len(unseen) - 1:,} more prompts)" if len(unseen) > 1 else ""
        warnings.warn(f"{unseen[0].text}{more}; it means little to this model", PromptWarning, stacklevel=4)


def load(path: str | Path, which: str = "latest") -> Model:
    """Returns the generator of a run's folder or of a snapshot file.

    Args:
      path: the run's folder, a `.safetensors` file, a folder that `t2igan export --format=hub` wrote, or "models/NAME",
        one of the package's own (`t2igan models`).
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
    path = shipped.found(config_lib.expanded(path, "workdir"))
    if which not in WHICH:
        raise UserError(f"which={which!r} is none of {', '.join(map(repr, WHICH))}")
    if not path.exists():
        raise UserError(f"there is no {path}; give a run's folder or a .safetensors file that t2igan wrote")
    if not path.is_dir():
        return path
    for found in (path / WHICH[which], path / MODEL_NAME):
        if found.is_file():
            return found
    if which == "best":
        raise UserError(
            f"{path} has no {BEST_SNAPSHOT_NAME}: nothing was evaluated on the way (config.evaluate.every_images), or "
            f"not yet; take the latest"
        )
    saved = said_of(saved_steps(path))
    saved = f" ({saved})" if saved else ""
    raise UserError(
        f"{path} has no {SNAPSHOT_NAME} yet{saved}; the training writes one when a generator is "
        f"evaluated, stopped or done. Run `{command('train', config='...', workdir=path)}` first (again = go on)"
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
    # Small snapshots are stored in float16 (`t2igan export --format=snapshot --dtype=float16`). All arrays go to the
    # device together: one by one they took half a second.
    params = jax.device_put(jax.tree.map(lambda x: np.asarray(x, np.float32), params))
    return Model(networks, params, tokenizer, snapshot)
