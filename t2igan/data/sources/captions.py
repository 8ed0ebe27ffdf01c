"""What a row, a text or a label says of a picture: captions and attributes, cleaned."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2igan.data.encoding import REPLACED
from t2igan.data.sources.fields import LATER_FIELDS, caption_fields, plain
from t2igan.data.splits import TEST_SPLITS, VAL_SPLITS
from t2igan.errors import UserError

# Folders, files and rows of these names are splits.
SPLITS = ("train", "training", *TEST_SPLITS, *VAL_SPLITS, "unseen", "holdout", "heldout")
MAX_CAPTION_CHARACTERS = 2_000
CONTROL_CHARACTERS = dict.fromkeys([*range(32), *range(127, 160)], " ")
NUMBERS = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?([\s,;]+[-+]?\d*\.?\d+(e[-+]?\d+)?)+", re.IGNORECASE)


def as_captions(value: Any, encoding: str = "") -> tuple[str, ...]:
    """Returns the captions in a string or a list of them: white space collapsed, no blanks, no doubles.

    Bytes are decoded (`encoding`, or UTF-8). A text with U+FFFD, where there were bytes that are no characters, is no
    caption.
    """
    values = value if isinstance(value, (list, tuple, np.ndarray)) else [value]
    texts = [v.decode(encoding or "utf-8", "replace") if isinstance(v, bytes) else v for v in values]
    cleaned = [clean_text(text) for text in texts if isinstance(text, str)]
    return tuple(dict.fromkeys(text for text in cleaned if text and REPLACED not in text))


def is_damaged(value: Any, encoding: str = "") -> bool:
    """Whether a text, bytes or a list of such has bytes that are no characters."""
    if isinstance(value, (list, tuple)):
        return any(is_damaged(one, encoding) for one in value)
    text = value.decode(encoding or "utf-8", "replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and REPLACED in text


def clean_text(text: str) -> str:
    """Returns a text as one line of at most MAX_CAPTION_CHARACTERS; control characters and white space are blanks."""
    # Cut twice: a megabyte of text need not be cleaned whole, and blanks must not crowd out what is left.
    text = text[: 4 * MAX_CAPTION_CHARACTERS].translate(CONTROL_CHARACTERS)
    # Lone surrogates have no UTF-8 form, and everything later wants one.
    return " ".join(text.encode("utf-8", "replace").decode().split())[:MAX_CAPTION_CHARACTERS].rstrip()


def chosen_captions(captions: Sequence[str], data_config: Any) -> tuple[str, ...]:
    """Returns the captions of a picture that are used: all, or the first by `config.data.captions`."""
    return tuple(captions[:1] if data_config.captions == "first" else captions)


def as_attributes(value: Any) -> dict[str, str]:
    """Returns name -> value of a dict or its JSON; what is empty, null or nested is left out."""
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    if not isinstance(value, Mapping):
        return {}
    scalars = {str(k): str(v) for k, v in value.items() if isinstance(v, (str, int, float)) and str(v)}
    return {name: value.encode("utf-8", "replace").decode() for name, value in scalars.items()}


def readable_label(name: str) -> str:
    """Returns a class name as one would write it in a caption: "T-shirt/top" -> "t-shirt or top"."""
    return " or ".join(" ".join(part.replace("_", " ").split()) for part in name.lower().split("/"))


def label_captions(label: str, templates: Sequence[str]) -> tuple[str, ...]:
    """Returns one caption a template, for a picture that has a label only.

    UserError where there is no template, or {label} is not in it.
    """
    if not templates:
        raise UserError('config.data.caption_templates is empty: give at least one, as "a picture of {label}".')
    for template in templates:
        if "{label}" not in template:
            raise UserError(
                f"config.data.caption_templates has {template!r}, which says nothing about the picture.\n"
                'Write {label} where the label goes, as in "a picture of {label}".'
            )
    return as_captions([template.replace("{label}", readable_label(label)) for template in templates])


def captions_of_row(
    row: Mapping[str, Any], data_config: Any, label_names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the captions and attributes of a row: its caption field, else its label in the templates.

    `row` has the names of its fields as `plain` writes them. `label_names` turns an integer label into words.
    """
    captions, attributes, _ = captions_and_field(row, data_config, label_names)
    return captions, attributes


def captions_and_field(
    row: Mapping[str, Any], data_config: Any, label_names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Returns what `captions_of_row` does, and the name of the field that the captions come from."""
    attributes = as_attributes(row.get("attributes"))
    for name in caption_fields(row, data_config.caption_field):
        if captions := as_captions(_texts_in(row.get(name)), data_config.encoding):
            return captions, attributes, name
    label_field = data_config.label_field
    label = row.get(label_field, row.get(plain(label_field)))
    if data_config.caption_field:
        return (), attributes, ""
    for name in LATER_FIELDS:
        if captions := as_captions(answer(row.get(name)), data_config.encoding):
            return captions, attributes, name
    if label is None or isinstance(label, (list, Mapping)) or str(label).strip() == "":
        return (), attributes, ""
    if label_names is not None and isinstance(label, int) and 0 <= label < len(label_names):
        label = label_names[label]
    label = str(label)
    captions = label_captions(label, data_config.caption_templates)
    return captions, {label_field: readable_label(label)} | attributes, label_field


def answer(turns: Any) -> list[str]:
    """Returns the first answer in a conversation about a picture: what follows are answers to questions about it.

    Turns are LLaVA's {"from": "human" | "gpt", "value"}, or {"role": "user" | "assistant", "content"}.
    """
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, Mapping):
            continue
        who = str(turn.get("from", turn.get("role", ""))).lower()
        if who in ("gpt", "assistant", "model", "chatgpt", "bot"):
            said = turn.get("value", turn.get("content"))
            parts = said if isinstance(said, list) else [said]
            texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
            return [text for text in texts if isinstance(text, str)]
    return []


def is_numbers(text: str) -> bool:
    """Whether a text is nothing but two or more numbers, such as the box of an object: never a caption."""
    return NUMBERS.fullmatch(text.strip()) is not None


def _texts_in(value: Any) -> Any:
    """Returns a value with the texts of wrapped captions in place of them: [{"raw": "a cat", "tokens": ...}, ...]."""
    if not isinstance(value, list):
        return value
    inner = ("raw", "caption", "text", "sentence")
    return [next((v[k] for k in inner if isinstance(v.get(k), str)), None) if isinstance(v, dict) else v for v in value]
