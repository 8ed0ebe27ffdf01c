"""Folders that Hugging Face `datasets` wrote with `save_to_disk`, read without it: "hf:FOLDER".

    FOLDER/dataset_dict.json            {"splits": ["train", "test"]}; a Dataset without splits has no such file
           train/state.json             {"_data_files": [{"filename": "data-00000-of-00002.arrow"}, ...]}
                 dataset_info.json
                 data-00000-of-00002.arrow      an Arrow stream: the schema, then batches of rows

The files are mapped into memory, so that what is read of them is theirs and not ours. Their batches are checked before
use: Arrow itself trusts the offsets in them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.sources.columns import Columns, Leaf, choose_columns, file_of, leaf_array, read_rows, to_record
from t2igan.data.sources.found import Found, FoundSource
from t2igan.data.sources.parquet import arrow_errors, cell_bytes
from t2igan.data.sources.shards import relative_name, whole_files
from t2igan.data.stored import InFile, inner_name, open_regular, read_text, reason_of
from t2igan.errors import UserError

MAX_JSON_BYTES = 64 << 20
KEPT_FILES = 64


@dataclass(frozen=True, slots=True)
class InArrow:
    """A picture in a row of the batch at the byte `start` of a file."""

    file: InFile
    start: int
    leaf: Leaf
    row: int

    @property
    def stamp(self) -> tuple[str | int, ...]:
        """The file's own, and which cell."""
        return (*self.file.stamp, self.start, *self.leaf, self.row)

    def read(self) -> bytes:
        """Returns the encoded picture; ValueError where the cell is empty, damaged or too big."""
        with arrow_errors():
            found = cell_bytes(_pictures(self.file, self.start, self.leaf), self.row)
        if found is None:
            raise ValueError("no picture in this row")
        return found


class Saved(FoundSource):
    """Captioned pictures in a folder of `save_to_disk`.

    The splits are those of a DatasetDict, or of a `split` column.
    """

    def __init__(self, data_config: Any, path: Path):
        """Reads nothing yet."""
        super().__init__(data_config)
        self._path = path

    def _find(self) -> Found:
        records: list[tuple[str | None, Record]] = []
        skipped: list[tuple[str | None, Skipped]] = []
        columns = None
        for split, folder in self._folders():
            files = self._files(folder, split, skipped)
            readable, lost = whole_files(files, self._path, self._config)
            skipped += [(split, s) for s in lost]
            for file, place in readable.items():
                name = relative_name(file, self._path)
                try:
                    with arrow_errors("cannot be read as an Arrow stream"):
                        columns = choose_columns(_open(place)[1], self._config)
                        for own, found in self._rows(name, place, columns):
                            (records if isinstance(found, Record) else skipped).append((own or split, found))
                except (OSError, ValueError) as error:
                    skipped.append((split, Skipped(name, reason_of(error))))
        if columns is None:
            first = skipped[0][1] if skipped else Skipped(self.name, "there are no splits in it")
            raise UserError(f"config.data.source={self.name!r}: {first.file}: {first.reason}.\n{_EXPECTED}")
        summary = f"Hugging Face save_to_disk: {len(records):,} captioned pictures, {columns}"
        return Found(tuple(records), tuple(skipped), summary)

    def _folders(self) -> list[tuple[str | None, Path]]:
        """Returns the folder of each split, or the one folder of a Dataset without splits."""
        if not (self._path / "dataset_dict.json").is_file():
            return [(None, self._path)]
        splits = self._json("dataset_dict.json").get("splits")
        names = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
        # A split is a folder of its own, right here.
        return [(name, self._path / name) for name in names if inner_name(name) == name and "/" not in name]

    def _files(self, folder: Path, split: str | None, skipped: list[tuple[str | None, Skipped]]) -> list[Path]:
        state = f"{split}/state.json" if split else "state.json"
        try:
            content = self._json(state)
            files = [entry["filename"] for entry in content["_data_files"]]
        except (UserError, KeyError, TypeError) as error:
            reason = str(error) if isinstance(error, UserError) else "no list of _data_files in it"
            skipped.append((split, Skipped(state, reason.splitlines()[0])))
            return []
        if content.get("_indices_data_files"):
            skipped.append((split, Skipped(state, "a selection of rows: save it again after flatten_indices()")))
            return []
        outside = [name for name in files if not isinstance(name, str) or inner_name(name) != name]
        skipped += [(split, Skipped(state, "it names a file outside of its folder")) for _ in outside[:1]]
        return [folder / name for name in files if name not in outside]

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(read_text(self._path / name, MAX_JSON_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "not JSON"
            raise UserError(f"config.data.source={self.name!r}: {name}: {reason}.\n{_EXPECTED}") from error
        if not isinstance(content, dict):
            raise UserError(f"config.data.source={self.name!r}: {name}: not a JSON object.\n{_EXPECTED}")
        return content

    def _rows(self, name: str, place: InFile, columns: Columns) -> Iterator[tuple[str | None, Record | Skipped]]:
        number = 0
        folders = [Path(place.path).parent, self._path]
        for start, batch in _batches(place):
            filled = leaf_array(batch, columns.image).is_valid().to_pylist() if columns.image else None
            for row_of_batch, row in enumerate(read_rows(batch, columns, self._config)):
                number += 1
                if filled is not None and filled[row_of_batch]:
                    image = InArrow(place, start, columns.image, row_of_batch)
                else:
                    image = file_of(row, folders, self._config)
                yield row.split, to_record(row, f"{name}:{number}", image)


_EXPECTED = "Accepted: a folder that save_to_disk wrote: dataset_dict.json, or state.json and data-*.arrow."


@lru_cache(maxsize=KEPT_FILES)
def _open(file: InFile) -> tuple[Any, Any, int]:
    """Returns a file mapped into memory, its schema, and where its first batch begins."""
    import pyarrow
    from pyarrow import ipc

    open_regular(file.path).close()
    if InFile.of(file.path) != file:
        raise ValueError("the file has changed since it was listed")
    buffer = pyarrow.memory_map(file.path).read_buffer()
    reader = pyarrow.BufferReader(buffer)
    message = ipc.read_message(reader)
    if message.type != "schema":
        raise ValueError(f"it begins with a {message.type} instead of a schema")
    return buffer, ipc.read_schema(message), reader.tell()


def _batches(file: InFile) -> Iterator[tuple[int, Any]]:
    """Yields the batches of a file and where each begins."""
    _, _, start = _open(file)
    while (found := _batch(file, start)) is not None:
        batch, following = found
        yield start, batch
        start = following


@lru_cache(maxsize=KEPT_FILES)
def _pictures(file: InFile, start: int, leaf: Leaf) -> Any:
    found = _batch(file, start)
    if found is None:
        raise ValueError("the file ends before it")
    return leaf_array(found[0], leaf)


def _batch(file: InFile, start: int) -> tuple[Any, int] | None:
    """Returns the batch at a byte, checked, and where the next one begins; None at the end."""
    import pyarrow
    from pyarrow import ipc

    buffer, schema, _ = _open(file)
    reader = pyarrow.BufferReader(buffer)
    reader.seek(start)
    try:
        message = ipc.read_message(reader)
    except EOFError:
        return None
    if message.type != "record batch":
        raise ValueError(f"a {message.type} in it, which save_to_disk does not write")
    if _is_compressed(message.metadata):
        raise ValueError("compressed, which save_to_disk does not do: it could be of any size")
    batch = ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    return batch, reader.tell()


def _is_compressed(metadata: Any) -> bool:
    """Whether the FlatBuffer of a record batch's message names a compression (Arrow: Message.fbs, RecordBatch)."""
    data = memoryview(metadata)

    def member(table: int, index: int) -> int:
        """Returns where a table's member lies, 0 where it has none."""
        members = table - struct.unpack_from("<i", data, table)[0]
        at = 4 + 2 * index
        if at >= struct.unpack_from("<H", data, members)[0]:
            return 0
        offset = struct.unpack_from("<H", data, members + at)[0]
        return table + offset if offset else 0

    try:
        header = member(struct.unpack_from("<I", data, 0)[0], 2)
        return bool(member(header + struct.unpack_from("<I", data, header)[0], 3))
    except struct.error as error:
        raise ValueError("a message in it is damaged") from error
