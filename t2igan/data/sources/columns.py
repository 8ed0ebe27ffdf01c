"""Which columns of a table hold pictures, captions, labels and splits, and what a row says: Parquet and Arrow alike.

A column is named by its *leaf*, the names on the way to it: ("text",), or ("image", "bytes") inside a struct.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.encoding import DAMAGED
from t2igan.data.sources.captions import captions_of_row, chosen_captions, is_damaged
from t2igan.data.sources.fields import CAPTION_FIELDS, FILE_FIELDS, LATER_FIELDS, caption_fields, plain
from t2igan.data.sources.names import shown_name
from t2igan.data.sources.row_files import listed
from t2igan.data.stored import InFile, Stored, inner_name, is_inside, reason_of

Leaf = tuple[str, ...]

# The customary names of columns of pictures, the likeliest first; "jpg", "png", "webp" are img2dataset's.
IMAGE_FIELDS = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "image_data", "images", "bytes")
PATH_FIELDS = (*("file_name", "filename", "image_path", "path", "file_path", "filepath", "file"), *FILE_FIELDS)
INNER_CAPTION_FIELDS = (*CAPTION_FIELDS, "raw", "value")  # of captions that are structs: Karpathy's {raw, tokens, ...}
MAX_DEPTH = 8  # of structs in structs
MAX_CAPTIONS = 1_000  # of one picture
MAX_NAME_CHARACTERS = 255


@dataclass(frozen=True)
class Columns:
    """The columns to use. Of `image` (encoded pictures) and `path` (names of files) at most one is None."""

    image: Leaf | None
    path: Leaf | None
    captions: dict[str, Leaf]
    facts: dict[str, Leaf]  # label, attributes, split: those that there are
    label_names: tuple[str, ...] | None = None

    @property
    def texts(self) -> list[Leaf]:
        """The columns that are read to list the pictures: all but the pictures."""
        path = [self.path] if self.path else []
        return [*path, *self.captions.values(), *self.facts.values()]

    def __str__(self) -> str:
        where = ".".join(self.image or self.path or ())
        captions = " or ".join(repr(name) for name in self.captions) or "templates of labels"
        return f"pictures {'in' if self.image else 'named in'} {where!r}, captions from {captions}"


@dataclass(frozen=True, slots=True)
class TableRow:
    """What a row says: the name of its picture's file ("" = none), captions, attributes, split; or what is wrong."""

    file: str = ""
    captions: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    problem: str = ""


def choose_columns(schema: Any, data_config: Any) -> Columns:
    """Returns the columns of a `pyarrow.Schema` to use; ValueError, saying which there are, where some are missing."""
    leaves = dict(_leaves(schema))
    features = _features(schema)
    image = _image_leaf(leaves, features)
    path = _path_leaf(leaves, image)
    names = listed(schema.names)
    if image is None and path is None:
        for leaf, kind in leaves.items():
            if leaf[0].lower() in IMAGE_FIELDS and _is_list(kind):
                raise ValueError(f"column {leaf[0]!r} holds lists: one picture a row is accepted; it has {names}")
        raise ValueError(f"no column of pictures; it has {names}")
    captions = _caption_leaves(leaves, data_config)
    asked, label = data_config.caption_field, data_config.label_field
    if asked and not captions:
        raise ValueError(f"no column of texts {asked!r} (config.data.caption_field); it has {names}")
    facts = {name: leaf for name in ("attributes", "split") if (leaf := _fact_leaf(leaves, schema, name))}
    labels = None if asked else _fact_leaf(leaves, schema, label)
    has_label = labels is not None and labels in leaves and not _is_list(leaves[labels])
    if not captions and not has_label:
        raise ValueError(f"no column of captions or labels; it has {names}: set config.data.caption_field")
    facts |= {label: labels} if has_label else {}
    for name in {leaf[0] for leaf in (image, path, *captions.values(), *facts.values()) if leaf}:
        if schema.names.count(name) > 1:
            raise ValueError(f"{schema.names.count(name)} columns are named {name!r}")
    return Columns(image, path, captions, facts, _label_names(features, labels[0]) if has_label else None)


def leaf_array(batch: Any, leaf: Leaf) -> Any:
    """Returns a column of a `pyarrow.RecordBatch`; what is in a struct that is null is null."""
    import pyarrow.compute as pc

    array = batch.column(batch.schema.get_field_index(leaf[0]))
    for name in leaf[1:]:
        array = pc.struct_field(array, [array.type.get_field_index(name)])
    return array


def read_rows(batch: Any, columns: Columns, data_config: Any) -> Iterator[TableRow]:
    """Yields what each row of a `pyarrow.RecordBatch` says."""
    arrays = {name: leaf_array(batch, leaf) for name, leaf in columns.captions.items()}
    arrays |= {name: leaf_array(batch, leaf) for name, leaf in columns.facts.items()}
    paths = leaf_array(batch, columns.path) if columns.path else None
    for number in range(batch.num_rows):
        try:
            # One value at a time: a column of a few long texts, repeated, is small only until it is a list.
            values = {name: array[number].as_py() for name, array in arrays.items()}
            path = paths[number].as_py() if paths is not None else None
        except (ValueError, OverflowError) as error:  # UnicodeDecodeError: tables promise UTF-8, and nobody checks
            what = "text that is not UTF-8" if isinstance(error, UnicodeError) else f"cannot be read: {error}"
            yield TableRow(problem=what)
        else:
            yield _row(values, path, columns, data_config)


def file_of(row: TableRow, folders: Sequence[Path], data_config: Any) -> InFile | str:
    """Returns the file that a row names, as it is now, or the reason why there is none.

    It is looked for in `folders`, the last of which is the root that it must not leave.
    """
    if not row.file:
        return "no picture in this row"
    if "://" in row.file:
        return "an address: pictures are not downloaded"
    root = folders[-1]
    try:
        is_absolute = Path(row.file).is_absolute() and "\0" not in row.file
        inner = inner_name(os.path.relpath(row.file, root) if is_absolute else row.file)
        if inner is None:
            return "the file that its row names is not inside the folder"
        path = next((path for folder in folders if (path := folder / inner).exists()), root / inner)
        if not data_config.follow_links and not is_inside(path, root):
            return "the file that its row names is a link that leads out of the folder"
        return InFile.of(path)
    except (OSError, ValueError) as error:
        return reason_of(error)


def to_record(row: TableRow, where: str, image: Stored | str) -> Record | Skipped:
    """Returns the record of a row whose picture is `image`, or what is reported where that is a reason.

    `where` is the name of a row that names no file.
    """
    name = shown_name(row.file[:MAX_NAME_CHARACTERS]) if row.file else where
    if row.problem or isinstance(image, str):
        return Skipped(name, row.problem or str(image))
    return Record(name, image, row.captions, row.attributes)


def is_binary(kind: Any) -> bool:
    """Whether a `pyarrow.DataType` is bytes."""
    from pyarrow import types

    kind = _value_type(kind)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _row(values: dict[str, Any], path: Any, columns: Columns, data_config: Any) -> TableRow:
    file = path.decode("utf-8", "replace") if isinstance(path, bytes) else path if isinstance(path, str) else ""
    split = values.get("split")
    split = split.decode("utf-8", "replace") if isinstance(split, bytes) else str(split if split is not None else "")
    label, names = data_config.label_field, columns.label_names
    if names is not None and not _is_index(values.get(label), len(names)):
        values[label] = None  # -1 is how Hugging Face writes that there is no label
    values |= {name: _texts(values[name]) for name in columns.captions if name not in LATER_FIELDS}
    try:
        captions, attributes = captions_of_row(values, data_config, names)
    except RecursionError:  # JSON among the attributes, nested without end
        return TableRow(file, problem="attributes that are nested too deep", split=split.strip() or None)
    captions = chosen_captions(captions, data_config)
    problem = "" if captions else f"no caption in {listed([*columns.captions, *([label] if names else [])])}"
    if not captions and any(is_damaged(values[name], data_config.encoding) for name in columns.captions):
        problem = f"no caption: its row has {DAMAGED}"
    return TableRow(file, captions, attributes, split.strip() or None, problem)


def _texts(value: Any) -> Any:
    """Returns the texts in a value: of a struct, its text; of a list, those of all that is in it."""
    if isinstance(value, list):
        return [_texts(v) for v in value[:MAX_CAPTIONS]]
    if isinstance(value, Mapping):
        return next((value[name] for name in INNER_CAPTION_FIELDS if isinstance(value.get(name), (str, bytes))), None)
    return value


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and 0 <= value < count)


def _leaves(fields: Any, above: Leaf = ()) -> Iterator[tuple[Leaf, Any]]:
    from pyarrow import types

    for item in fields:
        leaf, kind = (*above, item.name), _value_type(item.type)
        if types.is_struct(kind) and len(leaf) < MAX_DEPTH:
            yield from _leaves([kind.field(i) for i in range(kind.num_fields)], leaf)
        else:
            yield leaf, kind


def _image_leaf(leaves: dict[Leaf, Any], features: Mapping[str, Any]) -> Leaf | None:
    found = [leaf for leaf, kind in leaves.items() if _may_be_picture(leaf, kind)]
    marked = {name for name, f in features.items() if isinstance(f, Mapping) and f.get("_type") == "Image"}
    known = [leaf for leaf in found if _name(leaf) in IMAGE_FIELDS or leaf[0] in marked or leaf[-1] == "bytes"]
    if not known:
        if len(found) > 1:
            raise ValueError(f"columns {listed(map('.'.join, found))} hold bytes: name the one of pictures 'image'")
        return found[0] if found else None
    return min(known, key=lambda leaf: (leaf[0] not in marked, _rank(_name(leaf), IMAGE_FIELDS), len(leaf)))


def _may_be_picture(leaf: Leaf, kind: Any) -> bool:
    from pyarrow import types

    if types.is_fixed_size_binary(kind):  # a hash, as a rule
        return _name(leaf) in IMAGE_FIELDS
    return is_binary(kind) and _name(leaf) not in CAPTION_FIELDS


def _path_leaf(leaves: dict[Leaf, Any], image: Leaf | None) -> Leaf | None:
    texts = [leaf for leaf, kind in leaves.items() if _is_text(kind) and not is_binary(kind)]
    if image and (beside := (*image[:-1], "path")) in texts and len(image) > 1:
        return beside
    names = PATH_FIELDS if image else (*IMAGE_FIELDS, *PATH_FIELDS)
    found = [leaf for leaf in texts if _name(leaf) in names]
    return min(found, key=lambda leaf: (_rank(_name(leaf), names), len(leaf)), default=None)


def _caption_leaves(leaves: dict[Leaf, Any], data_config: Any) -> dict[str, Leaf]:
    """Returns name -> leaf; "meta.caption" is a name, too, and so is the last part of it."""
    from pyarrow import types

    def is_caption(kind: Any) -> bool:
        while _is_list(kind):
            kind = _value_type(kind.value_type)
        return _is_text(kind) or types.is_struct(kind)

    texts = [leaf for leaf, kind in leaves.items() if is_caption(kind)]
    asked = data_config.caption_field
    names = {
        name for leaf in texts for name in (plain(".".join(leaf)), plain(leaf[-1])) if _name(leaf) not in PATH_FIELDS
    }
    found: dict[str, Leaf] = {}
    for name in caption_fields(sorted(names, key=lambda name: (len(name), name)), asked):
        exact = [leaf for leaf in texts if name in (".".join(leaf), leaf[-1])]
        fits = exact or [leaf for leaf in texts if name in (plain(".".join(leaf)), plain(leaf[-1]))]
        if fits and fits[0] not in found.values():
            found[name] = min(fits, key=len)
    if not found and not asked:
        later = [leaf for leaf, _ in leaves.items() if plain(leaf[0]) in LATER_FIELDS and len(leaf) == 1]
        found = {plain(leaf[0]): leaf for leaf in later[:1]}
    return found


def _fact_leaf(leaves: dict[Leaf, Any], schema: Any, name: str) -> Leaf | None:
    """Returns the column of this name, without regard to case where there is none of exactly this name."""
    if (name,) in leaves or name in schema.names:
        return (name,)
    return next(((own,) for own in schema.names if plain(own) == plain(name)), None)


def _name(leaf: Leaf) -> str:
    """Returns what a leaf is of: "image" for ("image", "bytes")."""
    inner = len(leaf) > 1 and leaf[-1] in ("bytes", "path")
    return plain(leaf[-2 if inner else -1])


def _rank(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _value_type(kind: Any) -> Any:
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if types.is_dictionary(kind) else kind


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return is_binary(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _features(schema: Any) -> Mapping[str, Any]:
    """Returns what Hugging Face `datasets` wrote of the columns: {"label": {"_type": "ClassLabel", "names": [...]}}."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, Mapping) else {}


def _label_names(features: Mapping[str, Any], label: str) -> tuple[str, ...] | None:
    names = features[label].get("names") if isinstance(features.get(label), Mapping) else None
    return tuple(map(str, names)) if isinstance(names, list) else None
