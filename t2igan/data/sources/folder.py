"""A folder of pictures with captions.

Sub-folders called `train`, `test`, `validation`... are splits; so are the values of a `split` column in metadata.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2igan.data.encoding import Texts
from t2igan.data.sources.found import Files, Found, FoundSource
from t2igan.data.sources.members import TEXT_KINDS, members_of
from t2igan.data.sources.names import is_hidden, kind_of
from t2igan.data.sources.pairing import pair
from t2igan.data.sources.walk import walk, whole_file
from t2igan.data.stored import Stored, open_regular
from t2igan.errors import UserError


class Folder(FoundSource):
    """Captioned pictures in a folder and its sub-folders, paired as `t2igan.data.sources.pairing` says.

    Sub-folders or `split` columns name the splits.
    """

    def __init__(self, data_config: Any, path: Path):
        """Looks at nothing yet."""
        super().__init__(data_config)
        self._path = path

    def describe(self) -> str:
        """Returns how many pictures have captions, and where the captions are."""
        return f"folder: {super().describe()}"

    def _find(self) -> Found:
        names, skipped = walk(self._path, self._config.follow_links)
        files = Files(
            where=self.name,
            names=names,
            open=lambda name: open_regular(f"{self._path}/{name}"),
            place=lambda name: whole_file(f"{self._path}/{name}"),
            skipped=skipped,
            root=str(self._path.absolute()),
        )
        error = found = None
        try:
            found = self._paired(files)
        except UserError as refused:
            error = refused
        if found is None or not found.records or found.from_labels:  # captions may be packed, beside the pictures
            more = self._with_texts_in_archives(files)
            if more is not None:
                return self._paired(more)
        if error is not None:
            raise error
        return found

    def _paired(self, files: Files) -> Found:
        """Returns what is among files, their texts read in whatever encoding they have."""
        texts = Texts(self._config, files.names, files.open)
        found = pair(replace(files, open=texts.open), self._config)
        return replace(found, notes=(*found.notes, *texts.notes()))

    def _with_texts_in_archives(self, files: Files) -> Files | None:
        """Returns the files with what archives among them hold besides pictures; None where that is nothing."""
        members: dict[str, Stored] = {}
        opened = []
        for name in files.names:
            if kind_of(name) == "archive" and not is_hidden(name):
                try:
                    inside, _ = members_of(self._path / name, self._config)
                except (OSError, ValueError):
                    continue
                texts = {inner: place for inner, place in inside.items() if kind_of(inner) in TEXT_KINDS}
                members |= {f"{name}/{inner}": place for inner, place in texts.items()}
                opened += [name] if texts else []
        if not members:
            return None
        return replace(
            files,
            names=[*(name for name in files.names if name not in opened), *members],
            open=lambda name: io.BytesIO(members[name].read()) if name in members else files.open(name),
        )
