"""Tar and zip archives: shards of WebDataset and img2dataset, or whatever would be read as a folder.

    00000.tar       000000000.jpg, 000000000.txt (or .caption), 000000000.json: a sample is what has one key
    train-0001.tar  a.left.png, a.right.png, a.txt: the key ends at the first dot, and here two pictures share a caption
    emoji.zip       emoji/metadata.jsonl, emoji/train/1.png: a folder, packed

Nothing is unpacked, except for .tar.gz, .bz2 and .xz, which are once, into the cache: pictures are read in any order.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.data.dataset import Skipped
from t2igan.data.encoding import Texts
from t2igan.data.sources.found import Files, Found, FoundSource
from t2igan.data.sources.members import TEXT_KINDS, members_of
from t2igan.data.sources.names import is_hidden, kind_of, shown_name, stem
from t2igan.data.sources.pairing import pair
from t2igan.data.sources.shards import common_folder, relative_name, splits_by_name, whole_files
from t2igan.data.sources.walk import walk
from t2igan.data.stored import MAX_TEXT_BYTES, Stored, open_regular, reason_of
from t2igan.errors import UserError, counted

MAX_FILES_BESIDE = 10_000  # in the folder of an archive that was named


class Archive(FoundSource):
    """Captioned pictures in one archive, or in several that are shards of one set.

    Names of archives, folders in them, or `split` columns name the splits.
    """

    def __init__(self, data_config: Any, files: Sequence[Path], lists: Sequence[Path] = ()):
        """`files` are .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, told apart by what is in them; none is read yet.

        `lists` are files with captions of what is in them; by default, what lies beside them where they have none.
        """
        super().__init__(data_config)
        self._files = list(files)
        self._lists = list(lists)

    def _find(self) -> Found:
        root = common_folder(self._files, self._config)
        splits = splits_by_name(self._files, root, self._config)
        usable, lost = whole_files(self._files, root, self._config)
        found = []
        opened: dict[str, Mapping[str, Stored]] = {}
        for file in usable:
            shard = relative_name(file, root)
            where = f"{self.name}: {shard}" if len(self._files) > 1 else self.name
            try:
                members, skipped = members_of(file, self._config)
                opened[shard] = members
                inner = _pair(where, members, self._config)
            except (OSError, ValueError) as error:
                lost.append(Skipped(shard, reason_of(error)))
            except UserError as error:  # of one of several archives, such an error loses no more than that
                if len(self._files) == 1:
                    raise
                lost.append(Skipped(shard, str(error).removeprefix(f"{where}: ")))
            else:
                inner = replace(inner, unread=tuple(replace(s, file=f"{shard}/{s.file}") for s in inner.unread))
                found.append(_within(shard if len(self._files) > 1 else "", inner, skipped, splits[file], file.name))
        if not found:
            raise UserError(
                f"{self.name}: {lost[0].file} cannot be read: {lost[0].reason}.\n"
                "Accepted: .tar, also packed as .gz, .bz2 or .xz, and .zip."
            )
        if all(one.from_labels or not one.records for one in found) and (joined := self._joined(opened, root)):
            return replace(joined, skipped=(*((None, one) for one in lost), *joined.skipped))
        records = tuple(record for one in found for record in one.records)
        skipped = tuple(skip for one in found for skip in one.skipped)
        if len(self._files) == 1:
            summary = f"archive: {found[0].summary}"
        else:
            summary = f"{counted(len(found), 'archive')}: {counted(len(records), 'picture')} with captions"
        unread = tuple(one_unread for one in found for one_unread in one.unread)
        notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
        return Found(records, (*((None, one) for one in lost), *skipped), summary, notes, unread)

    def _joined(self, opened: Mapping[str, Mapping[str, Stored]], root: Path) -> Found | None:
        """Returns the archives and what lies beside them, paired as one folder; None where that gives no captions.

        Pictures are in one archive, then, and their captions in another, or in a list that is in none.
        """
        loose = {relative_name(file, root): file for file in self._lists or self._beside(root)}
        members = {f"{shard}/{name}": place for shard, inside in opened.items() for name, place in inside.items()}
        if not loose and len(opened) < 2:
            return None

        def opened_raw(name: str) -> io.BufferedIOBase:
            return open_regular(loose[name]) if name in loose else io.BytesIO(members[name].read())

        texts = Texts(self._config, [*loose, *members], opened_raw)
        found = pair(Files(self.name, [*loose, *members], texts.open, members.__getitem__), self._config)
        summary = f"{counted(len(opened), 'archive')}: {found.summary}"
        return replace(found, summary=summary, notes=(*found.notes, *texts.notes())) if found.records else None

    def _beside(self, root: Path) -> list[Path]:
        """Returns files that may have captions: of a folder that the user named all, beside an archive those there."""
        if expanded(self.name, "config.data.source").is_dir():
            names, _ = walk(root, self._config.follow_links)
            return [root / name for name in names if kind_of(name) in TEXT_KINDS]
        files = sorted(root.iterdir())[:MAX_FILES_BESIDE]
        return [file for file in files if kind_of(file.name) in TEXT_KINDS and file.is_file() and not file.is_symlink()]


def _pair(where: str, members: Mapping[str, Stored], data_config: Any) -> Found:
    """Returns the pictures of one archive, paired as in a folder; what samples share is laid beside each picture."""
    shared = shared_captions(members)
    texts = Texts(data_config, list(members), lambda name: io.BytesIO(members[name].read()))

    def opened(name: str) -> io.BufferedIOBase:
        if name not in shared:
            return texts.open(name)
        joined = [texts.decode(members[other].read()[:MAX_TEXT_BYTES], other) for other in shared[name]]
        if not _is_class(shared[name][0]):
            return io.BytesIO("\n".join(joined).encode("utf-8", "replace"))
        label, *objects = joined
        return io.BytesIO(json.dumps(_object(objects) | {data_config.label_field: label.strip()}).encode())

    names = [*members, *(name for name in shared if name not in members)]
    found = pair(Files(where, names, opened, members.__getitem__), data_config)
    return replace(found, notes=(*found.notes, *texts.notes()))


def shared_captions(names: Sequence[str] | Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Returns text that WebDataset's conventions give to pictures: name beside the picture -> members that it is in.

    A sample is what shares a key, the path up to the first dot of its last part. A picture that has neither a text nor
    JSON of its own name gets "NAME.txt", the texts of its sample that are not another picture's, or "NAME.json", such
    JSON; where no text is its, a class (.cls) goes into its JSON.
    """
    samples: dict[str, list[str]] = {}
    for name in names:
        if not is_hidden(name):
            samples.setdefault(_key(name), []).append(name)
    shared: dict[str, tuple[str, ...]] = {}
    for members in samples.values():
        by_kind: dict[str, list[str]] = {"picture": [], "text": [], "json": [], "class": []}
        for name in members:
            by_kind.setdefault("class" if _is_class(name) else kind_of(name), []).append(name)
        pictures, texts, objects, classes, *_ = by_kind.values()
        own = {stem(name) for name in pictures}
        for picture in pictures:
            beside = stem(picture)
            if any(stem(name) in (beside, picture) for name in texts):
                continue
            free_texts = tuple(name for name in texts if stem(name) not in own)
            json_beside = [name for name in objects if stem(name) == beside]
            free_objects = json_beside or [name for name in objects if stem(name) not in own]
            if free_texts:
                shared[f"{beside}.txt"] = free_texts
            elif classes:
                shared[f"{beside}.json"] = (classes[0], *free_objects[:1])
            elif free_objects and not json_beside:
                shared[f"{beside}.json"] = (free_objects[0],)
    return shared


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _is_class(name: str) -> bool:
    """Whether a member holds a class: a.cls, or a.cls.txt as some write it."""
    return "cls" in name.rpartition("/")[2].lower().split(".")[1:]


def _object(texts: Sequence[str]) -> dict[str, Any]:
    """Returns the JSON object in the first text; {} where there is none."""
    try:
        value = json.loads(texts[0], strict=False) if texts else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _within(shard: str, found: Found, skipped: Sequence[Skipped], split: str | None, file_name: str) -> Found:
    """Returns what was found in an archive with names that tell which archive, and its split where it has none."""

    def named(name: str) -> str:
        return f"{shard}/{name}" if shard else name

    records = tuple((own or split, replace(record, file=named(record.file))) for own, record in found.records)
    lost = [(own or split, replace(one, file=named(one.file))) for own, one in found.skipped]
    for one in skipped:  # a reason without a name is about the archive itself
        file = named(shown_name(one.file)) if one.file else shard or file_name
        lost.append((split, replace(one, file=file)))
    notes = tuple(f"{shard}: {note}" if shard else note for note in found.notes)
    return replace(found, records=records, skipped=tuple(lost), notes=notes)
