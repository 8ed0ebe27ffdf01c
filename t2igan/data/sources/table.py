"""Parquet files with pictures, or with the names of their files, and captions.

Columns by the conventions of Hugging Face (`image` {bytes, path}, `text`, `label`) and of img2dataset (`jpg`,
`caption`); splits by a `split` column or by the names of files. Pictures stay in the files until they are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.columns import Columns, choose_columns, file_of, read_rows, to_record
from t2igan.data.sources.found import Found
from t2igan.data.sources.parquet import InParquet, arrow_errors, open_parquet, text_batches
from t2igan.data.sources.shards import ShardedSource, relative_name
from t2igan.data.stored import InFile, reason_of
from t2igan.errors import UserError, counted


class Table(ShardedSource):
    """Captioned pictures in one or more Parquet files.

    The splits are the values of a `split` column, or what the names of files say: "train-00000-of-00002".
    """

    def _find(self) -> Found:
        splits, files, skipped = self._readable()
        records: list[tuple[str | None, Record]] = []
        used: dict[Path, Columns] = {}
        for file, place in files.items():
            name = relative_name(file, self._root)
            try:
                with arrow_errors("cannot be read as Parquet"):
                    used[file] = choose_columns(open_parquet(place).schema_arrow, self._config)
                    for split, found in self._rows(file, place, used[file]):
                        (records if isinstance(found, Record) else skipped).append((split or splits[file], found))
            except (OSError, ValueError) as error:
                skipped.append((splits[file], Skipped(name, reason_of(error))))
        if not records and (listed := self._as_list()) is not None:
            return listed
        if not used:
            raise self._useless([lost for _, lost in skipped])
        return Found(tuple(records), tuple(skipped), self._summary(used, len(records)))

    def _as_list(self) -> Found | None:
        """Returns the pictures that a single file names where it is a list like any; None where it names none."""
        from t2igan.data.sources.listing import Listing

        if len(self._files) > 1:
            return None
        try:
            found = Listing(self._config, self._files[0]).found()
        except UserError:
            return None
        return found if found.records else None

    def _rows(self, file: Path, place: InFile, columns: Columns) -> Iterator[tuple[str | None, Record | Skipped]]:
        name = relative_name(file, self._root)
        folders = list(dict.fromkeys([file.absolute().parent, self._root]))
        number = 0
        for group in range(open_parquet(place).metadata.num_row_groups):
            before = number
            for batch in text_batches(place, group, columns.texts):
                for row in read_rows(batch, columns, self._config):
                    image = file_of(row, folders, self._config)
                    if columns.image:
                        image = InParquet(place, group, columns.image, number - before, image)
                    number += 1
                    yield row.split, to_record(row, f"{name}:{number}", image)

    def _summary(self, used: dict[Path, Columns], num_records: int) -> str:
        ways = list(dict.fromkeys(map(str, used.values())))
        more = f" (in some files other columns: {len(ways)} kinds)" if len(ways) > 1 else ""
        return f"Parquet: {counted(num_records, 'captioned picture')} in {counted(len(used), 'file')}, {ways[0]}{more}"

    def _useless(self, lost: Sequence[Skipped]) -> UserError:
        first = lost[0] if lost else Skipped(self.name, "no files")
        more = f" Nor can {len(lost) - 1} others." if len(lost) > 1 else ""
        return UserError(
            f"config.data.source={self.name!r}: {first.file}: {first.reason}.{more}\n"
            "Accepted: a column 'image' with {bytes, path} or the bytes of a PNG, JPEG..., and a column 'text'."
        )
