"""Pure functions from captions and noise to pictures: what `Model` compiles, exports trace and edits build on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8, UInt32

from t2igan import nets
from t2igan.data.tokenizer import Tokenizer
from t2igan.data.workers import usable_cores
from t2igan.inference.prompts import Prompt
from t2igan.method.techniques.regularize import no_caption

# Compiled once each, when first needed: a call is cut into pieces of these sizes, the last one padded.
BATCH_SIZES = tuple(2**i for i in range(7))
ENCODED_SIZES = (1, 8, 64)  # of captions, likewise: mostly all pictures of a call have the same one
MOST_THREADS = 4  # that draw by themselves: each call has XLA's own threads besides, which share the cores
Piece = TypeVar("Piece")
Rows = TypeVar("Rows")
Encoded = tuple[Any, ...]  # arrays, a row a caption: what a `nets.Text` has


def encode(networks: nets.Networks, params, tokens) -> Encoded:
    """Returns what the generator reads of captions, of tokens [N, T]: sentences, words and their mask."""
    text = networks.text_encoder.apply(params["text"], tokens)
    return text.sentence, text.words, text.mask


def pictures(networks: nets.Networks, params, tokens, z, guidance=None) -> Float[Array, "N H W C"]:
    """Returns pictures in [-1, 1] or a little beyond, of tokens [N, T] and noise [N, Z]."""
    return _pictures_of(networks, params, nets.Text(*encode(networks, params, tokens)), z, guidance)


def _pictures_of(networks: nets.Networks, params, text: nets.Text, z, guidance) -> Float[Array, "N H W C"]:
    how = () if guidance is None else (guidance,)  # a generator of one's own need not know it
    images = networks.generator.apply(params["generator"], z, _guided(text, guidance), *how)
    return networks.to_pixels(params, images)


def draw(networks: nets.Networks, params, tokens, seeds, truncation, guidance=None) -> UInt8[Array, "N H W C"]:
    """Returns pictures as bytes, of tokens [N, T] and seeds [N]."""
    return draw_encoded(networks, params, encode(networks, params, tokens), seeds, truncation, guidance)


def draw_encoded(
    networks: nets.Networks, params, encoded: Encoded, seeds, truncation, guidance=None
) -> UInt8[Array, "N H W C"]:
    """Returns pictures as bytes, of what `encode` returns of N captions, and seeds [N]."""
    z = truncation * noise(seeds, networks.z_dim)
    return to_bytes(_pictures_of(networks, params, nets.Text(*encoded), z, guidance))


def _guided(text: nets.Text, guidance) -> nets.Text:
    """Captions, or none where the guidance is 0."""
    chosen = lambda with_it, without: jnp.where(guidance > 0, with_it, without)
    return text if guidance is None else jax.tree.map(chosen, text, no_caption(text))


def draw_composed(
    networks: nets.Networks, params, tokens, shares, read, counts, seeds, truncation, guidance=None
) -> jax.Array:
    """Sums of styles to pictures, uint8 [N, H, W, C].

    Args:
      networks: the generator has `styles` and `draw`.
      params: by network.
      tokens: [N, K, ...], the captions of which styles are made.
      shares: float32 [N, K], what each counts; 0 for what fills up.
      read: [N, R, ...], the captions whose words are read.
      counts: bool [N, R], whether there is such a caption.
      seeds: uint32 [N].
      truncation, guidance: as in `Model.sample`; a guidance of None is 1.
    """
    z = truncation * noise(seeds, networks.z_dim)
    styles, text = composed(networks, params, z, tokens, shares, read, counts, guidance)
    images = networks.generator.apply(params["generator"], styles, _guided(text, guidance), method="draw")
    return to_bytes(networks.to_pixels(params, images))


def composed(
    networks: nets.Networks, params, z, tokens, shares, read, counts, guidance=None
) -> tuple[Float[Array, "N U S"], nets.Text]:
    """Returns sums of styles, and the words of all captions that are read; arguments as in `draw_composed`."""
    encode = lambda tokens: networks.text_encoder.apply(params["text"], tokens.reshape(-1, *tokens.shape[2:]))
    num, captions = shares.shape
    styles = networks.generator.apply(
        params["generator"], jnp.repeat(z, captions, axis=0), encode(tokens).sentence, guidance, method="styles"
    )
    styles = jnp.einsum("nk,nkus->nus", shares, styles.reshape(num, captions, *styles.shape[1:]))
    text = encode(read)
    words = text.words.reshape(num, -1, text.words.shape[-1])
    mask = text.mask.reshape(num, read.shape[1], -1) & counts[..., None]
    sentence = text.sentence.reshape(num, read.shape[1], -1)[:, 0]
    return styles, nets.Text(sentence, words, mask.reshape(num, -1))


def encode_composed(tokenizer: Tokenizer, meant: Sequence[Prompt]) -> tuple[np.ndarray, ...]:
    """Returns tokens [N, K, ...], shares float32 [N, K], read [N, R, ...] and counts bool [N, R] of prompts."""
    most, most_read = max(len(of.captions) for of in meant), max(len(of.read) for of in meant)
    fill = lambda texts, length: [*texts, *[texts[0]] * (length - len(texts))]
    tokens = np.stack([tokenizer.encode(fill(prompt.captions, most)) for prompt in meant])
    read = np.stack([tokenizer.encode(fill(prompt.read, most_read)) for prompt in meant])
    shares = np.stack(
        [np.pad(np.asarray(prompt.shares, np.float32), (0, most - len(prompt.shares))) for prompt in meant]
    )
    return tokens, shares, read, np.stack([np.arange(most_read) < len(prompt.read) for prompt in meant])


def drawing_threads() -> int:
    """Returns how many calls draw at the same time for the most pictures a second.

    One, where there is an accelerator. On a CPU a single call leaves cores idle (docs/serving.md).
    """
    return min(usable_cores(), MOST_THREADS) if jax.default_backend() == "cpu" else 1


def several_at_once(draw: Callable[[Piece], np.ndarray], pieces: Sequence[Piece]) -> Iterator[np.ndarray]:
    """Yields `draw(piece)` of each piece, in order, while a few that follow are drawn on threads."""
    yield from map(draw, pieces[:1])  # alone: it compiles what the others need, too
    threads = drawing_threads()
    if threads == 1 or len(pieces) <= 2:
        yield from map(draw, pieces[1:])
        return
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads, "t2igan-drawing") as pool:
        for piece in pieces[1:]:
            waiting.append(pool.submit(draw, piece))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def padded_size(rows: int, sizes: Sequence[int] = BATCH_SIZES) -> int:
    """Returns the least of `sizes`, for which programs are compiled, that holds so many rows."""
    return min(size for size in sizes if size >= rows)


def padded(arrays: Rows, sizes: Sequence[int] = BATCH_SIZES) -> Rows:
    """Returns arrays, in tuples and the like, whose rows are repeated up to one of `sizes`."""
    filled = len(jax.tree.leaves(arrays)[0])
    extra = padded_size(filled, sizes) - filled
    return jax.tree.map(lambda x: np.pad(x, ((0, extra), *[(0, 0)] * (x.ndim - 1)), mode="edge"), arrays)


def noise(seeds: UInt32[Array, " N"], z_dim: int) -> Float[Array, "N {z_dim}"]:
    """Returns the standard normal noise of each seed, the same wherever it is asked for."""
    return jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), (z_dim,)))(seeds)


def to_bytes(images: Float[Array, "N H W C"]) -> UInt8[Array, "N H W C"]:
    """Returns pictures in [-1, 1] as bytes; what lies outside is clipped.

    Four channels are taken for premultiplied colours and alpha (`t2igan.nets.to_unit`) and become straight ones: the
    colour is divided by alpha as rounded, so that on any background the picture looks as it was meant, to a level.
    """
    levels = jnp.clip(images * 127.5 + 127.5, 0, 255)
    if images.shape[-1] == 4:
        alpha = jnp.round(levels[..., 3:])
        colours = jnp.minimum(levels[..., :3] * 255 / jnp.maximum(alpha, 1), 255)
        levels = jnp.concatenate([jnp.where(alpha > 0, colours, 0), alpha], axis=-1)
    return jnp.round(levels).astype(jnp.uint8)
