"""Which text belongs to which picture by its name: beside it, or in a folder parallel to that of the pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain

from t2igan.data.sources.folders import MASK_WORDS, PICTURE_WORDS, TEXT_WORDS, core, is_called
from t2igan.data.sources.names import folded, stem

# What is said in a name of its kind: "caption_0001", "0001_caption", "0001.en".
_KINDS = "|".join(sorted(PICTURE_WORDS | TEXT_WORDS | {"en"}, key=len, reverse=True))
_KIND_IN_NAME = re.compile(rf"^(?:{_KINDS})[\W_]*(?=\d)|^(?:{_KINDS})[\W_]+(?=\w)|(?<=\w)[\W_]+(?:{_KINDS})$")


class Beside:
    """Files of one kind by the picture they lie beside: cat.txt or cat.png.txt, in any case, beside cat.png."""

    def __init__(self, names: Iterable[str]):
        """`names` are those of the files; of two that lie beside one picture the first comes first."""
        self._by_stem: dict[str, list[str]] = {}
        for name in names:
            self._by_stem.setdefault(stem(name), []).append(name)
        self._exact = {folded(key): key for key in reversed(self._by_stem)}

    def of(self, picture: str) -> list[str]:
        """Returns the files that lie beside a picture."""
        keys = (stem(picture), picture)
        exact = (self._exact.get(folded(key), "") for key in keys)
        return next((self._by_stem[key] for key in chain(keys, exact) if key in self._by_stem), [])


def parallel(pictures: Collection[str], others: Collection[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Returns picture -> files elsewhere that are called as it is, and file -> pictures between which nothing decides.

    Folders have to be the same but for those that say what kind of file is in them: images/train/a.png and
    captions/train/a.txt; so have the names, but for such words: image_0001.png and caption_0001.txt. Otherwise a name
    has to be the only one on both sides. Of a picture and its mask, the text belongs to the picture.
    """
    found: dict[str, list[str]] = {}
    unclear: dict[str, list[str]] = {}
    left = set(others)
    every = Counter(map(_base, others))
    for key_of, alone in ((_key, False), (_key_without_kind, False), (_base, True)):
        by_key: dict[tuple, list[str]] = {}
        for name in pictures:
            if alone or name not in found:
                by_key.setdefault(key_of(name), []).append(name)
        texts: dict[tuple, list[str]] = {}
        for name in sorted(left):
            texts.setdefault(key_of(name), []).append(name)
        for key, of_key in texts.items():
            fits = _meant(by_key.get(key, []))
            if len(fits) == 1 and alone and (fits[0] in found or every[key] > 1):
                continue
            if len(fits) == 1:
                found[fits[0]] = of_key
                left -= set(of_key)
            elif fits:
                unclear |= dict.fromkeys(of_key, fits)
    return found, {text: fits for text, fits in unclear.items() if text in left}


def _meant(pictures: list[str]) -> list[str]:
    """Returns those of pictures of one name that are in a folder of pictures, or that are in none of masks."""
    for is_meant in (lambda parent: is_called(parent, PICTURE_WORDS), lambda parent: not is_called(parent, MASK_WORDS)):
        fits = [name for name in pictures if is_meant(name.rpartition("/")[0].rpartition("/")[2] or ".")]
        if len(pictures) > 1 and fits:
            pictures = fits
    return pictures


def _base(name: str) -> tuple:
    base = folded(name.rpartition("/")[2])
    short = stem(base)
    inner = stem(short)  # "a.png.txt" belongs to "a.png"
    return (inner if short != inner and len(short) - len(inner) in (4, 5) else short,)


def _key(name: str) -> tuple:
    return (*core(name), *_base(name))


def _key_without_kind(name: str) -> tuple:
    (base,) = _base(name)
    return (*core(name), _KIND_IN_NAME.sub("", base) or base)
