"""What lies beside pictures and might have captions, but gave none: named, and never passed over for folders' names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from t2igan.data.dataset import Skipped
from t2igan.data.sources.metadata import has_words
from t2igan.data.sources.names import OTHER_SUFFIXES, shown_name, stem

_CAPTIONS = "captions?|texts?|prompts?|descriptions?|sentences?"
_WORD = r"(?:^|[\W_\d])(?:%s)(?=$|[\W_\d])"
# "captions.txt", "image_descriptions.json"; not "readme.txt".
OF_CAPTIONS = re.compile(_WORD % _CAPTIONS, re.IGNORECASE)
# Of files that cannot be looked into, more is suspected: "annotations.xlsx".
MAY_BE_CAPTIONS = re.compile(_WORD % f"{_CAPTIONS}|annotations?|metadata|meta|labels?", re.IGNORECASE)
OF_NO_PICTURE = re.compile(
    r"(?:^|[\W_\d])(?:readme|read me|licen[cs]e|copying|credits?|changelog|authors?|attribution|sources?|notes?|todo|"
    r"urls?|requirements|class(?:es)?|categor(?:y|ies)|synsets?|words|copyright|about|version|notice|contributing|robots)"
    r"(?=$|[\W_\d])",
    re.IGNORECASE,
)
NO_PICTURE = "text that belongs to no picture by its name"
NO_NAMES = "its lines name no picture that is here: NAME.png, a tab and the caption are read"
MIN_TEXTS, MIN_SHARE = 3, 0.2  # of texts that match no picture; fewer may be anything
MAX_LINES = 50  # of the captions of one picture; more is a list or a document


@dataclass(frozen=True)
class Unread:
    """A file of which no caption was taken, and whether it evidently has some all the same."""

    file: str
    reason: str
    has_captions: bool = False
    names_some: bool = False  # it names pictures that are here

    def __str__(self) -> str:
        return f"{shown_name(self.file)} ({self.reason})"

    def as_skipped(self) -> Skipped:
        """Returns it as the report lists it."""
        return Skipped(shown_name(self.file), self.reason)


def is_caption_like(name: str) -> bool:
    """Whether the name of a file says that there are captions in it."""
    return OF_CAPTIONS.search(stem(name.rpartition("/")[2])) is not None


def may_be_captions(name: str) -> bool:
    """Whether the name of a file allows for captions in it."""
    return MAY_BE_CAPTIONS.search(stem(name.rpartition("/")[2])) is not None


def of_no_picture(name: str) -> bool:
    """Whether a file is of a kind that goes with any collection: a licence, a list of classes."""
    return OF_NO_PICTURE.search(stem(name.rpartition("/")[2])) is not None


def unread_texts(texts: Collection[str], pictures: int, sample: Collection[str]) -> list[Unread]:
    """Returns what to say of texts that belong to no picture; `sample` is what is in some of them."""
    texts = [name for name in texts if not of_no_picture(name)]
    short = [text for text in sample if has_words(text) and len(text.splitlines()) <= MAX_LINES]
    many = len(texts) >= max(MIN_TEXTS, MIN_SHARE * pictures)
    are_captions = many and len(short) >= len(sample) / 2
    return [
        Unread(name, NO_NAMES if is_caption_like(name) else NO_PICTURE, are_captions or is_caption_like(name))
        for name in texts
    ]


def unread_others(names: Collection[str], archives: Collection[str]) -> list[Unread]:
    """Returns what to say of files of kinds that are not read, where their names say that there are captions."""
    kinds = {".xlsx": "a spreadsheet: save it as .csv", ".xls": "a spreadsheet: save it as .csv"}
    kinds |= dict.fromkeys((".ods", ".numbers"), "a spreadsheet: save it as .csv")
    kinds |= dict.fromkeys(
        (".pickle", ".pkl", ".pt", ".pth", ".npy", ".t7"), "not read, since that may run what is in it"
    )
    kinds |= dict.fromkeys(
        (".rar", ".7z", ".zst", ".gz", ".bz2", ".xz"), "an archive of a kind that is not read: unpack it"
    )
    found = []
    for name in names:
        suffix = name[len(stem(name)) :].lower()
        if suffix in OTHER_SUFFIXES and may_be_captions(name):
            found.append(Unread(name, kinds.get(suffix, f"{suffix} is not read: save it as .csv or .jsonl"), True))
    return found + [Unread(name, "an archive beside pictures", may_be_captions(name)) for name in archives]
