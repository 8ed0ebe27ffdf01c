"""COCO captions: captions_train2017.json and the like, with the pictures beside; also Karpathy's splits of them.

    coco/annotations/captions_train2017.json
                    {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}
    coco/train2017/000000000009.jpg
    coco/dataset_coco.json
                    {"images": [{"filepath", "filename", "split", "sentences": [{"raw"}]}]}

A JSON list of {"image", "caption"}, as BLIP and others write it, is read too. URLs are ignored: nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.encoding import Texts
from t2igan.data.sources.captions import as_captions, captions_of_row, chosen_captions
from t2igan.data.sources.found import Found, FoundSource
from t2igan.data.sources.metadata import Row, row_of
from t2igan.data.sources.names import shown_name
from t2igan.data.sources.shards import LEADS_OUT
from t2igan.data.stored import InFile, is_inside, open_regular, reason_of
from t2igan.errors import UserError, counted

MAX_JSON_BYTES = 1 << 30  # such a document is read whole; captions of COCO's training split are 92 MB
FOLDER = "annotations"
PATTERNS = ("captions_*.json", "dataset_coco.json", "dataset_flickr8k.json", "dataset_flickr30k.json")
SPLIT_OF_NAME = re.compile(r"captions_([a-z]+)_?\d*$", re.IGNORECASE)
NOT_COCO = 'it has no list of "images"'
KARPATHY_SPLITS = {"restval": "train"}  # the rest of COCO's validation pictures: everybody trains on them too


def is_coco(path: Path) -> bool:
    """Whether a folder has COCO captions: files of such names, one of which lists pictures as COCO's do."""
    return any(_lists_images(file) for file in annotations(path))


def _lists_images(file: Path) -> bool:
    """Whether a file has the word "images" in quotation marks, as a key of COCO's; without taking it apart."""
    try:
        with open_regular(file) as stream:
            before = b""
            while chunk := stream.read(1 << 20):
                if b'"images"' in before + chunk:
                    return True
                before = chunk[-8:]
    except (OSError, ValueError):
        pass
    return False


def annotations(path: Path) -> list[Path]:
    """Returns the files of COCO captions in a folder and in its `annotations`; [] where it is no COCO folder."""
    found = (file for pattern in PATTERNS for folder in (path, path / FOLDER) for file in folder.glob(pattern))
    return sorted(file for file in found if not file.name.startswith("."))


class Coco(FoundSource):
    """Pictures with the captions of COCO JSON files.

    The splits are those of Karpathy's JSON or, where there are several files, those that their names tell.
    """

    def __init__(self, data_config: Any, path: Path):
        """`path` is a .json file or a folder in which `annotations` finds some; nothing is read yet."""
        super().__init__(data_config)
        path = path.absolute()  # so that the name of its folder is there to see
        self._files = annotations(path) if path.is_dir() else [path]
        self._is_one = path.is_file()
        folder = path if path.is_dir() else path.parent
        # Where the file alone is named, the pictures are beside its folder, not in it.
        self._root = folder.parent if path.is_file() and folder.name == FOLDER else folder

    def _find(self) -> Found:
        records: list[tuple[str | None, Record]] = []
        skipped: list[tuple[str | None, Skipped]] = []
        broken: list[Skipped] = []
        texts = Texts(self._config)
        for file in self._files:
            name = SPLIT_OF_NAME.match(file.stem)
            split = name[1].lower() if name and len(self._files) > 1 else None
            try:
                document = _read_document(file, texts)
            except (OSError, ValueError) as error:
                broken.append(Skipped(self._relative(file), reason_of(error)))
                skipped.append((split, broken[-1]))
            else:
                self._pair(file, document, split, records, skipped)
        is_other = all(one.reason == NOT_COCO for one in broken)
        if not records and is_other and (other := self._as_list()) is not None:
            return other
        if len(broken) == len(self._files):
            raise UserError(
                f"{self._root / broken[0].file} cannot be read as COCO captions: {broken[0].reason}.\n"
                'Accepted: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}, '
                'or a list of {"image", "caption"}.'
            )
        captions = sum(len(record.captions) for _, record in records)
        files = ", ".join(self._relative(file) for file in self._files)
        summary = f"COCO: {counted(len(records), 'picture')} with {counted(captions, 'caption')} in {files}"
        return Found(tuple(records), tuple(skipped), summary, tuple(texts.notes()))

    def _as_list(self) -> Found | None:
        """Returns what is found where the JSON is read like any list, or its names are looked for everywhere."""
        from t2igan.data.sources.folder import Folder
        from t2igan.data.sources.listing import Listing

        source = Listing(self._config, self._files[0]) if self._is_one else Folder(self._config, self._root)
        try:
            found = source.found()
        except UserError:
            return None
        return found if found.records and not found.from_labels else None

    def _pair(self, file: Path, document: Any, split: str | None, records: list[Any], skipped: list[Any]) -> None:
        """Adds the pictures of one document, each once however often it is listed."""
        captions_of = _captions_by_image(document, self._config)
        unlisted = dict(captions_of)
        folders = self._folders(file)
        pictures: dict[str, tuple[str | None, InFile, list[str]]] = {}
        for number, image in enumerate(_images(document)):
            where = f"{self._relative(file)}: image {number}"
            if not isinstance(image, dict):
                skipped.append((split, Skipped(where, "not a JSON object")))
                continue
            image_id = str(image.get("id"))
            unlisted.pop(image_id, None)
            row = _row(image, where, self._config)
            own = KARPATHY_SPLITS.get(row.split, row.split) if row.split else split
            if row.file is None:
                skipped.append((own, Skipped(where, row.problem)))
                continue
            captions = (*row.captions, *captions_of.get(image_id, ()))
            try:
                name, place = self._locate(row.file, folders)
            except (OSError, ValueError) as error:
                skipped.append((own, Skipped(shown_name(row.file), reason_of(error))))
                continue
            if name in pictures:
                pictures[name][2].extend(captions)
            elif captions:
                pictures[name] = (own, place, list(captions))
            else:
                skipped.append((own, Skipped(shown_name(name), "no caption: no annotation of this picture has one")))
        for name, (own, place, captions) in pictures.items():
            texts = chosen_captions(as_captions(captions), self._config)
            records.append((own, Record(shown_name(name), place, texts)))
        for image_id, captions in unlisted.items():
            reason = f"{len(captions)} captions of a picture that is not in the list"
            skipped.append((split, Skipped(f"{self._relative(file)}: image_id {shown_name(image_id[:100])}", reason)))

    def _folders(self, file: Path) -> list[str]:
        """Returns where pictures may be, relative to the root: for captions_train2017.json first in `train2017`."""
        split = SPLIT_OF_NAME.match(file.stem)
        names = [file.stem.partition("_")[2], *([split[1]] if split else [])]
        own = self._relative(file.parent)
        return list(dict.fromkeys([*names, *(f"images/{name}" for name in names), "images", ".", own]))

    def _locate(self, file: str, folders: list[str]) -> tuple[str, InFile]:
        """Returns the picture's path relative to the root, and its place; OSError or ValueError where there is none.

        The folder that has it goes to the front of `folders`: the other pictures are likely to be there too.
        """
        for folder in folders:
            path = self._root / folder / file
            try:
                place = InFile.of(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not self._config.follow_links and not is_inside(path, self._root):
                raise ValueError(LEADS_OUT)
            folders.remove(folder)
            folders.insert(0, folder)
            return self._relative(path), place
        looked = ", ".join(f"{folder}/" for folder in folders if folder != "." and (self._root / folder).is_dir())
        raise ValueError(f"there is no such file{f', nor in {looked}' if looked else ''}")

    def _relative(self, file: Path) -> str:
        return file.relative_to(self._root).as_posix()


def _read_document(file: Path, texts: Texts) -> Any:
    """Returns the JSON in a file; ValueError where it is none that lists pictures."""
    with open_regular(file) as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        if size_bytes > MAX_JSON_BYTES:
            raise ValueError(f"too big: {size_bytes} bytes, {MAX_JSON_BYTES} are accepted")
        data = stream.read(MAX_JSON_BYTES)
    try:
        document = json.loads(texts.decode(data, file.name))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON that can be read: {error}") from error
    if not isinstance(_images(document), list):
        raise ValueError(NOT_COCO)
    if isinstance(document, dict) and not isinstance(document.get("annotations", []), list):
        raise ValueError('its "annotations" are no list')
    return document


def _images(document: Any) -> Any:
    return document.get("images") if isinstance(document, dict) else document


def _captions_by_image(document: Any, data_config: Any) -> dict[str, list[str]]:
    """Returns the captions of each image id, as text: some tools write 7 in one place and "7" in the other."""
    captions: dict[str, list[str]] = {}
    for annotation in document.get("annotations", ()) if isinstance(document, dict) else ():
        if isinstance(annotation, dict) and isinstance(annotation.get("image_id"), (int, str)):
            texts, _ = captions_of_row(annotation, data_config)
            captions.setdefault(str(annotation["image_id"]), []).extend(texts)
    return captions


def _row(image: dict[str, Any], where: str, data_config: Any) -> Row:
    """Returns what is said of a picture in the list itself; Karpathy splits its path, and wraps each caption."""
    image = dict(image)
    if isinstance(image.get("filepath"), str) and isinstance(image.get("filename"), str):
        image["file_name"] = f"{image['filepath']}/{image['filename']}"
    if isinstance(image.get("sentences"), list):
        image["sentences"] = [s.get("raw") if isinstance(s, dict) else s for s in image["sentences"]]
    return row_of(image, where, data_config)
