"""Captions in pictures: letters of other fonts, lines that fit, and words where there is no font."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageFont

from t2igan.inference import lettering, pictures
from t2igan.inference.lettering import FONT_PX, LINE_PX, Face, Lettering


def made_font(path, letters):
    """A font in which each of the letters is a full black square, and what it lacks an empty box."""

    def glyph(*squares):
        pen = TTGlyphPen(None)
        for corners in squares:
            pen.moveTo(corners[0])
            for corner in corners[1:]:
                pen.lineTo(corner)
            pen.closePath()
        return pen.glyph()

    outer, inner = [(50, 0), (50, 800), (950, 800), (950, 0)], [(150, 100), (850, 100), (850, 700), (150, 700)]
    names = {ord(letter): f"u{ord(letter):x}" for letter in letters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf({".notdef": glyph(outer, inner), **{name: glyph(outer) for name in names.values()}})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (1000, 50)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, sTypoDescender=-100)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def own():
    """Pillow's own font, which has ASCII and little else."""
    font = ImageFont.load_default(FONT_PX)
    return Face(font, font)


@pytest.fixture
def with_squares(tmp_path, own):
    files = [made_font(tmp_path / "other.ttf", "βγ"), made_font(tmp_path / "squares.ttf", "中国赤い빨م🙂")]
    asked = []
    letters = Lettering(lambda letter: (asked.append(letter), files)[1], own)
    letters.asked = asked
    return letters


def ink(letters, line):
    canvas = Image.new("RGB", (300, LINE_PX), (255, 255, 255))
    letters.draw(canvas, 0, 0, line, (0, 0, 0))
    return 255 - np.asarray(canvas.convert("L")).astype(int)


@pytest.mark.parametrize("caption", ["中国", "赤い", "빨", "🙂", "a 中 b"])
def test_letters_come_from_the_font_that_has_them(with_squares, caption):
    assert with_squares.wrapped(caption, 300, 2) == [caption]
    drawn = ink(with_squares, caption)
    square = drawn[3:11].min(0) > 200  # columns that are black from top to bottom, as no box and no letter is
    assert square.sum() >= 9 * sum(not c.isascii() for c in caption)


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("一只猫", "(a caption in Chinese letters, which no font of this system has)"),
        ("ピクセル", "(a caption in Japanese letters, which no font of this system has)"),
        ("고양이", "(a caption in Korean letters, which no font of this system has)"),
        ("قطة", "(a caption in Arabic letters, which no font of this system has)"),
        ("a кот und γάτα", "(a caption in Cyrillic and Greek letters, which no font of this system has)"),
        ("a 🚀 lands", "a [rocket] lands"),
        ("Łøwe – “naïve” straße", 'Lowe - "naive" strasse'),
        ("Löwe, naïve café", "Lowe, naive cafe"),
    ],
)
def test_without_a_font_it_is_said_in_words(own, caption, said):
    class Ascii(Face):
        def has(self, letter):
            return letter.isascii()

    letters = Lettering(lambda _: [], Ascii(own.font, own.simple))
    assert letters.prepared(caption) == said


def test_without_shaping_scripts_that_need_it_are_not_drawn(with_squares):
    assert with_squares.face_of("م") is not None or not with_squares.shapes
    with_squares.shapes = False
    assert "Arabic" in with_squares.prepared("م")
    assert with_squares.prepared("中") == "中"


def test_a_script_without_a_font_is_looked_for_once(with_squares):
    for _ in range(3):
        with_squares.prepared("ᚠᚢᚦ")
    assert with_squares.asked == ["ᚠ"]


@pytest.mark.parametrize("width_px", [60, 128, 400])
@pytest.mark.parametrize(
    "caption", ["a red cap " * 12, "Donaudampfschifffahrt" * 6, "中国赤い" * 30, "WWWWWWWW iiii " * 9]
)
def test_lines_fit_their_column(with_squares, caption, width_px):
    lines = with_squares.wrapped(caption, width_px, 100)
    assert all(with_squares.width(line) <= width_px for line in lines)
    assert "".join(lines).replace(" ", "") == caption.replace(" ", "")
    few = with_squares.wrapped(caption, width_px, 2)
    assert len(few) <= 2 and all(with_squares.width(line) <= width_px for line in few)
    assert few[-1].endswith(" …") or lines == few
    for line in few:
        assert not ink(with_squares, line)[:, width_px + 1 :].any()


def test_spaces_and_line_breaks_are_one_space(with_squares):
    assert with_squares.wrapped("  a\n\tred   cap ", 300, 3) == ["a red cap"]
    assert with_squares.wrapped("", 300, 3) == with_squares.wrapped(" \n", 300, 3) == []


@pytest.mark.parametrize("captions", [["中国", "a red cap"], ["long " * 60, "b"]])
def test_a_sheet_is_cut_where_other_fonts_laid_it_out(with_squares, own, monkeypatch, captions):
    """A run that is looked at on another system than it was trained on."""
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    monkeypatch.setattr(pictures, "lettering", lambda: with_squares)
    drawn, tops = pictures.sheet(images, captions, columns=2), pictures.row_tops(captions, 2, 16)
    elsewhere = Lettering(lambda _: [], own)
    monkeypatch.setattr(elsewhere, "wrapped", lambda *_: ["one"] * 3)
    monkeypatch.setattr(pictures, "lettering", lambda: elsewhere)
    np.testing.assert_array_equal(pictures.cut_sheet(drawn, captions, 2, 16, tops), images)
    with pytest.raises(ValueError, match="a sheet of 2 captions in 2 columns is not"):
        pictures.cut_sheet(drawn, captions, 2, 16)
    with pytest.raises(ValueError, match="a sheet of 2 captions"):
        pictures.cut_sheet(drawn, captions, 2, 16, [*tops[:1], len(drawn)])


def test_fonts_are_found_without_fontconfig(tmp_path, monkeypatch):
    folder = tmp_path / "fonts" / "deep"
    folder.mkdir(parents=True)
    made_font(folder / "Squares-Bold.ttf", "中")
    plain = made_font(folder / "Squares-Sans-Regular.ttf", "中")
    monkeypatch.setattr(lettering.shutil, "which", lambda _: None)
    monkeypatch.setattr(lettering, "font_folders", lambda: [tmp_path / "fonts"])
    assert lettering.system_fonts("中")[0] == plain
    assert len(lettering.system_fonts("中")) == 2
