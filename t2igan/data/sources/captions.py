"""What a row, a text or a label says of a picture: captions and attributes, cleaned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2igan.data.encoding import REPLACED
from t2igan.data.splits import TEST_SPLITS, VAL_SPLITS
from t2igan.errors import UserError

# Folders, files and rows of these names are splits.
SPLITS = ("train", "training", *TEST_SPLITS, *VAL_SPLITS, "unseen", "holdout", "heldout")
MAX_CAPTION_CHARACTERS = 2_000
CONTROL_CHARACTERS = dict.fromkeys([*range(32), *range(127, 160)], " ")
CAPTION_FIELDS = ("text", "caption", "captions", "texts", "sentence", "sentences", "description", "prompt")


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

    `label_names` turns an integer label into words.
    """
    attributes = as_attributes(row.get("attributes"))
    fields = (data_config.caption_field,) if data_config.caption_field else CAPTION_FIELDS
    for name in fields:
        if captions := as_captions(row.get(name), data_config.encoding):
            return captions, attributes
    label = row.get(data_config.label_field)
    if data_config.caption_field or label is None or str(label).strip() == "":
        return (), attributes
    if label_names is not None and isinstance(label, int) and 0 <= label < len(label_names):
        label = label_names[label]
    label = str(label)
    return (
        label_captions(label, data_config.caption_templates),
        {data_config.label_field: readable_label(label)} | attributes,
    )
