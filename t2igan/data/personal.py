"""What in captions may be personal, and what the data says of licences: counted and listed for the owner to judge.

Patterns find forms, not people: they miss what is written otherwise, and take some numbers for what they are not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from t2igan.data.dataset import NONE, Dataset
from t2igan.data.seen import words_of
from t2igan.data.tokenizer import Tokenizer

LISTED = 1_000  # captions of a kind in the report
FEW_CAPTIONS = 3  # a word of the tokenizer that so few captions have, or fewer, is rare
_STREETS = "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Square|Court|Terrace|Crescent"
PATTERNS = {
    "e-mail address": re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[A-Za-z]{2,24}\b"),
    # At least seven digits, grouped or with a country's code: years, sizes and plain numbers are none.
    "phone number": re.compile(
        r"(?<![\w.])(?:\+\d{1,3}[ ./-]?)?(?:\(?\d{2,5}\)?[ ./-]){1,4}\d{2,9}(?!\w)|\+\d{7,15}\b"
    ),
    "address": re.compile(
        rf"\b\d{{1,5}}[a-z]?\s+(?:[A-Z][\w'.-]*\s+){{1,3}}(?:{_STREETS})\b"  # 12 Baker Street
        r"|\b[A-ZÄÖÜ][\wäöüß-]*(?:straße|strasse|str\.|weg|platz|allee|gasse)\s+\d{1,4}[a-z]?\b"  # Hauptstraße 5
        r"|\b\d{1,4}(?:\s?bis)?,?\s+(?:rue|avenue|boulevard|place|chemin|impasse)\s+\w+"  # 5, rue Lepic
    ),
}
MIN_DIGITS = 7  # of a phone number
DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2}")
LICENCE_NAMES = re.compile(r"licen[cs]e|consent|rights|copyright|attribution|usage_terms", re.IGNORECASE)


class Personal(NamedTuple):
    """A caption with what may be personal."""

    kind: str  # a key of `PATTERNS`
    split: str
    row: int
    found: str
    caption: str


def personal(dataset: Dataset) -> list[Personal]:
    """Returns the captions of a split with an e-mail address, a phone number or an address in them, each kind once."""
    found = []
    for row, captions in enumerate(dataset.captions):
        for caption in captions:
            for kind, pattern in PATTERNS.items():
                matches = (match.group() for match in pattern.finditer(caption))
                if match := next((one for one in matches if kind != "phone number" or _is_phone(one)), ""):
                    found.append(Personal(kind, dataset.split, row, match, caption))
    return found


def licences(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Returns column -> value -> pictures, of the columns whose names tell of licences, rights or consent."""
    names = [name for name in dataset.attribute_values() if LICENCE_NAMES.search(name)]
    return {
        name: dict(Counter(one.get(name, NONE) or NONE for one in dataset.attributes or ()).most_common())
        for name in names
    }


def rare_words(captions: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Returns the words that are a token of their own and that at most `FEW_CAPTIONS` captions have.

    The tokenizer is in every snapshot, so whoever has one can read them.
    """
    counts: Counter[str] = Counter()
    for caption in dict.fromkeys(captions):
        counts.update(set(words_of(caption)))
    few = [word for word, count in counts.items() if count <= FEW_CAPTIONS and len(word) > 2 and not word.isdigit()]
    return sorted(word for word, ids in zip(few, tokenizer.unpadded(few), strict=True) if len(ids) == 1) if few else []


def remarks(datasets: Sequence[Dataset]) -> list[str]:
    """Returns what there is to say of personal captions and of licences, in lines."""
    said = []
    for kind, count in Counter(one.kind for dataset in datasets for one in personal(dataset)).items():
        are = f"{count:,} captions have" if count > 1 else "1 caption has"
        said.append(f"{are} what looks like {'an' if kind[0] in 'ae' else 'a'} {kind}: the report lists them (--out)")
    for name, values in licences(datasets[0]).items():
        listed = ", ".join(f"{value} {count:,}" for value, count in list(values.items())[:6])
        missing = f"; {values[NONE]:,} have none" if values.get(NONE) else ""
        said.append(f"licences: column {name!r} has {listed}{missing}")
    return said


def as_json(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Returns what `data_report.json` holds of it."""
    found = [one for dataset in datasets for one in personal(dataset)]
    return {
        "captions_that_may_be_personal": {
            kind: {"captions": len(of_kind), "listed": [one._asdict() for one in of_kind[:LISTED]]}
            for kind in PATTERNS
            if (of_kind := [one for one in found if one.kind == kind])
        },
        "licences": {dataset.split: columns for dataset in datasets if (columns := licences(dataset))},
    }


def _is_phone(text: str) -> bool:
    digits = sum(character.isdigit() for character in text)
    return digits >= MIN_DIGITS and not DATE.fullmatch(text.strip()) and digits <= 15
