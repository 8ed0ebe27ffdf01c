"""Which caption belongs to which picture, by the names of files and by what some of them say.

The conventions are the same for a folder and for an archive of one, so nothing here knows either: it is given names
and a way to open them (`Files`), and returns records (`Found`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from t2igan.data.dataset import Record, Skipped
from t2igan.data.encoding import DAMAGED, REPLACED
from t2igan.data.sources.captions import as_captions, chosen_captions, is_numbers, label_captions, readable_label
from t2igan.data.sources.fields import plain
from t2igan.data.sources.file_names import caption_in_name
from t2igan.data.sources.folders import MASK_WORDS, Folders, core, is_called, kinds_of_repeats
from t2igan.data.sources.found import Files, Found
from t2igan.data.sources.lists import Lists
from t2igan.data.sources.metadata import captions_in
from t2igan.data.sources.names import is_hidden, kind_of, kinds_of_files, shown_name, stem
from t2igan.data.sources.nearby import Beside, parallel
from t2igan.data.sources.row_files import listed
from t2igan.data.sources.translations import Captions
from t2igan.data.sources.unread import Unread, unread_others, unread_texts
from t2igan.data.stored import MAX_TEXT_BYTES, NO_SUCH_FILE, decode_text, reason_of
from t2igan.errors import UserError, counted

NO_CAPTION = "no caption: no text of its name beside it, and no list that gives it one"
LABELS = "the names of their folders"
SAMPLED_TEXTS = 20

Captioned = tuple[tuple[str, ...], dict[str, str], str]  # captions, attributes, and where the captions are


def pair(files: Files, data_config: Any) -> Found:
    """Returns the pictures among files with their captions, in the order of their names.

    A picture has its captions from the first of these that gives some: its name, where
    `config.data.caption_from_name` says how; its rows in metadata.jsonl, .csv...; the lines of NAME.txt beside it;
    NAME.json beside it; a text of its name in a parallel folder; its rows in any other list. Where nothing of that is
    there for any picture, the names of the folders are labels. Hidden files are passed over.

    UserError where metadata cannot be read and nothing else gives captions, where captions are evidently there, cannot
    be read, and the names of folders would stand in for them, and where no text is in the language that
    `config.data.language` asks for.
    """
    return _Pairing(files, data_config).found()


class _Pairing:
    """The work of `pair`, and what is counted on the way."""

    def __init__(self, files: Files, data_config: Any):
        self._files = files
        self._config = data_config
        self._by_kind: dict[str, list[str]] = {}
        for name in sorted(files.names):
            if not is_hidden(name):
                self._by_kind.setdefault(kind_of(name), []).append(name)
        self._names = {name for names in self._by_kind.values() for name in names}
        self._pictures = self._of_kind("picture") + self._of_kind("unreadable")
        self._unreadable = set(self._of_kind("unreadable"))
        self._readable_stems = {stem(name) for name in self._of_kind("picture")}
        # Of cat.txt and cat.caption, the first is read first.
        texts = sorted(self._of_kind("text"), key=lambda name: not name.lower().endswith(".txt"))
        self._texts, self._jsons = Beside(texts), Beside(self._of_kind("json"))
        self._in_texts = Captions(data_config)
        self._folders = Folders(self._pictures, data_config)
        self._lists = Lists(files, set(self._pictures), self._folders, data_config)
        self._elsewhere: dict[str, list[str]] = {}
        self._records: dict[str, tuple[str | None, Record]] = {}
        self._left: dict[str, str] = {}  # pictures without captions, and why
        self._skipped = [(self._folders.split(one.file), one) for one in files.skipped]
        self._already_skipped = {one.file for one in files.skipped}
        self._origins: Counter[str] = Counter()
        self._unread: list[Unread] = []
        self._notes: list[str] = []

    def found(self) -> Found:
        """Returns what was found, in the order of names."""
        metadata = [] if self._config.caption_from_name else self._of_kind("metadata")
        self._lists.read_metadata(metadata)
        ways = (self._from_name,) if self._config.caption_from_name else (self._from_rows, self._from_beside)
        for file in sorted({*self._pictures, *self._lists.rows}):
            self._add(file, ways)
        if not self._config.caption_from_name:
            self._look_elsewhere()
        self._unread += self._lists.unread
        self._use_labels(metadata)
        self._skipped += self._lists.skipped
        self._skipped += [(self._split(file), Skipped(shown_name(file), why)) for file, why in self._left.items()]
        if self._lists.problems and not self._records:
            raise UserError(
                f"{self._files.where}: {self._lists.problems[0]}.\nNothing else there gives captions to pictures."
            )
        if self._pictures:
            self._in_texts.check(self._files.where)
        return Found(
            records=tuple(self._records[file] for file in sorted(self._records)),
            skipped=tuple(self._skipped),
            summary=self._summary(),
            unread=tuple(one.as_skipped() for one in self._unread),
            notes=tuple(self._notes_of_all()),
            from_labels=set(self._origins) == {LABELS},
        )

    def _of_kind(self, kind: str) -> list[str]:
        return self._by_kind.get(kind, [])

    def _split(self, file: str) -> str | None:
        row = self._lists.rows.get(file)
        return (row and row.split) or self._folders.split(file)

    def _add(self, file: str, ways: Sequence[Any]) -> None:
        """Makes a record of a picture by the first way that gives captions, or notes why none does."""
        row = self._lists.rows.get(file)
        if file in self._unreadable and row is None and stem(file) in self._readable_stems:
            return  # the same picture in another format
        if file not in self._names and shown_name(file) in self._already_skipped:
            return
        problem = self._left.pop(file, "")
        try:
            self._check_readable(file)
            for way in ways:
                captions, attributes, origin = way(file)
                if captions:
                    break
            else:
                raise ValueError(NO_CAPTION)
            captions = chosen_captions(captions, self._config)
            attributes = attributes | (row.attributes if row else {})
            repeats = self._folders.repeats(file)
            record = Record(shown_name(file), self._files.place(file), captions, attributes, repeats)
        except (OSError, ValueError) as error:
            why = reason_of(error)
            self._left[file] = problem if problem and why == NO_CAPTION else why
        else:
            self._records[file] = (self._split(file), record)
            self._origins[origin] += 1

    def _check_readable(self, file: str) -> None:
        if file not in self._names:
            raise ValueError(NO_SUCH_FILE)
        if file in self._unreadable:
            suffix = file[len(stem(file)) :].lower()
            raise ValueError(f"a kind of picture that cannot be read: {suffix} (convert it to .png)")

    # Ways to captions: each returns none, or raises ValueError where something should have some.

    def _from_name(self, file: str) -> Captioned:
        captions, attributes = caption_in_name(file, self._config.caption_from_name)
        if not captions:
            raise ValueError("no caption: its name does not fit config.data.caption_from_name")
        return captions, attributes, "the names of their files"

    def _from_rows(self, file: str, origin: str = "metadata") -> Captioned:
        row = self._lists.rows.get(file)
        return (tuple(dict.fromkeys(row.captions)) if row else ()), {}, origin

    def _from_beside(self, file: str) -> Captioned:
        texts = ("text files beside them", lambda: self._from_texts(self._texts.of(file)))
        jsons = ("JSON files beside them", lambda: self._from_json(self._jsons.of(file)))
        return self._first(file, [jsons, texts] if self._config.caption_field else [texts, jsons])

    def _from_elsewhere(self, file: str) -> Captioned:
        names = self._elsewhere.get(file, [])
        ways = [
            ("text files in another folder", lambda: self._from_texts([n for n in names if kind_of(n) == "text"])),
            ("JSON files in another folder", lambda: self._from_json([n for n in names if kind_of(n) == "json"])),
            ("lists", lambda: self._from_rows(file)[:2]),
        ]
        return self._first(file, ways)

    def _first(self, file: str, ways: Sequence[tuple[str, Any]]) -> Captioned:
        row = self._lists.rows.get(file)
        problem = row.problem if row else ""
        for origin, read in ways:
            try:
                captions, attributes = read()
            except (OSError, ValueError) as error:
                problem = problem or f"no caption: {reason_of(error)}"
            else:
                if captions:
                    return captions, attributes, origin
        if problem:
            raise ValueError(problem)
        return (), {}, ""

    def _from_texts(self, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
        captions: list[str] = []
        numbers = damaged = False
        for name in names:
            text = decode_text(self._read(name))
            found = self._in_texts.of(text)
            damaged = damaged or REPLACED in text
            captions += [caption for caption in found if not is_numbers(caption)]
            numbers = numbers or any(map(is_numbers, found))
        if names and not captions:
            has = DAMAGED if damaged else "numbers only" if numbers else "none"
            raise ValueError(f"{shown_name(names[0])} has {has}")
        return tuple(dict.fromkeys(captions)), {}

    def _from_json(self, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
        fields = ""
        for name in names:
            try:
                values = json.loads(decode_text(self._read(name)), strict=False)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{shown_name(name)} is not JSON that can be read") from error
            if isinstance(values, dict):
                named = {plain(key): value for key, value in values.items()} | values
                captions, attributes, _ = captions_in(named, self._config)
                if captions:
                    return captions, attributes
                fields = fields or f"{shown_name(name)} has {listed(values)}"
            elif isinstance(values, (str, list)) and (captions := as_captions(values)):
                return captions, {}
        if fields:
            raise ValueError(fields)
        return (), {}

    def _read(self, name: str) -> bytes:
        try:
            with self._files.open(name) as stream:
                return stream.read(MAX_TEXT_BYTES)
        except (OSError, ValueError) as error:
            raise ValueError(f"{shown_name(name)}: {reason_of(error)}") from error

    def _look_elsewhere(self) -> None:
        """Looks for the captions of pictures that have none yet in parallel folders, and in lists of any name."""
        beside = {name for file in self._pictures for of in (self._texts, self._jsons) for name in of.of(file)}
        texts = [name for name in self._of_kind("text") if name not in beside]
        jsons = [name for name in self._of_kind("json") if name not in beside]
        tables = self._of_kind("table")
        left = [file for file in self._left if file in self._names and file not in self._unreadable]
        if not left:
            why = "not needed: every picture has its caption already"
            self._unread += [Unread(name, why) for name in (*tables, *jsons)]
        else:
            # Among all pictures: a name that two have is no clear one, even if one of them has its caption.
            readable = [file for file in self._pictures if file not in self._unreadable]
            found, unclear = parallel(readable, [*texts, *jsons])
            self._elsewhere = {file: names for file, names in found.items() if file in self._left}
            taken = {name for names in self._elsewhere.values() for name in names}
            self._lists.read_others([name for name in (*tables, *jsons, *texts) if name not in taken | unclear.keys()])
            for file in sorted({*left, *self._lists.rows} - self._records.keys()):
                self._add(file, (self._from_elsewhere,))
            for name, pictures in unclear.items():
                self._unread.append(Unread(name, f"it might belong to {listed(pictures[:3])}", True))
            used = {*taken, *unclear, *self._lists.used}
            texts = [name for name in texts if name not in used]
            named = {one.file for one in self._lists.unread if one.has_captions or one.names_some}
            self._lists.unread = [one for one in self._lists.unread if one.file in named or one.file not in texts]
            texts = [name for name in texts if name not in {one.file for one in (*self._unread, *self._lists.unread)}]
        sample = [decode_text(data) for name in texts[:SAMPLED_TEXTS] if (data := self._try_read(name))]
        self._unread += unread_texts(texts, len(self._pictures), sample)
        self._unread += unread_others(self._of_kind(""), self._of_kind("archive"))

    def _try_read(self, name: str) -> bytes:
        try:
            return self._read(name)
        except ValueError:
            return b""

    def _use_labels(self, metadata: Sequence[str]) -> None:
        """Makes captions of the names of folders, where nothing else is there to have captions."""
        wish = self._config.folder_labels
        labels = self._folders.labels() if wish != "ignore" and not self._config.caption_from_name else {}
        labels = {file: label for file, label in labels.items() if file in self._left and file not in self._unreadable}
        if not labels:
            says_nothing = bool(self._folders.places()) and wish != "ignore"
            self._explain(f"{NO_CAPTION}; the name of its folder says nothing" if says_nothing else NO_CAPTION)
            return
        if wish == "auto":
            beside = any(self._texts.of(name) or self._jsons.of(name) for name in self._pictures)
            if metadata or beside or self._elsewhere or self._records:
                self._explain(f'{NO_CAPTION} (config.data.folder_labels="use" takes the names of folders)')
                return
            self._refuse_labels(labels)
        for file, label in labels.items():
            captions = label_captions(label, self._config.caption_templates)
            attributes = {self._config.label_field: readable_label(label)}
            self._add(file, (lambda _, said=(captions, attributes, LABELS): said,))
        self._explain("no caption: the name of its folder says nothing")

    def _explain(self, reason: str) -> None:
        """Gives pictures that are left without captions the reason; those that belong to another need none."""
        described = {(*core(file), stem(file.rpartition("/")[2])) for file in self._records}
        for file, why in list(self._left.items()):
            folder, _, base = file.rpartition("/")
            if why != NO_CAPTION:
                continue
            if is_called(folder.rpartition("/")[2] or ".", MASK_WORDS) and (*core(folder), stem(base)) in described:
                belongs = "a mask or the like of a picture of this name"
            elif file in self._lists.beside:
                belongs = f"{self._lists.beside[file]} names it beside another picture, which has the caption"
            else:
                self._left[file] = reason
                continue
            del self._left[file]
            self._unread.append(Unread(file, belongs))

    def _refuse_labels(self, labels: dict[str, str]) -> None:
        """Raises UserError where captions are evidently there, and the names of folders would stand in for them."""
        evident = [one for one in self._unread if one.has_captions]
        if evident:
            count = f" and in {len(evident) - 1} more files" if len(evident) > 1 else ""
            classes = listed(sorted(set(labels.values()))[:3])
            raise UserError(
                f"{self._files.where}: captions seem to be in {evident[0]}{count}, but no picture got any.\n"
                f'Mend that, or set config.data.folder_labels="use" to make captions of folders\' names ({classes}).'
            )

    def _summary(self) -> str:
        origins = [origin for origin, _ in self._origins.most_common()]
        if len(origins) == 1:
            where = f" in {origins[0]}"
        else:
            where = "".join(f", {self._origins[origin]} in {origin}" for origin in origins)
        return f"{counted(len(self._records), 'picture')} with captions{where}{self._in_texts.summary()}"

    def _notes_of_all(self) -> list[str]:
        """Returns what was decided and might have been meant otherwise."""
        notes = list(self._lists.notes)
        if not self._pictures:
            notes.append(f"what lies there: {kinds_of_files(self._names) or 'nothing'}")
        if self._folders.repeats_by_folder:
            notes.append(f"drawn repeatedly: {kinds_of_repeats(self._folders.repeats_by_folder)}")
        formats = Counter(stem(file) for file in self._records)
        if several := [name for name, count in formats.items() if count > 1]:
            same = sorted(file for file in self._records if stem(file) == several[0])
            notes.append(
                f"{len(several):,} names have pictures in several formats ({', '.join(map(shown_name, same[:4]))}): "
                "each is a picture of its own, with the same caption"
            )
        labels = {record.attributes.get(self._config.label_field, "") for _, record in self._records.values()}
        if all(label.isdigit() for label in labels) and labels:
            notes.append("labels are bare numbers: captions made of them say nothing of what is shown")
        if LABELS in self._origins:
            places = self._folders.places()
            notes.append("captions are made of the names of folders: nothing else was found that says what is shown")
            if places:
                notes.append(f"folders whose names say nothing: {listed(places)}")
        return notes
