"""A list of files and captions as the source itself, in any form that lists have, with the pictures beside it or below.

The pictures of a list in a folder such as `annotations` may lie beside that folder; they may be packed in archives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.encoding import Texts
from t2igan.data.sources.captions import chosen_captions
from t2igan.data.sources.fields import EXPECTED_FIELDS
from t2igan.data.sources.folders import TEXT_WORDS, is_called
from t2igan.data.sources.found import Found, FoundSource
from t2igan.data.sources.lists import located
from t2igan.data.sources.locate import Locator
from t2igan.data.sources.metadata import Gathered, Row, gather, read_rows
from t2igan.data.sources.names import kind_of, shown_name
from t2igan.data.sources.row_files import listed
from t2igan.data.sources.walk import LEADS_OUT, walk, whole_file
from t2igan.data.stored import InFile, is_inside, open_regular, reason_of
from t2igan.errors import UserError, counted


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
        self._texts = Texts(data_config, [path.name], lambda _: open_regular(path))

    def describe(self) -> str:
        """Returns how many pictures have captions, and where the captions are."""
        return f"list: {super().describe()}"

    def _find(self) -> Found:
        rows, lost = self._read(self._root, None)
        named = [row for row in rows if row.name]
        if lost or not named or not all(row.file and (self._root / row.file).is_file() for row in named):
            rows, lost = self._searched(rows, lost)
            if not any(row.file and (self._root / row.file).exists() for row in rows) and (packed := self._packed()):
                return packed
        gathered: dict[str, Gathered] = {}
        unnamed: list[Skipped] = []
        gather(rows, gathered, unnamed)
        if lost:
            unnamed.append(Skipped(self._path.name, lost))
        records: list[tuple[str | None, Record]] = []
        skipped: list[tuple[str | None, Skipped]] = [(None, one) for one in unnamed]
        for file, row in gathered.items():
            try:
                captions = self._captions(row)
                records.append((row.split, Record(shown_name(file), self._place(file), captions, row.attributes)))
            except (OSError, ValueError) as error:
                skipped.append((row.split, Skipped(shown_name(file), reason_of(error))))
        if lost and not records:
            raise UserError(f"{self.name}: {lost}.\nA list has two columns or more: file_name,text")
        columns = [c for c in dict.fromkeys(row.column for row in rows if row.captions) if c not in EXPECTED_FIELDS]
        notes = (*((f"captions from {listed(columns)}",) if columns else ()), *self._texts.notes())
        summary = f"{counted(len(records), 'picture')} with captions in {len(gathered):,} listed"
        return Found(tuple(records), tuple(skipped), summary, notes=notes)

    def _read(self, root: Path, locator: Locator | None) -> tuple[list[Row], str]:
        """Returns the rows of the list, its names relative to a root, and what is wrong with it or with its rest."""
        rows: list[Row] = []
        parent = self._path.absolute().parent.relative_to(root).as_posix().strip(".")
        knows = locator.knows if locator else None
        try:
            with self._texts.open(self._path.name) as stream:
                rows.extend(read_rows(self._path.name, stream, self._config, parent, root, knows))
        except (OSError, ValueError) as error:
            return rows, reason_of(error)
        return rows, ""

    def _searched(self, rows: list[Row], lost: str) -> tuple[list[Row], str]:
        """Returns the rows with the pictures that they mean below the list's folder, or beside a folder of texts.

        Where that gives no more, what was read before.
        """
        folder = self._root
        for root in [folder, folder.parent] if is_called(folder.name, TEXT_WORDS) else [folder]:
            names, _ = walk(root, self._config.follow_links)
            pictures = {name for name in names if kind_of(name) in ("picture", "unreadable")}
            locator = Locator(pictures, str(root))
            found, problem = self._read(root, locator)
            parent = folder.relative_to(root).as_posix().strip(".")
            found = located(found, pictures, locator, parent)
            if any(row.file in pictures for row in found):
                self._root = root
                return found, problem
        return rows, lost

    def _packed(self) -> Found | None:
        """Returns the pictures in archives beside the list, where it names some that are there."""
        from t2igan.data.sources.archive import Archive

        archives = sorted(file for file in self._root.iterdir() if kind_of(file.name) == "archive" and file.is_file())
        if not archives:
            return None
        try:
            found = Archive(self._config, archives, [self._path]).found()
        except UserError:
            return None
        return found if found.records and not found.from_labels else None

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
