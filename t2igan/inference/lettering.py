"""Captions in pictures: for every letter a font of the system that has it, and lines that fit their column.

What no font has is said in words: emoji by their names, and a caption in letters of which there is no font by a
sentence in its place. Nothing is drawn as an empty box.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FONT_PX = 13
LINE_PX = FONT_PX + 3
FIRST_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf")
BITMAP_PX = 109  # the only size that fonts of coloured bitmaps (Noto Color Emoji) can be opened at
MOST_FILES = 3000  # font files that are looked through
LANGUAGES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
# Chinese and Japanese letters: a line may break between any two of them, but not before a mark that closes.
_ALONE = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WORD = re.compile(rf"\s|[{_ALONE}][、。，．：；！？）」』】]*|[^\s{_ALONE}]+")


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """A font that was opened; `shrink` brings one of bitmaps to the size of the others."""

    font: Any
    simple: Any  # the same without shaping, for questions about single letters
    shrink: float = 1.0

    @classmethod
    def open(cls, path: str | Path) -> Face | None:
        """Opens a font file; None where Pillow cannot."""
        from PIL import ImageFont

        for size in (FONT_PX, BITMAP_PX):
            try:
                font = ImageFont.truetype(str(path), size)
                simple = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
            except (OSError, ValueError):
                continue
            return cls(font, simple, FONT_PX / size)
        return None

    @functools.cache  # noqa: B019 - there are a few faces, which live as long as the program
    def has(self, letter: str) -> bool:
        """Whether the font draws a letter as anything but nothing, or the box that stands for what it lacks."""
        drawn = self._drawn(letter)
        return any(drawn) and drawn != self._drawn("\U0010fffd")

    def _drawn(self, letter: str) -> bytes:
        """The pixels of a letter alone; empty where the font fails."""
        from PIL import Image, ImageDraw

        side = int(2 * FONT_PX / self.shrink)
        mode, how = ("L", {"fill": 255}) if self.shrink == 1 else ("RGBA", {"embedded_color": True})
        canvas = Image.new(mode, (side, side))
        try:
            ImageDraw.Draw(canvas).text((2, 2), letter, font=self.simple, **how)
        except (OSError, ValueError):
            return b""
        return canvas.tobytes()

    def width(self, text: str) -> float | int:
        """The width of a text in pixels."""
        return self.font.getlength(text) * self.shrink

    def draw(self, canvas: Any, x: float | int, baseline: float | int, text: str, colour: tuple[int, int, int]) -> None:
        """Draws a text from `x` on, standing on a line."""
        from PIL import Image, ImageDraw

        if self.shrink == 1:
            ImageDraw.Draw(canvas).text((x, baseline), text, fill=colour, font=self.font, anchor="ls")
            return
        large = Image.new("RGBA", (int(self.font.getlength(text)) + 1, int(LINE_PX / self.shrink)))
        ImageDraw.Draw(large).text((0, large.height - 12), text, font=self.font, anchor="ls", embedded_color=True)
        small = large.resize((max(int(large.width * self.shrink), 1), LINE_PX), Image.Resampling.LANCZOS)
        canvas.paste(small, (int(x), int(baseline) - LINE_PX + 2), small)


class Lettering:
    """What captions are written with: a first font, and others that are looked for when a letter needs them.

    Args:
      files: letter -> font files that may have it, the best first; by default those of the system.
      first: the font that everything is written with if it can; by default one of the system, or Pillow's own.
    """

    def __init__(self, files: Any = None, first: Face | None = None):
        from PIL import features

        self.shapes = bool(features.check("raqm"))  # whether letters are joined, and run from right to left
        self._files = files or system_fonts
        self._faces = [first or _first_face()]
        self._searched: set[int] = set()

    def face_of(self, letter: str) -> Face | None:
        """The font that has a letter; None where there is none, or where the letter cannot be set without shaping."""
        if not self.shapes and _needs_shaping(letter):
            return None
        for face in self._faces:
            if face.has(letter):
                return face
        block = ord(letter) >> 7  # looked for once: a font that has one letter of a script mostly has the others
        if block in self._searched:
            return None
        self._searched.add(block)
        for path in self._files(letter):
            opened = Face.open(path)
            if opened is not None and opened.has(letter):
                self._faces.append(opened)
                return opened
        return None

    def prepared(self, caption: str) -> str:
        """Returns a caption as it can be written: itself, or with words for what there is no font for."""
        caption = " ".join(unicodedata.normalize("NFC", caption).split())
        if not self.shapes:
            caption = "".join(c for c in caption if not _is_mark(c))
        return "".join(map(self._written, caption)) if (lacks := self._lacking(caption)) is None else lacks

    def _written(self, letter: str) -> str:
        if _is_mark(letter) or letter.isspace() or self.face_of(letter):
            return letter
        return _plain(letter) or f"[{unicodedata.name(letter, 'symbol').lower()}]"

    def _lacking(self, caption: str) -> str | None:
        """The sentence that stands for a caption whose letters no font has; None where they can all be written."""
        letters = [c for c in caption if c.isalpha() and not self.face_of(c) and not _plain(c)]
        scripts = {unicodedata.name(c, "unknown").split(maxsplit=1)[0] for c in letters}
        if not scripts:
            return None
        names = " and ".join(sorted({LANGUAGES.get(name, name.title()) for name in scripts}))
        return f"(a caption in {names} letters, which no font of this system has)"

    def wrapped(self, caption: str, width_px: int, most_lines: int) -> list[str]:
        """Returns a caption in lines of at most `width_px` pixels; what is too much ends in an ellipsis."""
        lines, line = [], ""
        for word in self._pieces(self.prepared(caption), width_px):
            if self.width((line + word).strip()) <= width_px:
                line += word
            else:
                lines.append(line.strip())
                line = word
        lines = [*lines, line.strip()] if line.strip() else lines
        if len(lines) <= most_lines:
            return lines
        last = lines[most_lines - 1]
        while last and self.width(last + " …") > width_px:
            last = last[:-1].rstrip()
        return [*lines[: most_lines - 1], last + " …"]

    def _pieces(self, text: str, width_px: int) -> Iterator[str]:
        """Words, spaces, and single letters where lines may break between any two; long words in parts that fit."""
        for word in _WORD.findall(text):
            part = ""
            for letter in word:
                if part and self.width(part + letter) > width_px and not _is_mark(letter):
                    yield part
                    part = ""
                part += letter
            yield part

    def width(self, line: str) -> float | int:
        """The width of a line in pixels."""
        return sum(face.width(text) for face, text in self._runs(line))

    def draw(self, canvas: Any, left: float | int, top: float | int, line: str, colour: tuple[int, int, int]) -> None:
        """Writes a line; one that begins with a letter of a script from right to left has its parts in that order."""
        runs = list(self._runs(line))
        for face, text in reversed(runs) if _is_right_to_left(line) else runs:
            face.draw(canvas, left, top + FONT_PX - 1, text, colour)
            left += face.width(text)

    def _runs(self, line: str) -> Iterator[tuple[Face, str]]:
        """The parts of a line that are written with one font each."""
        face, part = self._faces[0], ""
        for letter in line:
            if letter.isspace():
                needed = face if face.shrink == 1 else self._faces[0]  # the space of emoji is a picture's
            else:
                needed = face if _is_mark(letter) else self.face_of(letter) or face
            if needed is not face and part:
                yield face, part
                part = ""
            face, part = needed, part + letter
        if part:
            yield face, part


@functools.cache
def lettering() -> Lettering:
    """The lettering of this system."""
    return Lettering()


def system_fonts(letter: str) -> list[str]:
    """Returns the system's font files that may have a letter, plain upright ones first."""
    if fontconfig := shutil.which("fc-list"):
        command = [fontconfig, "--format=%{file}\n", f":charset={ord(letter):x}"]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.splitlines()
    else:
        found = [str(path) for folder in font_folders() for path in _font_files(folder)]
    return sorted(dict.fromkeys(found), key=_plainness)


def font_folders() -> list[Path]:
    """Where fonts usually are."""
    home, env = Path.home(), os.environ
    if sys.platform == "win32":
        folders = [Path(env.get("WINDIR", r"C:\Windows")) / "Fonts", home / "AppData/Local/Microsoft/Windows/Fonts"]
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    else:
        shared = [env.get("XDG_DATA_HOME") or home / ".local/share"]
        shared += (env.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
        folders = [*(Path(folder) / "fonts" for folder in shared), home / ".fonts"]
    return [folder for folder in folders if folder.is_dir()]


def _font_files(folder: Path) -> list[Path]:
    endings = (".ttf", ".otf", ".ttc", ".otc")
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in endings][:MOST_FILES]


def _plainness(path: str) -> tuple[bool, ...]:
    name = Path(path).name.lower()
    special = (
        "bold",
        "italic",
        "oblique",
        "black",
        "light",
        "thin",
        "mono",
        "serif",
        "color",
        "fallback",
        "lastresort",
    )
    return any(word in name for word in special), "sans" not in name, "regular" not in name


def _first_face() -> Face:
    from PIL import ImageFont

    faces = (Face.open(name) for name in FIRST_FONTS)
    own = ImageFont.load_default(FONT_PX)
    return next((face for face in faces if face is not None), Face(own, own))


def _plain(letter: str) -> str:
    """Returns a character as ASCII has it: "o" for "ö" and "ø", "-" for a dash; "" where it has none."""
    if plain := unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode():
        return plain
    if letter.casefold().isascii():  # "ß" is "ss"
        return letter.casefold()
    if found := re.match(r"LATIN (CAPITAL|SMALL) LETTER ([A-Z]{1,2})( |$)", unicodedata.name(letter, "")):
        return found[2] if found[1] == "CAPITAL" else found[2].lower()
    return {"Pd": "-", "Pi": '"', "Pf": '"'}.get(unicodedata.category(letter), "")


def _is_mark(letter: str) -> bool:
    """Whether a character belongs to the one before it: accents, joiners, variants of emoji."""
    return unicodedata.category(letter) in ("Mn", "Me", "Cf")


def _needs_shaping(letter: str) -> bool:
    """Whether a letter is of a script that runs from right to left, or whose letters change with their neighbours."""
    return unicodedata.bidirectional(letter) in ("R", "AL") or 0x0900 <= ord(letter) <= 0x0DFF


def _is_right_to_left(line: str) -> bool:
    strong = (unicodedata.bidirectional(letter) for letter in line)
    return next((kind for kind in strong if kind in ("L", "R", "AL")), "L") != "L"
