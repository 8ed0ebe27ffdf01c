"""The tokenizer of a run: kept, inherited or learned from the training captions, or that of a pretrained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan import nets
from t2igan.data import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.files import write_json, write_text
from t2igan.inference.pretrained.opening import reader_of, snapshot_parts
from t2igan.training import warm_start as inheritance
from t2igan.training.distributed import processes


def open_tokenizer(config: Any, workdir: Path, train_data: Dataset, model: Any) -> Any:
    """Returns what turns captions into tokens; the leader writes down what a run needs of it to go on.

    `model` is the pretrained one that captions are read with, or None. UserError where it has other weights than the
    run was begun with.
    """
    own = Tokenizer.from_json(processes.from_leader(lambda: _tokenizer(config, workdir, train_data)))
    tokenizer = reader_of(config, own, model)
    processes.from_leader(lambda: _describe(tokenizer, workdir))
    return tokenizer


def _tokenizer(config, workdir: Path, train_data: Dataset) -> str:
    """Returns the run's tokenizer as JSON; inherited or trained, and written, where there is none yet."""
    path = workdir / "tokenizer.json"
    # Without config.json it is of a start that failed, perhaps with another configuration.
    if path.is_file() and (workdir / "config.json").is_file():
        return path.read_text(encoding="utf-8")
    tokenizer = _inherited_tokenizer(config, train_data)
    if tokenizer is None:
        captions = [caption for captions in train_data.captions for caption in captions]
        t = config.tokenizer
        tokenizer = Tokenizer.train(captions, t.vocab_size, t.max_tokens, t.lowercase)
    write_text(path, tokenizer.to_json())
    return tokenizer.to_json()


def _describe(tokenizer: Tokenizer, workdir: Path) -> None:
    """Writes which pretrained model captions are read with; UserError where the run was begun with other weights."""
    _, description = snapshot_parts(tokenizer, in_snapshot=False)
    path = workdir / inheritance.PRETRAINED_NAME
    if not description or not (workdir / "config.json").is_file() or not path.is_file():
        if description:
            write_json(path, description)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))["digest"]
    if begun != description["digest"]:
        raise UserError(
            f"{workdir} was begun with other weights of {description['name']!r}: their hash was {begun}, and is "
            f"{description['digest']}.\nBring the old ones back to go on there, or choose another --workdir"
        )


def _inherited_tokenizer(config, train_data: Dataset) -> Tokenizer | None:
    """The tokenizer of `config.init_from`, where the text encoder that goes with it can be taken."""
    if not config.init_from or config.text_encoder.pretrained:
        return None
    source = inheritance.read(config.init_from)
    if source.pretrained:
        return None
    shapes = {
        "images": jax.ShapeDtypeStruct((2, *train_data.images.shape[1:]), np.uint8),
        "tokens": jax.ShapeDtypeStruct((2, source.tokenizer.max_tokens), np.int32),
    }
    fits = source.tokenizer.max_tokens == config.tokenizer.max_tokens and inheritance.text_fits(
        source, nets.build(config, source.tokenizer.vocab_size), shapes
    )
    return source.tokenizer if fits else None
