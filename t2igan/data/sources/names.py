"""What the names of files say: what kind a file is, which split a picture is in, which class its folder stands for."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from t2igan.data.sources.captions import SPLITS

# What Pillow decodes by itself. Not here: .eps and .ps, for which it starts Ghostscript.
PICTURE_SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .gif .bmp .dib .tif .tiff .avif .avifs .ppm .pgm .pbm .pnm .pfm .qoi "
    ".ico .tga .jp2 .j2k .j2c .jpc .jpf .jpx .pcx .sgi .rgb .bw .ras .dds .icns .psd .xbm .xpm".split()
)
# Pictures too, but none that Pillow reads.
UNREADABLE_SUFFIXES = frozenset(
    ".svg .svgz .heic .heif .jxl .eps .ps .ai .xcf .kra .wmf .emf .exr .hdr .cr2 .cr3 .nef .arw .dng .raf .orf".split()
)
TEXT_SUFFIXES = (".txt", ".caption")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
LEFT_BEHIND = ("__MACOSX", "@eaDir")  # by macOS in archives, by network disks beside pictures


def kind_of(name: str) -> str:
    """Returns what a file is by its name: "picture", "unreadable", "text", "json", "metadata", or "" for the rest."""
    base = name.rpartition("/")[2].lower()
    suffix = posixpath.splitext(base)[1]
    if base in METADATA_NAMES:
        return "metadata"
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    if suffix in UNREADABLE_SUFFIXES:
        return "unreadable"
    return "text" if suffix in TEXT_SUFFIXES else "json" if suffix == ".json" else ""


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder above it, is hidden or of the kind that systems leave behind."""
    return any(part.startswith(".") or part in LEFT_BEHIND for part in name.split("/"))


def shown_name(name: str) -> str:
    """Returns a name as one printable line: control characters, and bytes that are no UTF-8, are escaped."""
    return name if name.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in name)


def stem(name: str) -> str:
    """Returns a name without its suffix: "a/b.c.png" -> "a/b.c"."""
    return posixpath.splitext(name)[0]


def folded(name: str) -> str:
    """Returns a name as systems without cases, or with another form of Unicode, compare it."""
    return unicodedata.normalize("NFC", name).casefold()


class Folders:
    """The meaning of the folders that pictures lie in: splits at the top, and perhaps classes.

    A folder that holds everything is passed over, as archives often have one. Folders are splits where one of them is
    for training: without, "test" and "dev" are names like any others.
    """

    def __init__(self, pictures: Iterable[str], data_config: Any):
        """`pictures` are relative posix names."""
        self._pictures = list(pictures)
        train, val, test = data_config.train_split, data_config.val_split, data_config.test_split
        known = {*SPLITS, train, val, test}
        parents = [tuple(name.split("/")[:-1]) for name in self._pictures]
        depth = 0
        first, last = (min(parents), max(parents)) if parents else ((), ())
        while len(first) > depth < len(last) and first[depth] == last[depth] and not _split_name(first[depth], known):
            depth += 1
        self._depth = depth
        names = {part: _split_name(part, known) for part in {p[depth] for p in parents if len(p) > depth}}
        self._splits = {part: split for part, split in names.items() if split}
        if not {"train", "training", train} & set(self._splits.values()):
            self._splits = {}

    def split(self, name: str) -> str | None:
        """Returns the split that a file's folder stands for; None where it stands for none."""
        parts = name.split("/")
        return self._splits.get(parts[self._depth]) if len(parts) > self._depth + 1 else None

    def labels(self) -> dict[str, str]:
        """Returns picture -> name of the folder it lies in; {} unless each lies in one, and they are two or more.

        A single folder is no class, just the place where the pictures are.
        """
        labels = {}
        for name in self._pictures:
            parts = name.split("/")[self._depth : -1]
            if self.split(name) is not None:
                parts = parts[1:]
            if not parts:
                return {}
            labels[name] = shown_name(parts[-1])
        return labels if len(set(labels.values())) > 1 else {}


def _split_name(folder: str, known: Collection[str]) -> str | None:
    """Returns the split that a folder of this name stands for: "Train" is "train"."""
    return folder if folder in known else folder.lower() if folder.lower() in known else None


def _escaped(character: str) -> str:
    code = ord(character)
    # Python holds a byte that is no UTF-8 as one of these.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
