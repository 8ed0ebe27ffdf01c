"""What the names of files say: what kind a file is, and which names are the same."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterable

# What Pillow decodes by itself. Not here: .eps and .ps, for which it starts Ghostscript.
PICTURE_SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .gif .bmp .dib .tif .tiff .avif .avifs .ppm .pgm .pbm .pnm .pfm .qoi "
    ".ico .tga .jp2 .j2k .j2c .jpc .jpf .jpx .pcx .sgi .rgb .bw .ras .dds .icns .psd .xbm .xpm".split()
)
# Pictures too, but none that Pillow reads.
UNREADABLE_SUFFIXES = frozenset(
    ".svg .svgz .heic .heif .jxl .eps .ps .ai .xcf .kra .wmf .emf .exr .hdr .cr2 .cr3 .nef .arw .dng .raf .orf".split()
)
TEXT_SUFFIXES = (".txt", ".caption", ".captions", ".text", ".cap", ".prompt", ".token", ".lst")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".psv", ".tab")
METADATA_NAMES = tuple(f"metadata{suffix}" for suffix in (".jsonl", ".csv", ".parquet", ".tsv", ".ndjson"))
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
# May hold captions, and are not read.
OTHER_SUFFIXES = frozenset(
    ".xlsx .xls .ods .numbers .docx .doc .odt .rtf .pdf .md .xml .html .yaml .yml .toml .pickle .pkl .npy .npz .mat "
    ".h5 .hdf5 .lmdb .mdb .db .sqlite .sqlite3 .rar .7z .zst .gz .bz2 .xz .feather .arrow .avro .pt .pth .t7".split()
)
LEFT_BEHIND = ("__MACOSX", "@eaDir")  # by macOS in archives, by network disks beside pictures


def kind_of(name: str) -> str:
    """Returns what a file is by its name.

    One of "picture", "unreadable", "text", "json", "metadata", "table", "archive"; "" for the rest.
    """
    base = name.rpartition("/")[2].lower()
    suffix = posixpath.splitext(base)[1]
    if base in METADATA_NAMES:
        return "metadata"
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    if suffix in UNREADABLE_SUFFIXES:
        return "unreadable"
    if base.endswith(ARCHIVE_SUFFIXES):
        return "archive"
    if suffix in TABLE_SUFFIXES:
        return "table"
    return "text" if suffix in TEXT_SUFFIXES else "json" if suffix == ".json" else ""


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder above it, is hidden or of the kind that systems leave behind."""
    return any(part.startswith(".") or part in LEFT_BEHIND for part in name.split("/"))


def shown_name(name: str) -> str:
    """Returns a name as one printable line: control characters, and bytes that are no UTF-8, are escaped."""
    return name if name.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in name)


def kinds_of_files(names: Iterable[str]) -> str:
    """Returns how many files of which suffix there are, the commonest first: "40 .img, 40 .cap"."""
    suffixes = Counter(posixpath.splitext(name)[1].lower() or "without suffix" for name in names)
    more = f" and {len(suffixes) - 6} kinds more" if len(suffixes) > 6 else ""
    return ", ".join(f"{count:,} {shown_name(suffix)}" for suffix, count in suffixes.most_common(6)) + more


def stem(name: str) -> str:
    """Returns a name without its suffix: "a/b.c.png" -> "a/b.c"."""
    return posixpath.splitext(name)[0]


def folded(name: str) -> str:
    """Returns a name as systems without cases, or with another form of Unicode, compare it."""
    return unicodedata.normalize("NFC", name).casefold()


def _escaped(character: str) -> str:
    code = ord(character)
    # Python holds a byte that is no UTF-8 as one of these.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
