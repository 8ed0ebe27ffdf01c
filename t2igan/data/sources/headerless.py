"""Lines of a list that names no columns: what is in them tells which cell is a picture's name, and which its caption.

00001.png, a cat, sitting          1000268201.jpg#0<TAB>A child in a pink dress .
a.png a cat on a mat               a.png: a cat on a mat
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence

from t2igan.data.sources.names import PICTURE_SUFFIXES

MARKS = ("\t", "|", ";", ",")
SUFFIXES = "|".join(sorted((re.escape(suffix) for suffix in PICTURE_SUFFIXES), key=len, reverse=True))
# What parts a name from its caption where no mark does; a name with blanks ends with its suffix.
PARTED = (
    re.compile(rf"\s*(.+?(?:{SUFFIXES})(?:#\d+)?)\s*(?:[:=]|->|\s-)?\s+(.*)", re.IGNORECASE),
    re.compile(r"\s*([^\s:=]+)\s*[:=]\s*(.*)"),
    re.compile(r"\s*(\S+)\s+(.*)"),
)
MIN_SHARE = 0.5  # of the lines that are looked at must have a known name

Line = tuple[str, str] | None


def reader_of(lines: Sequence[str], knows: Callable[[object], bool]) -> Callable[[str], Line] | None:
    """Returns what takes a line apart into the name of a picture and its caption ("" = none); None if nothing does.

    `lines` are the first of the list. The reader returns None for a line that is not of that form.
    """
    lines = [line for line in lines if line.strip()]
    best: tuple[int, int, str] = (0, 0, "")
    for order, mark in enumerate(MARKS):
        columns = Counter(i for line in lines for i, cell in enumerate(cells_of(line, mark)) if knows(cell))
        if len(columns) and max(len(cells_of(line, mark)) for line in lines) > 1:
            column, hits = max(columns.items(), key=lambda item: (item[1], -item[0]))
            best = max(
                best, (hits, -column, mark), key=lambda found: (found[0], -MARKS.index(found[2] or MARKS[order]))
            )
    hits, column, mark = best
    if lines and hits >= MIN_SHARE * len(lines):
        return _by_mark(lines, mark, -column)
    for pattern in PARTED:
        found = (pattern.fullmatch(line.strip()) for line in lines)
        # What is behind a number may be a picture's name, too: a list of pictures and no captions.
        matches = [match for match in found if match and knows(match[1]) and not knows(match[2])]
        if lines and len(matches) >= MIN_SHARE * len(lines):
            words = sum(map(_words, (match[2] for match in matches)))
            return lambda line, pattern=pattern, words=words: _parted(line, pattern, bool(words))
    return None


def cells_of(line: str, mark: str) -> list[str]:
    """Returns the cells of a line; quotation marks count only where commas or semicolons part them."""
    line = line.rstrip("\r\n")
    if mark in "\t|":
        return [cell.strip() for cell in line.split(mark)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])]
    except csv.Error:
        return [cell.strip() for cell in line.split(mark)]


def _by_mark(lines: Sequence[str], mark: str, name: int) -> Callable[[str], Line]:
    """Returns a reader of lines that `mark` parts; the caption is the column with the most words."""
    rows = [cells_of(line, mark) for line in lines]
    widths = Counter(map(len, rows))
    width = widths.most_common(1)[0][0] if min(widths) > 1 else max(2, min(width for width in widths if width > 1))
    if len(widths) > 1:  # unquoted captions with the mark in them
        width = min(w for w in widths if w > name + 1) if any(w > name + 1 for w in widths) else width
    words = {i: sum(_words(row[i]) for row in rows if len(row) > i) for i in range(width) if i != name}
    text = max(words, key=lambda i: (words[i], i), default=name)

    def read(line: str) -> Line:
        cells = cells_of(line, mark)
        if len(cells) <= name:
            return None
        last = text == width - 1
        caption = f"{mark} ".join(cells[text:]) if last else cells[text] if len(cells) > text else ""
        return cells[name], caption if words.get(text) else ""

    return read


def _parted(line: str, pattern: re.Pattern[str], has_words: bool) -> Line:
    match = pattern.fullmatch(line.strip())
    return (match[1], match[2] if has_words else "") if match else None


def _words(text: str) -> int:
    return len(re.findall(r"[^\W\d_]+", text))
