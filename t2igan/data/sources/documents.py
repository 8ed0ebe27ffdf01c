"""JSON documents that list pictures with captions, in the forms that people and tools write, as rows.

{"a.png": "a cat", "b.png": ["a dog", "a black dog"]}          {"a.png": {"caption": "a cat", "tags": ""}} (kohya)
[{"file_name": "a.png", "text": "a cat"}]                      [["a.png", "a cat"]]
{"labels": [["00000/img0.png", "a cat"], ...]}                 StyleGAN's dataset.json; a label may be a number
{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}      COCO
[{"image": "a.png", "conversations": [{"from": "human", "value"}, ...]}]         LLaVA
{"train": [...], "test": [...]}    {"data": [...]}             {"file_name": ["a.png", ...], "text": ["a cat", ...]}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from t2igan.data.sources.captions import SPLITS
from t2igan.data.sources.fields import FILE_FIELDS, plain

WRAPPERS = ("data", "annotations", "images", "labels", "samples", "items", "records", "rows", "entries", "captions")
CLASS_NAMES = ("label_names", "class_names", "classes", "names", "categories")
NO_PICTURES = "it lists no pictures, in none of the forms that are read"
MAX_DEPTH = 4  # of lists of pictures in objects

Row = dict[str, Any]


def rows_of(document: Any, knows: Callable[[object], bool] | None = None) -> Iterator[Row | str]:
    """Yields what a document says of each picture, as name of a field -> value, or why an entry says nothing.

    `knows` says whether a text may be the name of a picture; without, keys of objects are taken for names if they are
    not the customary names of lists. ValueError where the document lists no pictures.
    """
    yield from _rows(document, knows, {}, 0)


def _rows(document: Any, knows: Callable[[object], bool] | None, more: Row, depth: int) -> Iterator[Row | str]:
    if isinstance(document, list):
        for entry in document:
            row = _entry(entry)
            yield row if isinstance(row, str) else row | more
        return
    if not isinstance(document, Mapping) or depth > MAX_DEPTH:
        raise ValueError(f'{NO_PICTURES}: [{{"file_name": ..., "text": ...}}, ...] or {{"NAME.png": "caption", ...}}')
    columns = {key: value for key, value in document.items() if isinstance(key, str)}
    if knows is not None and sum(map(knows, columns)) > len(columns) / 2:
        yield from (_named(name, value) | more for name, value in columns.items())
    elif isinstance(columns.get("images"), list) and isinstance(columns.get("annotations"), list):
        yield from (row | more for row in _coco(columns["images"], columns["annotations"]))
    elif (splits := [key for key in columns if key.lower() in SPLITS]) and _are_lists(columns, splits):
        for split in splits:
            yield from _rows(columns[split], knows, more | {"split": split.lower()}, depth + 1)
    elif table := _table(columns):
        yield from (row | more for row in table)
    elif wrapped := next((key for key in WRAPPERS if isinstance(columns.get(key), (list, Mapping))), None):
        names = next((columns[key] for key in CLASS_NAMES if isinstance(columns.get(key), list)), None)
        for row in _rows(columns[wrapped], knows, more, depth + 1):
            yield row if isinstance(row, str) else _with_class(row, names)
    elif knows is None and columns and all(isinstance(value, (str, list)) for value in columns.values()):
        yield from (_named(name, value) | more for name, value in columns.items())
    elif knows is not None and columns and sum(map(knows, columns.values())) > len(columns) / 2:
        yield from ({"file_name": name, "text": text} | more for text, name in columns.items())
    elif columns and all(isinstance(value, Mapping) for value in columns.values()):
        for name, value in columns.items():
            yield ({**value} if _has_file(value) else _named(name, value)) | more
    else:
        raise ValueError(f'{NO_PICTURES}: [{{"file_name": ..., "text": ...}}, ...] or {{"NAME.png": "caption", ...}}')


def _entry(entry: Any) -> Row | str:
    """Returns the row in an entry of a list."""
    if isinstance(entry, Mapping):
        inner = entry.get("row", entry.get("data"))  # of an answer of Hugging Face's server, of Label Studio
        return {**inner} if isinstance(inner, Mapping) and not _has_file(entry) else {**entry}
    if isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) >= 2 and isinstance(entry[0], str):
        return _named(entry[0], entry[1] if len(entry) == 2 else list(entry[1:]))
    return {"file_name": entry} if isinstance(entry, str) else "not a JSON object"


def _named(name: str, value: Any) -> Row:
    """Returns the row of what is said of a name: a caption, several, the number of a class, or more in an object."""
    if isinstance(value, Mapping):
        return {"file_name": name, **value}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"file_name": name, "label": int(value)} if value == int(value) else {"file_name": name}
    if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
        ones = [i for i, v in enumerate(value) if v]
        one_hot = len(ones) == 1 and value[ones[0]] == 1 and len(value) > 1
        return {"file_name": name, "label": ones[0]} if one_hot else {"file_name": name}
    if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        texts = [text for v in value for text in v.values() if isinstance(text, str)]
        return {"file_name": name, "text": texts} if all(len(v) == 1 for v in value) else {"file_name": name} | value[0]
    return {"file_name": name, "text": value}


def _with_class(row: Row, names: Any) -> Row:
    """Returns a row with the name of its class in place of the number."""
    label = row.get("label")
    known = isinstance(names, list) and isinstance(label, int) and 0 <= label < len(names)
    name = names[label] if known else None
    name = name.get("name") if isinstance(name, Mapping) else name
    return row | {"label": name} if isinstance(name, str) else row


def _coco(images: list[Any], annotations: list[Any]) -> Iterator[Row]:
    """Yields pictures with the captions of their annotations, as text: some tools write 7 here and "7" there."""
    said: dict[str, list[Mapping[str, Any]]] = {}
    for annotation in annotations:
        if isinstance(annotation, Mapping) and isinstance(annotation.get("image_id"), (int, str)):
            said.setdefault(str(annotation["image_id"]), []).append(annotation)
    for image in images:
        if isinstance(image, Mapping):
            of_image = said.get(str(image.get("id")), [])
            if not of_image:
                yield {**image}
            for annotation in of_image:
                yield {**{k: v for k, v in annotation.items() if k not in ("id", "image_id")}, **image}


def _table(columns: Mapping[str, Any]) -> list[Row]:
    """Returns the rows of columns: {"file_name": [...], "text": [...]}, or pandas' {"file_name": {"0": ...}, ...}."""
    if not any(plain(name) in FILE_FIELDS for name in columns):
        return []
    for kind in (list, Mapping):
        of_kind = {name: value for name, value in columns.items() if isinstance(value, kind)}
        if not any(plain(name) in FILE_FIELDS for name in of_kind):
            continue
        first = next(value for name, value in of_kind.items() if plain(name) in FILE_FIELDS)
        if kind is list:
            fits = {name: value for name, value in of_kind.items() if len(value) == len(first)}
            return [dict(zip(fits, row, strict=True)) for row in zip(*fits.values(), strict=True)]
        return [{name: value.get(key) for name, value in of_kind.items()} for key in first]
    return []


def _are_lists(columns: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return all(isinstance(columns[key], (list, Mapping)) for key in keys)


def _has_file(entry: Mapping[str, Any]) -> bool:
    return any(plain(name) in FILE_FIELDS and isinstance(entry[name], str) for name in entry if isinstance(name, str))
