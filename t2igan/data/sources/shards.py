"""Several files that together are one data set: where they lie, and which split each belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from t2igan.config import expanded
from t2igan.data.dataset import Skipped
from t2igan.data.sources.captions import SPLITS
from t2igan.data.sources.found import FoundSource
from t2igan.data.sources.names import shown_name
from t2igan.data.stored import InFile, is_inside, reason_of

LEADS_OUT = "a link that leads out of the folder (config.data.follow_links=True follows it)"


class ShardedSource(FoundSource):
    """A source that is one or more files of one format."""

    def __init__(self, data_config: Any, files: Sequence[Path]):
        """Reads nothing yet."""
        super().__init__(data_config)
        self._files = list(files)
        self._root = common_folder(files, data_config)

    def _readable(self) -> tuple[dict[Path, str | None], dict[Path, InFile], list[tuple[str | None, Skipped]]]:
        """Returns the split of each file, the files that may be read, and those that may not."""
        splits = splits_by_name(self._files, self._root, self._config)
        files, lost = whole_files(self._files, self._root, self._config)
        return splits, files, [(None, skipped) for skipped in lost]


def common_folder(files: Sequence[Path], data_config: Any) -> Path:
    """Returns the folder that the user named, or the one that holds all the files."""
    named = expanded(str(data_config.source), "config.data.source")
    if named.is_dir() and all(named in file.parents for file in files):
        return named
    return Path(os.path.commonpath([file.absolute().parent for file in files]))


def relative_name(file: Path, root: Path) -> str:
    """Returns a file's printable name below a folder, which `common_folder` gave."""
    base, file = root.absolute(), file.absolute()
    return shown_name(file.relative_to(base).as_posix() if base in file.parents else file.name)


def whole_files(files: Sequence[Path], root: Path, data_config: Any) -> tuple[dict[Path, InFile], list[Skipped]]:
    """Returns the files that may be read, each as it is now, and those that may or can not."""
    found: dict[Path, InFile] = {}
    skipped = []
    named = expanded(str(data_config.source), "config.data.source")
    for file in files:
        try:
            # A file that the user names is meant, wherever it lies; one that a folder holds may be anything.
            if file != named and not data_config.follow_links and not is_inside(file, root):
                raise ValueError(LEADS_OUT)
            found[file] = InFile.of(file)
        except (OSError, ValueError) as error:
            skipped.append(Skipped(relative_name(file, root), reason_of(error)))
    return found, skipped


def splits_by_name(files: Sequence[Path], root: Path, data_config: Any) -> dict[Path, str | None]:
    """Returns the split of each file: "train-00000-of-00002.parquet", "test/0.parquet", "x-validation.array_record".

    The file's own name goes before the folders that it lies in, the nearest first. Where no name says which files are
    for training, "test" and "dev" are names like any others, and all files belong to none (None).
    """
    train = {"train", "training", data_config.train_split}
    chosen = data_config.train_split, data_config.val_split, data_config.test_split
    known = {name.lower(): name for name in (*SPLITS, *chosen) if name}
    longest_first = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    pattern = re.compile(rf"(?:^|[-_.])({longest_first})(?=$|[-_.\d])")

    def split_of(file: Path) -> str | None:
        name = PurePosixPath(relative_name(file, root))
        if match := pattern.search(name.name.lower()):
            return known[match[1]]
        folders = (known.get(folder.lower()) for folder in reversed(name.parts[:-1]))
        return next((split for split in folders if split), None)

    splits = {file: split_of(file) for file in files}
    return splits if train & set(splits.values()) else dict.fromkeys(files)
