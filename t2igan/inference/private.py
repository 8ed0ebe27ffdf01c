"""What a snapshot does not tell of its owner: where files lay, and captions that somebody chose for the sheets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

# Keys of a configuration that may be paths; of a path only its last part stays.
PATHS = (
    *("init_from", "data.source", "data.unlabelled_source", "data.tfds_dir", "data.tfds_files_dir", "data.cache_dir"),
    *("text_encoder.pretrained", "discriminator.features_from", "evaluate.clip_weights"),
    *("evaluate.inception_weights", "evaluate.efficientnet_weights"),
)
CAPTIONS = ("sample.captions",)
NAMED = re.compile(r"(tfds|hf|given):(?![/~.\\])")  # data sets by name, in which a slash is no folder


def without_private(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration without folders and without captions of sheets; nothing that is drawn depends on them."""

    def cleaned(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in values.items():
            if isinstance(value, Mapping):
                kept[key] = cleaned(value, f"{prefix}{key}.")
            elif prefix + key in PATHS:
                kept[key] = [last_part(one) for one in value] if isinstance(value, list | tuple) else last_part(value)
            else:
                kept[key] = () if prefix + key in CAPTIONS else value
        return kept

    return cleaned(config)


def without_folders(facts: Mapping[str, Any], key: str = "data") -> dict[str, Any]:
    """Returns facts with only the last part of the path that one of them may be."""
    return dict(facts) | ({key: last_part(facts[key])} if key in facts else {})


def last_part(value: Any) -> Any:
    """Returns the last part of each path in a text such as "/home/anna/pets:2,birds"; other values as they are."""
    if not isinstance(value, str):
        return value
    return ",".join(part if NAMED.match(part) else _name(part) for part in value.split(","))


def _name(path: str) -> str:
    return PurePosixPath(PureWindowsPath(path.strip()).name).name if re.search(r"[/\\~]", path) else path
