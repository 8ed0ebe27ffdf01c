"""A list of files and captions as the source itself: .csv, .tsv or .jsonl, with the pictures beside it or below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.encoding import Texts
from t2igan.data.sources.captions import chosen_captions
from t2igan.data.sources.folder import LEADS_OUT, whole_file
from t2igan.data.sources.metadata import Gathered, gather, read_rows
from t2igan.data.sources.names import shown_name
from t2igan.data.sources.pairing import Found, FoundSource
from t2igan.data.stored import InFile, is_inside, open_regular, reason_of
from t2igan.errors import UserError


class Listing(FoundSource):
    """Captioned pictures that a list names, relative to the folder that the list lies in; none outside of it.

    A column `split` names the splits.
    """

    def __init__(self, data_config: Any, path: Path):
        """Looks at nothing yet."""
        super().__init__(data_config)
        self._path = path
        self._root = path.absolute().parent
        self._folders_inside: dict[Path, bool] = {}

    def describe(self) -> str:
        """Returns how many pictures have captions, and where the captions are."""
        return f"list: {super().describe()}"

    def _find(self) -> Found:
        rows: dict[str, Gathered] = {}
        unnamed: list[Skipped] = []
        lost = ""
        texts = Texts(self._config, [self._path.name], lambda _: open_regular(self._path))
        try:
            with texts.open(self._path.name) as stream:
                gather(read_rows(self._path.name, stream, self._config, root=self._root), rows, unnamed)
        except (OSError, ValueError) as error:
            lost = reason_of(error)
            unnamed.append(Skipped(self._path.name, lost))
        records: list[tuple[str | None, Record]] = []
        skipped: list[tuple[str | None, Skipped]] = [(None, one) for one in unnamed]
        for file, row in rows.items():
            try:
                captions = self._captions(row)
                records.append((row.split, Record(shown_name(file), self._place(file), captions, row.attributes)))
            except (OSError, ValueError) as error:
                skipped.append((row.split, Skipped(shown_name(file), reason_of(error))))
        if lost and not records:
            raise UserError(f"{self.name}: {lost}.\nA list has two columns or more: file_name,text")
        summary = f"{len(records)} pictures with captions in {len(rows)} listed"
        return Found(tuple(records), tuple(skipped), summary, tuple(texts.notes()))

    def _captions(self, row: Gathered) -> tuple[str, ...]:
        if not row.captions:
            raise ValueError(row.problem)
        return chosen_captions(tuple(dict.fromkeys(row.captions)), self._config)

    def _place(self, file: str) -> InFile:
        path = self._root / file
        if not self._config.follow_links and not self._is_inside(path):
            raise ValueError(LEADS_OUT)
        return whole_file(path)

    def _is_inside(self, path: Path) -> bool:
        """Whether a file, with links followed, lies under the root; the way to its folder is looked at once."""
        if path.is_symlink():
            return is_inside(path, self._root)
        if path.parent not in self._folders_inside:
            self._folders_inside[path.parent] = is_inside(path.parent, self._root)
        return self._folders_inside[path.parent]
