"""What a snapshot says of its pretrained language model, judged before a network or a tokenizer is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from t2igan.config.pretrained import MODES
from t2igan.config.untrusted import MAX_BLOCKS, MAX_TEXT, MAX_VOCABULARY
from t2igan.data.tokenizer_file import check_parts
from t2igan.nets.pretrained_text import POOLINGS

FIELDS = ("name", "config", "pooling", "tokenizer", "digest", "mode")


def check_description(description: Mapping[str, Any]) -> None:
    """Raises ValueError where a description is none that `snapshot_parts` wrote, or of a far too large model."""
    if set(description) != set(FIELDS):
        raise ValueError(f"its pretrained text encoder is not described by {', '.join(FIELDS)}")
    config = description["config"]
    texts = [description[field] for field in FIELDS if field != "config"]
    if not isinstance(config, dict) or not all(isinstance(text, str) for text in texts):
        raise ValueError("its pretrained text encoder is described by values of other types")
    if description["mode"] not in MODES or description["pooling"] not in POOLINGS:
        raise ValueError(
            f"its pretrained text encoder is {description['mode'][:40]!r}, {description['pooling'][:40]!r}"
        )
    if not re.fullmatch("[0-9a-f]{16}", description["digest"]) or len(description["name"]) > MAX_TEXT:
        raise ValueError("its pretrained text encoder has no name and hash that t2igan writes")
    for key, value in config.items():
        if isinstance(value, int) and not 0 <= value <= MAX_VOCABULARY:
            raise ValueError(f"its pretrained text encoder has {key[:40]}={str(value)[:40]}")
    layers = config.get("num_hidden_layers")
    if type(layers) is not int or layers > MAX_BLOCKS:
        raise ValueError(
            f"its pretrained text encoder has {str(layers)[:40]} layers; {MAX_BLOCKS} at most are accepted"
        )
    check_parts(description["tokenizer"])
