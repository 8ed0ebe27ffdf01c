"""What a run or a snapshot reads captions with: its own tokenizer, or a pretrained model in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference.pretrained.captions import ModelReader
from t2igan.inference.pretrained.text_model import (
    PACKAGES,
    WEIGHTS_NAME,
    TextModel,
    file_digest,
    read_params,
    read_text_model,
)
from t2igan.inference.snapshot import Snapshot
from t2igan.nets.pretrained_text import FROZEN, LANGUAGE_MODEL

WEIGHTS = "pretrained"  # among a snapshot's parameters: the frozen model's, float16
BESIDE_NAME = "text_encoder"  # a folder beside a snapshot, where its language model is looked for first


def reader_of(config: Any, own: Tokenizer, model: TextModel | None = None) -> Tokenizer:
    """Returns what the text encoder of a configuration reads captions with; `own` where no model is named.

    Args:
      config: the whole configuration, checked.
      own: the run's tokenizer.
      model: the named model, where it was found before.

    Raises:
      UserError: the model is missing, of another kind, or cannot read captions as long as configured.
    """
    text = config.text_encoder
    if not text.pretrained:
        return own
    model = model or read_text_model(text.pretrained)
    return ModelReader(model, text.pretrained_mode, config.tokenizer.max_tokens, own, config.data)


def snapshot_parts(tokenizer: Tokenizer, in_snapshot: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what a snapshot keeps of a pretrained model: parameters and description, both {} where there is none.

    Of a tuned model the weights are the text encoder's own; of a frozen one they are kept if `in_snapshot`.
    """
    if not isinstance(tokenizer, ModelReader):
        return {}, {}
    description = tokenizer.model.description() | {"mode": tokenizer.mode}
    kept = in_snapshot and tokenizer.mode == FROZEN
    return ({WEIGHTS: tokenizer.params} if kept else {}), description


def reader_of_snapshot(snapshot: Snapshot, max_tokens: int, beside: Path | None = None) -> Tokenizer:
    """Returns what the text encoder of a snapshot reads captions with.

    A frozen model's weights are those in the snapshot, or else of the folder `BESIDE_NAME` beside it, or else where the
    training had them.

    Args:
      snapshot: the snapshot.
      max_tokens: `config.tokenizer.max_tokens` of its configuration.
      beside: the folder that the snapshot lies in, where it lies in one.

    Raises:
      UserError: the weights are nowhere to be found, or are others.
    """
    own = Tokenizer.from_json(snapshot.tokenizer)
    if not snapshot.pretrained:
        return own
    description = dict(snapshot.pretrained)
    mode = description.pop("mode")
    if mode != FROZEN:
        read = _nothing
    elif WEIGHTS in snapshot.params:
        params = snapshot.params[WEIGHTS]
        read = lambda: params
    else:
        path = _find(description, beside)
        read = lambda: read_params(path, description["config"])
    return ModelReader(TextModel.of_description(description, read), mode, max_tokens, own)


def _find(description: dict[str, Any], beside: Path | None) -> Path:
    """The weights file whose hash a snapshot names."""
    name, digest = description["name"], description["digest"]
    found = beside / BESIDE_NAME / WEIGHTS_NAME if beside else None
    if found is not None and found.is_file() and file_digest(found) == digest:
        return found
    place = f"{beside / BESIDE_NAME}" if beside else f"a folder {BESIDE_NAME} beside the snapshot"
    how = f" ({PACKAGES[name].install})" if name in PACKAGES else ""
    try:
        model = read_text_model(name)
    except UserError as error:
        raise UserError(
            f"this snapshot's text encoder is {name!r}, which is not in it and not here: put its folder, with the "
            f"{WEIGHTS_NAME} of hash {digest}, to {place}, or bring {name!r} back{how}"
        ) from error
    if model.digest != digest:
        raise UserError(
            f"this snapshot's text encoder was trained on {name!r} with weights of hash {digest}, and those here have "
            f"{model.digest}: put the folder with the right {WEIGHTS_NAME} to {place}"
        )
    return Path(model.folder) / WEIGHTS_NAME


def _nothing() -> Any:
    raise ValueError("a tuned model's weights are the text encoder's parameters")


def tuned_from(start: Any, params: Any) -> Any:
    """Returns a fresh tuned text encoder's parameters with the pretrained ones in their place, float32."""
    pretrained = jax.tree.map(lambda x: np.asarray(x, np.float32), params["params"])
    return start | {"params": dict(start["params"]) | {LANGUAGE_MODEL: pretrained}}
