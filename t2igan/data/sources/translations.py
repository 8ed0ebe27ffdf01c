"""Captions in a text file, line by line; in one language where it has translations, as the stamps of Tux Paint do.

A frog.
de.utf8=Ein Frosch.
pt_BR.utf8=Um sapo.
"""

from __future__ import annotations

import re
from typing import Any

from t2igan.data.sources.captions import as_captions
from t2igan.errors import UserError, nearest

TRANSLATION = re.compile(r"([a-z]{2,3}(?:_[A-Za-z]{2,4})?(?:@[a-z]+)?)\.utf-?8\s*=(.*)", re.DOTALL)


class Captions:
    """Reads texts by `config.data.language`, and counts what is in them."""

    def __init__(self, data_config: Any):
        """Without a language, lines that are translations are passed over."""
        self._asked = str(data_config.language)
        wanted = self._asked.strip().replace("-", "_").lower()
        # "de_AT", and if there is no such line, "de".
        self._wanted = dict.fromkeys((wanted, re.split("[_@]", wanted)[0])) if wanted else {}
        self._languages: set[str] = set()
        self._untranslated = 0

    def of(self, text: str) -> tuple[str, ...]:
        """Returns the captions in the language, or those in none where there is no such line."""
        lines: list[str] = []
        translations: dict[str, list[str]] = {}
        for line in text.splitlines():
            if match := TRANSLATION.fullmatch(line.strip()):
                translations.setdefault(match[1], []).append(match[2])
            else:
                lines.append(line)
        self._languages.update(translations)
        by_language = {language.lower(): texts for language, texts in translations.items()}
        for language in self._wanted:
            if captions := as_captions(by_language.get(language, [])):
                return captions
        captions = as_captions(lines)
        self._untranslated += bool(self._wanted and captions)
        return captions

    def check(self, where: str) -> None:
        """Raises `UserError` where a language is asked for, and no text that was read has it."""
        if not self._wanted or self._wanted.keys() & {language.lower() for language in self._languages}:
            return
        known = ", ".join(sorted(self._languages)[:100])
        raise UserError(
            f"config.data.language={self._asked!r}: no text in {where} has a line in it"
            f"{nearest(self._asked, self._languages)}\n"
            + (f"There are: {known}." if known else "There are none at all.")
        )

    def summary(self) -> str:
        """Returns how many texts lack the language, to be appended to a description; "" where none does."""
        return f"; {self._untranslated} without a translation into {self._asked!r}" if self._untranslated else ""
