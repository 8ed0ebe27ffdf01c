"""Data formats: how each is known by a name, by files, or by what lies in a folder, and what opens it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2igan.config.registry import Registry
from t2igan.data.dataset import Source


@dataclass(frozen=True)
class Format:
    """A data format as it is registered. `config.data.source` is asked for by name first, then by files or folder.

    Attributes:
      opens: (`config.data`, paths) -> `Source`; the paths are the files that fit, or the folder, or none for a name.
      named: whether `config.data.source` is a name of this format, such as "tfds:mnist".
      fits: whether a file is of this format; a pattern or a folder may give several.
      folder: whether a folder is of this format, by what only this format writes into one.
      in_folders: whether files of this format are looked for in a folder that has no loose pictures.
    """

    opens: Callable[[Any, list[Path]], Source]
    named: Callable[[str], bool] = lambda name: False  # noqa: ARG005
    fits: Callable[[Path], bool] = lambda file: False  # noqa: ARG005
    folder: Callable[[Path], bool] = lambda path: False  # noqa: ARG005
    in_folders: bool = True


FORMATS: Registry[Format] = Registry("data format", key="data.source")


def ends(*suffixes: str) -> Callable[[Path], bool]:
    """Returns whether a file's name ends in one of these, in whatever case."""
    return lambda file: file.name.lower().endswith(suffixes)


def lazily(module: str, source: str, *, several: bool = True) -> Callable[[Any, list[Path]], Source]:
    """Returns what opens the class `source` of a module of this folder, which is imported only then.

    The class is given `config.data` and all paths; without `several` each path becomes a source of its own, and where
    there is no path, it is given `config.data` alone.
    """

    def opens(data_config: Any, paths: list[Path]) -> Source:
        opened = getattr(importlib.import_module(f"t2igan.data.sources.{module}"), source)
        if not paths:
            return opened(data_config)
        if several:
            return opened(data_config, paths)
        if len(paths) == 1:
            return opened(data_config, paths[0])
        from t2igan.data.sources.several import OfFiles

        return OfFiles(data_config, paths, opened)

    return opens
